//! A captured `Copy` value has a size, which only a constant can see.

use procession::prelude::*;

fn main() {
    let n = 3_u64;
    let _ = Process::start(move |x: u64| x + n, (1,));
}
