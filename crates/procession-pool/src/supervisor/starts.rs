//! When workers may be started: at once, unless those before them came to nothing.
//!
//! | what ended | what follows |
//! |---|---|
//! | workers that were never ready, or not in time, a few | the next ones wait, 10 ms at first, then twice as long each time, up to 1 s |
//! | as many of those in a row as the limit, or in as many rounds as a small pool's | a *storm*: from then on one at a time, while a task waits, until one is ready |
//! | one that could not be started as none can be, or was not ready in time while no other is | a storm at once |
//! | workers that were ready, but finished nothing, many in a row | so many more starts in a second, no more |
//! | any other | nothing |

use std::time::Duration;

/// How many workers in a row that were never ready make a storm in a small pool; twice as many as it has, in a large one. As
/// many rounds of starts make one in any, each of which ends with a pause: of few that are started at a time few end.
pub const STORM_DEATHS_MAX: u32 = 8;

/// How long the next start waits after the first worker that was never ready.
const RESTART_BACKOFF: Duration = Duration::from_millis(10);

/// How long the next start waits at most after workers that were never ready.
pub const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How many workers in a row may die ready and without having finished anything before starts are spaced, at least.
const BARREN_DEATHS_FREE: u32 = 16;

/// How far apart starts are then: two thousand a second are next to no load, and more than anybody kills by mistake.
const BARREN_SPACING: Duration = Duration::from_micros(500);

/// What is known of the last ends of workers.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(super) struct Starts {
    size: u32,
    /// How many in a row were never ready, and after how many of them the next ones had to wait.
    fruitless: u32,
    rounds: u32,
    is_storm: bool,
    /// How long the last wait for these was, and when it is over.
    backoff: Duration,
    backoff_until: Duration,
    /// How many in a row were ready and finished nothing.
    barren: u32,
    barren_until: Duration,
}

/// What is known of the next start after one that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    Unknown,
    /// It would come to nothing as well, or is likely to, and takes long.
    None,
}

/// What has come of a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omen {
    /// The limit is reached with this one.
    StormBegins,
    StormGoesOn,
    None,
}

impl Starts {
    pub(super) fn new(size: u32) -> Self {
        Self {
            size,
            fruitless: 0,
            rounds: 0,
            is_storm: false,
            backoff: Duration::ZERO,
            backoff_until: Duration::ZERO,
            barren: 0,
            barren_until: Duration::ZERO,
        }
    }

    /// Before this time no worker is started.
    pub(super) fn not_before(&self) -> Duration {
        self.backoff_until.max(self.barren_until)
    }

    pub(super) fn is_storm(&self) -> bool {
        self.is_storm
    }

    /// How many in a row have ended without having been ready.
    pub(super) fn deaths(&self) -> u32 {
        self.fruitless
    }

    /// A worker ended that was never ready, or could not be started.
    pub(super) fn fruitless(&mut self, outlook: Outlook, now: Duration) -> Omen {
        self.fruitless = self.fruitless.saturating_add(1);
        // Those that end while the next ones wait were started together with the one that made them wait.
        if now >= self.backoff_until {
            self.backoff = (self.backoff * 2).clamp(RESTART_BACKOFF, RESTART_BACKOFF_MAX);
            self.backoff_until = now.saturating_add(self.backoff);
            self.rounds = self.rounds.saturating_add(1);
        }
        if self.is_storm {
            return Omen::StormGoesOn;
        }
        let are_enough = self.fruitless >= self.size.saturating_mul(2).max(STORM_DEATHS_MAX);
        self.is_storm = are_enough || self.rounds >= STORM_DEATHS_MAX || outlook == Outlook::None;
        if self.is_storm { Omen::StormBegins } else { Omen::None }
    }

    /// A worker died that was ready, but had not finished anything.
    pub(super) fn barren(&mut self, now: Duration) {
        self.barren = self.barren.saturating_add(1);
        if self.barren > self.size.saturating_mul(2).max(BARREN_DEATHS_FREE) {
            self.barren_until = self.barren_until.max(now).saturating_add(BARREN_SPACING);
        }
    }

    /// A worker is ready.
    pub(super) fn ready(&mut self) {
        self.fruitless = 0;
        self.rounds = 0;
        self.is_storm = false;
        self.backoff = Duration::ZERO;
        self.backoff_until = Duration::ZERO;
    }

    /// A worker has finished a task.
    pub(super) fn finished(&mut self) {
        self.barren = 0;
    }
}
