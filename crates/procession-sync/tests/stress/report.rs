//! What came of a run: how many were killed where, and whether all held.

use std::fmt;
use std::time::Duration;

use crate::board::{Board, Common};
use crate::subject::{Place, Where};

/// Kills at each place of which a full run must have as many,
const KILLS_EACH: u64 = 50;

/// and from how many kills on a run is a full one.
const FULL: u64 = 10_000;

/// Longer than this no death may go unnoticed by the next taker: twenty times what is promised, for busy machines.
const NOTICED_MAX: Duration = Duration::from_secs(2);

/// So many sleeps of any run may end by themselves although others were woken, as a thread may be late on its way into the
/// kernel; as many turns may be had so with no kill to explain it.
const FLUKES: u64 = 3;

/// And one in so many.
const SLEEPS_PER_FLUKE: u64 = 10_000;

/// What is counted on the supervisor's side.
pub(crate) struct Report {
    name: &'static str,
    seed: u64,
    pub(crate) places: Vec<Place>,
    /// Kills at each place; the first is for those that are none of the subject's.
    at: Vec<u64>,
    outside: u64,
    /// Of those from outside.
    inside: u64,
    rounds: u64,
}

/// The end of a run.
pub(crate) struct Verdict {
    text: String,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new(name: &'static str, seed: u64, places: Vec<Place>) -> Self {
        let at = vec![0; places.len() + 1];
        Self { name, seed, places, at, outside: 0, inside: 0, rounds: 0 }
    }

    pub(crate) fn kills(&self) -> u64 {
        self.at.iter().sum::<u64>() + self.outside
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds
    }

    pub(crate) fn begin_round(&mut self) {
        self.rounds += 1;
    }

    /// A worker's word for a place.
    pub(crate) fn place(&self, word: u64) -> &'static str {
        (word as usize).checked_sub(1).and_then(|at| self.places.get(at)).map_or("elsewhere", |place| place.name)
    }

    /// Kills at each place, in their order.
    pub(crate) fn kills_at(&self) -> &[u64] {
        &self.at[1..]
    }

    pub(crate) fn killed_at(&mut self, word: u64) {
        self.at[word as usize % (self.places.len() + 1)] += 1;
    }

    pub(crate) fn killed_outside(&mut self, is_inside: bool) {
        self.outside += 1;
        self.inside += u64::from(is_inside);
    }

    fn inside(&self) -> u64 {
        let at = self.places.iter().zip(&self.at[1..]).filter(|(place, _)| place.is == Where::Inside);
        at.map(|(_, kills)| kills).sum::<u64>() + self.inside
    }

    /// What workers have noted that must not be.
    pub(crate) fn failures(&self, board: &Board) -> Vec<String> {
        let mut failures = Vec::new();
        let flukes = FLUKES + board.get(Common::Sleeps) / SLEEPS_PER_FLUKE;
        let (overslept, rescues) = (board.get(Common::Overslept), board.get(Common::Unexplained));
        if overslept > flukes {
            failures
                .push(format!("lost wake-ups: {overslept} sleeps went on although others were woken again and again"));
        }
        if rescues > flukes {
            failures.push(format!("lost wake-ups: {rescues} turns were had only because a sleeper looked by itself"));
        }
        if slowest(board) > NOTICED_MAX {
            failures.push(format!("a death was noticed only after {:?}", slowest(board)));
        }
        failures
    }

    /// Adds what the workers have noted, and judges.
    pub(crate) fn finish(self, board: &Board, outcome: Result<(), String>) -> Verdict {
        let mut failures = self.failures(board);
        failures.extend(outcome.err());
        if self.kills() >= FULL {
            self.check_spread(&mut failures);
        }
        Verdict { text: format!("{self}{}", told(board)), failures }
    }

    fn check_spread(&self, failures: &mut Vec<String>) {
        for (place, &kills) in self.places.iter().zip(&self.at[1..]) {
            if place.is != Where::Seldom && kills < KILLS_EACH {
                failures.push(format!("only {kills} kills at {:?}: the run says little about it", place.name));
            }
        }
        if self.inside() * 3 < self.kills() {
            failures.push(format!("only {} of {} kills were inside", self.inside(), self.kills()));
        }
    }
}

/// The longest time between a death and the next taker.
fn slowest(board: &Board) -> Duration {
    Duration::from_nanos(board.get(Common::Slowest))
}

/// The lines of what the workers have noted.
fn told(board: &Board) -> String {
    let get = |word| board.get(word);
    let lines = [
        ("uses", get(Common::CountOut).to_string()),
        ("told of a death", get(Common::Told).to_string()),
        ("slowest take after a death", format!("{:.1} ms", slowest(board).as_secs_f64() * 1e3)),
        ("sleeps", get(Common::Sleeps).to_string()),
        ("  that ended by themselves", get(Common::Looks).to_string()),
        ("  although others were woken", get(Common::Overslept).to_string()),
        ("rescues (had after looking again)", get(Common::Rescues).to_string()),
        ("  that no kill explains", get(Common::Unexplained).to_string()),
    ];
    lines.map(|(what, count)| format!("  {what:<36}{count:>10}\n")).concat()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, rounds, .. } = self;
        writeln!(f, "{name}: {} kills in {rounds} rounds, seed {seed}", self.kills())?;
        let most = self.at.iter().copied().max().unwrap_or_default().max(self.outside).max(1);
        let mut line = |place: &str, is_inside: bool, kills: u64| {
            let bar = "#".repeat((kills * 40).div_ceil(most) as usize);
            writeln!(f, "  {} {place:<34}{kills:>10} {bar}", if is_inside { "*" } else { " " })
        };
        for (place, &kills) in self.places.iter().zip(&self.at[1..]) {
            line(place.name, place.is == Where::Inside, kills)?;
        }
        line("elsewhere", false, self.at[0])?;
        line("from outside, at any instruction", false, self.outside)?;
        let (inside, kills) = (self.inside(), self.kills().max(1));
        writeln!(f, "  {:<36}{inside:>10} ({} %)", "* inside", inside * 100 / kills)
    }
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
