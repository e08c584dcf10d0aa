//! Tokens of threads (`park`, `unpark`), against a flag for each.

use super::history::{History, Sequential};
use super::play::{Alone, Patience, RESCUER, Stage, THREADS, Waiting, play};
use arbitrary::{Arbitrary, Unstructured};
use threadbare::raw::token::RawToken;

/// Plays a program on the tokens of its threads.
pub fn park(input: &[u8]) {
    play::<Tokens>(input);
}

#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    /// To the thread with this number, or one less by a multiple of [`THREADS`].
    Give(u8),
    Take,
    Park(Patience),
}

/// Who has been given one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Given([bool; THREADS]);

#[derive(Clone, Debug)]
enum Call {
    Give(usize),
    /// Of any kind; whether there was one.
    Take(usize, bool),
}

impl Sequential for Given {
    type Call = Call;

    fn accepts(&mut self, call: &Call) -> bool {
        match *call {
            Call::Give(thread) => self.0[thread] = true,
            // Who gives up, too, has found none at the end.
            Call::Take(thread, was_there) => {
                return was_there == std::mem::replace(&mut self.0[thread], false);
            }
        }
        true
    }
}

struct Tokens {
    tokens: [RawToken; THREADS],
    history: History<Given>,
    waiting: Waiting<()>,
}

impl Stage for Tokens {
    type Operation = Operation;

    fn new(_: &mut Unstructured) -> arbitrary::Result<Tokens> {
        Ok(Tokens {
            tokens: [(); THREADS].map(|()| RawToken::new()),
            history: History::new(Given([false; THREADS])),
            waiting: Waiting::new(),
        })
    }

    fn perform(&self, thread: usize, operation: &Operation) {
        self.history.record(|| match *operation {
            Operation::Give(to) => {
                let to = usize::from(to) % THREADS;
                self.tokens[to].give();
                Call::Give(to)
            }
            Operation::Take => Call::Take(thread, self.tokens[thread].take()),
            Operation::Park(patience) => {
                let token = &self.tokens[thread];
                let wait = || token.wait_contended(patience.limit());
                let took_it = token.take() || patience.judge(self.waiting.during(thread, (), wait));
                Call::Take(thread, took_it)
            }
        });
    }

    fn rescue(&self, _: &Alone) {
        let waiting = self.waiting.all();
        let sleeps = |thread: &usize| waiting.contains_key(thread);
        self.history
            .cut(|given| !(0..THREADS).any(|thread| given.0[thread] && sleeps(&thread)));
        let first = *waiting.keys().next().expect("some wait");
        self.perform(RESCUER, &Operation::Give(first as u8));
    }

    fn finish(&self) {
        let left = self.tokens.each_ref().map(RawToken::take);
        self.history.cut(|given| given.0 == left);
    }
}
