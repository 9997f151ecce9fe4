//! Pools of processes and of threads: a worker that dies costs its own task and nothing else.
//!
//! Layer 5. Uses `procession-sys`, `procession-wire`, `procession-boot`, `procession-sync` and `procession-launch`. Used by
//! programs, and by managers.
//!
//! **Invariant:** every worker has channels of its own, and the parent alone hands out tasks; no lock is shared with a worker.
//! **Invariant:** every task ends exactly once, with its result or with an error of its own.
//! **Invariant:** the supervisor is a pure state machine; threads and IO drive it and hold no state of their own.

#![doc(test(attr(deny(warnings))))]

#[cfg_attr(not(test), expect(dead_code, reason = "the engine that keeps it comes next"))]
mod record;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine that drives it comes next"))]
mod supervisor;

pub use crate::supervisor::{BACKOFF_MAX, POISON_DEATHS_MAX, RESTART_BACKOFF_MAX, STORM_DEATHS_MAX};
