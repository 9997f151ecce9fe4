//! Group `strangers`: connections by an address beside bare sockets and CPython's. `cargo xtask bench strangers`.

mod common;

use procession_benches::{Result, strangers};

fn main() -> Result {
    common::run("strangers", env!("CARGO_BIN_EXE_stranger"), "strangers.py", strangers::tables())
}
