//! When no descriptors are left for what has come: what that is known by, how long nobody tries again, and how often it is said.
//!
//! Relies on nothing. What cannot be received for lack of descriptors stays where it is, so nothing is lost by a wait.

use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long nobody tries again.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// How long it is not said again.
const SILENCE: Duration = Duration::from_secs(10);

/// Whether no descriptors are left in this process, or the system, for what has come: `ENFILE`, `EMFILE`. What lacks memory is
/// another matter: it may have been taken from where it was.
pub(crate) fn is_it(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// When it was said last.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<Option<Instant>>);

impl Said {
    /// True if it is to be said now, and then not for a while: who tries again and again says it once.
    pub(crate) fn is_due(&self) -> bool {
        let mut said = self.0.lock();
        let is_due = said.is_none_or(|said| said.elapsed() >= SILENCE);
        if is_due {
            *said = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_again_after_a_while() {
        let said = Said::default();
        assert!(said.is_due() && !said.is_due());
        *said.0.lock() = Instant::now().checked_sub(SILENCE);
        assert!(said.is_due() && !said.is_due());
    }

    #[test]
    fn a_lack_of_memory_is_none() {
        assert!([23, 24].map(io::Error::from_raw_os_error).iter().all(is_it));
        assert!(![11, 12].map(io::Error::from_raw_os_error).iter().any(is_it));
    }
}
