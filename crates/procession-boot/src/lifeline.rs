//! The lifeline: one pipe per process whose only write end dies with it, and takes the children along.
//!
//! A child opens the read end anew and asks the kernel for SIGKILL when the write end closes (fcntl(2), `F_SETSIG`
//! with `O_ASYNC`). No thread waits and no CPU is used; a stopped child and one that blocks every signal die as well,
//! and it does not matter which thread started the child or whether that thread still exists.
//!
//! # Safety
//! A forked child has a copy of both ends of its parent's lifeline. The numbers belong to objects that are never dropped,
//! and that a child sees are not its own; there they are closed, as nobody but the parent may keep its pipe open. What runs inside libc's fork swaps atomics and makes system calls, nothing else.

#![expect(unsafe_code, reason = "takes descriptors of its parent's from a process that was forked by whomever")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use procession_sys::{arm_kill_on_close, close, effective_user, exit_now, on_fork, pid, pipe, reopen_read};

use crate::BootError;

/// The exit code of a child that found its owner gone before it could be tied to it.
const OWNER_GONE: i32 = 255;

/// This process's own lifeline.
#[derive(Clone, Copy)]
struct Own {
    /// Both ends: what children are given, and what nobody is ever given. Never freed, so never closed.
    ends: &'static (OwnedFd, OwnedFd),
    /// Whose pipe it is: a process that has become another user cannot open it anew, and makes another.
    user: u32,
    /// The process that made it: a forked child has its parent's, which is not its own.
    owner: u32,
}

static OWN: Mutex<Option<Own>> = Mutex::new(None);

/// No descriptor.
const NONE: i32 = -1;

/// The read end of this process's own lifeline, the last one made,
static READ_END: AtomicI32 = AtomicI32::new(NONE);

/// and its write end.
static WRITE_END: AtomicI32 = AtomicI32::new(NONE);

/// The read end of this process's own lifeline, made when first needed: what its children are given.
///
/// # Errors
/// [`BootError::Lifeline`] when no descriptors are left.
pub fn own_lifeline() -> Result<BorrowedFd<'static>, BootError> {
    let (user, owner) = (effective_user(), pid());
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(own) = own.filter(|own| (own.user, own.owner) == (user, owner)) {
        return Ok(own.ends.0.as_fd());
    }
    if own.is_none() {
        // SAFETY: the hook is async-signal-safe (see the top of this file).
        unsafe { on_fork(let_go) }.map_err(BootError::Lifeline)?;
    }
    let ends: &'static _ = Box::leak(Box::new(pipe().map_err(BootError::Lifeline)?));
    READ_END.store(ends.0.as_raw_fd(), Ordering::Relaxed);
    WRITE_END.store(ends.1.as_raw_fd(), Ordering::Relaxed);
    *own = Some(Own { ends, user, owner });
    Ok(ends.0.as_fd())
}

/// In every forked child, whoever forked it: lets go of the parent's pipe, so that its children end when it ends.
unsafe extern "C" fn let_go() {
    for end in [&READ_END, &WRITE_END] {
        let number = end.swap(NONE, Ordering::Relaxed);
        if number != NONE {
            // SAFETY: the number belongs to an object that is never dropped, and that this process never uses.
            unsafe { close(number) };
        }
    }
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
