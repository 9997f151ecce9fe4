//! How many bytes and descriptors the objects of this process hold that every manager has.
//!
//! Relies on whatever is kept to have a [`Charge`], which ends with it. It is counted for the process, as its memory is the
//! process's: for each value one addition when it comes, and one when it goes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Refusal;
use crate::limits::{self, BYTES_MAX, HELD_DESCRIPTORS_MAX, Limits};

/// What a value takes besides its bytes, as far as it is counted.
const BYTES_BESIDE: u64 = 64;

static HELD: AtomicU64 = AtomicU64::new(0);

/// What the server that was made last in this process may have held.
static LIMIT: AtomicU64 = AtomicU64::new(BYTES_MAX);

/// The same of descriptors.
static DESCRIPTORS: AtomicU64 = AtomicU64::new(0);
static DESCRIPTORS_LIMIT: AtomicU64 = AtomicU64::new(HELD_DESCRIPTORS_MAX as u64);

/// How much may be held from now on.
pub(crate) fn set_limits(limits: &Limits) {
    LIMIT.store(limits.bytes, Ordering::Relaxed);
    let open_max = procession_sys::open_files_max().unwrap_or(u64::MAX);
    DESCRIPTORS_LIMIT.store((limits.descriptors as u64).min(open_max / 2), Ordering::Relaxed);
}

/// Refuses when more is held than may be.
fn check() -> Result<(), Refusal> {
    let (held, limit) = (HELD.load(Ordering::Relaxed), LIMIT.load(Ordering::Relaxed));
    limits::check("bytes in containers, queues, values, names and calls that wait (`Limits::bytes`)", held, limit)
}

/// What one value takes, as long as it is kept.
#[derive(Debug)]
pub(crate) struct Charge(u64);

impl Charge {
    pub(crate) fn of(bytes: usize) -> Self {
        let bytes = bytes as u64 + BYTES_BESIDE;
        HELD.fetch_add(bytes, Ordering::Relaxed);
        Self(bytes)
    }

    /// That of something which may be kept.
    ///
    /// # Errors
    /// This process holds as many bytes as it may.
    pub(crate) fn checked(bytes: usize) -> Result<Self, Refusal> {
        let charge = Self::of(bytes);
        check().map(|()| charge)
    }

    /// Counts what belongs to it as well.
    pub(super) fn add(&mut self, bytes: usize) {
        HELD.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0 += bytes as u64;
    }

    /// The same of what may be kept, or else nothing is to be.
    pub(super) fn add_checked(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.add(bytes);
        check()
    }
}

/// The descriptors of one value, as long as it is kept.
#[derive(Debug)]
pub(super) struct Files(u64);

impl Files {
    /// Those of a value that may be kept.
    ///
    /// # Errors
    /// This process holds as many descriptors as it may.
    pub(super) fn checked(count: usize) -> Result<Self, Refusal> {
        let files = Self(count as u64);
        let held = DESCRIPTORS.fetch_add(files.0, Ordering::Relaxed) + files.0;
        let of = "descriptors in containers, queues and values (`Limits::descriptors`, and half of `RLIMIT_NOFILE`)";
        limits::check(of, held, DESCRIPTORS_LIMIT.load(Ordering::Relaxed)).map(|()| files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        DESCRIPTORS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl Default for Charge {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}
