//! Descriptors: made close-on-exec, adopted from a parent, placed at a number, opened anew.
//!
//! # Safety
//! Two things here can break I/O safety: taking ownership of a number that another process chose, and closing
//! numbers that somebody else owns. Both are `unsafe fn`, and their callers run before any user code does.

#![expect(unsafe_code, reason = "owns and closes descriptors by number on behalf of a child that has just begun")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd};

use crate::poll::{Interest, poll_one};
use crate::{Deadline, SPAWN_DESCRIPTOR_MIN, Signal};

/// Which signal an `O_ASYNC` description sends (fcntl(2); the same number on every architecture). Not in libc.
const F_SETSIG: libc::c_int = 10;

/// A new pipe: its read end and its write end.
///
/// # Errors
/// `EMFILE` or `ENFILE` when no descriptors are left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((out_of_the_way(read)?, out_of_the_way(write)?))
}

/// The same open file under a number above the standard streams'.
///
/// In a process that has closed one of those, the next descriptor becomes standard output: children would inherit it
/// as such, and every `println!` would write into it.
pub(crate) fn out_of_the_way(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= SPAWN_DESCRIPTOR_MIN { Ok(fd) } else { dup(fd, SPAWN_DESCRIPTOR_MIN) }
}

/// Another descriptor for the same open file, numbered `min` or above.
///
/// # Errors
/// `EMFILE` when no descriptors are left, `EINVAL` when `min` is beyond the process's limit.
pub fn dup(fd: impl AsFd, min: RawFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, min)?)
}

/// Opens what `fd` refers to anew, for reading: the result has flags and an owner of its own.
///
/// # Errors
/// `ENOENT` when `/proc` is not mounted, `EMFILE` when no descriptors are left.
pub fn reopen_read(fd: impl AsFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    out_of_the_way(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?)
}

/// `/dev/null`, opened for reading and writing.
///
/// # Errors
/// What `open` says.
pub fn dev_null() -> io::Result<OwnedFd> {
    out_of_the_way(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// The current directory as a descriptor, good even after it has been renamed.
///
/// # Errors
/// What `open` says, `ENOENT` among it when the directory has been removed.
pub fn current_dir(path: &std::path::Path) -> io::Result<OwnedFd> {
    out_of_the_way(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes a directory that [`current_dir`] opened the current one.
///
/// # Errors
/// `EACCES` when it may not be entered.
pub fn enter_dir(dir: impl AsFd) -> io::Result<()> {
    Ok(rustix::process::fchdir(dir)?)
}

/// True when the number `fd` is an open descriptor of this process.
#[must_use]
pub fn is_open(fd: RawFd) -> bool {
    if fd < 0 {
        return false;
    }
    // SAFETY: `fcntl(F_GETFD)` accepts any number and changes nothing; the borrow ends with the statement.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl_getfd(borrowed).is_ok()
}

/// Takes ownership of descriptor number `fd`, which a parent left open for this process, and marks it close-on-exec.
///
/// # Errors
/// `EBADF` when there is no such descriptor.
///
/// # Safety
/// Nothing else in this process may own that number.
pub unsafe fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if !is_open(fd) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the descriptor is open (checked above) and the caller vouches that nothing else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, FdFlags::CLOEXEC)?;
    Ok(owned)
}

/// Has the number of `at` refer to the open file of `with` from now on, close-on-exec, in one step.
///
/// # Errors
/// What `dup3` says; the number refers to what it did then.
///
/// # Safety
/// Whoever owns the number expects it.
pub unsafe fn replace(at: BorrowedFd<'_>, with: impl AsFd) -> io::Result<()> {
    // SAFETY: both numbers are open; that the first may refer to something else is the caller's promise.
    match unsafe { libc::dup3(with.as_fd().as_raw_fd(), at.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Puts a copy of `fd` at number `at`, without close-on-exec, replacing what was there.
///
/// # Errors
/// What `dup2` says.
///
/// # Safety
/// Nothing in this process may own the number `at`, unless it expects the replacement (as for 0, 1 and 2).
pub unsafe fn place(fd: impl AsFd, at: RawFd) -> io::Result<()> {
    let raw = fd.as_fd().as_raw_fd();
    if raw == at {
        return Ok(rustix::io::fcntl_setfd(fd, FdFlags::empty())?);
    }
    // SAFETY: both are plain numbers to the kernel; ownership of `at` is the caller's to vouch for.
    let result = unsafe { libc::dup2(raw, at) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the number `at` lead to `/dev/null`, close-on-exec, whatever it led to. Async-signal-safe. Where `/dev/null` cannot be
/// opened the number is closed.
///
/// For a forked child, whose objects hold descriptors that are its parent's affair: they keep their numbers, and nobody
/// else's file ever gets one of them.
///
/// # Safety
/// Whoever owns the number in this process expects it.
pub unsafe fn make_null(at: RawFd) {
    // SAFETY: the path is a C string.
    let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if null < 0 {
        // SAFETY: the caller vouches for the number.
        unsafe { libc::close(at) };
        return;
    }
    // SAFETY: plain numbers; the caller vouches for `at`.
    unsafe { libc::dup3(null, at, libc::O_CLOEXEC) };
    // SAFETY: opened above.
    unsafe { libc::close(null) };
}

/// Closes the number `fd`. Async-signal-safe.
///
/// # Safety
/// Whoever owns the number never uses or drops it again.
pub unsafe fn close(fd: RawFd) {
    // SAFETY: takes no pointer; the caller vouches for the number.
    unsafe { libc::close(fd) };
}

/// Closes every descriptor but 0, 1, 2 and those in `keep`.
///
/// # Safety
/// No `OwnedFd` in this process may hold any other number any more, or be used or dropped after the call.
pub unsafe fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<u32> = keep.iter().filter(|&&fd| fd > 2).map(|fd| fd.unsigned_abs()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            // SAFETY: the caller vouches for every number that is not kept.
            unsafe { close_range(first, fd - 1) };
        }
        first = first.max(fd + 1);
    }
    // SAFETY: as above.
    unsafe { close_range(first, u32::MAX) };
}

/// Closes the descriptors from `first` to `last`.
///
/// # Safety
/// As [`close_all_but`], for these numbers.
unsafe fn close_range(first: u32, last: u32) {
    // SAFETY: takes no pointer; the caller vouches for the ownership of the closed numbers.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed == 0 {
        return;
    }
    // A filter may forbid close_range; the listing of our own descriptors is the slow way to the same end.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<u32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: takes no pointer; the caller vouches for the ownership of the closed numbers. The numbers came
        // from the kernel as ints.
        unsafe { libc::close(fd as RawFd) };
    }
}

/// Opens `/dev/null` at those of the descriptors 0, 1 and 2 that are closed, as a Rust program's start does.
///
/// Without it the next file that is opened becomes standard output, and every `println!` writes into it.
///
/// # Errors
/// What opening `/dev/null` says.
pub fn open_standard_streams() -> io::Result<()> {
    for at in 0..3 {
        if !is_open(at) {
            // SAFETY: `at` is closed, so nothing owns it.
            unsafe { place(dev_null()?, at)? };
        }
    }
    Ok(())
}

/// Arranges that this process gets SIGKILL from the kernel when the last write end of the pipe `fd` closes.
///
/// `fd` must be an open file description of this process's own (see [`reopen_read`]), because the signal's
/// addressee belongs to the description. Nothing runs and nothing is polled; it works for stopped processes and
/// those that block every signal. Returns true when the write end had closed already.
///
/// # Errors
/// What `fcntl` says.
pub fn arm_kill_on_close(fd: impl AsFd) -> io::Result<bool> {
    let fd = fd.as_fd();
    fcntl(fd, F_SETSIG, Signal::KILL.number())?;
    fcntl(fd, libc::F_SETOWN, rustix::process::getpid().as_raw_pid())?;
    fcntl(fd, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)?;
    // The end may have closed before the arming; from here on the kernel tells us.
    poll_one(fd, Interest::Read, Deadline::NOW)
}

/// `fcntl` with an integer argument.
fn fcntl(fd: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: each of the commands used above takes an int and touches no memory of ours.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
