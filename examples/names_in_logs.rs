//! Threads by name in the output of `log` with `env_logger` and of `tracing` with
//! `tracing-subscriber`. Both ask std for the name, which knows none of threads that it did not start;
//! a formatter that asks `threadbare::current_thread()` puts that right.
//!
//! ```sh
//! cargo run --example names_in_logs
//! ```
//!
//! It prints the same lines with std's name and with the crate's, a panic as a line in the log, and
//! what the kernel calls the thread, and checks that the names are there. `guide::threads_in_logs`
//! has its output.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use threadbare::{Error, Mutex, Thread, get_native_id, install_panic_hook, set_excepthook};
use tracing::{Subscriber, subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What to call the calling thread: std's threads and the main one by the names that they have
/// there, all others by those that they have here.
fn thread_name() -> String {
    match std::thread::current().name() {
        Some(name) => name.to_owned(),
        None => threadbare::current_thread().name(),
    }
}

/// `log` and `env_logger`: a format of one's own.
fn install_logger(output: Output) {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .format(|line, record| {
            let (level, name) = (record.level(), thread_name());
            writeln!(line, "{level:>5} {name}: {}", record.args())
        })
        .target(env_logger::Target::Pipe(Box::new(output)))
        .init();
}

/// `tracing` and `tracing-subscriber`: the usual format, with the name before it.
struct Named(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for Named
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        write!(line, "{}: ", thread_name())?;
        self.0.format_event(context, line, event)
    }
}

fn main() -> Result<(), Error> {
    let output = Output::default();

    let (usual, writer) = (tracing_subscriber::fmt(), output.clone());
    let usual = usual.without_time().with_thread_names(true);
    let usual = usual.with_writer(move || writer.clone()).finish();
    run("log writer", move || {
        subscriber::with_default(usual, || tracing::info!(lines = 3, "written"));
    })?;
    assert!(
        !output
            .show("tracing, with_thread_names(true)")
            .contains("log writer")
    );

    let (named, writer) = (tracing_subscriber::fmt(), output.clone());
    let named = named.event_format(Named(tracing_subscriber::fmt::format().without_time()));
    let named = named.with_writer(move || writer.clone()).finish();
    run("log writer", move || {
        subscriber::with_default(named, || tracing::info!(lines = 3, "written"));
    })?;
    assert!(
        output
            .show("tracing, the crate's name")
            .contains("log writer:")
    );

    install_logger(output.clone());
    run("log writer", || log::info!("3 lines written"))?;
    assert!(
        output
            .show("env_logger, the crate's name")
            .contains("log writer:")
    );

    // The excepthook runs in the thread that ends, so its line has the name too.
    install_panic_hook(); // else std's message comes as well
    let before = set_excepthook(|args| {
        let (what, place) = (args.message(), args.location);
        log::error!(
            "ended by a panic at {}: {}",
            place.unwrap_or("?"),
            what.unwrap_or("?")
        );
    });
    run("log writer", || panic!("disk full"))?;
    before.install();
    assert!(
        output
            .show("a panic")
            .contains("ERROR log writer: ended by a panic")
    );

    let mut comm = output.clone();
    run("log writer of shard 3", move || {
        let path = format!("/proc/self/task/{}/comm", get_native_id());
        let name = std::fs::read_to_string(path).expect("the kernel has names");
        comm.write_all(name.as_bytes()).expect("it is memory");
    })?;
    assert_eq!(
        output.show("the kernel's name, 15 bytes"),
        "log writer of s\n"
    );
    Ok(())
}

/// Runs `target` in a thread of this name, to its end.
fn run(name: &str, target: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    Thread::builder().name(name).target(target).spawn()?.join()
}

/// Output that can be looked at before it is printed.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// Prints what was written since the last call, under a title, and returns it.
    fn show(&self, title: &str) -> String {
        let bytes = std::mem::take(&mut *self.0.lock());
        let text = String::from_utf8(bytes).expect("loggers write text");
        print!("# {title}\n{text}");
        text
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
