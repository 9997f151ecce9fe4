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
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits for ever.
    pub const NEVER: Self = Self(None);

    /// The deadline `wait` from now; a sum that the clock cannot hold means never.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self(Instant::now().checked_add(wait))
    }

    /// What is left, `None` for a deadline that never comes, zero for one that has passed.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// True once nothing is left.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }

    /// The earlier of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }

    /// The later of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.max(b))),
            _ => Self::NEVER,
        }
    }

    /// What is left in the kernel's form.
    pub(crate) fn timespec(self) -> Option<Timespec> {
        self.remaining().map(timespec)
    }
}

/// A duration in the kernel's form; what does not fit is the largest that does.
fn timespec(wait: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: wait.subsec_nanos().into() }
}
