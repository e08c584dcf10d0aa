use threadbare::Semaphore;

fn main() {
    let _semaphore = Semaphore::new(-1);
}
