//! Models of the wait for all threads at the end of the process (EXIT-2).

use crate::join::{Listed, Record};
use crate::model::check;
use std::collections::VecDeque;
use std::sync::Arc;
use threadbare::primitive::Deadline;
use threadbare::raw::exit_wait::{Threads, wait_for_all};
use threadbare::raw::locked::Locked;
use threadbare::raw::park::Limit;

/// A registry, a list of the ended, and the records of two threads, the first of which is started.
struct Process {
    registry: Locked<Registry>,
    ended: Locked<VecDeque<Listed>>,
    records: [Arc<Record>; 2],
}

struct Registry {
    listed: Vec<Listed>,
    begun: u64,
}

impl Process {
    fn new() -> Process {
        let registry = Registry {
            listed: Vec::new(),
            begun: 0,
        };
        let process = Process {
            registry: Locked::new(registry),
            ended: Locked::new(VecDeque::new()),
            records: [(); 2].map(|()| Arc::new(Record::new())),
        };
        process.start(0);
        process
    }

    /// Lists it, then makes the kernel thread.
    fn start(&self, number: usize) {
        let listed = Listed(self.records[number].clone());
        self.registry.with(|registry| {
            registry.listed.push(listed);
            registry.begun += 1;
        });
        self.records[number].start();
    }

    /// What a thread does at its end: it leaves itself to be joined, then the list.
    fn end(&self, number: usize) {
        let record = &self.records[number];
        record.work.add(1);
        let left = Listed(record.clone());
        self.ended.with(|ended| ended.push_back(left));
        self.registry.with(|registry| {
            let this = |one: &Listed| Arc::ptr_eq(&one.0, record);
            registry.listed.retain(|one| !this(one));
        });
        record.end();
    }

    /// What the first thread does: it starts the second.
    fn run_first(&self) {
        self.start(1);
        self.end(0);
    }

    fn run_second(&self) {
        let record = &self.records[1];
        record.kernel.made.wait(Limit::NONE).unwrap();
        record.lifecycle.started();
        self.end(1);
    }

    fn exit(&self) {
        assert!(wait_for_all(self, Deadline::NEVER).is_empty());
        for record in &self.records {
            record.see_it_gone();
        }
    }
}

impl Threads for Process {
    type Thread = Listed;

    fn begun(&self) -> u64 {
        self.registry.with(|registry| registry.begun)
    }

    fn listed(&self) -> Vec<Listed> {
        self.registry.with(|registry| registry.listed.clone())
    }

    fn ended(&self) -> Vec<Listed> {
        self.ended.with(|ended| ended.iter().cloned().collect())
    }

    fn is_waited_for(&self, Listed(record): &Listed) -> bool {
        !(record.lifecycle.is_ended() && record.claim.is_joined())
    }

    fn is_gone_before(&self, Listed(record): &Listed, deadline: Deadline) -> bool {
        if !record.lifecycle.is_started() {
            loom::thread::yield_now(); // whoever starts it has not come to the end of that
            return true;
        }
        record.join(Limit::until(deadline)).is_ok()
    }
}

#[test]
fn exit_2_the_end_waits_for_a_thread_and_for_the_one_that_it_starts() {
    check(
        2,
        Process::new,
        [Process::exit, Process::run_first, Process::run_second],
        |_, _| {},
    );
}
