//! The value: what is under its lock is whole, unless the one before died, which is told.

use procession_sync::Value;

use crate::subject::{LOCK, Place, Subject, had};
use crate::worker::Worker;

impl Subject for Value<[u64; 2]> {
    const NAME: &'static str = "value";

    const PLACES: &'static [&'static [Place]] = &[LOCK];

    fn new() -> Self {
        Self::new([0, 0]).unwrap()
    }

    fn turn(&self, worker: &Worker) {
        let guard = match worker.below(8) {
            0 => self.try_lock(),
            _ => self.lock(),
        };
        let Some((mut guard, told)) = had(guard) else { return };
        assert!(told || guard[0] == guard[1], "a torn value: {:?}", *guard);
        guard[0] += 1;
        worker.inside(told);
        guard[1] = guard[0];
        drop(guard);
        worker.passed();
    }

    fn is_quiet(&self, worker: &Worker) {
        self.turn(worker);
        assert_eq!(self.holder(), None);
        let [first, second] = self.get().unwrap();
        assert_eq!(first, second);
    }
}
