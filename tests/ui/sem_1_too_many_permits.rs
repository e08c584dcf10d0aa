use threadbare::Semaphore;

static SEMAPHORE: Semaphore = Semaphore::new(u32::MAX);

fn main() {
    SEMAPHORE.acquire();
}
