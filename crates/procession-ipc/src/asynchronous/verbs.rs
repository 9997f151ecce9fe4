//! The verbs: each tries what its twin for threads does, until that need not wait.
//!
//! Relies on `line.rs` for the wait.

mod conduit;
mod pipe;
mod queue;
mod strangers;

/// What cannot be done when there is no reactor.
const WAIT: &str = "wait in a task";
