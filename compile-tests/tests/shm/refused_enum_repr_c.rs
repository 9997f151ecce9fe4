//! C's enums are as large as its compiler likes.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
enum State {
    Idle,
    Busy,
}

fn main() {}
