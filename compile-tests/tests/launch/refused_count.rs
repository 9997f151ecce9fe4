//! Fewer arguments than the function takes.

use procession::prelude::*;

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn main() {
    let _ = Process::start(add, (1,));
}
