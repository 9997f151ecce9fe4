//! A struct of the user that nobody has vouched for.

use procession_shm::Shareable;

#[derive(Clone, Copy)]
struct Point {
    x: f64,
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Line {
    from: Point,
}

fn main() {}
