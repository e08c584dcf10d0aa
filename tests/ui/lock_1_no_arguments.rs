use threadbare::Lock;

fn main() {
    let _lock = Lock::new(true);
}
