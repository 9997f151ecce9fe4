//! Ways out of a process, and which thread takes one.
//!
//! # Safety
//! `_exit` touches no memory of ours; `atexit` takes a function item, which lives as long as the image; `pthread_self`
//! reads a register.

#![expect(unsafe_code, reason = "exit handlers, `_exit` and threads' handles belong to libc")]

use std::io;

/// Ends the process at once: no exit handler runs, nothing is flushed.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// Runs `hook` when the process ends normally: `main` returns or `exit` is called.
///
/// # Errors
/// `ENOMEM`.
pub fn at_exit(hook: extern "C" fn()) -> io::Result<()> {
    // SAFETY: a function item lives as long as the image.
    let result = unsafe { libc::atexit(hook) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOMEM)) }
}

/// The calling thread's handle of libc, as `JoinHandleExt::as_pthread_t` gives it.
///
/// It can be asked for when the thread's locals are gone, where `std::thread::current` may panic. It is another
/// thread's once this one has been joined.
#[must_use]
pub fn current_thread() -> usize {
    // SAFETY: takes no pointer and cannot fail.
    let handle = unsafe { libc::pthread_self() };
    handle as usize
}
