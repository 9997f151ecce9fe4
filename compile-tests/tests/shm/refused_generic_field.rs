//! A parameter is bound to what may be shared.

use procession_shm::{Shareable, SharedArray};

#[derive(Clone, Copy, Shareable)]
#[repr(transparent)]
struct Only<T>(T);

fn main() {
    let _ = SharedArray::<Only<&'static str>>::zeroed(3);
}
