//! A pool of connections: a `BoundedSemaphore` counts those that are free, so at most so many
//! clients talk at once, and the others wait, with a deadline if they like.
//!
//! ```sh
//! cargo run --example connection_pool
//! ```
//!
//! Eight clients share three connections to an echo service and make 25 requests each. It prints
//! how many requests were answered, by how many connections, and checks that no request got
//! another's answer, that nobody waited in vain, and that all permits are back at the end.

use std::error::Error;
use std::io::{Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{BoundedSemaphore, Deadline, Mutex, Thread};

const CONNECTIONS: u32 = 3;
const CLIENTS: u32 = 8;
const REQUESTS: u32 = 25;

/// Connections that were made at the start, and a permit for each that is free.
struct Pool {
    free: BoundedSemaphore,
    idle: Mutex<Vec<UnixStream>>,
    /// How many are out, and the most that ever were.
    in_use: AtomicUsize,
    most_in_use: AtomicUsize,
}

impl Pool {
    fn new(connections: u32) -> Result<Pool, Box<dyn Error>> {
        let idle: Result<Vec<_>, _> = (0..connections).map(|_| connect()).collect();
        Ok(Pool {
            free: BoundedSemaphore::try_new(connections)?,
            idle: Mutex::new(idle?),
            in_use: AtomicUsize::new(0),
            most_in_use: AtomicUsize::new(0),
        })
    }

    /// A connection, if one is free before `deadline`.
    fn checkout(&self, deadline: Deadline) -> Option<Connection<'_>> {
        if !self.free.acquire_until(deadline) {
            return None;
        }
        let stream = self.idle.lock().pop();
        let stream = stream.expect("there are as many idle connections as permits");
        let in_use = self.in_use.fetch_add(1, Relaxed) + 1;
        self.most_in_use.fetch_max(in_use, Relaxed);
        Some(Connection {
            pool: self,
            stream: Some(stream),
        })
    }
}

/// A connection that goes back into its pool when it is dropped.
struct Connection<'a> {
    pool: &'a Pool,
    stream: Option<UnixStream>,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.pool.in_use.fetch_sub(1, Relaxed);
        self.pool.idle.lock().extend(self.stream.take());
        // After the connection is back: who gets the permit finds one.
        let released = self.pool.free.release();
        released.expect("a connection goes back once");
    }
}

impl Deref for Connection<'_> {
    type Target = UnixStream;

    fn deref(&self) -> &UnixStream {
        self.stream.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Connection<'_> {
    fn deref_mut(&mut self) -> &mut UnixStream {
        self.stream.as_mut().expect("it is there until the drop")
    }
}

/// A connection to the service: a thread that sends back what it receives, until we hang up.
fn connect() -> Result<UnixStream, Box<dyn Error>> {
    let (ours, mut theirs) = UnixStream::pair()?;
    let service = move || {
        let mut request = [0; 4];
        while theirs.read_exact(&mut request).is_ok() && theirs.write_all(&request).is_ok() {}
    };
    let thread = Thread::builder().name("echo").stack_size(64 * 1024);
    thread.target(service).spawn()?;
    Ok(ours)
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::new(CONNECTIONS)?;
    let answered = AtomicUsize::new(0);
    threadbare::scope(|s| {
        for client in 0..CLIENTS {
            let (pool, answered) = (&pool, &answered);
            s.spawn(move || {
                for number in 0..REQUESTS {
                    let request = (client * REQUESTS + number).to_ne_bytes();
                    let mut connection = pool
                        .checkout(Deadline::NEVER)
                        .expect("there is no deadline");
                    connection.write_all(&request).unwrap();
                    let mut answer = [0; 4];
                    connection.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, request, "the answer to another's request");
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
    });

    // All out: one more waits, and gives up when its time is up.
    let held: Vec<_> = std::iter::from_fn(|| pool.checkout(Deadline::now())).collect();
    let deadline = Deadline::after(Duration::from_millis(10))?;
    assert!(pool.checkout(deadline).is_none() && deadline.has_passed());
    drop(held);

    let (answered, most) = (answered.into_inner(), pool.most_in_use.load(Relaxed));
    println!("{answered} requests answered over {CONNECTIONS} connections, {most} in use at once");
    assert_eq!(answered, (CLIENTS * REQUESTS) as usize);
    assert_eq!(most, CONNECTIONS as usize);
    assert_eq!(pool.free.value(), pool.free.bound());
    Ok(()) // the pool hangs up when it is dropped, and the service's threads end with that
}
