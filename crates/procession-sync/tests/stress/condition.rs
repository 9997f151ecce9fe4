//! The condition: whoever waits when all are notified goes on, and its lock is as good as any.

use std::time::Duration;

use procession_sync::{Condition, LockError, LockGuard};

use crate::subject::{LOCK, Place, Subject};
use crate::worker::Worker;

/// How long a worker waits. All wait at once only if those that would have notified them were killed.
const WAIT_MAX: Duration = Duration::from_millis(120);

const PLACES: &[Place] = &[
    Place::inside("condition: to enter"),
    Place::inside("condition: entered"),
    Place::outside("condition: to leave"),
    Place::outside("condition: to park"),
    Place::outside("condition: woken"),
    Place::seldom("condition: taken over"), // Only if the notified one is killed, and found by one that looks again.
    Place::either("condition: to notify"),
    Place::either("condition: notified, not woken"),
    Place::either("condition: nobody woken").rare(),
];

impl Subject for Condition {
    const NAME: &'static str = "condition";

    const PLACES: &'static [&'static [Place]] = &[PLACES, LOCK];

    const STRANDS: &'static [&'static str] = &["condition: notified, not woken"];

    fn new() -> Self {
        Self::new().unwrap()
    }

    fn turn(&self, worker: &Worker) {
        let (guard, told) = had(self.lock());
        worker.inside(told);
        if worker.below(2) == 0 && worker.may_rest() {
            let waited = match self.wait_timeout(guard, WAIT_MAX) {
                Ok((guard, true)) => Ok(guard),
                Ok((guard, false)) => {
                    worker.gave_up();
                    Ok(guard)
                }
                Err(error) => Err(error),
            };
            worker.rises();
            let (guard, told) = had(waited);
            worker.inside(told);
            return drop(guard);
        }
        match worker.below(4) {
            0 => self.notify_one(),
            1 => self.notify(2),
            _ => {
                self.notify_all();
                worker.passed();
            }
        }
        drop(guard);
    }

    fn is_quiet(&self, worker: &Worker) {
        let (guard, told) = had(self.lock());
        worker.inside(told);
        let (guard, was_notified) = self.wait_timeout(guard, Duration::from_millis(1)).unwrap();
        assert!(!was_notified);
        drop(guard);
        assert_eq!((self.waiters(), self.base().holder()), (0, None));
    }
}

/// The guard, and whether its former holder is said to have died.
fn had<'a>(guard: Result<LockGuard<'a>, LockError<LockGuard<'static>>>) -> (LockGuard<'a>, bool) {
    match guard {
        Ok(guard) => (guard, false),
        Err(LockError::OwnerDied(guard)) => (guard, true),
        Err(error) => panic!("{error}"),
    }
}
