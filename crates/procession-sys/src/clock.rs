//! Monotonic deadlines: the one place where a `Duration` becomes a point in time.

use std::time::{Duration, Instant};

use rustix::time::Timespec;

/// A point on the monotonic clock at which a wait gives up, or never.
///
/// Made once at the entry of a waiting call; each retry asks what remains, so an interrupted wait never grows.
///
/// ```
/// use procession_sys::Deadline;
/// use std::time::Duration;
///
/// assert!(Deadline::after(Duration::MAX).remaining().is_none()); // Too far to matter: never.
/// assert_eq!(Deadline::after(Duration::ZERO).remaining(), Some(Duration::ZERO));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(When);

/// In the order of time. "Now" asks no clock: in a process that was just forked its page is not mapped yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    Now,
    At(Instant),
    Never,
}

impl Deadline {
    /// Waits for ever.
    pub const NEVER: Self = Self(When::Never);

    /// Does not wait.
    pub const NOW: Self = Self(When::Now);

    /// The deadline `wait` from now; a sum that the clock cannot hold means never.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        if wait.is_zero() {
            return Self::NOW;
        }
        Self(Instant::now().checked_add(wait).map_or(When::Never, When::At))
    }

    /// What is left, `None` for a deadline that never comes, zero for one that has passed.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        match self.0 {
            When::Now => Some(Duration::ZERO),
            When::At(at) => Some(at.saturating_duration_since(Instant::now())),
            When::Never => None,
        }
    }

    /// True once nothing is left.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }

    /// The earlier of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// The later of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// What is left in the kernel's form.
    pub(crate) fn timespec(self) -> Option<Timespec> {
        self.remaining().map(timespec)
    }
}

/// The monotonic clock, in nanoseconds: the same in all processes of a machine, and in a word. It is never zero.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is negative, and the sum is enough for five centuries.
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64).max(1)
}

/// A duration in the kernel's form; what does not fit is the largest that does.
fn timespec(wait: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: wait.subsec_nanos().into() }
}
