//! A function pointer is a number of this process.

use procession::prelude::*;

fn one() -> u8 {
    1
}

fn main() {
    let pointer: fn() -> u8 = one;
    let _ = Process::start(pointer, ());
}
