//! Packed fields cannot be read in one piece.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C, packed)]
struct Point {
    x: f64,
    tag: u8,
}

fn main() {}
