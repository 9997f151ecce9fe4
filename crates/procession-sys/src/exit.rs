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

/// Writes out what C code has printed and C's streams still hold. A fork would copy it, and both would write it.
pub fn flush_c_streams() {
    // SAFETY: a null stream stands for all of them; each is locked while it is written out.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Leaves out, when this process ends, the exit handlers that have been registered so far: in a forked child those are
/// its parent's. Handlers registered later do run.
///
/// # Errors
/// `ENOMEM`. With musl, which cannot do it, nothing is done.
pub fn leave_out_exit_handlers() -> io::Result<()> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: a function item lives as long as the image, and the argument that it is given is not used.
        let result = unsafe { on_exit(leave, std::ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
    }
    Ok(())
}

/// Ends the process where its inherited exit handlers would be next, handlers being called newest first.
#[cfg(target_env = "gnu")]
extern "C" fn leave(code: libc::c_int, _: *mut libc::c_void) {
    flush_c_streams();
    exit_now(code);
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// on_exit(3): as `atexit`, with the exit code. Not in libc.
    fn on_exit(hook: extern "C" fn(libc::c_int, *mut libc::c_void), argument: *mut libc::c_void) -> libc::c_int;
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
