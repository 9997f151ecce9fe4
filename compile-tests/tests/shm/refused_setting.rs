//! The attribute has one setting.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[shareable(rename = "P")]
#[repr(C)]
struct Point(f64);

fn main() {}
