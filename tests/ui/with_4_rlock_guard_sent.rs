use threadbare::RLock;

fn send<T: Send>(_: T) {}

fn main() {
    let lock = RLock::new();
    send(lock.guard());
}
