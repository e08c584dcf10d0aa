fn main() {
    threadbare::scope(|s| {
        let inside = String::from("gone at the end of the body");
        s.spawn(|| println!("{inside}"));
    });
}
