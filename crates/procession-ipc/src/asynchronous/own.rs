//! What each process has for itself: a forked child makes its own, and leaves its parent's alone.
//!
//! Relies on nothing. What a child has of its parent's is neither used nor dropped there: it may hold descriptors by
//! number, locks that nobody there will free, and tasks that go on elsewhere.

use std::mem;
use std::ops::Deref;
use std::sync::OnceLock;

use procession_sys::pid;

/// One process's, and those of the processes that were forked from it.
#[derive(Debug)]
pub(super) struct Own<T> {
    pid: u32,
    /// Taken only when this is dropped.
    value: Option<T>,
    forked: OnceLock<Box<Self>>,
}

impl<T: Default> Default for Own<T> {
    fn default() -> Self {
        Self { pid: pid(), value: Some(T::default()), forked: OnceLock::new() }
    }
}

impl<T: Default> Deref for Own<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let own = pid();
        let mut process = self;
        while process.pid != own {
            process = process.forked.get_or_init(Box::default);
        }
        process.value.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        if self.pid != pid() {
            mem::forget(self.value.take());
        }
    }
}
