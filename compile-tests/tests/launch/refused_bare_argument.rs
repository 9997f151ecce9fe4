//! One argument is a tuple as well.

use procession::prelude::*;

fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let _ = Process::start(square, 3);
}
