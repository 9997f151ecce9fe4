//! An alignment that is asked for may bring padding.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C, align(16))]
struct Aligned {
    value: u64,
}

fn main() {}
