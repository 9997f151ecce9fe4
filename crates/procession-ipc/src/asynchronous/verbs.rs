//! The verbs: each tries what its twin for threads does, until that need not wait.
//!
//! Relies on `line.rs` for the wait.

mod pipe;
mod queue;
