//! The error is shown at the fields.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(u8)]
enum Shape {
    Nothing,
    Circle(u8),
    Square { side: u8 },
}

fn main() {}
