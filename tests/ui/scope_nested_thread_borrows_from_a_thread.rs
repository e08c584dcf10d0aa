// With a `'scope` that could shrink this would compile.
fn main() {
    threadbare::scope(|s| {
        s.spawn(|| {
            let inside = String::from("gone at the end of the thread");
            s.spawn(|| println!("{inside}"));
        });
    });
}
