use std::rc::Rc;
use threadbare::Monitor;

fn main() {
    let monitor = Monitor::new(Rc::new(1));
    std::thread::scope(|s| {
        s.spawn(|| drop(monitor.lock().clone()));
    });
}
