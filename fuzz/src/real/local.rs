//! Values for each thread, beside a map from thread and object to value (LOCAL).
//!
//! Threads take turns: each step is carried out by one of them, while the others wait. So what
//! races is left to other tests; here it is long histories, of many objects.

use arbitrary::{Arbitrary, Result, Unstructured};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use threadbare::{Error, Local, Thread, get_ident};

/// The caller, one of the crate's and one of std's; the latter two can end, and come again.
const THREADS: usize = 3;

/// More than the table of a thread has room for at first.
const MOST_OBJECTS: usize = 80;

/// How deep calls are nested.
const DEEPEST: u32 = 4;

/// Steps of an input, so that none takes long.
const MOST_STEPS: usize = 400;

/// A history of objects and their values in some threads.
pub fn local(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let mut history = History::default();
    // It ends where the bytes do.
    for _ in 0..MOST_STEPS {
        if bytes.is_empty() || history.step(&mut bytes).is_err() {
            break;
        }
    }
    history.end();
}

/// The values that there are, each by its number, and where the others were dropped.
#[derive(Default)]
struct Ledger {
    made: u32,
    alive: BTreeSet<u32>,
    /// With the ident of the thread; since the last look.
    dropped: Vec<(u32, u64)>,
}

type Shared = Arc<Mutex<Ledger>>;

/// A value. On the heap, so that the sanitizer sees a use that comes too late.
struct Value {
    number: Box<u32>,
    ledger: Shared,
}

impl Value {
    fn new(ledger: &Shared) -> Value {
        let mut entries = ledger.lock().unwrap();
        entries.made += 1;
        let number = entries.made;
        entries.alive.insert(number);
        Value {
            number: Box::new(number),
            ledger: ledger.clone(),
        }
    }
}

impl Clone for Value {
    fn clone(&self) -> Value {
        Value::new(&self.ledger)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let mut entries = self.ledger.lock().unwrap();
        assert!(entries.alive.remove(&self.number), "dropped twice");
        entries.dropped.push((*self.number, get_ident()));
    }
}

type Init = Box<dyn Fn() -> Value + Send + Sync>;

struct Object {
    local: Local<Value, Init>,
    /// Whether its values cannot be made.
    fails: AtomicBool,
    /// Whether they are made by way of another one, which the thread has then.
    uses_itself: AtomicBool,
}

impl Object {
    /// How many values are made in vain with one that the thread has then.
    fn in_vain(&self) -> u32 {
        self.uses_itself.load(Relaxed).into()
    }
}

/// The end of a panic that nobody hears of.
struct OnPurpose;

fn object(ledger: &Shared) -> Arc<Object> {
    Arc::new_cyclic(|object: &std::sync::Weak<Object>| {
        let (object, ledger) = (object.clone(), ledger.clone());
        let init = move || {
            let object = object.upgrade().expect("it is being used");
            if object.fails.load(Relaxed) {
                resume_unwind(Box::new(OnPurpose));
            }
            if object.uses_itself.swap(false, Relaxed) {
                object.local.with(|_| ());
                object.uses_itself.store(true, Relaxed);
            }
            Value::new(&ledger)
        };
        Object {
            local: Local::new(Box::new(init)),
            fails: AtomicBool::new(false),
            uses_itself: AtomicBool::new(false),
        }
    })
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does what it is told.
struct Worker {
    jobs: Sender<Job>,
    done: Receiver<()>,
    handle: Handle,
}

enum Handle {
    Ours(Thread),
    Std(JoinHandle<()>),
}

impl Worker {
    fn start(is_ours: bool) -> Worker {
        let (jobs, receive) = channel::<Job>();
        let (tell, done) = channel();
        let work = move || {
            for job in receive {
                job();
                tell.send(()).unwrap();
            }
        };
        let handle = if is_ours {
            Handle::Ours(Thread::builder().target(work).spawn().unwrap())
        } else {
            Handle::Std(std::thread::spawn(work))
        };
        Worker { jobs, done, handle }
    }

    fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (send, receive) = channel();
        let job = move || send.send(job()).unwrap();
        self.jobs.send(Box::new(job)).unwrap();
        self.done.recv().unwrap();
        receive.recv().unwrap()
    }

    fn join(self) {
        drop(self.jobs);
        match self.handle {
            Handle::Ours(thread) => thread.join().unwrap(),
            Handle::Std(thread) => thread.join().unwrap(),
        }
    }
}

/// A call, with those that are made within it.
#[derive(Clone, Debug)]
struct Call {
    object: usize,
    form: Form,
    /// Of `with` only.
    within: Vec<Call>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Form {
    With,
    Get,
    TryGet,
    Set,
    Replace,
    Take,
    Show,
}

impl Call {
    fn choose(bytes: &mut Unstructured, objects: usize, depth: u32) -> Result<Call> {
        let mut call = Call {
            object: bytes.choose_index(objects)?,
            form: bytes.arbitrary()?,
            within: Vec::new(),
        };
        if matches!(call.form, Form::With) && depth < DEEPEST {
            for _ in 0..bytes.int_in_range(0..=3)? {
                call.within.push(Call::choose(bytes, objects, depth + 1)?);
            }
        }
        Ok(call)
    }
}

/// What the calls of one step are made on, and what they are compared with.
struct Turn {
    objects: BTreeMap<usize, Arc<Object>>,
    ledger: Shared,
    /// The values of the thread whose turn it is, by object.
    values: BTreeMap<usize, u32>,
    /// The objects whose values are lent out, as often as they are.
    lent: Vec<usize>,
}

impl Turn {
    fn made(&self) -> u32 {
        self.ledger.lock().unwrap().made
    }

    /// Carries a call out. After each, `values` is what the thread has.
    fn call(&mut self, call: &Call) {
        let object = self.objects[&call.object].clone();
        let local = &object.local;
        let before = self.values.get(&call.object).copied();
        let fails = before.is_none() && object.fails.load(Relaxed);
        let is_lent = self.lent.contains(&call.object);
        match call.form {
            Form::With => {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    local.with(|value| self.within(call, before, value));
                }));
                self.failed(fails, result);
            }
            Form::Get => {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    let clone = local.get();
                    assert_eq!(*clone.number, self.made());
                    let made = *clone.number - 1 - object.in_vain();
                    self.values.entry(call.object).or_insert(made);
                }));
                self.failed(fails, result);
            }
            Form::TryGet => assert_eq!(local.try_get().is_some(), before.is_some()),
            Form::Set => {
                let value = Value::new(&self.ledger);
                let number = *value.number;
                let result = local.set(value);
                self.replaced(call.object, number, is_lent, result);
            }
            Form::Replace => {
                let value = Value::new(&self.ledger);
                let number = *value.number;
                let result = local.replace(value);
                let result = result.map(|old| assert_eq!(old.map(|old| *old.number), before));
                self.replaced(call.object, number, is_lent, result);
            }
            Form::Take => match local.take() {
                Ok(taken) => {
                    assert!(!is_lent);
                    assert_eq!(taken.map(|taken| *taken.number), before);
                    self.values.remove(&call.object);
                }
                Err(error) => assert_eq!((error, is_lent), (Error::LocalInUse, true)),
            },
            Form::Show => {
                let has_value = before.is_some();
                let expected = format!("Local {{ has_value: {has_value}, .. }}");
                assert_eq!(format!("{local:?}"), expected);
            }
        }
    }

    fn within(&mut self, call: &Call, before: Option<u32>, value: &Value) {
        // What was made is the newest that there is, but for one that came too late.
        let in_vain = self.objects[&call.object].in_vain();
        let number = before.unwrap_or_else(|| self.made() - in_vain);
        assert_eq!(*value.number, number);
        self.values.insert(call.object, number);
        self.lent.push(call.object);
        for inner in &call.within {
            self.call(inner);
            assert_eq!(*value.number, number);
        }
        self.lent.pop();
    }

    /// An initialiser that fails leaves nothing (LOCAL-5); no other call may panic.
    fn failed(&self, fails: bool, result: std::thread::Result<()>) {
        match result {
            Ok(()) => assert!(!fails, "a value that cannot be made was"),
            Err(payload) => assert!(fails && payload.is::<OnPurpose>()),
        }
    }

    fn replaced(&mut self, object: usize, number: u32, is_lent: bool, result: Result<(), Error>) {
        if is_lent {
            assert_eq!(result, Err(Error::LocalInUse));
        } else {
            assert_eq!(result, Ok(()));
            self.values.insert(object, number);
        }
    }
}

#[derive(Default)]
struct History {
    ledger: Shared,
    workers: [Option<Worker>; THREADS],
    objects: BTreeMap<usize, Arc<Object>>,
    /// By thread and object.
    values: [BTreeMap<usize, u32>; THREADS],
    made: usize,
}

impl History {
    fn step(&mut self, bytes: &mut Unstructured) -> Result<()> {
        let thread = bytes.choose_index(THREADS)?;
        match bytes.int_in_range(0..=15)? {
            0 => self.make(1),
            1 => self.make(bytes.int_in_range(0..=MOST_OBJECTS)?),
            2 => self.drop_object(bytes, thread)?,
            3 => self.drop_all(thread),
            4 => self.end_thread(thread),
            5 => {
                if let Some((_, object)) = self.any_object(bytes)? {
                    object.fails.fetch_not(Relaxed);
                }
            }
            6 => {
                // In all objects, one after the other.
                let form = bytes.arbitrary()?;
                let call = |object: &usize| Call {
                    object: *object,
                    form,
                    within: Vec::new(),
                };
                let calls = self.objects.keys().map(call).collect();
                self.calls(thread, calls);
            }
            7 => {
                if let Some((_, object)) = self.any_object(bytes)? {
                    object.uses_itself.fetch_not(Relaxed);
                }
            }
            _ => {
                let indices: Vec<usize> = self.objects.keys().copied().collect();
                if !indices.is_empty() {
                    let mut call = Call::choose(bytes, indices.len(), 0)?;
                    rename(&mut call, &indices);
                    self.calls(thread, vec![call]);
                }
            }
        }
        Ok(())
    }

    /// Runs `job` in a thread, which is started if it is not there; returns its ident too.
    fn run<R: Send + 'static>(
        &mut self,
        thread: usize,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> (u64, R) {
        let job = || (get_ident(), job());
        if thread == 0 {
            return job();
        }
        let worker = self.workers[thread].get_or_insert_with(|| Worker::start(thread == 1));
        worker.run(job)
    }

    fn make(&mut self, count: usize) {
        for _ in 0..count {
            if self.objects.len() < MOST_OBJECTS {
                self.objects.insert(self.made, object(&self.ledger));
                self.made += 1;
            }
        }
    }

    fn any_object(&self, bytes: &mut Unstructured) -> Result<Option<(usize, Arc<Object>)>> {
        if self.objects.is_empty() {
            return Ok(None);
        }
        let place = bytes.choose_index(self.objects.len())?;
        let found = self.objects.iter().nth(place);
        Ok(found.map(|(index, object)| (*index, object.clone())))
    }

    fn calls(&mut self, thread: usize, calls: Vec<Call>) {
        let mut turn = Turn {
            objects: self.objects.clone(),
            ledger: self.ledger.clone(),
            values: std::mem::take(&mut self.values[thread]),
            lent: Vec::new(),
        };
        let (ident, values) = self.run(thread, move || {
            for call in &calls {
                turn.call(call);
            }
            assert!(turn.lent.is_empty());
            turn.values
        });
        self.values[thread] = values;
        self.look(ident);
    }

    /// Drops an object in a thread: its values go there, those of all threads (LOCAL-8).
    fn drop_object(&mut self, bytes: &mut Unstructured, thread: usize) -> Result<()> {
        if let Some((index, object)) = self.any_object(bytes)? {
            self.objects.remove(&index);
            self.values.iter_mut().for_each(|values| {
                values.remove(&index);
            });
            let object = Arc::into_inner(object).expect("nobody else has it");
            let (ident, ()) = self.run(thread, move || drop(object));
            self.look(ident);
        }
        Ok(())
    }

    fn drop_all(&mut self, thread: usize) {
        let objects = std::mem::take(&mut self.objects);
        self.values.iter_mut().for_each(BTreeMap::clear);
        let (ident, ()) = self.run(thread, move || drop(objects));
        self.look(ident);
    }

    /// Ends a thread: its values go in it, before a join returns (LOCAL-7, LOCAL-13).
    fn end_thread(&mut self, thread: usize) {
        if let Some(worker) = self.workers[thread].take() {
            let ident = worker.run(get_ident);
            worker.join();
            self.values[thread].clear();
            self.look(ident);
        }
    }

    /// Those are alive that threads have, and whatever went meanwhile went in the thread `ident`.
    fn look(&self, ident: u64) {
        let mut ledger = self.ledger.lock().unwrap();
        let expected = self.values.iter().flat_map(BTreeMap::values).copied();
        assert_eq!(ledger.alive, expected.collect());
        for (number, dropped_in) in ledger.dropped.drain(..) {
            assert_eq!(dropped_in, ident, "value {number}");
        }
    }

    fn end(mut self) {
        for thread in 0..THREADS {
            self.end_thread(thread);
        }
        self.drop_all(0);
        assert!(self.ledger.lock().unwrap().alive.is_empty());
    }
}

/// Makes numbers from 0 on the numbers of objects.
fn rename(call: &mut Call, indices: &[usize]) {
    call.object = indices[call.object];
    for inner in &mut call.within {
        rename(inner, indices);
    }
}
