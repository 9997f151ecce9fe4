//! Padding at the end.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Reading(u32, bool);

fn main() {}
