//! A bounded queue between several producers and several consumers, with an orderly end.
//!
//! ```sh
//! cargo run --example producer_consumer
//! ```
//!
//! Three producers put 1,000 numbers each through a queue of eight to four consumers. It prints who
//! got how many, and checks that every number arrived once, that the queue was never longer than it
//! may be, and that nobody was left waiting.

use std::collections::VecDeque;
use threadbare::{Monitor, Semaphore};

const PRODUCERS: u64 = 3;
const CONSUMERS: usize = 4;
const NUMBERS: u64 = 1_000; // of each producer
const CAPACITY: u32 = 8;

/// A first-in first-out queue that holds `capacity` items at most, until it is closed.
///
/// The producers wait for a permit, and the consumers for the monitor. If both waited for the
/// monitor, a `notify_one` that is meant for a consumer could go to a producer.
struct Queue<T> {
    room: Semaphore,
    state: Monitor<State<T>>,
}

struct State<T> {
    items: VecDeque<T>,
    longest: usize,
    is_open: bool,
}

impl<T> Queue<T> {
    const fn new(capacity: u32) -> Queue<T> {
        Queue {
            room: Semaphore::new(capacity),
            state: Monitor::new(State {
                items: VecDeque::new(),
                longest: 0,
                is_open: true,
            }),
        }
    }

    /// Adds an item, waiting for room as long as it takes.
    fn push(&self, item: T) {
        self.room.acquire();
        let mut state = self.state.lock();
        state.items.push_back(item);
        state.longest = state.longest.max(state.items.len());
        state.notify_one();
    }

    /// Takes the oldest item, waiting for one; `None` when the queue is closed and empty.
    fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        state.wait_while(|state| state.items.is_empty() && state.is_open);
        let item = state.items.pop_front()?;
        drop(state);
        let released = self.room.release();
        released.expect("a permit was taken for each item");
        Some(item)
    }

    /// Lets consumers go once the queue is empty. To be called when all producers are done.
    fn close(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        state.notify_all();
    }
}

static QUEUE: Queue<u64> = Queue::new(CAPACITY);

fn main() {
    let consume = || {
        let mut received = Vec::new();
        while let Some(number) = QUEUE.pop() {
            received.push(number);
        }
        received
    };
    let received: Vec<Vec<u64>> = threadbare::scope(|s| {
        let consumers: Vec<_> = (0..CONSUMERS).map(|_| s.spawn(consume)).collect();
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let numbers = producer * NUMBERS..(producer + 1) * NUMBERS;
                s.spawn(|| numbers.for_each(|number| QUEUE.push(number)))
            })
            .collect();
        for producer in producers {
            producer.join().expect("it does not panic");
        }
        QUEUE.close();
        let received = consumers.into_iter().map(|consumer| consumer.join());
        received
            .map(|numbers| numbers.expect("it does not panic"))
            .collect()
    });

    let shares: Vec<usize> = received.iter().map(Vec::len).collect();
    let longest = QUEUE.state.lock().longest;
    println!("the consumers got {shares:?} numbers, with up to {longest} in the queue");

    let mut all: Vec<u64> = received.into_iter().flatten().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..PRODUCERS * NUMBERS));
    assert!(longest <= CAPACITY as usize);
    assert_eq!(QUEUE.room.value(), CAPACITY);
    assert_eq!(QUEUE.pop(), None); // closed, so nobody waits
}
