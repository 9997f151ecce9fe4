//! The kill loop: workers put into and take from one queue, or send and receive through one pipe, and are killed at every
//! step; those that live must never notice more than they are promised.
//!
//! The loop is that of `procession-sync`, whose `main.rs` says how it is run; the subjects are here.

#![expect(dead_code, reason = "the subjects there need more of the loop than those here")]

#[path = "../../../procession-sync/tests/stress/board.rs"]
mod board;
#[path = "../../../procession-sync/tests/stress/chase.rs"]
mod chase;
#[path = "../../../procession-sync/tests/stress/plan.rs"]
mod plan;
#[path = "../../../procession-sync/tests/stress/report.rs"]
mod report;
#[path = "../../../procession-sync/tests/stress/subject.rs"]
mod subject;
#[path = "../../../procession-sync/tests/stress/suite.rs"]
mod suite;
#[path = "../../../procession-sync/tests/stress/worker.rs"]
mod worker;

mod items; // What all subjects put and take.

mod pipe; // The subjects.
mod queue;

use std::process::ExitCode;

use crate::pipe::Pipe;
use crate::queue::{Bounded, Unbounded};
use crate::suite::{Run, of};

/// Every subject, by its name.
const SUBJECTS: &[(&str, Run)] = &[of::<Unbounded>(), of::<Bounded>(), of::<Pipe>()];

fn main() -> ExitCode {
    suite::main(SUBJECTS)
}
