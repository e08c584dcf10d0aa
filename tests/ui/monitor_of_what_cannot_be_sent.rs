use std::rc::Rc;
use threadbare::Monitor;

fn in_another_thread(_: impl FnOnce() + Send) {}

fn main() {
    let monitor = Monitor::new(Rc::new(1));
    in_another_thread(|| drop(monitor.lock().clone()));
}
