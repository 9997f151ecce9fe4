//! Group `pool`: tasks in processes that are there already, beside threads, other crates and CPython.
//! `cargo xtask bench pool`.

mod common;

use procession_benches::{Result, pool};

fn main() -> Result {
    common::run("pool", env!("CARGO_BIN_EXE_pooler"), "pool.py", pool::tables())
}
