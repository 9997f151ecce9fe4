//! glibc's robust mutex that processes share, as its manual uses it: pthread_mutexattr_setrobust(3).
//!
//! # Safety
//! The mutex is in a slot's bytes, which are aligned to 64, more than it has, and mapped for as long as the slot lives. It
//! is initialized before another process gets it, and never moves. Only the thread that has it frees it.

#![expect(unsafe_code, reason = "the C library's mutex is what the lock is measured against")]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;

use procession_benches::Result;
use procession_shm::arena::Slot;
use serde::{Deserialize, Serialize};

/// Room for `pthread_mutex_t`, which has 40 bytes or 48, and for `pthread_mutexattr_t`, which has 4 or 8.
#[repr(C, align(64))]
struct Mutex([u8; 64]);
#[repr(C, align(8))]
struct Attributes([u8; 64]);

const PROCESS_SHARED: c_int = 1;
const ROBUST: c_int = 1;

/// `EBUSY`.
const BUSY: c_int = 16;

unsafe extern "C" {
    fn pthread_mutexattr_init(attributes: *mut Attributes) -> c_int;
    fn pthread_mutexattr_setpshared(attributes: *mut Attributes, shared: c_int) -> c_int;
    fn pthread_mutexattr_setrobust(attributes: *mut Attributes, robust: c_int) -> c_int;
    fn pthread_mutexattr_destroy(attributes: *mut Attributes) -> c_int;
    fn pthread_mutex_init(mutex: *mut Mutex, attributes: *const Attributes) -> c_int;
    fn pthread_mutex_trylock(mutex: *mut Mutex) -> c_int;
    fn pthread_mutex_lock(mutex: *mut Mutex) -> c_int;
    fn pthread_mutex_unlock(mutex: *mut Mutex) -> c_int;
}

/// A mutex in a slot.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Robust(Slot);

impl Robust {
    pub(crate) fn new() -> Result<Self> {
        let slot = Slot::allocate(size_of::<Mutex>(), 0)?;
        let mut attributes = MaybeUninit::<Attributes>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: there is room for what it writes.
        ok(unsafe { pthread_mutexattr_init(attributes) })?;
        // SAFETY: initialized above.
        ok(unsafe { pthread_mutexattr_setpshared(attributes, PROCESS_SHARED) })?;
        // SAFETY: initialized above.
        ok(unsafe { pthread_mutexattr_setrobust(attributes, ROBUST) })?;
        // SAFETY: the slot is new, and nobody else's yet (see the top of this file).
        ok(unsafe { pthread_mutex_init(slot.as_ptr()?.cast(), attributes) })?;
        // SAFETY: initialized above, and not used again.
        ok(unsafe { pthread_mutexattr_destroy(attributes) })?;
        Ok(Self(slot))
    }

    /// Whether it refuses to be taken.
    pub(crate) fn is_held(&self) -> Result<bool> {
        // SAFETY: initialized by whoever made it (see the top of this file).
        match unsafe { pthread_mutex_trylock(self.0.as_ptr()?.cast()) } {
            BUSY => Ok(true),
            0 => Err("taken twice".into()),
            code => Err(io::Error::from_raw_os_error(code).into()),
        }
    }

    /// Takes it, runs, and frees it. A holder that has died is an error: none does.
    #[inline]
    pub(crate) fn with<R>(&self, run: impl FnOnce() -> R) -> Result<R> {
        let mutex: *mut Mutex = self.0.as_ptr()?.cast();
        // SAFETY: initialized by whoever made it (see the top of this file).
        ok(unsafe { pthread_mutex_lock(mutex) })?;
        let result = run();
        // SAFETY: this thread has just taken it.
        ok(unsafe { pthread_mutex_unlock(mutex) })?;
        Ok(result)
    }
}

fn ok(code: c_int) -> Result {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code).into()) }
}
