//! Waiting on many things at once: connections, queues, processes, sockets and raw descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use procession_sys::Deadline;

/// What [`wait_ready`] can wait for.
///
/// Ready means that the next `recv` or `get` does not wait: there is a message, an item, or the end of the stream; that a
/// process has ended; that a descriptor can be read.
pub trait Waitable {
    /// What to look at.
    #[doc(hidden)]
    fn watch(&self) -> Watch<'_>;
}

/// What to look at, and how.
#[doc(hidden)]
#[derive(Debug)]
pub struct Watch<'a> {
    /// What becomes readable.
    pub fd: BorrowedFd<'a>,
    /// What tells more than the descriptor does, for objects in shared memory.
    pub source: Option<&'a dyn Source>,
}

/// An object whose state is in shared memory, and whose descriptor is only a bell.
#[doc(hidden)]
pub trait Source: std::fmt::Debug {
    /// Whether it is ready now, by its memory alone; cheap.
    fn is_ready(&self) -> bool;
    /// Asks whoever makes it ready to ring the bell once; `is_ready` is looked at again after this.
    fn arm(&self);
    /// After the bell's descriptor was readable: takes away what is not needed. True if the object is ready.
    fn settle(&self) -> io::Result<bool>;
}

/// Waits until at least one is ready, and says which all are, by their position.
///
/// # Errors
/// What `poll` says.
pub fn wait_ready<'a>(things: impl AsRef<[&'a dyn Waitable]>) -> io::Result<Vec<usize>> {
    wait_until(things.as_ref(), Deadline::NEVER)
}

/// Which are ready now; perhaps none.
///
/// # Errors
/// As [`wait_ready`].
pub fn try_wait_ready<'a>(things: impl AsRef<[&'a dyn Waitable]>) -> io::Result<Vec<usize>> {
    wait_until(things.as_ref(), Deadline::NOW)
}

/// As [`wait_ready`], for so long at most; none after that.
///
/// # Errors
/// As [`wait_ready`].
pub fn wait_ready_timeout<'a>(things: impl AsRef<[&'a dyn Waitable]>, timeout: Duration) -> io::Result<Vec<usize>> {
    wait_until(things.as_ref(), Deadline::after(timeout))
}

fn wait_until(things: &[&dyn Waitable], deadline: Deadline) -> io::Result<Vec<usize>> {
    let watches: Vec<Watch<'_>> = things.iter().map(|thing| thing.watch()).collect();
    let fds: Vec<BorrowedFd<'_>> = watches.iter().map(|watch| watch.fd).collect();
    let ready = procession_sys::poll_readable(&fds, deadline)?;
    Ok((0..things.len()).filter(|&which| ready[which]).collect())
}

impl<F: AsFd> Waitable for F {
    fn watch(&self) -> Watch<'_> {
        Watch { fd: self.as_fd(), source: None }
    }
}
