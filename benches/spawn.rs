//! What a thread costs: one is started and joined, then the next. The stacks are warm: each peer
//! reuses what it keeps.

mod common;

use common::driver::{Group, Suite};
use common::load::with_company;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use threadbare::Thread;
use threadbare_sys::clone::Bare;
use threadbare_sys::stack::{Layout, MIN_STACK, Slab};

/// A thread of libc's, without attributes.
fn pthread(group: &mut Group) {
    extern "C" fn nothing(_: *mut c_void) -> *mut c_void {
        ptr::null_mut()
    }
    group.repeated("pthread_create", || {
        let mut thread = 0;
        // SAFETY: `thread` takes the id; the entry does nothing.
        let made =
            unsafe { libc::pthread_create(&mut thread, ptr::null(), nothing, ptr::null_mut()) };
        assert_eq!(made, 0);
        // SAFETY: just created, and joined once.
        unsafe { libc::pthread_join(thread, ptr::null_mut()) }
    });
}

/// The limit: a thread that libc does not know of, on a stack that is there.
fn bare(group: &mut Group) {
    extern "C" fn nothing(_: *mut c_void) {}
    let layout = Layout::for_usable(MIN_STACK).expect("a small stack");
    let slab = Arc::new(Slab::new(layout, 1).expect("a slab"));
    slab.install_guards(0).expect("guards");
    group.repeated("bare clone", move || {
        // SAFETY: the slot has its guards and is free, since each thread is joined; the entry does
        // nothing.
        let thread = unsafe { Bare::start(slab.clone(), 0, nothing, ptr::null_mut()) };
        thread.expect("a thread").join();
    });
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("spawn");
    suite.group("start and join", |group| {
        group.repeated("Thread", || {
            let thread = Thread::new(|| ());
            thread
                .start()
                .and_then(|()| thread.join())
                .expect("a thread");
        });
        group.repeated("spawn", || {
            threadbare::spawn(|| ()).join().expect("a thread")
        });
        group.repeated("scope", || {
            threadbare::scope(|scope| drop(scope.spawn(|| ())))
        });
        group.repeated("std::thread::spawn", || {
            std::thread::spawn(|| ()).join().expect("a thread");
        });
        group.repeated("std::thread::scope", || {
            std::thread::scope(|scope| drop(scope.spawn(|| ())));
        });
        pthread(group);
        bare(group);
    });
    suite.group("start and join, named", |group| {
        group.repeated("Thread", || {
            let thread = Thread::builder().name("a name").target(|| ()).spawn();
            thread.and_then(|thread| thread.join()).expect("a thread");
        });
        group.repeated("std::thread::Builder", || {
            let thread = std::thread::Builder::new()
                .name("a name".to_owned())
                .spawn(|| ());
            thread.expect("a thread").join().expect("a thread");
        });
    });
    suite.group("start 64 and join them", |group| {
        group.repeated("Thread", || {
            let start = |_| Thread::builder().target(|| ()).spawn().expect("a thread");
            let threads: Vec<_> = (0..64).map(start).collect();
            threads
                .iter()
                .for_each(|thread| thread.join().expect("a thread"));
        });
        group.repeated("std::thread::spawn", || {
            let threads: Vec<_> = (0..64).map(|_| std::thread::spawn(|| ())).collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().expect("a thread"));
        });
    });
    suite.run();
}
