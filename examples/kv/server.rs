//! What all threads share, and the life of the server from its first to its last connection.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::fcntl::Flock;
use threadbare::{BoundedSemaphore, Deadline, Error, Event, Thread};

use crate::clients::{Client, Clients};
use crate::config::Config;
use crate::connection::serve;
use crate::frame::InputMemory;
use crate::store::Store;

/// Set when the server is to stop: by a signal handler, SHUTDOWN, or an error.
pub static STOP: Event = Event::new();

/// What the frames of a connection's thread may take.
const STACK: usize = 64 << 10;

/// How long the threads of all connections may take to end, first by themselves, then by force.
const GRACE: Duration = Duration::from_secs(5);

const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A pause after the system refused a connection or a thread.
const BACK_OFF: Duration = Duration::from_millis(50);

pub struct Server {
    pub config: Config,
    pub store: Store,
    pub clients: Clients,
    pub input: Arc<InputMemory>,
    permits: BoundedSemaphore,
    since: Instant,
}

impl Server {
    pub fn new(config: Config, store: Store) -> Server {
        Server {
            permits: BoundedSemaphore::new(config.max_connections),
            input: Arc::new(InputMemory::new(config.input_memory)),
            clients: Clients::default(),
            since: Instant::now(),
            config,
            store,
        }
    }

    /// What INFO says.
    pub fn info(&self) -> String {
        format!(
            "# Server\r\nredis_mode:standalone\r\nprocess_id:{}\r\nuptime_in_seconds:{}\r\n\
             # Clients\r\nconnected_clients:{}\r\nmaxclients:{}\r\n\
             # Stats\r\ntotal_connections_received:{}\r\n\
             # Keyspace\r\ndb0:keys={}\r\n",
            std::process::id(),
            self.since.elapsed().as_secs(),
            self.clients.count(),
            self.config.max_connections,
            self.clients.total.load(Relaxed),
            self.store.len(),
        )
    }
}

/// Serves `listener` until [`STOP`]; whether everything that was answered is in the log.
pub fn run(server: Server, listener: TcpListener, log: Option<Flock<File>>) -> Result<bool, Error> {
    let server: &'static Server = Box::leak(Box::new(server)); // threads keep it to the very end
    let listener = Arc::new(listener);

    let complete = Arc::new(AtomicBool::new(true));
    let writer = log.map(|file| {
        let complete = complete.clone();
        let write = move || complete.store(server.store.log().write_to(file), Relaxed);
        Thread::builder().name("log writer").target(write).spawn()
    });
    let writer = writer.transpose()?;
    let sweep = || {
        while let Ok(false) = STOP.wait_timeout(SWEEP_EVERY) {
            server.store.sweep();
        }
    };
    let sweeper = Thread::builder().name("sweeper").target(sweep).spawn()?;
    let accept = {
        let listener = listener.clone();
        move || accept_all(server, &listener)
    };
    let acceptor = Thread::builder().name("acceptor").target(accept).spawn()?;

    STOP.wait();
    // Ends the accept in which the acceptor may sleep.
    let _ = nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
    acceptor.join()?;
    sweeper.join()?;
    // What clients have sent is still read and answered; then their threads see the end.
    server.clients.shut_down(Shutdown::Read);
    if !server.clients.join(Deadline::after(GRACE)?) {
        server.clients.shut_down(Shutdown::Both);
        if !server.clients.join(Deadline::after(GRACE)?) {
            complain!("{} connections did not end", server.clients.count());
        }
    }
    server.store.log().close();
    if let Some(writer) = writer {
        writer.join()?;
    }
    Ok(complete.load(Relaxed))
}

fn accept_all(server: &'static Server, listener: &TcpListener) {
    let mut refused_before = false; // one message for each time that it begins
    while !STOP.is_set() {
        match listener.accept() {
            Ok((stream, address)) => {
                refused_before = false;
                if let Err(refused) = admit(server, stream, address) {
                    complain!("{refused}");
                    pause();
                }
            }
            Err(_) if STOP.is_set() => {}
            // The client has gone again, or a signal came.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                ) => {}
            // Out of file descriptors or memory: others will leave.
            Err(error) => {
                if !refused_before {
                    complain!("cannot accept: {error}");
                }
                refused_before = true;
                pause();
            }
        }
    }
}

/// Waits a little, or until the server is to stop.
fn pause() {
    let _ = STOP.wait_timeout(BACK_OFF);
}

/// Starts a thread for a new client, or sends it away.
fn admit(server: &'static Server, stream: TcpStream, address: SocketAddr) -> Result<(), Error> {
    if !server.permits.try_acquire() {
        // It may not even listen; that is its loss.
        let _ = (&stream).write_all(b"-ERR max number of clients reached\r\n");
        return Ok(());
    }
    let client = server.clients.add(stream, address);
    let id = client.id;
    let admitted = Admitted { server, client };
    let serve = move || {
        // An error is the end of the connection, which is all that there is to do about it.
        let _ = serve(admitted.server, &admitted.client);
    };
    let thread = Thread::builder()
        .name(format!("client {id}"))
        .stack_size(STACK)
        .target(serve)
        .build()?;
    // On refusal the thread is dropped, and with it `admitted`.
    let started = thread.start();
    if started.is_ok() {
        server.clients.served_by(id, thread);
    } else {
        server
            .clients
            .tell(id, b"-ERR no thread for another client\r\n");
    }
    started
}

/// A client that was let in; the end of this is the end of its connection, whatever ended it.
struct Admitted {
    server: &'static Server,
    client: Arc<Client>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.server.clients.remove(self.client.id);
        // Acquired in `admit`, and given back once.
        let _ = self.server.permits.release();
    }
}
