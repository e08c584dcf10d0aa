//! The bodies that run over every peer, those of `benches/native` included.

use super::conditions::{Waiting, Wake};
use super::driver::Group;
use super::load::{Load, together};
use super::locks::Exclusive;
use super::machine::pin;
use super::peers::Permits;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::thread;
use std::time::Instant;

/// Acquires and releases, alone.
pub fn pair<L: Exclusive>(group: &mut Group) {
    let lock = L::new();
    group.repeated(L::NAME, move || black_box(&lock).with(|| ()));
}

/// What several threads get done together.
pub fn throughput<L: Exclusive>(group: &mut Group, load: Load) {
    throughput_after::<L>(group, L::NAME, load, || ());
}

/// The same, each time after something else.
pub fn throughput_after<L: Exclusive>(
    group: &mut Group,
    name: &'static str,
    load: Load,
    prepare: impl Fn() + 'static,
) {
    group.measured(name, move |time| {
        prepare();
        let outcome = load.run::<L>(time, false);
        vec![("1/s", outcome.per_second), ("fairness", outcome.fairness)]
    });
}

/// Two threads that let each other go, by one of these each.
pub fn take_turns<P: Permits>(group: &mut Group) {
    group.timed(P::NAME, |turns| {
        let turn = [P::none(), P::none()];
        turn[0].release();
        together(2, turns, |number, turns| {
            for _ in 0..turns {
                turn[number].acquire();
                turn[1 - number].release();
            }
        })
    });
}

/// Two threads that wait for an even and for an odd number.
pub fn ping_pong<C: Waiting>(group: &mut Group) {
    group.timed(C::NAME, |turns| {
        let condition = C::new();
        together(2, turns, |thread, turns| {
            for turn in 0..turns {
                let mine = turn * 2 + thread as u64;
                condition.wait(|_| (), |state| state.number == mine, |_| ());
                condition.change(Wake::Some(1), |state| state.number += 1);
            }
        })
    });
}

/// Rounds in each of which `woken` of `threads` that wait are woken, and wait again.
pub fn rounds<C: Waiting>(group: &mut Group, threads: usize, woken: usize) {
    group.timed(C::NAME, move |turns| {
        let condition = C::new();
        let main = thread::current();
        let waits = AtomicU64::new(0); // how often a thread has begun to wait
        thread::scope(|scope| {
            let (condition, main, waits) = (&condition, &main, &waits);
            for number in 0..threads {
                scope.spawn(move || {
                    pin(number);
                    let mut ended = false;
                    while !ended {
                        let arrive = |_: &mut _| {
                            // Release: pairs with the Acquire in `wait_for`.
                            waits.fetch_add(1, Release);
                            main.unpark();
                        };
                        // The number says how many may go. Who has gone waits again first, or one
                        // thread might go for all.
                        let mut has_waited = false;
                        condition.wait(
                            arrive,
                            |state| std::mem::replace(&mut has_waited, true) && state.number > 0,
                            |state| {
                                state.number -= 1;
                                ended = state.waiting == usize::MAX;
                            },
                        );
                    }
                });
            }
            let wait_for = |number: u64| {
                // Acquire: pairs with the Release of who begins to wait.
                while waits.load(Acquire) < number {
                    thread::park();
                }
            };
            wait_for(threads as u64);
            let begun = Instant::now();
            for turn in 1..=turns {
                let wake = if woken == threads {
                    Wake::All
                } else {
                    Wake::Some(woken)
                };
                condition.change(wake, |state| state.number += woken as u64);
                wait_for(threads as u64 + turn * woken as u64);
            }
            let took = begun.elapsed();
            condition.change(Wake::All, |state| {
                state.number = u64::MAX;
                state.waiting = usize::MAX;
            });
            took
        })
    });
}
