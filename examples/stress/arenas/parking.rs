//! Tokens of threads: an `unpark` before the `park` is not lost. Two threads toss a ball.

use super::Arena;
use crate::check;
use crate::what::{Form, What};
use crate::worker::{Limit, Patience, Wait, Worker, got};
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use threadbare::{
    Deadline, Error, Thread, current_thread, park, park_checked, park_interruptible, park_timeout,
    park_until, sleep_interruptible, sleep_until,
};

/// The calling thread's token.
struct Token;

impl Wait for Token {
    type Got = ();
    const WHAT: What = What::Park;
    const FORMS: &'static [Form] = Form::BUT_TRY;

    fn address(&self) -> usize {
        0
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        let taken = match limit.form {
            Form::Timeout => park_timeout(limit.timeout)?,
            Form::Until => park_until(limit.deadline),
            Form::Interruptible => park_interruptible(limit.deadline)?,
            Form::Checked => park_checked(limit.deadline, limit.check())?,
            _ => {
                park();
                true
            }
        };
        Ok(got(taken))
    }
}

/// A point in time.
struct Point(Deadline);

impl Wait for Point {
    type Got = ();
    const WHAT: What = What::Sleep;
    const FORMS: &'static [Form] = &[Form::Plain, Form::Interruptible];

    fn address(&self) -> usize {
        0
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        match limit.form {
            Form::Plain => sleep_until(self.0),
            _ => sleep_interruptible(self.0)?,
        }
        check!(self.0.has_passed(), "a sleep ended before its time");
        Ok(Some(()))
    }
}

#[derive(Default)]
struct Couple {
    players: [OnceLock<Thread>; 2],
    /// Odd or even says whose the ball is.
    tosses: AtomicU64,
    is_over: AtomicBool,
}

pub struct Parking {
    couples: Vec<Couple>,
}

impl Parking {
    pub fn new(crew: usize) -> Parking {
        Parking {
            couples: (0..crew / 2).map(|_| Couple::default()).collect(),
        }
    }
}

impl Arena for Parking {
    fn work(&self, worker: &mut Worker) {
        let Some(couple) = self.couples.get(worker.number / 2) else {
            return; // one too many
        };
        let side = worker.number % 2;
        let _ = couple.players[side].set(current_thread());
        let other = loop {
            if let Some(other) = couple.players[1 - side].get() {
                break other;
            }
            worker.show(What::Begin, 0);
            std::thread::yield_now();
        };
        loop {
            // Acquire: pairs with the Release of the other's toss.
            while couple.tosses.load(Acquire) % 2 != side as u64 && !couple.is_over.load(Acquire) {
                worker.wait(Token, Patience::Any);
            }
            if couple.is_over.load(Acquire) {
                return;
            }
            if worker.rng.one_in(64) {
                let soon = Deadline::now().saturating_add(worker.rng.timeout());
                worker.wait(Point(soon), Patience::Any);
            }
            worker.dawdle();
            if worker.is_over() {
                couple.is_over.store(true, Release);
            } else {
                couple.tosses.fetch_add(1, Release);
            }
            worker.begin(What::Unpark, 0);
            other.unpark();
            if couple.is_over.load(Relaxed) {
                return;
            }
        }
    }

    fn check(&mut self) {
        for couple in &self.couples {
            check!(couple.is_over.load(Relaxed), "somebody left in the middle");
            let players = couple.players.iter().filter_map(OnceLock::get);
            for player in players {
                let is_gone = !player.is_alive();
                check!(is_gone, "{} is alive after its end", player.name());
            }
        }
    }

    fn survive(&self) {
        let this = current_thread();
        this.unpark();
        park();
        for player in self.couples.iter().flat_map(|couple| &couple.players) {
            if let Some(player) = player.get() {
                player.unpark(); // of a thread that is not there: nothing
                check!(!player.is_alive(), "{} is not there", player.name());
            }
        }
    }
}
