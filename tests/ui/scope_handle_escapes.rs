fn main() {
    let text = String::from("lent");
    let handle = threadbare::scope(|s| s.spawn(|| text.len()));
    handle.join().unwrap();
}
