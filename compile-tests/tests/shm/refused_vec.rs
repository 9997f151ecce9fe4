//! A `Vec` inside of a type that would be fine otherwise.

use procession_shm::Shareable;

#[derive(Clone, Shareable)]
#[repr(C)]
struct Rows {
    rows: Vec<u64>,
}

fn main() {}
