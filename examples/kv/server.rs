//! What all threads share, and the life of the server from its first to its last connection.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::fcntl::Flock;
use threadbare::{
    Barrier, BoundedSemaphore, Deadline, Error, Event, ExceptHookArgs, Thread, install_panic_hook,
    register_atexit, set_excepthook,
};

use crate::clients::{Client, Clients};
use crate::config::Config;
use crate::connection::serve;
use crate::frame::InputMemory;
use crate::stats;
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
    listener: TcpListener,
    permits: BoundedSemaphore,
    since: Instant,
    /// Where the main and the background threads meet before anything is served.
    ready: Barrier,
    /// Connections whose threads have panicked.
    crashed_connections: AtomicU64,
    /// Whether a background thread has panicked.
    has_crashed: AtomicBool,
}

impl Server {
    pub fn new(config: Config, store: Store, listener: TcpListener) -> Server {
        // The main thread, the sweeper, the acceptor, and the log writer if there is a log.
        let parties = 3 + usize::from(config.log.is_some());
        Server {
            permits: BoundedSemaphore::new(config.max_connections),
            input: Arc::new(InputMemory::new(config.input_memory)),
            clients: Clients::default(),
            since: Instant::now(),
            ready: Barrier::new(parties),
            crashed_connections: AtomicU64::new(0),
            has_crashed: AtomicBool::new(false),
            config,
            store,
            listener,
        }
    }

    /// What INFO says.
    pub fn info(&self) -> String {
        let counts = stats::totals();
        format!(
            "# Server\r\nredis_mode:standalone\r\nprocess_id:{}\r\nuptime_in_seconds:{}\r\n\
             # Clients\r\nconnected_clients:{}\r\nmaxclients:{}\r\n\
             # Stats\r\ntotal_connections_received:{}\r\ntotal_commands_processed:{}\r\n\
             total_net_input_bytes:{}\r\ntotal_net_output_bytes:{}\r\ncrashed_connections:{}\r\n\
             # Keyspace\r\ndb0:keys={}\r\n",
            std::process::id(),
            self.since.elapsed().as_secs(),
            self.clients.count(),
            self.config.max_connections,
            self.clients.total.load(Relaxed),
            counts.commands,
            counts.received,
            counts.sent,
            self.crashed_connections.load(Relaxed),
            self.store.len(),
        )
    }

    /// Starts a thread that the server cannot do without.
    ///
    /// It is no daemon: the process does not end before it has, so what it has in hand is done in
    /// full. In return it ends when it is told to, by [`end`](Server::end).
    fn background(
        &'static self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Thread, Error> {
        let target = move || {
            // An error: the server does not come to serve.
            if self.ready.wait().is_ok() {
                body();
            }
        };
        Thread::builder().name(name).target(target).spawn()
    }

    /// Makes the background threads end: the last connection has, or there never was one.
    fn end(&self) {
        STOP.set();
        self.ready.abort(); // if some still wait for others, which failed to start
        self.stop_listening();
        self.store.log().close();
    }

    /// Ends the accept in which the acceptor may sleep.
    fn stop_listening(&self) {
        let _ =
            nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
    }

    /// The excepthook: called in a thread that ends by a panic.
    fn crashed(&self, args: &ExceptHookArgs<'_>) {
        let name = args.thread.map(Thread::name).unwrap_or_default();
        let what = args.message().unwrap_or(args.type_name);
        let place = args.location.unwrap_or("an unknown place");
        complain!("thread {name} crashed: {what}, at {place}");
        if args.thread.is_some_and(Thread::daemon) {
            // A connection's. It is closed by now, and its locks are free: both had guards.
            self.crashed_connections.fetch_add(1, Relaxed);
        } else {
            self.has_crashed.store(true, Relaxed);
            STOP.set();
        }
    }
}

/// Serves until [`STOP`]; whether everything that was answered is in the log, and no background
/// thread has crashed. Calls `serving` when all is ready.
pub fn run(
    server: Server,
    log: Option<Flock<File>>,
    serving: impl FnOnce(),
) -> Result<bool, Error> {
    let server: &'static Server = Box::leak(Box::new(server)); // threads keep it to the very end
    install_panic_hook(); // one message for each crash, with its place
    set_excepthook(|args| server.crashed(args));
    // If an error or a panic ends main early, the process still waits for the background threads;
    // callbacks come before that.
    register_atexit(|| server.end())?;

    let is_complete = Arc::new(AtomicBool::new(log.is_none()));
    let writer = log.map(|file| {
        let is_complete = is_complete.clone();
        let write = move || is_complete.store(server.store.log().write_to(file), Relaxed);
        server.background("log writer", write)
    });
    let writer = writer.transpose()?;
    let sweep = || {
        while let Ok(false) = STOP.wait_timeout(SWEEP_EVERY) {
            server.store.sweep();
        }
    };
    let sweeper = server.background("sweeper", sweep)?;
    let acceptor = server.background("acceptor", move || accept_all(server))?;
    server.ready.wait()?;
    serving();

    STOP.wait();
    server.stop_listening();
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
    server.end();
    if let Some(writer) = writer {
        writer.join()?;
    }
    if !is_complete.load(Relaxed) {
        complain!("not everything that was answered is in the log");
    }
    Ok(is_complete.load(Relaxed) && !server.has_crashed.load(Relaxed))
}

fn accept_all(server: &'static Server) {
    let mut refused_before = false; // one message for each time that it begins
    while !STOP.is_set() {
        match server.listener.accept() {
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
    let client = server.clients.meet(stream, address);
    let admitted = Admitted {
        server,
        client: client.clone(),
    };
    let serve = move || {
        // An error is the end of the connection, which is all that there is to do about it.
        let _ = serve(admitted.server, &admitted.client);
    };
    let thread = Thread::builder()
        .name(format!("client-{}", client.id))
        .stack_size(STACK)
        // A daemon: what a client does or leaves undone must not keep the process from ending. `run`
        // closes all connections and waits for their threads, but not for ever.
        .daemon(true)
        .target(serve)
        .build()?;
    // On refusal the thread is dropped, and with it `admitted`.
    let started = server.clients.serve(&client, &thread);
    if started.is_err() {
        client.tell(b"-ERR no thread for another client\r\n");
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
        self.server.clients.remove();
        // Acquired in `admit`, and given back once.
        let _ = self.server.permits.release();
    }
}
