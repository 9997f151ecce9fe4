//! Queues: each item once or not at all, whole, in order of its producer; at most one lost for each that is killed.
//!
//! Relies on `items.rs` for what an item tells.

use std::fmt::Debug;

use procession_ipc::{GetError, PutError, Queue};

use crate::board::WORKERS_MAX;
use crate::items::{Item, Items, PLACES, wait};
use crate::subject::{Place, Subject};
use crate::worker::Worker;

/// Above so many items nobody puts any.
const CROWD: usize = 24;

/// A queue, and what was had of it.
#[derive(Debug)]
struct Queues {
    queue: Queue<Item>,
    items: Items,
}

impl Queues {
    fn over(queue: Queue<Item>) -> Self {
        Self { queue, items: Items::new() }
    }

    fn turn(&self, worker: &Worker) {
        worker.tells(false);
        // Mostly what can be done at once: else all would wait for most of the time.
        let puts = match self.queue.len() {
            0 => 14,
            len if len >= self.queue.capacity().unwrap_or(CROWD) => 2,
            _ => 8,
        };
        if worker.below(16) < puts { self.put(worker) } else { self.take(worker) }
    }

    fn put(&self, worker: &Worker) {
        let mut item = self.items.next(worker);
        let put = loop {
            let put = if worker.below(8) == 0 {
                self.queue.try_put(item)
            } else {
                self.queue.put_timeout(item, wait(worker))
            };
            // On a busy machine a living one may have the lock and no processor. Who has it for good is found as a hang.
            let Err(PutError::Busy(again)) = put else { break put };
            item = again;
        };
        match put {
            Ok(()) => {
                worker.had();
                worker.passed();
            }
            Err(PutError::Full((place, number, ..))) => {
                worker.gave_up();
                self.items.was_not_put(place, number);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn take(&self, worker: &Worker) {
        let had = loop {
            let had = if worker.below(8) == 0 { self.queue.try_get() } else { self.queue.get_timeout(wait(worker)) };
            let Err(GetError::Busy) = had else { break had };
        };
        match had {
            Ok(item) => {
                worker.had();
                self.items.check(item);
                worker.use_it();
            }
            Err(GetError::Empty | GetError::Timeout) => worker.gave_up(),
            Err(error) => panic!("{error}"),
        }
    }

    /// With nobody at it: what is left comes in order; no more is lost than were killed, and no block is used.
    fn is_quiet(&self, worker: &Worker) {
        let drain = || {
            while let Ok(item) = self.queue.try_get() {
                self.items.check(item);
            }
        };
        drain();
        // Somebody has to come after who died last.
        self.queue.try_put(self.items.of_bytes(worker, worker.number, 0)).expect("there is room");
        drain();
        self.items.check_lost(worker);
        let usage = self.queue.usage();
        assert!(usage.held == 0 && usage.queued == 0 && usage.bytes == 0 && usage.segments <= 1, "{usage:?}");
        assert!(usage.left <= 2 * WORKERS_MAX, "{usage:?}");
        assert!(self.queue.is_empty());
    }
}

/// A queue without a limit of items.
#[derive(Debug)]
pub(crate) struct Unbounded(Queues);

impl Subject for Unbounded {
    const NAME: &'static str = "queue";
    const PLACES: &'static [&'static [Place]] = &[PLACES];
    const STRANDS: &'static [&'static str] = &["ring: mark cleared"];

    fn new() -> Self {
        Self(Queues::over(Queue::unbounded().expect("a queue")))
    }

    fn turn(&self, worker: &Worker) {
        self.0.turn(worker);
    }

    fn is_quiet(&self, worker: &Worker) {
        self.0.is_quiet(worker);
    }
}

/// One that is full with two.
#[derive(Debug)]
pub(crate) struct Bounded(Queues);

impl Subject for Bounded {
    const NAME: &'static str = "bounded-queue";
    const PLACES: &'static [&'static [Place]] = &[PLACES];
    const STRANDS: &'static [&'static str] = &["ring: mark cleared"];

    fn new() -> Self {
        Self(Queues::over(Queue::bounded(2).expect("a queue")))
    }

    fn turn(&self, worker: &Worker) {
        self.0.turn(worker);
    }

    fn is_quiet(&self, worker: &Worker) {
        self.0.is_quiet(worker);
    }
}
