use threadbare::Barrier;

fn main() {
    let barrier = Barrier::new(2);
    let _guard = barrier.guard();
}
