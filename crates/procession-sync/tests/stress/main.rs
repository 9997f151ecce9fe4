//! The kill loop: workers use one object and are killed at every step, and those that live must never notice more than
//! they are promised.
//!
//! As a test it runs a few hundred kills a primitive. `cargo xtask stress` runs it with arguments of its own:
//! `--stress KILLS SEED [SUBJECT...]`.

mod board; // What workers and supervisor tell each other.
mod subject; // What is put to the test. Read this first.

mod plan; // Who dies where.
mod worker;

mod chase; // The loop.
mod report;
mod suite; // As a test, and by hand.

mod barrier; // The subjects.
mod condition;
mod event;
mod lock;
mod rlock;
mod rwlock;
mod semaphore;
mod value;

use std::process::ExitCode;

use procession_sync::{Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RwLock, Semaphore, Value};

use crate::suite::{Run, of};

/// Every subject, by its name.
const SUBJECTS: &[(&str, Run)] = &[
    of::<Lock>(),
    of::<RLock>(),
    of::<RwLock>(),
    of::<Semaphore>(),
    of::<BoundedSemaphore>(),
    of::<Event>(),
    of::<Condition>(),
    of::<Barrier>(),
    of::<Value<[u64; 2]>>(),
];

fn main() -> ExitCode {
    suite::main(SUBJECTS)
}
