//! Ways out of a process.
//!
//! # Safety
//! `_exit` touches no memory of ours; `atexit` takes a function item, which lives as long as the image.

#![expect(unsafe_code, reason = "exit handlers and `_exit` belong to libc")]

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
