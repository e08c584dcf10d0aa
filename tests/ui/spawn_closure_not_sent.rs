use std::rc::Rc;

fn main() {
    let shared = Rc::new(1);
    threadbare::spawn(move || drop(shared));
}
