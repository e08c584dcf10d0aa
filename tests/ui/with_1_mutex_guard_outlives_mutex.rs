use threadbare::{Monitor, Mutex};

fn main() {
    let _guard = {
        let mutex = Mutex::new(1);
        mutex.lock()
    };
    let _guard = {
        let monitor = Monitor::new(1);
        monitor.lock()
    };
}
