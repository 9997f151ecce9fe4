//! Contestants that are measured in turn, and what came of it: what the groups have in common.
//!
//! Relies on [`rounds`](crate::rounds) for the turns and on [`runner`](crate::runner) for the processes.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::machine::Stolen;
use crate::page::{digits, line, time};
use crate::rounds::{Plan, Rounds, alternate, median, ratio};
use crate::runner::Runner;

/// Does the same as the others of its table, in its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contestant {
    /// What the table calls it.
    pub name: String,
    /// True if it is what this project makes.
    pub is_ours: bool,
    /// In which runner it runs.
    pub side: Side,
    /// What its runner is asked for.
    pub method: String,
}

/// One of this project's.
#[must_use]
pub fn ours(name: &str, method: &str) -> Contestant {
    Contestant { name: name.to_owned(), is_ours: true, side: Side::Ours, method: method.to_owned() }
}

/// Another that is written in Rust, or that Rust calls.
#[must_use]
pub fn other(name: &str, method: &str) -> Contestant {
    Contestant { is_ours: false, side: Side::Others, ..ours(name, method) }
}

/// One of CPython's.
#[must_use]
pub fn cpython(name: &str, method: &str) -> Contestant {
    Contestant { is_ours: false, side: Side::CPython, ..ours(name, method) }
}

/// Contestants at each of some sizes, types or numbers: one table of the page.
#[derive(Debug)]
pub struct Table {
    /// What stands at the head of the contestants' names.
    pub head: &'static str,
    /// What stands at the heads of the columns.
    pub columns: &'static [&'static str],
    /// Who takes part in a column.
    pub contestants: fn(&str) -> Vec<Contestant>,
    /// What is promised.
    pub figures: Vec<Figure>,
    /// How many times as long as the plan says a contestant's turn is.
    pub slots: f64,
    /// What its numbers are.
    pub unit: Unit,
}

/// What the runners of a table count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The time of a run.
    Time,
    /// Bytes, each of which a runner says to be a millisecond.
    Bytes,
}

impl Unit {
    /// As the page shows it.
    fn shown(self, seconds: f64) -> String {
        match self {
            Self::Time => time(seconds),
            Self::Bytes => format!("{:.0} bytes", seconds * 1e3),
        }
    }
}

impl Table {
    /// Measures all its columns.
    ///
    /// # Errors
    /// What the runners say.
    pub fn measure(self, runners: &mut Runners, plan: Plan) -> Result<Results> {
        let Self { head, columns, contestants, figures, slots, unit } = self;
        let plan = Plan { slot: plan.slot.mul_f64(slots), ..plan };
        let mut measured = Vec::new();
        for &column in columns {
            let contestants = contestants(column);
            println!("{} contestants, {head}: {column}", contestants.len());
            measured.push(measure(runners, &contestants, column, plan)?);
        }
        Ok(Results { head, contestants: contestants(columns[0]), figures, measured, unit })
    }
}

/// In which runner a contestant runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A program of Rust.
    Ours,
    /// The same program by itself: what our forks do once for all later ones would be done for a bare fork as well.
    Others,
    /// A script.
    CPython,
}

/// The processes in which the contestants run, each with the same amount of memory.
#[derive(Debug)]
pub struct Runners {
    ours: Runner,
    others: Runner,
    cpython: Runner,
}

impl Runners {
    /// Starts them: a program beside this one, twice, and a script of the folder `python`, beside which nothing compiled is
    /// left.
    ///
    /// # Errors
    /// Names the one that is missing or does not hold so much.
    pub fn start(program: &Path, script: &str, mib: u64) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        Ok(Self {
            ours: Runner::start("our runner", program.as_os_str(), &[], mib)?,
            others: Runner::start("the runner of the others", program.as_os_str(), &[], mib)?,
            cpython: Runner::start("CPython", OsStr::new("python3"), &[OsStr::new("-B"), script.as_os_str()], mib)?,
        })
    }

    /// Has a contestant run so many times in turn.
    ///
    /// # Errors
    /// A run failed.
    pub fn run(&mut self, contestant: &Contestant, times: u64) -> Result<Duration> {
        let runner = match contestant.side {
            Side::Ours => &mut self.ours,
            Side::Others => &mut self.others,
            Side::CPython => &mut self.cpython,
        };
        runner.run(&contestant.method, times)
    }

    /// The version of the Python that takes part.
    #[must_use]
    pub fn python(&self) -> &str {
        self.cpython.version()
    }
}

/// What one column of a table gave.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What stands at its head.
    pub column: String,
    /// A run's seconds in each round, for each contestant.
    pub times: Vec<Vec<f64>>,
    /// What part of the processors' time others had meanwhile.
    pub stolen: f64,
}

/// Measures the contestants of one column.
///
/// # Errors
/// What the runners say.
pub fn measure(runners: &mut Runners, contestants: &[Contestant], column: &str, plan: Plan) -> Result<Measured> {
    let mut watch = Stolen::watch();
    let run = |idx: usize, times| runners.run(&contestants[idx], times);
    let Rounds { times, stolen } = alternate(contestants.len(), plan, || watch.share(), run)?;
    Ok(Measured { column: column.to_owned(), times, stolen })
}

/// A promise: how much longer than its limit one of ours may take.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// What the table calls it.
    pub title: &'static str,
    /// One of ours.
    pub ours: &'static str,
    /// Another contestant.
    pub limit: &'static str,
    /// The column in which it holds.
    pub column: &'static str,
    /// How many times the limit's time ours may take.
    pub at_most: f64,
}

/// What the contestants of one table were promised to do, and did.
#[derive(Debug)]
pub struct Results {
    /// What stands at the head of their names.
    pub head: &'static str,
    /// Who took part, by name the same in all columns.
    pub contestants: Vec<Contestant>,
    /// What was promised.
    pub figures: Vec<Figure>,
    /// What came out.
    pub measured: Vec<Measured>,
    /// What its numbers are.
    pub unit: Unit,
}

impl Results {
    /// A contestant's times in one column.
    fn times(&self, name: &str, column: &str) -> Option<&[f64]> {
        let idx = self.contestants.iter().position(|contestant| contestant.name == name)?;
        let measured = self.measured.iter().find(|measured| measured.column == column)?;
        measured.times.get(idx).map(Vec::as_slice)
    }

    /// Every contestant's median in every column, as a table.
    #[must_use]
    pub fn all(&self) -> String {
        let columns = self.measured.iter().map(|measured| measured.column.clone());
        let head: Vec<String> = std::iter::once(self.head.to_owned()).chain(columns).collect();
        let mut text = String::new();
        line(&mut text, &head);
        text.push_str(&"|---".repeat(head.len()));
        text.push_str("|\n");
        for (idx, contestant) in self.contestants.iter().enumerate() {
            let name = if contestant.is_ours { format!("**{}**", contestant.name) } else { contestant.name.clone() };
            let times = self.measured.iter().map(|measured| self.unit.shown(median(&measured.times[idx])));
            line(&mut text, &std::iter::once(name).chain(times).collect::<Vec<_>>());
        }
        text
    }
}

/// The promises with what came of them. One about a column that was not measured is left out.
#[must_use]
pub fn figures(results: &[Results]) -> String {
    let mut text = String::from("| figure | target | measured | met | ours | limit |\n|---|---|---|---|---|---|\n");
    let all = results.iter().flat_map(|results| results.figures.iter().map(move |figure| (results, figure)));
    for (results, Figure { title, ours, limit, column, at_most }) in all {
        let (Some(our_times), Some(limit_times)) = (results.times(ours, column), results.times(limit, column)) else {
            continue;
        };
        let measured = ratio(our_times, limit_times);
        let met = if measured <= *at_most { "yes" } else { "no" };
        let [ours, theirs] = [our_times, limit_times].map(|times| results.unit.shown(median(times)));
        line(&mut text, &[*title, &format!("≤ {at_most} × {limit}"), &digits(measured), met, &ours, &theirs]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channels, locks, managers, pool, shared_memory, strangers};

    /// The tables of all groups.
    fn all() -> impl Iterator<Item = Table> {
        let early = [shared_memory::tables(), channels::tables(), strangers::tables()];
        early.into_iter().chain([locks::tables(), pool::tables(), managers::tables()]).flatten()
    }

    #[test]
    fn every_figure_is_about_contestants_and_a_column_that_are_there() {
        for table in all() {
            let contestants = (table.contestants)(table.columns[0]);
            for figure in &table.figures {
                assert!(table.columns.contains(&figure.column), "{}", figure.title);
                let is_there = |name| contestants.iter().any(|contestant| contestant.name == name);
                assert!(is_there(figure.ours) && is_there(figure.limit), "{}", figure.title);
            }
        }
    }

    #[test]
    fn the_contestants_are_the_same_in_all_columns_and_asked_for_different_things() {
        for Table { columns, contestants, .. } in all() {
            let named = |column: &str| contestants(column).into_iter().map(|one| one.name).collect::<Vec<_>>();
            let asked: Vec<_> =
                columns.iter().flat_map(|column| contestants(column)).map(|one| (one.side as u8, one.method)).collect();
            for (idx, method) in asked.iter().enumerate() {
                assert!(!asked[..idx].contains(method), "{method:?}");
            }
            assert!(columns.iter().all(|column| named(column) == named(columns[0])));
            let names: std::collections::BTreeSet<_> = named(columns[0]).into_iter().collect();
            assert_eq!(names.len(), contestants(columns[0]).len(), "{names:?}");
        }
    }
}
