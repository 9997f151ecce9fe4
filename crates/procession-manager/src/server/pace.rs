//! How often clients may ask, and who of them is left alone for a while: whoever asks oftener is read from later.
//!
//! Relies on the thread that leads to ask before it reads, and to look at nobody who rests.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// So much of a second's requests may come at once.
const BURST_TIME: Duration = Duration::from_millis(100);

/// The clients' pace; without a rate nothing is noted.
pub(super) struct Pace {
    /// How long a request takes of its client's time.
    cost: Option<Duration>,
    /// Until when each client's time is used up. One that has not asked for longer than [`BURST_TIME`] may have no entry.
    used: HashMap<u64, Instant>,
    /// Those that are not looked at, and until when.
    resting: HashMap<u64, Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        let cost = rate.map(|rate| Duration::from_secs(1) / rate.get());
        Self { cost, used: HashMap::new(), resting: HashMap::new() }
    }

    /// Whether a client has asked too often.
    pub(super) fn holds_back(&self, client: u64) -> bool {
        let Some((cost, used)) = self.cost.zip(self.used.get(&client)) else { return false };
        *used > Instant::now() + BURST_TIME.max(cost)
    }

    /// Counts a request of a client.
    pub(super) fn count(&mut self, client: u64) {
        if let Some(cost) = self.cost {
            let now = Instant::now();
            let used = self.used.entry(client).or_insert(now);
            *used = (*used).max(now) + cost;
        }
    }

    /// Notes that nobody looks at a client until its time has come.
    pub(super) fn rest(&mut self, client: u64) {
        let until = self.used.get(&client).copied().unwrap_or_else(Instant::now);
        self.resting.insert(client, until - BURST_TIME / 2);
    }

    /// Notes that nobody looks at a client for so long, however often it has asked.
    pub(super) fn rest_for(&mut self, client: u64, time: Duration) {
        self.resting.insert(client, Instant::now() + time);
    }

    pub(super) fn rests(&self, client: u64) -> bool {
        !self.resting.is_empty() && self.resting.contains_key(&client)
    }

    /// When the next one's time comes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.resting.values().min().copied()
    }

    /// Has those rest no more whose time has come.
    pub(super) fn wake(&mut self) {
        if !self.resting.is_empty() {
            let now = Instant::now();
            self.resting.retain(|_, until| *until > now);
        }
    }

    pub(super) fn forget(&mut self, client: u64) {
        self.used.remove(&client);
        self.resting.remove(&client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_rests_and_nobody_else() {
        let mut pace = Pace::new(NonZeroU32::new(100));
        let mut ask = || {
            !pace.holds_back(1) && {
                pace.count(1);
                true
            }
        };
        let asked = (0..1000).take_while(|_| ask()).count();
        assert!((10..=500).contains(&asked), "a machine may be slow, but not that slow: {asked}");
        assert!(!pace.holds_back(2));
        pace.rest(1);
        pace.wake();
        assert!(pace.rests(1) && !pace.rests(2));
        assert!(pace.next().unwrap() <= Instant::now() + BURST_TIME);
        pace.forget(1);
        assert!(!pace.rests(1) && !pace.holds_back(1) && pace.used.is_empty());
    }

    #[test]
    fn who_is_left_alone_is_looked_at_again_in_time() {
        let mut pace = Pace::new(None);
        pace.rest_for(1, Duration::ZERO);
        pace.rest_for(2, BURST_TIME * 100);
        assert!(pace.rests(1) && pace.next().unwrap() <= Instant::now());
        pace.wake();
        assert!(!pace.rests(1) && pace.rests(2));
    }

    #[test]
    fn without_a_rate_nothing_is_noted() {
        let mut pace = Pace::new(None);
        (0..100_000).for_each(|_| pace.count(1));
        assert!(!pace.holds_back(1) && pace.used.is_empty());
    }
}
