//! Group `locks`: locks, values, semaphores and events beside the C library's, Rust's and CPython's.
//! `cargo xtask bench locks`.

mod common;

use procession_benches::{Result, locks};

fn main() -> Result {
    common::run("locks", env!("CARGO_BIN_EXE_locker"), "locks.py", locks::tables())
}
