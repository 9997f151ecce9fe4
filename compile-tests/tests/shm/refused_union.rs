//! A union does not tell which field it holds.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
union Bits {
    float: f32,
    int: u32,
}

fn main() {}
