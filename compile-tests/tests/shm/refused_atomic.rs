//! An atomic is no value that is copied.

use procession_shm::Shareable;

use std::sync::atomic::AtomicU64;

#[derive(Shareable)]
#[repr(C)]
struct Counter {
    count: AtomicU64,
}

fn main() {}
