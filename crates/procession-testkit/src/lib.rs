//! Tests of processes, each fenced: a process tree of its own, a deadline, and an audit of what is left.
//!
//! Layer "dev". Uses `procession-sys`. Used by the tests of every crate that starts, kills or outlives processes.
//!
//! A test file with `harness = false` names its cases with [`main!`]. For each case the harness executes the test
//! anew, twice: as a *fence*, which catches orphans, keeps the deadline and looks at what is left, and under it as the
//! case's *body*, a process with one thread and nothing in it but the case. So a case may fork, crash, exhaust
//! its descriptors or kill itself, any number of them run at once, and `cargo test` and nextest list and filter them as
//! they do libtest's.
//!
//! A case passes when its body returns and nothing is left: no process, no zombie, no descriptor, no file in
//! `/dev/shm` that has the case's [`unique_name`] in its own. Everything else is a failure that names what was found.
//!
//! **Invariant:** knows processes, not how a library starts them: it depends on nothing that it tests but
//! `procession-sys`.
//! **Invariant:** no code of a case ever runs in a process with a second thread that the case did not start.

#![doc(test(attr(deny(warnings))))]

mod suite; // What a test file has: cases and programs. Read this first.

mod body; // One case, in a process of its own.
mod fence; // The process around it.
mod harness; // Lists, filters and runs the cases.
mod roles; // Which of these a process is.

mod costs;
mod descriptors;
mod random; // For kill loops.
mod tree;

pub use crate::body::AUDIT_GRACE;
pub use crate::costs::{MEASUREMENTS_MAX, assert_cost, processor_time_of};
pub use crate::descriptors::{OpenDescriptor, open_descriptors, open_descriptors_of};
pub use crate::fence::{CASE_DEADLINE, END_GRACE};
pub use crate::random::Random;
pub use crate::roles::{program, unique_name};
pub use crate::suite::{Case, Suite};
pub use crate::tree::{ProcessInfo, children_of, descendants_of, kill_tree, process};
