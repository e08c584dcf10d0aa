use std::rc::Rc;

fn main() {
    threadbare::spawn(|| Rc::new(1));
}
