//! Children held by descriptor: no number that could be somebody else's by now.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions};

use crate::fd::out_of_the_way;
use crate::poll::{Interest, poll_one};
use crate::{Deadline, Signal};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// This signal killed it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// It left a core file.
        core_dumped: bool,
    },
}

impl Ended {
    /// The way to end, from `wait`'s status word.
    fn from_wait(status: rustix::process::WaitStatus) -> Option<Self> {
        if let Some(code) = status.exit_status() {
            return Some(Self::Exited(code));
        }
        let signal = status.terminating_signal()?;
        Some(Self::Signaled { signal, core_dumped: status.as_raw() & 0x80 != 0 })
    }

    /// The same from `waitid`'s record.
    fn from_waitid(status: &rustix::process::WaitIdStatus) -> Option<Self> {
        if let Some(code) = status.exit_status() {
            return Some(Self::Exited(code));
        }
        let signal = status.terminating_signal()?;
        Some(Self::Signaled { signal, core_dumped: status.dumped() })
    }
}

/// A descriptor that stands for one process, dead or alive, and never for another.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process with number `pid`. The caller must know that the number is still that process's: because it is
    /// itself, or an unreaped child.
    ///
    /// # Errors
    /// `ESRCH` when there is none, `EMFILE` when no descriptors are left, `ENOSYS` before Linux 5.3.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        Ok(Self(out_of_the_way(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)?))
    }

    /// Sends a signal. To a process that has ended nothing is sent, and that is no error.
    ///
    /// # Errors
    /// `EPERM` when the process belongs to somebody else now.
    pub fn send(&self, signal: Signal) -> io::Result<()> {
        let signal = rustix::process::Signal::from_named_raw(signal.number()).ok_or(Errno::INVAL)?;
        match rustix::process::pidfd_send_signal(&self.0, signal) {
            Err(Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Waits until the process has ended; false after the deadline. Does not reap.
    ///
    /// # Errors
    /// As [`crate::poll`].
    pub fn wait_ended(&self, deadline: Deadline) -> io::Result<bool> {
        poll_one(&self.0, Interest::Read, deadline)
    }

    /// Reaps the process if it is a child of ours that has ended; `None` while it runs.
    ///
    /// # Errors
    /// `ECHILD` when it is no child of ours, or somebody else has reaped it.
    pub fn try_reap(&self) -> io::Result<Option<Ended>> {
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
        })?;
        Ok(status.as_ref().and_then(Ended::from_waitid))
    }

    /// Waits for the process, a child of ours, to end, and reaps it.
    ///
    /// # Errors
    /// As [`PidFd::try_reap`].
    pub fn reap(&self) -> io::Result<Ended> {
        loop {
            let status = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED)
            })?;
            if let Some(ended) = status.as_ref().and_then(Ended::from_waitid) {
                return Ok(ended);
            }
        }
    }
}

impl From<OwnedFd> for PidFd {
    /// Takes a descriptor that another process opened for itself and sent.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> Self {
        pidfd.0
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reaps one child that has ended, whichever: for a process all of whose children are its own to reap.
#[must_use]
pub fn reap_any() -> Option<(u32, Ended)> {
    let (pid, status) = rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG)).ok()??;
    Some((pid.as_raw_nonzero().get().unsigned_abs(), Ended::from_wait(status)?))
}

/// Kills and reaps a child of ours that could not be held by a descriptor. The number is still its own, as nobody
/// has reaped it.
pub fn discard_child(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
}
