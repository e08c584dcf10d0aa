//! What happens to a panic that ends a thread (HOOK).
//!
//! It goes to the excepthook, once, in the thread that ends, which is still alive and listed. No
//! lock of this crate is held (HOOK-10), and whatever the hook does is contained (HOOK-5).
//!
//! By then std's panic hook has said what happened and where, if the program has not replaced it.
//! [`install_panic_hook`] makes that one message instead of two, and gives the excepthook the place
//! and the backtrace, which nobody but the panic hook is told.

use super::name::{Name, Quoted};
use super::record::Record;
use super::{Thread, current};
use crate::raw::locked::Locked;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::mem;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::ptr;
use std::sync::{Arc, Once};

/// What an excepthook is told. It is borrowed: nothing of it can be kept (HOOK-1).
///
/// ```
/// use threadbare::{ExceptHookArgs, excepthook};
///
/// // By hand: as if a thread had ended with this payload (HOOK-9).
/// let mut args = ExceptHookArgs::new(&"out of luck");
/// args.location = Some("dice.rs:6:6");
/// assert_eq!(args.type_name, "&str");
/// excepthook(&args);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy)]
pub struct ExceptHookArgs<'a> {
    /// The payload's type, as far as it can be told: `&str` and `String`, which `panic!` makes, or
    /// `dyn Any`. Python's `exc_type`.
    pub type_name: &'a str,
    /// What the thread panicked with. Python's `exc_value`.
    pub payload: Option<&'a (dyn Any + Send)>,
    /// Where it panicked, `file:line:column`, if [`install_panic_hook`] was called.
    pub location: Option<&'a str>,
    /// The frames above, if [`install_panic_hook`] was called and `RUST_BACKTRACE` asks for them.
    /// Python's `exc_traceback`.
    pub backtrace: Option<&'a Backtrace>,
    /// The thread that ends.
    pub thread: Option<&'a Thread>,
    /// What it is called; also where there is no [`Thread`], as in
    /// [`compat::dummy`](crate::compat::dummy).
    pub thread_name: Option<&'a str>,
}

impl<'a> ExceptHookArgs<'a> {
    /// Arguments that carry no more than a payload.
    ///
    /// ```
    /// use threadbare::ExceptHookArgs;
    ///
    /// let args = ExceptHookArgs::new(&"out of luck");
    /// assert_eq!(args.message(), Some("out of luck"));
    /// assert!(args.thread.is_none());
    /// ```
    pub fn new(payload: &'a (dyn Any + Send)) -> ExceptHookArgs<'a> {
        ExceptHookArgs {
            type_name: if payload.is::<&str>() {
                "&str"
            } else if payload.is::<String>() {
                "String"
            } else {
                "dyn Any"
            },
            payload: Some(payload),
            location: None,
            backtrace: None,
            thread: None,
            thread_name: None,
        }
    }

    /// The payload if it is a text, as that of `panic!` is.
    ///
    /// ```
    /// use threadbare::ExceptHookArgs;
    ///
    /// assert_eq!(ExceptHookArgs::new(&String::from("text")).message(), Some("text"));
    /// assert_eq!(ExceptHookArgs::new(&17).message(), None);
    /// ```
    #[must_use]
    pub fn message(&self) -> Option<&'a str> {
        let payload = self.payload?;
        let text = payload.downcast_ref::<&str>().copied();
        text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Debug for ExceptHookArgs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExceptHookArgs")
            .field("type_name", &self.type_name)
            .field("message", &self.message())
            .field("location", &self.location)
            .field("thread", &self.thread)
            .field("thread_name", &self.thread_name)
            .finish_non_exhaustive()
    }
}

/// A hook that was set, or the default one; see [`set_excepthook`].
///
/// ```
/// let hook = threadbare::current_excepthook();
/// hook.install(); // changes nothing
/// ```
#[derive(Clone)]
pub struct ExceptHook(Option<Arc<Function>>);

type Function = dyn Fn(&ExceptHookArgs<'_>) + Send + Sync;

static HOOK: Locked<ExceptHook> = Locked::new(ExceptHook(None));

impl ExceptHook {
    /// Calls the hook.
    ///
    /// ```
    /// use threadbare::{ExceptHookArgs, current_excepthook};
    ///
    /// current_excepthook().call(&ExceptHookArgs::new(&"out of luck"));
    /// ```
    pub fn call(&self, args: &ExceptHookArgs<'_>) {
        match &self.0 {
            Some(function) => function(args),
            None => default_excepthook(args),
        }
    }

    /// Makes this the hook again; returns the one so far (HOOK-4).
    ///
    /// ```
    /// use threadbare::{default_excepthook, set_excepthook};
    ///
    /// let before = set_excepthook(|args| default_excepthook(args));
    /// before.install();
    /// ```
    pub fn install(self) -> ExceptHook {
        // What was there is dropped by the caller, outside the lock.
        HOOK.with(|hook| mem::replace(hook, self))
    }
}

impl fmt::Debug for ExceptHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "ExceptHook(custom)",
            None => "ExceptHook(default)",
        })
    }
}

/// Sets what is called when a panic ends a thread that this crate started; returns the hook so far,
/// to be [installed](ExceptHook::install) again.
///
/// The hook runs in the thread that ends, before its thread-locals are destroyed; the thread is
/// alive and listed. It may block, start threads, set another hook. If it panics, a line on stderr
/// says so and the thread ends; if it calls [`exit`], the thread ends quietly (HOOK-5). A panic in
/// any other thread is std's to report.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use threadbare::{Thread, set_excepthook};
///
/// static CRASHES: AtomicU32 = AtomicU32::new(0);
/// let before = set_excepthook(|args| {
///     assert_eq!(args.message(), Some("out of luck"));
///     CRASHES.fetch_add(1, Ordering::Relaxed);
/// });
/// let thread = Thread::new(|| panic!("out of luck"));
/// thread.start()?;
/// thread.join()?;
/// before.install();
/// assert_eq!(CRASHES.load(Ordering::Relaxed), 1);
/// # Ok::<(), threadbare::Error>(())
/// ```
pub fn set_excepthook(hook: impl Fn(&ExceptHookArgs<'_>) + Send + Sync + 'static) -> ExceptHook {
    ExceptHook(Some(Arc::new(hook))).install()
}

/// The hook that is called now.
///
/// ```
/// println!("{:?}", threadbare::current_excepthook());
/// ```
#[must_use]
pub fn current_excepthook() -> ExceptHook {
    HOOK.with(|hook| hook.clone())
}

/// Calls the hook that is set (HOOK-9). What it does is not contained.
///
/// ```
/// use threadbare::{ExceptHookArgs, excepthook};
///
/// excepthook(&ExceptHookArgs::new(&"out of luck"));
/// ```
pub fn excepthook(args: &ExceptHookArgs<'_>) {
    current_excepthook().call(args);
}

/// What the hook is at first: it names the thread on stderr (HOOK-2).
///
/// With the place of the panic, which [`install_panic_hook`] gives, it says all in one message.
/// Without, std's panic hook has said what and where, and one line more says which thread that has
/// ended. Where there is no thread, the caller's ident stands for the name.
///
/// ```
/// use threadbare::{ExceptHookArgs, default_excepthook};
///
/// default_excepthook(&ExceptHookArgs::new(&"out of luck"));
/// ```
pub fn default_excepthook(args: &ExceptHookArgs<'_>) {
    let name = name_of(args);
    match args.location {
        None => say(&format!("thread {name} was ended by the panic above\n")),
        Some(_) => say_panic(&format!("Exception in thread {name}"), args),
    }
}

/// Says what a panic was, after `header`, as far as std's panic hook has not.
fn say_panic(header: &str, args: &ExceptHookArgs<'_>) {
    let mut text = String::from(header);
    // Writing to a string does not fail.
    let _ = match args.location {
        None => writeln!(text, ": the panic above"),
        Some(location) => {
            let what = args.message().unwrap_or(args.type_name);
            writeln!(text, ":\npanicked at {location}:\n{what}")
        }
    };
    if let Some(backtrace) = args.backtrace {
        let _ = writeln!(text, "{backtrace}");
    }
    say(&text);
}

/// What a message calls the thread.
fn name_of(args: &ExceptHookArgs<'_>) -> String {
    match (args.thread_name, args.thread) {
        (Some(name), _) => Quoted(&Name::Given(name.into())).to_string(),
        (None, Some(thread)) => quoted(&thread.record),
        (None, None) => format!("with ident {}", crate::get_ident()),
    }
}

pub(super) fn quoted(record: &Record) -> String {
    let name = record.with(|state| state.name.clone());
    Quoted(&name).to_string()
}

/// Writes to stderr, in one piece; without a stderr there is nobody to tell.
pub(super) fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Calls `target` in the calling thread, whose record this is, and contains what it panics with:
/// that is returned once the excepthook has been told, or `None` if it was [`exit`].
pub(super) fn contained<T>(
    record: Arc<Record>,
    target: impl FnOnce() -> T,
) -> Result<T, Option<Payload>> {
    caught(target).map_err(|panic| {
        panic.map(|panic| {
            let thread = Thread::of(record);
            report(Some(&thread), Some(&thread.name()), &panic);
            panic.into_payload()
        })
    })
}

/// As [`contained`], where nobody wants to have it.
pub(super) fn contain(record: Arc<Record>, target: impl FnOnce()) {
    if let Err(Some(payload)) = contained(record, target) {
        discard(payload);
    }
}

/// As [`contain`], for a thread that is none but has a name.
pub(crate) fn contain_as(name: &str, target: impl FnOnce()) {
    if let Err(Some(panic)) = caught(target) {
        report(None, Some(name), &panic);
    }
}

/// What a thread panicked with.
pub(super) type Payload = Box<dyn Any + Send>;

/// A panic that was contained, not [`exit`].
struct Panic {
    payload: Payload,
    place: Option<Place>,
}

impl Panic {
    /// What it panicked with, for somebody else to drop.
    fn into_payload(mut self) -> Payload {
        mem::replace(&mut self.payload, Box::new(()))
    }

    fn args<'a>(
        &'a self,
        thread: Option<&'a Thread>,
        thread_name: Option<&'a str>,
    ) -> ExceptHookArgs<'a> {
        let place = self.place.as_ref();
        ExceptHookArgs {
            location: place.map(|place| place.location.as_str()),
            backtrace: place.and_then(|place| place.backtrace.as_ref()),
            thread,
            thread_name,
            ..ExceptHookArgs::new(&*self.payload)
        }
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        discard(mem::replace(&mut self.payload, Box::new(())));
    }
}

/// Calls `action`; errs if it panicked, without a panic if that was [`exit`].
fn caught<T>(action: impl FnOnce() -> T) -> Result<T, Option<Panic>> {
    let told = Told::default();
    let outer = PANICS_GO_TO.replace(&raw const told);
    let ended = catch_unwind(AssertUnwindSafe(action));
    PANICS_GO_TO.set(outer);
    ended.map_err(|payload| {
        let is_exit = payload.is::<Exit>();
        let place = told.place.take();
        let panic = Panic { payload, place };
        (!is_exit).then_some(panic)
    })
}

/// Hands a panic to the excepthook.
#[cold]
fn report(thread: Option<&Thread>, name: Option<&str>, panic: &Panic) {
    let hook = current_excepthook();
    contain_hook("excepthook", name, || hook.call(&panic.args(thread, name)));
    contain_hook("excepthook", name, || drop(hook));
}

/// Calls a hook of the program's in the thread called `name`. If it panics, that is said, ends
/// nothing but the hook, and goes to no other (HOOK-5). Whether it did not.
fn contain_hook(what: &str, name: Option<&str>, hook: impl FnOnce()) -> bool {
    let Err(Some(panic)) = caught(hook) else {
        return true;
    };
    let args = panic.args(None, name);
    let header = format!("Exception in the {what} of thread {}", name_of(&args));
    say_panic(&header, &args);
    false
}

/// Calls a trace or profile function; whether it did not panic.
pub(crate) fn contain_trace(record: &Record, function: impl FnOnce()) -> bool {
    let Err(Some(panic)) = caught(function) else {
        return true;
    };
    let header = format!(
        "Exception in the trace function of thread {}",
        quoted(record)
    );
    say_panic(&header, &panic.args(None, None));
    false
}

/// Drops a payload, which may panic, and so may what that panics with.
pub(crate) fn discard(payload: Payload) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(another);
    }
}

/// The payload of [`exit`].
struct Exit;

/// Ends the calling thread, quietly: its frames are unwound, guards released, values dropped, and
/// no excepthook is called. Python's `SystemExit` (HOOK-2, EXIT-6).
///
/// - In a thread of this crate that is all.
/// - In the main thread it ends the process with status 0, as if main had returned: without
///   unwinding main's frames, after [`shutdown`](super::shutdown).
/// - In any other thread it unwinds to whoever started it: a join of std's returns the payload as
///   an error.
/// - Where a panic is unwinding already, or under `panic = "abort"`, nothing can be unwound: the
///   process is aborted, as Rust does then. In a destructor that runs without a panic it unwinds.
///
/// ```
/// use threadbare::{Thread, exit};
///
/// let thread = Thread::new(|| exit());
/// thread.start()?;
/// thread.join()?;
/// # Ok::<(), threadbare::Error>(())
/// ```
pub fn exit() -> ! {
    let is_main = match current::known() {
        Some(record) => current::is_main(&record),
        None => threadbare_sys::tid::is_main_thread(),
    };
    if is_main && !is_contained() {
        super::exit::leave(0);
    }
    if cfg!(panic = "abort") || std::thread::panicking() {
        say("threadbare::exit() in a thread that cannot unwind\n");
        std::process::abort();
    }
    panic::resume_unwind(Box::new(Exit))
}

/// What the panic hook is told and nobody else.
#[derive(Default)]
struct Told {
    place: RefCell<Option<Place>>,
}

struct Place {
    location: String,
    backtrace: Option<Backtrace>,
}

thread_local! {
    /// Where the panic hook leaves what it is told; null outside of what this crate contains.
    static PANICS_GO_TO: Cell<*const Told> = const { Cell::new(ptr::null()) };
}

/// Whether the calling thread runs what the crate contains, so that it may be unwound.
pub(super) fn is_contained() -> bool {
    !PANICS_GO_TO.get().is_null()
}

/// For a thread that ends the process: the frames that contain something will not be seen again.
pub(super) fn contain_nothing() {
    PANICS_GO_TO.set(ptr::null());
}

/// Replaces std's panic hook by one that keeps still about panics in threads of this crate, which
/// tells the excepthook their place and backtrace instead. All other panics go to the hook that was
/// there before. Calling it again does nothing.
///
/// This is the only function of the crate that touches the panic hook, which belongs to the
/// program. The first panic that a thread of this crate catches itself is not printed any more; later
/// ones are, since they might come while another unwinds, which nobody would be told of.
///
/// ```
/// threadbare::install_panic_hook();
/// ```
pub fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !keep(info) {
                before(info);
            }
        }));
    });
}

/// Keeps what the excepthook is to be told; whether the calling thread's panics go there.
fn keep(info: &PanicHookInfo<'_>) -> bool {
    // SAFETY: not null only while `contain`, whose frame holds it, runs further up this stack.
    let Some(told) = (unsafe { PANICS_GO_TO.get().as_ref() }) else {
        return false;
    };
    let Ok(mut place) = told.place.try_borrow_mut() else {
        return false;
    };
    let location = info.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    let latest = Place {
        location: location.unwrap_or_default(),
        backtrace: is_captured.then_some(backtrace),
    };
    // If an earlier panic still unwinds, this one aborts the process and must be said now.
    place.replace(latest).is_none()
}

/// Keeps the hook as it is.
pub(super) fn hold() {
    HOOK.hold();
}

/// Undoes [`hold`].
///
/// # Safety
/// The caller has called it, in this process or, before a fork, in its parent.
pub(super) unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { HOOK.let_go() };
}
