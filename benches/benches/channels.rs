//! Group `channels`: messages between processes beside bare memory, futexes, other crates and CPython.
//! `cargo xtask bench channels`.

mod common;

use procession_benches::{Result, channels};

fn main() -> Result {
    common::run("channels", env!("CARGO_BIN_EXE_messenger"), "channels.py", channels::tables())
}
