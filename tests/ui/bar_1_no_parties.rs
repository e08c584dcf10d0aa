use threadbare::Barrier;

static BARRIER: Barrier = Barrier::new(0);

fn main() {
    let _passed = BARRIER.wait();
}
