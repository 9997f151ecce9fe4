//! The lock for readers and a writer: nobody beside a writer, whose death inside is told to one.

use procession_sync::RwLock;

use crate::subject::{LEDGER, Place, Subject, had};
use crate::worker::Worker;

const PLACES: &[Place] = &[
    Place::outside("rwlock: to read"),
    Place::inside("rwlock: reading"),
    Place::outside("rwlock: to write"),
    Place::inside("rwlock: writing"),
    Place::outside("rwlock: woken to read"),
    Place::inside("rwlock: writing, still next"),
    Place::outside("rwlock: woken to write"),
    Place::outside("rwlock: next"),
    Place::seldom("rwlock: left, still queued"),
    Place::seldom("rwlock: not queued, not woken"),
    Place::inside("rwlock: to end reading"),
    Place::inside("rwlock: to end writing"),
    Place::outside("rwlock: freed, not woken"),
    Place::outside("rwlock: woke"),
];

impl Subject for RwLock {
    const NAME: &'static str = "rwlock";

    const PLACES: &'static [&'static [Place]] = &[PLACES, LEDGER];

    fn new() -> Self {
        Self::new().unwrap()
    }

    fn turn(&self, worker: &Worker) {
        if worker.below(2) == 0 { write(self, worker) } else { read(self, worker) }
    }

    fn is_quiet(&self, worker: &Worker) {
        write(self, worker);
        read(self, worker);
        assert_eq!((self.writer(), self.readers(), self.waiters()), (None, vec![], 0));
    }
}

fn write(lock: &RwLock, worker: &Worker) {
    worker.tells(true);
    let guard = match worker.below(8) {
        0 => lock.try_write(),
        _ => lock.write(),
    };
    let Some((guard, told)) = had(guard) else { return };
    worker.inside(told);
    drop(guard);
    worker.passed();
}

fn read(lock: &RwLock, worker: &Worker) {
    worker.tells(false);
    let guard = match worker.below(8) {
        0 => lock.try_read(),
        _ => lock.read(),
    };
    let Some((guard, told)) = had(guard) else { return };
    worker.beside(told);
    drop(guard);
}
