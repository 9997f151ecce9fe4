//! Whether a generic struct has padding is known where an instance is put into memory.

use procession_shm::{Shareable, SharedArray};

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Pair<A, B> {
    first: A,
    second: B,
}

fn main() {
    let fine = Pair { first: 1_u32, second: 2_u32 };
    let _ = SharedArray::from_slice(&[fine]);
    let padded = Pair { first: 1_u8, second: 2_u32 };
    let _ = SharedArray::from_slice(&[padded]);
}
