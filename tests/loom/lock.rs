use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;
use threadbare::raw::lock::RawLock;
use threadbare::raw::park::Limit;

struct Shared {
    lock: RawLock,
    value: UnsafeCell<u32>,
}
unsafe impl Sync for Shared {}
unsafe impl Send for Shared {}

#[test]
fn mutual_exclusion() {
    let mut b = loom::model::Builder::new();
    b.preemption_bound = Some(3);
    b.check(|| {
        let s = Arc::new(Shared {
            lock: RawLock::new(),
            value: UnsafeCell::new(0),
        });
        let t: Vec<_> = (0..2)
            .map(|_| {
                let s = s.clone();
                thread::spawn(move || {
                    s.lock.acquire(Limit::NONE).unwrap();
                    s.value.with_mut(|v| unsafe { *v += 1 });
                    s.lock.release().unwrap();
                })
            })
            .collect();
        for t in t {
            t.join().unwrap();
        }
        s.lock.acquire(Limit::NONE).unwrap();
        assert_eq!(s.value.with(|v| unsafe { *v }), 2);
    });
}
