//! Nor has one with empty braces.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Nothing {}

fn main() {}
