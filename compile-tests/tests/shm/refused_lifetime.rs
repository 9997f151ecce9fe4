//! A type with a lifetime refers to something.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct View<'a> {
    bytes: [&'a u8; 2],
}

fn main() {}
