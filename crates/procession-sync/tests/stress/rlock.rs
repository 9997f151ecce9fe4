//! The lock that its holder takes again: whoever inherits it holds it once.

use procession_sync::RLock;

use crate::subject::{LOCK, Place, Subject, had};
use crate::worker::Worker;

/// Levels that a worker takes beyond the first.
const LEVELS: u64 = 3;

const PLACES: &[Place] = &[
    Place::inside("rlock: inherited").rare(),
    Place::inside("rlock: begun anew").rare(),
    Place::inside("rlock: to enter"),
    Place::inside("rlock: entered"),
    Place::inside("rlock: left"),
];

impl Subject for RLock {
    const NAME: &'static str = "rlock";

    const PLACES: &'static [&'static [Place]] = &[PLACES, LOCK];

    fn new() -> Self {
        Self::new().unwrap()
    }

    fn turn(&self, worker: &Worker) {
        let guard = match worker.below(8) {
            0 => self.try_lock(),
            _ => self.lock(),
        };
        let Some((guard, told)) = had(guard) else { return };
        worker.inside(told);
        assert_eq!(self.depth(), 1, "it was just taken");
        let more: Vec<_> = (0..worker.below(LEVELS + 1)).map(|_| self.lock().unwrap()).collect();
        assert_eq!(self.depth(), 1 + more.len() as u64);
        drop(guard);
        drop(more);
        worker.passed();
    }

    fn is_quiet(&self, worker: &Worker) {
        self.turn(worker);
        assert_eq!((self.holder(), self.depth(), self.waiters()), (None, 0, 0));
    }
}
