use threadbare::Monitor;

fn main() {
    let monitor = Monitor::new(1);
    let guard = monitor.lock();
    std::thread::scope(|s| {
        s.spawn(|| guard.notify_one());
    });
}
