//! A key-value server that speaks the Redis protocol, on threadbare's threads and primitives alone.
//!
//! One thread for each connection, on a small stack; a store of shards under `Lock`s; a
//! `BoundedSemaphore` that limits connections; a log writer fed through a `Condition`, and a `Timer`
//! that syncs what it wrote; one sweeper for all expired keys; a `Barrier` that the background
//! threads pass together at the start; statistics per thread in a `Local`; an excepthook for
//! connections that crash; an `Event` that a signal handler sets to stop everything. `--help` says
//! what the log keeps and what it may lose.

/// Says something on stderr. Unlike `eprintln!` it does not panic if nobody can be told: a thread
/// that serves goes on.
macro_rules! complain {
    ($($text:tt)*) => {{
        let text = format!("kv: {}\n", format_args!($($text)*));
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    }};
}

mod clients;
mod command;
mod config;
mod connection;
mod frame;
mod log;
mod reply;
mod server;
mod stats;
mod store;
mod sync;

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{Backlog, listen};

use config::{Config, Invocation};
use log::Log;
use server::{STOP, Server};
use store::Store;

fn main() -> ExitCode {
    let config = match config::parse(std::env::args().skip(1)) {
        Ok(Invocation::Serve(config)) => config,
        Ok(Invocation::Help) => {
            print!("{}", config::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&error),
    };
    match start(config) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE, // the server has said why
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    complain!("{error}");
    ExitCode::FAILURE
}

/// Replays the log, listens, and serves until told to stop; whether all went well.
fn start(config: Config) -> Result<bool, String> {
    let explain = |error: &dyn std::fmt::Display| error.to_string();
    let mut store = Store::new(Log::new(false));
    let mut file = None;
    if let Some(path) = &config.log {
        file = Some(log::replay(path, |record| command::apply(&store, record))?);
        store.log_to(Log::new(true));
    }
    raise_file_limit();
    handle_signals().map_err(|error| explain(&error))?;
    let listener =
        TcpListener::bind((config.bind, config.port)).map_err(|error| explain(&error))?;
    // Clients that come in a crowd must not find the queue full: they would try again a second later.
    Backlog::new(4096)
        .and_then(|backlog| listen(&listener, backlog))
        .map_err(|error| explain(&error))?;
    let address = listener.local_addr().map_err(|error| explain(&error))?;
    let server = Server::new(config, store, listener);
    let serving = || say(&format!("listening on {address}"));
    let went_well = server::run(server, file, serving).map_err(|error| explain(&error))?;
    say("stopped");
    Ok(went_well)
}

/// Who started us reads the port there; if nobody reads any more, nobody needs it.
fn say(text: &str) {
    let mut output = std::io::stdout();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

/// A connection is a file descriptor; as many as the system allows.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// SIGINT and SIGTERM stop the server; a closed connection and a file at its size limit are
/// errors and not signals.
fn handle_signals() -> nix::Result<()> {
    extern "C" fn stop(_signal: i32) {
        STOP.set(); // async-signal-safe
    }
    let stop = SigAction::new(
        SigHandler::Handler(stop),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for (signal, action) in [
        (Signal::SIGINT, &stop),
        (Signal::SIGTERM, &stop),
        (Signal::SIGPIPE, &ignore),
        (Signal::SIGXFSZ, &ignore),
    ] {
        // SAFETY: the handler does one async-signal-safe call.
        unsafe { sigaction(signal, action) }?;
    }
    Ok(())
}
