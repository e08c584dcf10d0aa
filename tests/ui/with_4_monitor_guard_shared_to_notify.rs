use threadbare::Monitor;

fn in_another_thread(_: impl FnOnce() + Send) {}

fn main() {
    let monitor = Monitor::new(1);
    let guard = monitor.lock();
    in_another_thread(|| _ = guard.notify_one());
}
