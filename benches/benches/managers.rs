//! Group `managers`: objects in a server process, beside Redis and CPython's. `cargo xtask bench managers`.

mod common;

use procession_benches::{Result, managers};

fn main() -> Result {
    common::run("managers", env!("CARGO_BIN_EXE_keeper"), "managers.py", managers::tables())
}
