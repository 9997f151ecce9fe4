//! The kill loop: clients of a manager update a dictionary, put and take items, and hold a lock, and are killed at any
//! instruction, as is the server; nothing that was acknowledged is lost, and what a dead client had is given back.
//!
//! As a test it runs a few hundred kills. `cargo xtask stress manager` runs it with arguments of its own: `--stress KILLS SEED`.

mod board; // What clients note of what they do, which outlives them.
mod client; // What they do. Read this first.

mod chase; // The loop.
mod report;
mod subject;
#[path = "../../../procession-sync/tests/stress/suite.rs"]
mod suite;

use std::process::ExitCode;

use crate::subject::Managers;
use crate::suite::{Run, of};

/// Every subject, by its name.
const SUBJECTS: &[(&str, Run)] = &[of::<Managers>()];

fn main() -> ExitCode {
    suite::main(SUBJECTS)
}
