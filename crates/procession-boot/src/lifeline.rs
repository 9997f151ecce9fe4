//! The lifeline: one pipe per process whose only write end dies with it, and takes the children along.
//!
//! A child opens the read end anew and asks the kernel for SIGKILL when the write end closes (fcntl(2), `F_SETSIG`
//! with `O_ASYNC`). No thread waits and no CPU is used; a stopped child and one that blocks every signal die as well,
//! and it does not matter which thread started the child or whether that thread still exists.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use procession_sys::{arm_kill_on_close, effective_user, exit_now, pipe, reopen_read};

use crate::BootError;

/// The exit code of a child that found its owner gone before it could be tied to it.
const OWNER_GONE: i32 = 255;

/// This process's own lifeline.
#[derive(Clone, Copy)]
struct Own {
    /// Both ends: what children are given, and what nobody is ever given. Never freed, so never closed.
    ends: &'static (OwnedFd, OwnedFd),
    /// Whose pipe it is: a process that has become another user cannot open it anew, and makes another.
    owner: u32,
}

static OWN: Mutex<Option<Own>> = Mutex::new(None);

/// The read end of this process's own lifeline, made when first needed: what its children are given.
///
/// # Errors
/// [`BootError::Lifeline`] when no descriptors are left.
pub fn own_lifeline() -> Result<BorrowedFd<'static>, BootError> {
    let owner = effective_user();
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(own) = own.filter(|own| own.owner == owner) {
        return Ok(own.ends.0.as_fd());
    }
    let ends: &'static _ = Box::leak(Box::new(pipe().map_err(BootError::Lifeline)?));
    *own = Some(Own { ends, owner });
    Ok(ends.0.as_fd())
}

/// An open file description of a lifeline's own, for one child to arm: the kernel signals the owner of a description.
///
/// # Errors
/// `ENOENT` without `/proc`, `EMFILE`.
pub fn open_lifeline(given: impl AsFd) -> io::Result<OwnedFd> {
    reopen_read(given)
}

/// Ties this process's life, until its end or its exec, to the owner of the lifeline that [`open_lifeline`] opened. A
/// process whose owner is gone already exits.
///
/// # Errors
/// What `fcntl` says.
pub fn tie_to_lifeline(own: OwnedFd) -> io::Result<()> {
    if arm_kill_on_close(&own)? {
        exit_now(OWNER_GONE);
    }
    let _stays_open = own.into_raw_fd();
    Ok(())
}
