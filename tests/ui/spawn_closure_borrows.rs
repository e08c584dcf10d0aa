fn main() {
    let text = String::from("gone at the end of main");
    threadbare::spawn(|| println!("{text}"));
}
