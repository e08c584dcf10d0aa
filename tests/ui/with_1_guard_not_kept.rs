#![deny(unused_must_use)]

use threadbare::Lock;

fn main() {
    let lock = Lock::new();
    lock.guard();
}
