//! A `String` holds an address; the message says what to hold instead.

use procession_shm::Shareable;

#[derive(Clone, Shareable)]
#[repr(C)]
struct Name {
    text: String,
}

fn main() {}
