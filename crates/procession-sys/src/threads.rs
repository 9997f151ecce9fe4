//! Whether this process has one thread, which is what makes a fork safe.
//!
//! Relies on `/proc` only to see that other threads end, and where unshare is forbidden.
//!
//! # Safety
//! `unshare(CLONE_VM)` changes nothing in a process with one thread and is refused in any other, so it asks only.

#![expect(unsafe_code, reason = "rustix names no flag for a question that unshare answers by refusing")]

use std::io;
use std::thread;
use std::time::Duration;

use crate::records::{is_thread_exiting, threads_of};
use crate::{Deadline, pid, thread_id};

/// How often the kernel is asked again while it may still be taking down a thread that has been joined.
const LOOK: Duration = Duration::from_micros(50);

/// How much longer threads are waited for that run nothing of the program any more. Each is gone as soon as it has had a
/// processor for microseconds; a virtual machine whose host is busy keeps it from one for longer than a second at times.
const EXITING_MAX: Duration = Duration::from_secs(2);

/// True when the calling thread is this process's only one.
///
/// A thread that was joined a moment ago can still be there for the kernel. So a process that seems to have several is
/// asked again until the deadline, and for two seconds more as long as the kernel is ending all the others.
/// [`Deadline::NOW`] asks once.
///
/// # Errors
/// Where unshare(2) is forbidden, as in containers, and `/proc` is not mounted either.
pub fn is_single_threaded(deadline: Deadline) -> io::Result<bool> {
    let end = end_of_exits(deadline);
    loop {
        // Before the look: this thread may lose its processor as well, and what it saw before that is old.
        let (is_late, is_over) = (deadline.has_passed(), end.has_passed());
        if has_one_thread()? {
            return Ok(true);
        }
        if is_over || is_late && !are_others_exiting().unwrap_or(false) {
            return Ok(false);
        }
        // The kernel tells nobody but a tracer when it has taken down a thread.
        thread::sleep(LOOK);
    }
}

/// Until when threads are waited for that are exiting.
fn end_of_exits(deadline: Deadline) -> Deadline {
    if deadline == Deadline::NOW {
        return deadline;
    }
    deadline.remaining().map_or(Deadline::NEVER, |left| Deadline::after(left.saturating_add(EXITING_MAX)))
}

/// True when the kernel is ending each thread but this one.
///
/// False in any but the process's first thread: the first one stays until all others are gone, though it may have ended.
fn are_others_exiting() -> io::Result<bool> {
    let own = pid();
    if thread_id() != own {
        return Ok(false);
    }
    for thread in threads_of(own)? {
        if thread != own && !is_thread_exiting(own, thread)? {
            return Ok(false);
        }
    }
    Ok(true)
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
