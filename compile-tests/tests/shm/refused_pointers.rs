//! Several fields are refused at once, also inside arrays.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Row {
    first: *const u8,
    call: [fn(u32) -> u32; 2],
    pair: (u8, u8),
}

fn main() {}
