use threadbare::Monitor;

fn main() {
    let monitor = Monitor::new(1);
    monitor.notify_one();
}
