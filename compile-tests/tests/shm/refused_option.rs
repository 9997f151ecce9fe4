//! Where an `Option` keeps whether it is one is up to each build.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Maybe {
    value: Option<u32>,
}

fn main() {}
