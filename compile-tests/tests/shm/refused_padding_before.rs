//! Padding before a field is shown at the field.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Reading {
    valid: bool,
    value: u32,
}

fn main() {}
