//! Derive and attribute macros of the Procession crates.
//!
//! Layer 0. Uses nothing of ours. Generated code names the crate that the user depends on, whichever that is, and
//! that crate re-exports the macro beside what the macro is about.
