//! Whether this process has one thread, which is what makes a fork safe.
//!
//! # Safety
//! `unshare(CLONE_VM)` changes nothing in a process with one thread and is refused in any other, so it asks only.

#![expect(unsafe_code, reason = "rustix names no flag for a question that unshare answers by refusing")]

use std::io;
use std::thread;
use std::time::Duration;

use crate::Deadline;

/// How often the kernel is asked again while it may still be taking down a thread that has been joined.
const LOOK: Duration = Duration::from_micros(50);

/// True when the calling thread is this process's only one.
///
/// A thread that was joined a moment ago can still be there for the kernel. So a process that seems to have several is
/// asked again until the deadline.
///
/// # Errors
/// Where unshare(2) is forbidden, as in containers, and `/proc` is not mounted either.
pub fn is_single_threaded(deadline: Deadline) -> io::Result<bool> {
    loop {
        if has_one_thread()? {
            return Ok(true);
        }
        if deadline.has_passed() {
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
}

/// The kernel's answer at this moment.
fn has_one_thread() -> io::Result<bool> {
    // SAFETY: takes no pointer; see the top of this file.
    if unsafe { libc::unshare(libc::CLONE_VM) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINVAL) => Ok(false),
        Some(libc::EPERM | libc::ENOSYS) => Ok(std::fs::read_dir("/proc/self/task")?.count() == 1),
        _ => Err(error),
    }
}
