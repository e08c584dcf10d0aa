use threadbare::Mutex;

fn send<T: Send>(_: T) {}

fn main() {
    let mutex = Mutex::new(1);
    send(mutex.lock());
}
