//! Who is connected, and the threads that serve them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use threadbare::{Deadline, Thread};

use crate::guarded::Guarded;

pub struct Client {
    pub id: u64,
    pub stream: TcpStream,
    pub name: Guarded<Vec<u8>>,
    address: SocketAddr,
    since: Instant,
}

/// All clients by number.
#[derive(Default)]
pub struct Clients {
    connected: Guarded<BTreeMap<u64, Served>>,
    /// Clients so far.
    pub total: AtomicU64,
}

struct Served {
    client: Arc<Client>,
    /// Known once it is started.
    thread: Option<Thread>,
}

impl Clients {
    pub fn add(&self, stream: TcpStream, address: SocketAddr) -> Arc<Client> {
        let id = self.total.fetch_add(1, Relaxed) + 1;
        let client = Arc::new(Client {
            id,
            stream,
            name: Guarded::default(),
            address,
            since: Instant::now(),
        });
        let served = Served {
            client: client.clone(),
            thread: None,
        };
        self.connected.lock().insert(id, served);
        client
    }

    /// Notes the thread that serves a client, unless it has ended already.
    pub fn served_by(&self, id: u64, thread: Thread) {
        if let Some(served) = self.connected.lock().get_mut(&id) {
            served.thread = Some(thread);
        }
    }

    /// Sends `text` to a client, if it is there and takes it at once.
    pub fn tell(&self, id: u64, text: &[u8]) {
        let client = self
            .connected
            .lock()
            .get(&id)
            .map(|served| served.client.clone());
        if let Some(client) = client {
            let _ = client.stream.set_nonblocking(true);
            let _ = (&client.stream).write_all(text);
        }
    }

    pub fn remove(&self, id: u64) {
        let removed = self.connected.lock().remove(&id);
        drop(removed); // closes the socket, which is not to be done under the lock
    }

    pub fn count(&self) -> usize {
        self.connected.lock().len()
    }

    /// Those connected now; what is done with each needs no lock.
    fn all(&self) -> Vec<Arc<Client>> {
        let connected = self.connected.lock();
        connected.values().map(|s| s.client.clone()).collect()
    }

    /// What CLIENT LIST says.
    pub fn list(&self) -> String {
        let mut text = String::new();
        for client in self.all() {
            let name = client.name.lock().clone();
            let name = String::from_utf8_lossy(&name);
            let age = client.since.elapsed().as_secs();
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "id={} addr={} name={name} age={age}",
                client.id, client.address
            );
        }
        text
    }

    /// Ends the given direction of every connection.
    pub fn shut_down(&self, direction: Shutdown) {
        for client in self.all() {
            // One that is gone already needs no end.
            let _ = client.stream.shutdown(direction);
        }
    }

    /// Waits for the threads of all clients until `deadline`; whether all are gone.
    pub fn join(&self, deadline: Deadline) -> bool {
        let threads: Vec<_> = self
            .connected
            .lock()
            .values()
            .filter_map(|s| s.thread.clone())
            .collect();
        threads
            .iter()
            .all(|thread| thread.join_until(deadline) == Ok(true))
    }
}
