//! No more than a cache line is promised.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C, align(128))]
struct Aligned([u8; 128]);

fn main() {}
