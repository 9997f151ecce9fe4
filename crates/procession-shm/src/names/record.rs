//! The record of the names that a process owns.

/// How the names of records begin.
pub(super) const PREFIX: &str = "procession-names-";
