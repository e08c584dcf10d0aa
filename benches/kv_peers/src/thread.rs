//! std's threads, with the list and the joins that the server wants.

use crate::locks::{Monitor, Mutex};
use crate::{Deadline, Error};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

type Target = Box<dyn FnOnce() + Send>;

/// A handle.
#[derive(Clone)]
pub struct Thread(Arc<Record>);

struct Record {
    name: Mutex<String>,
    ident: AtomicU64,
    daemon: bool,
    stack_size: Option<usize>,
    target: Mutex<Option<Target>>,
    has_ended: Monitor<bool>,
}

static LIST: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

thread_local! {
    static IDENT: Cell<u64> = const { Cell::new(0) };
}

fn new_ident() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

pub fn get_ident() -> u64 {
    if IDENT.get() == 0 {
        IDENT.set(new_ident());
    }
    IDENT.get()
}

/// The threads that run.
pub fn enumerate() -> Vec<Thread> {
    LIST.lock().clone()
}

impl Thread {
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub fn start(&self) -> Result<(), Error> {
        let target = self.0.target.lock().take();
        let Some(target) = target else {
            return Err(Error("a thread is started once".to_owned()));
        };
        let mut builder = thread::Builder::new().name(self.name());
        if let Some(size) = self.0.stack_size {
            builder = builder.stack_size(size);
        }
        let ident = new_ident();
        self.0.ident.store(ident, Relaxed);
        LIST.lock().push(self.clone());
        let own = self.clone();
        let body = move || {
            IDENT.set(ident);
            if let Err(payload) = catch_unwind(AssertUnwindSafe(target)) {
                report(&own, payload.as_ref());
            }
            own.unlist();
            let mut has_ended = own.0.has_ended.lock();
            *has_ended = true;
            has_ended.notify_all();
        };
        let started = builder.spawn(body);
        started.map(drop).map_err(|error| {
            self.unlist();
            Error(error.to_string())
        })
    }

    fn unlist(&self) {
        LIST.lock()
            .retain(|thread| !Arc::ptr_eq(&thread.0, &self.0));
    }

    pub fn join(&self) -> Result<(), Error> {
        self.0.has_ended.lock().wait_while(|has_ended| !*has_ended);
        Ok(())
    }

    pub fn join_until(&self, deadline: Deadline) -> Result<bool, Error> {
        let mut has_ended = self.0.has_ended.lock();
        while !*has_ended {
            let left = deadline.0.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            has_ended.wait(Some(left));
        }
        Ok(true)
    }

    pub fn name(&self) -> String {
        self.0.name.lock().clone()
    }

    pub fn ident(&self) -> Option<u64> {
        Some(self.0.ident.load(Relaxed)).filter(|ident| *ident != 0)
    }

    /// Not known here.
    pub fn native_id(&self) -> Option<u32> {
        None
    }

    pub fn daemon(&self) -> bool {
        self.0.daemon
    }
}

#[derive(Default)]
pub struct Builder {
    name: String,
    daemon: bool,
    stack_size: Option<usize>,
    target: Option<Target>,
}

impl Builder {
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        self
    }

    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.daemon = daemon;
        self
    }

    pub fn stack_size(mut self, size: usize) -> Builder {
        self.stack_size = Some(size);
        self
    }

    pub fn target(mut self, target: impl FnOnce() + Send + 'static) -> Builder {
        self.target = Some(Box::new(target));
        self
    }

    pub fn build(self) -> Result<Thread, Error> {
        Ok(Thread(Arc::new(Record {
            name: Mutex::new(self.name),
            ident: AtomicU64::new(0),
            daemon: self.daemon,
            stack_size: self.stack_size,
            target: Mutex::new(self.target),
            has_ended: Monitor::new(false),
        })))
    }

    pub fn spawn(self) -> Result<Thread, Error> {
        let thread = self.build()?;
        thread.start()?;
        Ok(thread)
    }
}

/// What a panic leaves.
pub struct ExceptHookArgs<'a> {
    pub type_name: &'static str,
    pub thread: Option<&'a Thread>,
    pub location: Option<&'a str>,
    payload: &'a dyn Any,
}

impl ExceptHookArgs<'_> {
    pub fn message(&self) -> Option<&str> {
        let text = self.payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| self.payload.downcast_ref::<&str>().copied())
    }
}

type Hook = Box<dyn Fn(&ExceptHookArgs<'_>) + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();

pub fn set_excepthook(hook: impl Fn(&ExceptHookArgs<'_>) + Send + Sync + 'static) {
    let _ = HOOK.set(Box::new(hook));
}

fn report(thread: &Thread, payload: &(dyn Any + Send)) {
    if let Some(hook) = HOOK.get() {
        hook(&ExceptHookArgs {
            type_name: "panic",
            thread: Some(thread),
            location: None,
            payload,
        });
    }
}

/// std's hook says what it says.
pub fn install_panic_hook() {}

/// The server ends its threads itself, unless it fails to start.
pub fn register_atexit(_: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    Ok(())
}

/// A value for each thread.
pub struct Local<T, F = fn() -> T>(F, std::marker::PhantomData<fn() -> T>);

thread_local! {
    /// By the address of the object. There is one, so that a search finds it at once.
    static VALUES: RefCell<Vec<(usize, Box<dyn Any>)>> = const { RefCell::new(Vec::new()) };
}

impl<T: 'static, F: Fn() -> T> Local<T, F> {
    pub const fn new(init: F) -> Local<T, F> {
        Local(init, std::marker::PhantomData)
    }

    pub fn with<R>(&self, body: impl FnOnce(&T) -> R) -> R {
        let key = std::ptr::from_ref(self).addr();
        let has_one = VALUES.with_borrow(|values| values.iter().any(|(one, _)| *one == key));
        if !has_one {
            let value: Box<dyn Any> = Box::new((self.0)());
            VALUES.with_borrow_mut(|values| values.push((key, value)));
        }
        VALUES.with_borrow(|values| {
            let value = values.iter().find(|(one, _)| *one == key);
            let value = value.and_then(|(_, value)| value.downcast_ref());
            body(value.expect("it was put there"))
        })
    }
}

/// Calls something later, unless told not to.
#[derive(Clone)]
pub struct Timer {
    thread: Thread,
    is_cancelled: Arc<Monitor<bool>>,
}

impl Timer {
    pub fn new(delay: Duration, body: impl FnOnce() + Send + 'static) -> Timer {
        let is_cancelled = Arc::new(Monitor::new(false));
        let waited = is_cancelled.clone();
        let target = move || {
            let end = Instant::now() + delay;
            let mut is_cancelled = waited.lock();
            loop {
                let left = end.saturating_duration_since(Instant::now());
                if *is_cancelled {
                    return;
                }
                if left.is_zero() {
                    break;
                }
                is_cancelled.wait(Some(left));
            }
            drop(is_cancelled);
            body();
        };
        let thread = Thread::builder().target(target).build();
        Timer {
            thread: thread.expect("building does not fail here"),
            is_cancelled,
        }
    }

    pub fn set_name(&self, name: &str) {
        name.clone_into(&mut self.thread.0.name.lock());
    }

    pub fn start(&self) -> Result<(), Error> {
        self.thread.start()
    }

    pub fn cancel(&self) {
        let mut is_cancelled = self.is_cancelled.lock();
        *is_cancelled = true;
        is_cancelled.notify_all();
    }

    pub fn join(&self) -> Result<(), Error> {
        self.thread.join()
    }
}
