//! The oracle's search, on histories that can and cannot be explained.

#![cfg(threadbare_model)]

use threadbare_fuzz::modelled::history::{History, Sequential};

/// A flag that is set once; a call says what it was before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flag(bool);

impl Sequential for Flag {
    type Call = bool;

    fn accepts(&mut self, was: &bool) -> bool {
        *was == std::mem::replace(&mut self.0, true)
    }
}

#[test]
fn calls_at_the_same_time_may_be_swapped() {
    let history = History::new(Flag(false));
    let (first, second) = (history.begin(), history.begin());
    history.end(first, true);
    history.end(second, false);
    history.cut(|flag| flag.0);
}

#[test]
#[should_panic(expected = "no order explains")]
fn calls_one_after_the_other_may_not() {
    let history = History::new(Flag(false));
    history.record(|| true);
    history.record(|| false);
    history.cut(|_| true);
}

#[test]
#[should_panic(expected = "no order explains")]
fn two_may_not_both_be_the_first() {
    let history = History::new(Flag(false));
    let (first, second) = (history.begin(), history.begin());
    history.end(first, false);
    history.end(second, false);
    history.cut(|_| true);
}

#[test]
#[should_panic(expected = "explains who sleeps")]
fn what_is_left_has_to_explain_who_sleeps() {
    let history = History::new(Flag(false));
    history.record(|| false);
    history.cut(|flag| !flag.0);
}
