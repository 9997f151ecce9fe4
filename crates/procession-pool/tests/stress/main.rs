//! The kill loop: workers of a pool and of an executor run tasks of all kinds and are killed at every step, or from outside at
//! any instruction, and every task must end once, with its result or with an error of its own.
//!
//! As a test it runs a few hundred kills. `cargo xtask stress pool` runs it with arguments of its own: `--stress KILLS SEED`.

mod board; // What workers and their pool's process tell each other.
mod job; // What a task is, and how it may end. Read this first.

mod chaos; // Who is killed from outside.
mod chase; // The loop.
mod maps;
mod report;
mod subject;
#[path = "../../../procession-sync/tests/stress/suite.rs"]
mod suite;

use std::process::ExitCode;

use crate::subject::Pools;
use crate::suite::{Run, of};

/// Every subject, by its name.
const SUBJECTS: &[(&str, Run)] = &[of::<Pools>()];

fn main() -> ExitCode {
    suite::main(SUBJECTS)
}
