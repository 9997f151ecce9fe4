//! Waiting for descriptors: one retry loop for all, so that EINTR is invisible above.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::Deadline;

/// What a wait on a descriptor is for. An error or a hang-up of the peer always ends the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something can be read, or the peer is gone.
    Read,
    /// Something can be written, or the peer is gone.
    Write,
}

impl From<Interest> for PollFlags {
    fn from(interest: Interest) -> Self {
        match interest {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
        }
    }
}

/// Waits until one of `fds` is ready; tells for each, in order, whether it is. All false after the deadline.
///
/// What is ready is reported even when the deadline has passed. An interrupting signal does not end the wait.
///
/// # Errors
/// `ENOMEM`, or `EINVAL` when there are more descriptors than the process may have open.
pub fn poll<const N: usize>(fds: [(BorrowedFd<'_>, Interest); N], deadline: Deadline) -> io::Result<[bool; N]> {
    let mut set = fds.map(|(fd, interest)| PollFd::from_borrowed_fd(fd, interest.into()));
    poll_slice(&mut set, deadline)?;
    Ok(set.map(|entry| !entry.revents().is_empty()))
}

/// Waits until one of any number of descriptors can be read or its peer is gone; tells for each whether it is so.
///
/// # Errors
/// As [`poll`].
pub fn poll_readable(fds: &[BorrowedFd<'_>], deadline: Deadline) -> io::Result<Vec<bool>> {
    let mut set: Vec<PollFd<'_>> = fds.iter().map(|&fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    poll_slice(&mut set, deadline)?;
    Ok(set.iter().map(|entry| !entry.revents().is_empty()).collect())
}

/// The retry loop of [`poll`].
fn poll_slice(set: &mut [PollFd<'_>], deadline: Deadline) -> io::Result<()> {
    loop {
        match rustix::event::poll(set, deadline.timespec().as_ref()) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// Waits until `fd` is ready; false after the deadline.
///
/// # Errors
/// As [`poll`].
pub fn poll_one(fd: impl AsFd, interest: Interest, deadline: Deadline) -> io::Result<bool> {
    let [ready] = poll([(fd.as_fd(), interest)], deadline)?;
    Ok(ready)
}

/// Whether the other end of a connection is gone for good, also when something that it sent is left. Never waits.
///
/// # Errors
/// `ENOMEM`.
pub fn is_hung_up(fd: impl AsFd) -> io::Result<bool> {
    let fd = fd.as_fd();
    // That is always told, whatever is asked for.
    let mut set = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    poll_slice(&mut set, Deadline::NOW)?;
    Ok(set[0].revents().contains(PollFlags::HUP))
}
