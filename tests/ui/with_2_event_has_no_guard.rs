use threadbare::Event;

fn main() {
    let event = Event::new();
    let _guard = event.guard();
}
