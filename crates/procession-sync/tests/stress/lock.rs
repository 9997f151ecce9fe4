//! The lock: one at a time, and a death inside is told once.

use procession_sync::Lock;

use crate::subject::{LOCK, Place, Subject, had};
use crate::worker::Worker;

impl Subject for Lock {
    const NAME: &'static str = "lock";

    const PLACES: &'static [&'static [Place]] = &[LOCK];

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
        drop(guard);
        worker.passed();
    }

    fn is_quiet(&self, worker: &Worker) {
        self.turn(worker);
        assert_eq!((self.holder(), self.waiters()), (None, 0));
    }
}
