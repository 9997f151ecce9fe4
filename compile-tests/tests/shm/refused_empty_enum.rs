//! An enum without variants has no value.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
enum Never {}

fn main() {}
