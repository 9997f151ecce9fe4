//! The compiler says that `Copy` is missing.

use procession_shm::Shareable;

#[derive(Clone, Shareable)]
#[repr(C)]
struct Point {
    x: f64,
}

fn main() {}
