//! Who is connected, and which threads serve them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use threadbare::{Deadline, Error, Mutex, Thread, enumerate, get_ident};

pub struct Client {
    pub id: u64,
    pub stream: TcpStream,
    pub name: Mutex<Vec<u8>>,
    address: SocketAddr,
    since: Instant,
}

/// All clients.
#[derive(Default)]
pub struct Clients {
    /// By the ident of the thread that serves the client. The threads themselves are not kept:
    /// `enumerate` knows which there are.
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// Clients so far.
    pub total: AtomicU64,
}

impl Client {
    /// Sends `text`, if the client takes it at once.
    pub fn tell(&self, text: &[u8]) {
        let _ = self.stream.set_nonblocking(true);
        let _ = (&self.stream).write_all(text);
    }
}

impl Clients {
    /// A client, not yet served.
    pub fn meet(&self, stream: TcpStream, address: SocketAddr) -> Arc<Client> {
        Arc::new(Client {
            id: self.total.fetch_add(1, Relaxed) + 1,
            stream,
            name: Mutex::default(),
            address,
            since: Instant::now(),
        })
    }

    /// Starts the thread that serves `client`; the thread [`remove`](Clients::remove)s it.
    pub fn serve(&self, client: &Arc<Client>, thread: &Thread) -> Result<(), Error> {
        // Locked over the start, which gives the thread its ident: it finds itself listed.
        let mut connected = self.connected.lock();
        thread.start()?;
        if let Some(ident) = thread.ident() {
            connected.insert(ident, client.clone());
        }
        Ok(())
    }

    /// Forgets the client of the calling thread.
    pub fn remove(&self) {
        // Whoever serves the client still has it, so this does not close the socket, under the lock.
        self.connected.lock().remove(&get_ident());
    }

    pub fn count(&self) -> usize {
        self.connected.lock().len()
    }

    /// Those connected now, oldest first, with the threads that serve them.
    fn served(&self) -> Vec<(Thread, Arc<Client>)> {
        let connected = self.connected.lock().clone();
        let client_of = |thread: Thread| {
            let client = connected.get(&thread.ident()?)?.clone();
            Some((thread, client))
        };
        enumerate().into_iter().filter_map(client_of).collect()
    }

    /// What CLIENT LIST says.
    pub fn list(&self) -> String {
        let mut text = String::new();
        for (thread, client) in self.served() {
            let name = client.name.lock().clone();
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "id={} addr={} name={} age={} thread={} ident={} tid={}",
                client.id,
                client.address,
                String::from_utf8_lossy(&name),
                client.since.elapsed().as_secs(),
                thread.name(),
                thread.ident().unwrap_or_default(),
                thread.native_id().unwrap_or_default(),
            );
        }
        text
    }

    /// Ends the given direction of every connection.
    pub fn shut_down(&self, direction: Shutdown) {
        for (_, client) in self.served() {
            // One that is gone already needs no end.
            let _ = client.stream.shutdown(direction);
        }
    }

    /// Waits for the threads of all clients until `deadline`; whether all are gone.
    pub fn join(&self, deadline: Deadline) -> bool {
        // Without the clients, whose sockets close when their threads are done with them.
        let threads: Vec<Thread> = self
            .served()
            .into_iter()
            .map(|(thread, _)| thread)
            .collect();
        threads
            .iter()
            .all(|thread| thread.join_until(deadline) == Ok(true))
    }
}
