//! The event: whoever waits when it is set goes on, whoever is killed.

use std::time::Duration;

use procession_sync::Event;

use crate::subject::{Place, Subject};
use crate::worker::Worker;

/// How long a worker waits. All wait at once only if those that would have set it were killed.
const WAIT_MAX: Duration = Duration::from_millis(120);

const PLACES: &[Place] = &[
    Place::outside("event: to set"),
    Place::inside("event: set, not woken"),
    Place::outside("event: woke"),
    Place::outside("event: to leave"),
    Place::outside("event: to mark"),
    Place::inside("event: marked"),
    Place::outside("event: woken"),
];

impl Subject for Event {
    const NAME: &'static str = "event";

    const PLACES: &'static [&'static [Place]] = &[PLACES];

    /// Everybody is woken at once. Each of the others may be about to say that it has set it.
    const PASSES_MAX: u64 = 4;

    const STRANDS: &'static [&'static str] = &["event: set, not woken"];

    fn new() -> Self {
        Self::new().unwrap()
    }

    fn turn(&self, worker: &Worker) {
        worker.tells(false);
        if worker.below(2) == 0 && worker.may_rest() {
            if self.wait_timeout(WAIT_MAX).unwrap() {
                worker.had();
            }
            worker.rises();
            return;
        }
        let was_set = self.is_set();
        self.set();
        if !was_set {
            worker.passed();
        }
        worker.use_it();
        self.clear();
    }

    fn is_quiet(&self, _: &Worker) {
        self.set();
        self.wait().unwrap();
        self.clear();
        assert!(!self.wait_timeout(Duration::ZERO).unwrap());
        assert_eq!(self.waiters(), 0);
    }
}
