//! Without a repr each build may lay the fields out in another way.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
struct Point {
    x: f64,
    y: f64,
}

fn main() {}
