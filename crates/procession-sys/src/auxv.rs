//! What the kernel told the program at its start.
//!
//! # Safety
//! `getauxval` takes a number and returns one.

#![expect(unsafe_code, reason = "the auxiliary vector is libc's")]

/// The address of the main executable's program headers in memory.
#[must_use]
pub fn program_headers() -> usize {
    // SAFETY: takes and returns plain numbers.
    unsafe { libc::getauxval(libc::AT_PHDR) as usize }
}

/// True for a program that runs with rights its caller has not (set-user-id and the like).
#[must_use]
pub fn is_privileged() -> bool {
    // SAFETY: takes and returns plain numbers.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
