use std::time::Duration;
use threadbare::Lock;

fn main() {
    let _taken = Lock::new().try_acquire(Duration::ZERO);
}
