//! Whether what threads did at the same time could have been done by one after the other
//! (linearizability; Herlihy and Wing, 1990).
//!
//! The check is Wing and Gong's (1993) with Lowe's memory of what was tried (2017): of the calls that
//! no other call preceded in time, each is tried first. A history is cut where all threads sleep or
//! have left: what is done by then is judged, and the states in which that may have left the object
//! are what the rest begins with. A call that sleeps has done nothing yet.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Mutex;

/// The object as it would be if one thread did all: the oracle.
pub trait Sequential: Clone + Eq + Hash + Debug + Send + 'static {
    /// A call with its outcome.
    type Call: Clone + Debug + Send;

    /// Does the call, if it would have had this outcome; whether it would.
    fn accepts(&mut self, call: &Self::Call) -> bool;
}

/// What happened, in the order in which it did. Nothing here is a step that the scheduler sees.
#[derive(Debug)]
pub struct History<S: Sequential>(Mutex<Recorded<S>>);

#[derive(Debug)]
struct Recorded<S: Sequential> {
    /// What the object may be like as of the last cut.
    states: HashSet<S>,
    /// Those that have ended since.
    ended: Vec<Ended<S::Call>>,
    now: usize,
}

#[derive(Clone, Debug)]
struct Ended<C> {
    from: usize,
    to: usize,
    call: C,
}

/// When a call has begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun(usize);

impl<S: Sequential> History<S> {
    /// A history that begins with the object in this state.
    pub fn new(state: S) -> History<S> {
        History(Mutex::new(Recorded {
            states: HashSet::from([state]),
            ended: Vec::new(),
            now: 0,
        }))
    }

    /// To be called before the operation.
    pub fn begin(&self) -> Begun {
        Begun(self.0.lock().unwrap().tick())
    }

    /// To be called after the operation.
    pub fn end(&self, begun: Begun, call: S::Call) {
        let mut recorded = self.0.lock().unwrap();
        let to = recorded.tick();
        let from = begun.0;
        recorded.ended.push(Ended { from, to, call });
    }

    /// Both around `operation`, whose outcome makes a call.
    pub fn record(&self, operation: impl FnOnce() -> S::Call) {
        let begun = self.begin();
        let call = operation();
        self.end(begun, call);
    }

    /// Where all that goes on sleeps: fails if what has ended cannot have been done one after the
    /// other, or not so that the object is now as `possible` demands.
    pub fn cut(&self, possible: impl Fn(&S) -> bool) {
        let mut recorded = self.0.lock().unwrap();
        let ended = std::mem::take(&mut recorded.ended);
        let after = recorded
            .states
            .iter()
            .flat_map(|state| outcomes(state, &ended));
        let after: HashSet<S> = after.collect();
        assert!(
            !after.is_empty(),
            "no order explains {ended:#?} from {:?}",
            recorded.states
        );
        recorded.states = after
            .iter()
            .filter(|state| possible(state))
            .cloned()
            .collect();
        assert!(
            !recorded.states.is_empty(),
            "none of {after:?} explains who sleeps, after {ended:#?}"
        );
    }
}

impl<S: Sequential> Recorded<S> {
    fn tick(&mut self) -> usize {
        self.now += 1;
        self.now
    }
}

/// All states in which the calls can leave an object that is like `state`.
fn outcomes<S: Sequential>(state: &S, calls: &[Ended<S::Call>]) -> HashSet<S> {
    assert!(calls.len() <= 128, "more calls than bits");
    let all = calls
        .iter()
        .enumerate()
        .fold(0, |all, (place, _)| all | 1_u128 << place);
    let mut seen = HashSet::from([(0_u128, state.clone())]);
    let mut open = vec![(0_u128, state.clone())];
    let mut outcomes = HashSet::new();
    while let Some((done, state)) = open.pop() {
        if done == all {
            outcomes.insert(state);
            continue;
        }
        let left = |place: &usize| done & 1 << place == 0;
        let places = || (0..calls.len()).filter(left);
        let earliest_end = places()
            .map(|place| calls[place].to)
            .min()
            .expect("some are left");
        for place in places().filter(|place| calls[*place].from < earliest_end) {
            let mut next = state.clone();
            if next.accepts(&calls[place].call) {
                let next = (done | 1 << place, next);
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    outcomes
}
