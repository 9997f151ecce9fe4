//! Group `start_methods`: a child with an empty target is started and joined, by whoever can.
//!
//! The axis is the memory that the starting process holds: a bare fork copies its page tables, an exec does not.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use procession::StartMethod;

use crate::Result;
use crate::rounds::{Plan, alternate};
use crate::runner::Runner;

/// The resident sizes of the starting process, in MiB.
pub const SIZES_MIB: [u64; 4] = [1, 64, 256, 1024];

/// The limits: system calls with nothing of ours around them.
pub const FORK: &str = "fork + wait";
/// The limit of what executes an image.
pub const POSIX_SPAWN: &str = "posix_spawn + wait";
/// The standard library's way to execute an image.
pub const COMMAND: &str = "std::process::Command";
/// The one Rust crate that starts functions in processes as we do.
pub const PROCSPAWN: &str = "procspawn";

/// CPython's methods, as it names them.
const CPYTHON: [&str; 3] = ["fork", "forkserver", "spawn"];

/// Starts children by one method, and joins them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contestant {
    /// What the table calls it.
    pub name: String,
    /// True if it is a start method of ours.
    pub is_ours: bool,
    side: Side,
    /// What its runner calls it.
    method: &'static str,
}

/// In which runner a contestant runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Others,
    CPython,
}

/// All of them: ours, the limits, the peers.
#[must_use]
pub fn contestants() -> Vec<Contestant> {
    let rust = |method: &'static str, side| {
        let is_ours = side == Side::Ours;
        Contestant { name: method.to_owned(), is_ours, side, method }
    };
    let ours = StartMethod::ALL.into_iter().map(|method| rust(method.name(), Side::Ours));
    let others = [FORK, POSIX_SPAWN, COMMAND, PROCSPAWN].into_iter().map(|method| rust(method, Side::Others));
    let cpython = CPYTHON.into_iter().map(|method| Contestant {
        name: format!("CPython {method}"),
        is_ours: false,
        side: Side::CPython,
        method,
    });
    ours.chain(others).chain(cpython).collect()
}

/// The processes in which the contestants run, each with the same amount of memory.
#[derive(Debug)]
pub struct Runners {
    ours: Runner,
    /// By itself: what our forks do once for all later ones would be done for a bare fork as well.
    others: Runner,
    cpython: Runner,
}

impl Runners {
    /// Starts them; `starter` is the program of that name.
    ///
    /// # Errors
    /// Names the one that is missing or does not hold so much.
    pub fn start(starter: &Path, mib: u64) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/start_methods.py");
        Ok(Self {
            ours: Runner::start("our starter", starter.as_os_str(), &[], mib)?,
            others: Runner::start("the starter of the others", starter.as_os_str(), &[], mib)?,
            cpython: Runner::start("CPython", OsStr::new("python3"), &[script.as_os_str()], mib)?,
        })
    }

    /// Starts and joins so many children in turn.
    ///
    /// # Errors
    /// A child did not start, or did not end as it should.
    pub fn run(&mut self, contestant: &Contestant, times: u64) -> Result<Duration> {
        let runner = match contestant.side {
            Side::Ours => &mut self.ours,
            Side::Others => &mut self.others,
            Side::CPython => &mut self.cpython,
        };
        runner.run(contestant.method, times)
    }

    /// The version of the Python that takes part.
    #[must_use]
    pub fn python(&self) -> &str {
        self.cpython.version()
    }
}

/// What one resident size gave.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The size.
    pub mib: u64,
    /// A start's seconds in each round, for each contestant.
    pub times: Vec<Vec<f64>>,
}

/// Measures all contestants at one size.
///
/// # Errors
/// What the runners say.
pub fn measure(runners: &mut Runners, contestants: &[Contestant], mib: u64, plan: Plan) -> Result<Measured> {
    let times = alternate(contestants.len(), plan, |idx, times| runners.run(&contestants[idx], times))?;
    Ok(Measured { mib, times })
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
    /// The resident size at which it holds.
    pub mib: u64,
    /// How many times the limit's time ours may take.
    pub at_most: f64,
}

/// The promises of this group.
pub const FIGURES: [Figure; 4] = [
    Figure { title: "spawn: start and join", ours: "spawn", limit: POSIX_SPAWN, mib: 1, at_most: 1.15 },
    Figure { title: "forkserver: start and join", ours: "forkserver", limit: FORK, mib: 1, at_most: 1.5 },
    Figure {
        title: "forkserver: start and join, 1 GiB resident in the parent",
        ours: "forkserver",
        limit: FORK,
        mib: 1024,
        at_most: 0.01,
    },
    Figure { title: "fork: start and join", ours: "fork", limit: FORK, mib: 1, at_most: 1.5 },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_method_has_a_figure_and_every_figure_a_limit_and_a_size() {
        let contestants = contestants();
        for method in StartMethod::ALL {
            assert!(FIGURES.iter().any(|figure| figure.ours == method.name()), "{method}");
        }
        for figure in FIGURES {
            assert!(contestants.iter().any(|contestant| contestant.name == figure.limit), "{}", figure.title);
            assert!(SIZES_MIB.contains(&figure.mib), "{}", figure.title);
        }
    }

    #[test]
    fn no_two_contestants_have_one_name() {
        let contestants = contestants();
        for (idx, contestant) in contestants.iter().enumerate() {
            assert!(contestants[..idx].iter().all(|other| other.name != contestant.name), "{}", contestant.name);
        }
    }
}
