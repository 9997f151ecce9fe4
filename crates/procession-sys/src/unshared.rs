//! Descriptors that this process alone has: close-on-exec, and closed in every child that is forked through libc.
//!
//! What a lock or a connection says about its holder ("it is alive") must not be said by the holder's children.
//!
//! # Safety
//! The numbers in the table belong to [`Unshared`] objects. Those that a forked child finds there are its parent's: they
//! are closed by the hook before anything else runs in the child, and the child's copies of the objects, which know
//! whose they are, neither lend nor close the numbers. What runs inside libc's fork swaps atomics and closes numbers,
//! nothing else, so it is async-signal-safe.

#![expect(unsafe_code, reason = "closes its parent's descriptors in a process that was forked by whomever")]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::{close, on_fork, pid};

/// How many such descriptors a process may have: a few are in use by this library, and each fork looks at every place.
pub const UNSHARED_MAX: usize = 16;

/// No descriptor.
const NONE: i32 = -1;

static NUMBERS: [AtomicI32; UNSHARED_MAX] = [const { AtomicI32::new(NONE) }; UNSHARED_MAX];

/// A descriptor that forked children do not have.
#[derive(Debug)]
pub struct Unshared {
    fd: ManuallyDrop<OwnedFd>,
    /// Its place in the table.
    place: usize,
    /// Whose it is.
    owner: u32,
}

impl Unshared {
    /// Takes a descriptor out of the children that are forked from now on.
    ///
    /// # Errors
    /// `EMFILE` when there are [`UNSHARED_MAX`], `ENOMEM`.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        prepare()?;
        let number = fd.as_raw_fd();
        let takes =
            |place: &AtomicI32| place.compare_exchange(NONE, number, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let place = NUMBERS.iter().position(takes).ok_or_else(|| io::Error::from(rustix::io::Errno::MFILE))?;
        Ok(Self { fd: ManuallyDrop::new(fd), place, owner: pid() })
    }

    /// The descriptor; `None` in a forked child, which has it no more.
    #[must_use]
    pub fn get(&self) -> Option<BorrowedFd<'_>> {
        (self.owner == pid()).then(|| self.fd.as_fd())
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        if self.owner == pid() {
            // First out of the table, so that no child closes what has the number next.
            NUMBERS[self.place].store(NONE, Ordering::Release);
            // SAFETY: dropped once, here, and never used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

/// Registers the hook: forked children have their parent's hooks, so once is enough for all generations.
fn prepare() -> io::Result<()> {
    static PREPARED: OnceLock<()> = OnceLock::new();
    if PREPARED.get().is_none() {
        // SAFETY: the hook is async-signal-safe (see the top of this file). If two threads register it at the same
        // time, its second run in a child finds nothing to close.
        unsafe { on_fork(close_in_child) }?;
        let _ = PREPARED.set(());
    }
    Ok(())
}

/// In every forked child: closes what is its parent's.
unsafe extern "C" fn close_in_child() {
    for number in &NUMBERS {
        let number = number.swap(NONE, Ordering::Relaxed);
        if number != NONE {
            // SAFETY: the number belongs to an object that this process neither lends nor closes.
            unsafe { close(number) };
        }
    }
}
