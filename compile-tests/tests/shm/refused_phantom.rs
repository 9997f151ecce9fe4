//! A marker has no bytes and vouches for nothing.

use procession_shm::Shareable;

use std::marker::PhantomData;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Id<T> {
    number: u64,
    of: PhantomData<T>,
}

fn main() {}
