//! How long somebody is waited for who takes what he is sent bit by bit.
//!
//! Relies on whoever sends to tell how much has gone. Who takes a little now and then is slow, and only who takes nothing for
//! a while is gone, or does not read.

use std::time::Duration;

use procession_sys::Deadline;

/// Somebody's patience.
#[derive(Debug)]
pub(crate) struct Patience {
    silence_max: Duration,
    sent_bytes: u64,
    until: Deadline,
}

impl Patience {
    /// With who has been sent so many bytes by now.
    pub(crate) fn new(silence_max: Duration, sent_bytes: u64) -> Self {
        Self { silence_max, sent_bytes, until: Deadline::after(silence_max) }
    }

    /// When it is over, if no more goes than these bytes.
    pub(crate) fn until(&mut self, sent_bytes: u64) -> Deadline {
        if sent_bytes != self.sent_bytes {
            *self = Self::new(self.silence_max, sent_bytes);
        }
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_anew_with_each_byte() {
        let mut patience = Patience::new(Duration::from_secs(60), 5);
        let first = patience.until(5);
        assert_eq!(patience.until(5), first);
        assert!(patience.until(6).min(first) == first && patience.until(6) != first);
        let second = patience.until(6);
        assert!(patience.until(6) == second && !second.has_passed());
        assert!(Patience::new(Duration::ZERO, 0).until(0).has_passed());
    }
}
