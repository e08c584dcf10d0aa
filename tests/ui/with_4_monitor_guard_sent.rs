use threadbare::Monitor;

fn send<T: Send>(_: T) {}

fn main() {
    let monitor = Monitor::new(1);
    send(monitor.lock());
}
