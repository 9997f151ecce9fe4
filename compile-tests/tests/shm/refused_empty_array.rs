//! An array without elements is shareable in a struct, and has no bytes of its own.

use procession_shm::SharedArray;

fn main() {
    let _ = SharedArray::<[u64; 0]>::zeroed(3);
}
