//! An address is of one process.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Name {
    id: u64,
    text: &'static [u8; 8],
}

fn main() {}
