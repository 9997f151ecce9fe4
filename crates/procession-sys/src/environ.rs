//! The environment of a process that has just been forked for somebody else.
//!
//! # Safety
//! The C environment has no lock that other code respects, so changing it is for processes with one thread.

#![expect(unsafe_code, reason = "the environment is a global of libc")]

use std::ffi::{OsStr, OsString};

/// Makes `wanted` the whole environment. Names that no environment can hold are left out.
///
/// # Safety
/// This process has one thread.
pub unsafe fn replace_environment(wanted: &[(OsString, OsString)]) {
    for (name, _) in std::env::vars_os() {
        if !wanted.iter().any(|(kept, _)| *kept == name) {
            // SAFETY: one thread, says the caller; the name comes from the environment itself.
            unsafe { std::env::remove_var(&name) };
        }
    }
    for (name, value) in wanted.iter().filter(|(name, value)| is_variable(name, value)) {
        // SAFETY: one thread, says the caller; the name and the value were just checked.
        unsafe { std::env::set_var(name, value) };
    }
}

/// True for what an environment can hold: a name that is not empty and has no `=`, and no NUL in either.
#[must_use]
pub fn is_variable(name: &OsStr, value: &OsStr) -> bool {
    let (name, value) = (name.as_encoded_bytes(), value.as_encoded_bytes());
    !name.is_empty() && !name.contains(&b'=') && !name.contains(&0) && !value.contains(&0)
}
