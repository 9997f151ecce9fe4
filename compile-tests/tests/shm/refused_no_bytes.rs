//! Fields that are there and have no bytes are found as well.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Nothing {
    nothing: [u64; 0],
}

fn main() {}
