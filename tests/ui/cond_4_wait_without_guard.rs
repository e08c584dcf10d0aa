use threadbare::{Condvar, Monitor, Mutex};

fn main() {
    let (mutex, condvar, monitor) = (Mutex::new(1), Condvar::new(), Monitor::new(1));
    condvar.wait();
    condvar.wait(&mut mutex);
    monitor.wait();
}
