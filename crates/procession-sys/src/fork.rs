//! Fork, with the child's only way out: its code's return value, or `_exit`.
//!
//! # Safety
//! In the child only the calling thread exists. Whatever lock another thread held at that moment stays held for
//! ever, so `fork` is `unsafe` and its callers prove that there is no other thread, or run only async-signal-safe
//! code. The functions called here between the fork and the child's closure: none. libc's own `fork` is used, never
//! a bare `clone`, because libc refreshes its cached thread id and its locks. The hooks of `on_fork` run inside libc's
//! fork, also in a process with threads, and are async-signal-safe by their registrants' promise.

#![expect(unsafe_code, reason = "fork is what this crate exists for")]

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::pid;

/// The child's code when it unwinds instead of returning: as Python's, one.
const UNWOUND: i32 = 1;

/// Leaves the process when dropped, which happens only when a panic unwinds towards the parent's frames.
struct ExitGuard;

impl Drop for ExitGuard {
    fn drop(&mut self) {
        crate::exit_now(UNWOUND);
    }
}

/// Forks and returns the child's number, the caller's to reap. The child runs `child` and exits with what it
/// returns, running exit handlers and flushing `stdout`.
///
/// A panic in `child` never unwinds into the frames that the child has inherited: it ends the child with code 1.
///
/// # Errors
/// `EAGAIN` at the limit of processes, `ENOMEM`.
///
/// # Safety
/// This process has one thread, or `child` and everything it calls is async-signal-safe.
pub unsafe fn fork(child: impl FnOnce() -> i32) -> io::Result<u32> {
    // SAFETY: no pointers; that the child may run what follows is the caller's promise.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let guard = ExitGuard;
            let code = child();
            std::mem::forget(guard);
            std::process::exit(code)
        }
        pid => Ok(pid.unsigned_abs()),
    }
}

/// Runs `hook` in every child that this process forks through libc from now on, whoever forks it, before anything else
/// runs there. pthread_atfork(3).
///
/// # Errors
/// `ENOMEM`.
///
/// # Safety
/// `hook` is async-signal-safe: the process may have other threads, whose locks the child finds held.
pub unsafe fn on_fork(hook: unsafe extern "C" fn()) -> io::Result<()> {
    // SAFETY: a function item lives as long as the image; that it may run there is the caller's promise.
    match unsafe { libc::pthread_atfork(None, None, Some(hook)) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Runs hooks around every fork that this process makes through libc from now on, whoever forks: `prepare` before it,
/// `parent` after it in this process, also if it failed, and `child` in the child. All three run in the thread that
/// forks. pthread_atfork(3).
///
/// # Errors
/// `ENOMEM`.
///
/// # Safety
/// None of them unwinds. `prepare` waits for nothing that the forking thread may hold. `child` is async-signal-safe, as
/// that of [`on_fork`].
pub unsafe fn around_fork(
    prepare: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) -> io::Result<()> {
    // SAFETY: function items live as long as the image; that they may run there is the caller's promise.
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The process that something was made in, for whoever must not use it in a forked copy.
///
/// Asking costs a load, and no system call.
///
/// # Examples
/// ```
/// assert!(procession_sys::Origin::here().is_here());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    forks: u32,
    pid: u32,
}

/// How many forks lie between the process that this image began in and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// How often this process, or one that it was forked from, has begun to fork.
static BEGUN: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn count_begun() {
    BEGUN.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn count_nothing() {}

unsafe extern "C" fn count_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Whether forks are counted. Where there is no memory for that, numbers of processes tell.
fn counts_forks() -> bool {
    static COUNTS: OnceLock<bool> = OnceLock::new();
    // SAFETY: each is an addition to an atomic, or nothing.
    *COUNTS.get_or_init(|| unsafe { around_fork(count_begun, count_nothing, count_fork) }.is_ok())
}

/// How many forks through libc this process, and those that it was forked from, have begun since this was asked first.
///
/// If it has not changed, no copy was made meanwhile: each fork is counted before it happens. `None` where there is no
/// memory to count.
#[must_use]
pub fn forks_begun() -> Option<u64> {
    counts_forks().then(|| BEGUN.load(Ordering::SeqCst))
}

impl Origin {
    /// This process.
    #[must_use]
    pub fn here() -> Self {
        let _ = counts_forks();
        Self { forks: FORKS.load(Ordering::Relaxed), pid: pid() }
    }

    /// The number of the process that it was.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// True in that process, and in no copy of it.
    #[inline]
    #[must_use]
    pub fn is_here(self) -> bool {
        if counts_forks() { self.forks == FORKS.load(Ordering::Relaxed) } else { self.pid == pid() }
    }
}
