//! Group `shared_memory`: segments and arrays beside the system calls, vectors and CPython.
//! `cargo xtask bench shared_memory`.

mod common;

use procession_benches::{Result, shared_memory};

fn main() -> Result {
    common::run("shared_memory", env!("CARGO_BIN_EXE_sharer"), "shared_memory.py", shared_memory::tables())
}
