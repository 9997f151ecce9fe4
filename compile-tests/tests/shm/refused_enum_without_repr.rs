//! An enum says how large it is.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
enum State {
    Idle,
    Busy,
}

fn main() {}
