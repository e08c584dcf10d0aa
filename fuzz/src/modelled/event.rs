//! `Event`, against a flag (EVT).

use super::history::{History, Sequential};
use super::play::{Alone, Patience, RESCUER, Stage, Waiting, play};
use arbitrary::{Arbitrary, Unstructured};
use std::collections::BTreeMap;
use std::sync::Mutex;
use threadbare::raw::event::RawEvent;

/// Plays a program on an event.
pub fn event(input: &[u8]) {
    play::<Flagged>(input);
}

#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    Set,
    Clear,
    Wait(Patience),
    IsSet,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flag(bool);

#[derive(Clone, Debug)]
enum Call {
    Set,
    Clear,
    /// Of any kind, a wait too; whether it was set.
    Look(bool),
}

impl Sequential for Flag {
    type Call = Call;

    fn accepts(&mut self, call: &Call) -> bool {
        match *call {
            Call::Set => self.0 = true,
            Call::Clear => self.0 = false,
            // A wait succeeds if it was set at some moment, be it cleared by now (EVT-4); who gives up
            // has found it clear at the end (EVT-5).
            Call::Look(was) => return was == self.0,
        }
        true
    }
}

struct Flagged {
    event: RawEvent,
    /// Whether the rescuer clears the flag as soon as it has set it.
    clears: bool,
    history: History<Flag>,
    /// Who waits, and in which call of its.
    waiting: Waiting<usize>,
    calls: Mutex<usize>,
    /// Who waited when the rescuer came last.
    rescued: Mutex<BTreeMap<usize, usize>>,
}

impl Stage for Flagged {
    type Operation = Operation;

    fn new(source: &mut Unstructured) -> arbitrary::Result<Flagged> {
        Ok(Flagged {
            event: RawEvent::new(),
            clears: source.arbitrary()?,
            history: History::new(Flag(false)),
            waiting: Waiting::new(),
            calls: Mutex::new(0),
            rescued: Mutex::new(BTreeMap::new()),
        })
    }

    fn perform(&self, thread: usize, operation: &Operation) {
        let event = &self.event;
        self.history.record(|| match *operation {
            Operation::Set => {
                event.set();
                Call::Set
            }
            Operation::Clear => {
                event.clear();
                Call::Clear
            }
            Operation::Wait(patience) => {
                let call = {
                    let mut calls = self.calls.lock().unwrap();
                    *calls += 1;
                    *calls
                };
                let wait = || event.wait(patience.limit());
                Call::Look(patience.judge(self.waiting.during(thread, call, wait)))
            }
            Operation::IsSet => Call::Look(event.is_set()),
        });
    }

    fn rescue(&self, alone: &Alone) {
        self.history.cut(|flag| !flag.0);
        assert!(self.event.has_waiters());
        let waiting = self.waiting.all();
        let before = std::mem::replace(&mut *self.rescued.lock().unwrap(), waiting.clone());
        let left = waiting
            .iter()
            .find(|(thread, call)| before.get(thread) == Some(call));
        assert_eq!(
            left, None,
            "a set does not free who slept, though it is cleared at once"
        );
        alone.with(|| {
            self.perform(RESCUER, &Operation::Set);
            if self.clears {
                self.perform(RESCUER, &Operation::Clear);
            }
        });
    }

    fn finish(&self) {
        self.history.cut(|flag| flag.0 == self.event.is_set());
    }
}
