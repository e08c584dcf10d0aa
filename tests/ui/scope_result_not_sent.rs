use std::rc::Rc;

fn main() {
    threadbare::scope(|s| {
        s.spawn(|| Rc::new(1));
    });
}
