//! What came of a run: how many were killed where, how tasks ended, and whether all held.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use procession_pool::TaskError;

use crate::board::Board;
use crate::chaos::Chaos;
use crate::job::PLACES;
use crate::maps::Seen;

/// Kills at each place of which a full run must have as many,
const KILLS_EACH: u64 = 50;

/// and from how many kills on a run is a full one.
const FULL: u64 = 10_000;

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) chaos: Arc<Chaos>,
    /// How tasks ended.
    ends: BTreeMap<&'static str, u64>,
    pub(crate) rounds: u64,
    pub(crate) failures: Vec<String>,
}

/// The end of a run.
pub(crate) struct Verdict {
    text: String,
    failures: Vec<String>,
}

impl Report {
    /// Workers that have ended otherwise than by their pool's word, or were killed when they had.
    pub(crate) fn kills(&self) -> u64 {
        self.kills_inside() + self.chaos.kills.load(SeqCst) + self.ended(TIMED_OUT)
    }

    fn kills_inside(&self) -> u64 {
        let places = (0..PLACES.len()).map(Some).chain([None]);
        places.map(|place| Board::get().kills(place).load(SeqCst)).sum()
    }

    fn ended(&self, how: &str) -> u64 {
        self.ends.get(how).copied().unwrap_or_default()
    }

    /// A task has ended.
    pub(crate) fn note<T>(&mut self, outcome: &Result<T, TaskError>) {
        let how = match outcome {
            Ok(_) => "with a result",
            Err(TaskError::WorkerDied { .. }) => DIED,
            Err(TaskError::Panicked { .. }) => "with its panic",
            Err(TaskError::TimedOut { .. }) => TIMED_OUT,
            Err(TaskError::Cancelled) => "cancelled",
            Err(_) => "otherwise",
        };
        *self.ends.entry(how).or_default() += 1;
    }

    /// Items of maps have ended.
    pub(crate) fn note_items(&mut self, seen: Seen) {
        *self.ends.entry("(items of maps) with a result").or_default() += seen.results;
        *self.ends.entry("(items of maps) with an error").or_default() += seen.errors;
        // If something else was wrong before, it was ended in the middle.
        self.failures.extend(seen.failure.filter(|_| self.failures.is_empty()));
    }

    pub(crate) fn finish(mut self, name: &str, seed: u64) -> Verdict {
        let (strays, kills) = (Board::get().strays(), self.kills());
        let is_whole = self.failures.is_empty() && kills >= FULL;
        if strays > 0 {
            self.failures.push(format!("{strays} tasks were begun that had ended before"));
        }
        if self.ended(DIED) > kills {
            self.failures.push(format!("{} tasks died of {kills} deaths", self.ended(DIED)));
        }
        let mut text = format!("{name}: {kills} kills in {} rounds, seed {seed}\n", self.rounds);
        for (at, place) in PLACES.iter().enumerate() {
            let kills_here = Board::get().kills(Some(at)).load(SeqCst);
            if is_whole && kills_here < KILLS_EACH && !SELDOM.contains(place) {
                self.failures.push(format!("only {kills_here} kills at {place:?}: the run says little about it"));
            }
            line(&mut text, place, kills_here);
        }
        line(&mut text, "elsewhere", Board::get().kills(None).load(SeqCst));
        line(&mut text, "from outside, at any instruction", self.chaos.kills.load(SeqCst));
        line(&mut text, "(stopped from outside)", self.chaos.stops.load(SeqCst));
        for (how, count) in &self.ends {
            line(&mut text, &format!("tasks that ended {how}"), *count);
        }
        Verdict { text, failures: self.failures }
    }
}

const DIED: &str = "with their worker";
const TIMED_OUT: &str = "as they took too long";

/// Places that are passed by accident only: an order is revoked just when its worker comes to it.
const SELDOM: [&str; 1] = ["desk: skipped"];

fn line(text: &mut String, what: &str, count: u64) {
    let _ = writeln!(text, "  {what:<44}{count:>10}");
}

impl Verdict {
    /// Shows it; false for a run that has failed.
    pub(crate) fn show(&self) -> bool {
        print!("{}", self.text);
        for failure in &self.failures {
            println!("  FAILED: {failure}");
        }
        self.failures.is_empty()
    }
}
