use threadbare::Condition;

fn send<T: Send>(_: T) {}

fn main() {
    let condition = Condition::new();
    send(condition.guard());
}
