//! Said explicitly, Rust's own layout is no better.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(Rust)]
struct Point(f64, f64);

fn main() {}
