use threadbare::{Condvar, Monitor, Mutex};

fn main() {
    let (mutex, condvar, monitor) = (Mutex::new(vec![1]), Condvar::new(), Monitor::new(vec![1]));
    let mut guard = mutex.lock();
    let first = &guard[0];
    condvar.wait(&mut guard);
    println!("{first}");
    let mut guard = monitor.lock();
    let first = &guard[0];
    guard.wait();
    println!("{first}");
}
