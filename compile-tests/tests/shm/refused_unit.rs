//! A struct without fields has no bytes.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Nothing;

fn main() {}
