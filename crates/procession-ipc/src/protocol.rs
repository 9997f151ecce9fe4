//! What may become of a channel's words: without a process, a system call or a byte of any message.
//!
//! Relies on the protocols of `procession-sync`, whose worlds these run in: the kernel in a program, `loom` in the tests
//! beside each.

pub(crate) mod ring;
