use threadbare::Lock;

fn main() {
    let _guard = {
        let lock = Lock::new();
        lock.guard()
    };
}
