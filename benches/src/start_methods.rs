//! Group `start_methods`: a child with an empty target is started and joined, by whoever can.
//!
//! The axis is the memory that the starting process holds: a bare fork copies its page tables, an exec does not.

use procession::StartMethod;

use crate::Result;
use crate::contest::{Contestant, Figure, Results, Side};
use crate::plot::{self, Series};
use crate::rounds::median;

/// What stands at the head of the contestants' names.
pub const HEAD: &str = "resident in the starting process";

/// The resident sizes of the starting process, in MiB.
pub const SIZES_MIB: [u64; 4] = [1, 64, 256, 1024];

/// What stands at the head of a size's column.
#[must_use]
pub fn column(mib: u64) -> String {
    format!("{mib} MiB")
}

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

/// All of them: ours, the limits, the peers.
#[must_use]
pub fn contestants() -> Vec<Contestant> {
    let rust = |method: &'static str, side| {
        let is_ours = side == Side::Ours;
        Contestant { name: method.to_owned(), is_ours, side, method: method.to_owned() }
    };
    let ours = StartMethod::ALL.into_iter().map(|method| rust(method.name(), Side::Ours));
    let others = [FORK, POSIX_SPAWN, COMMAND, PROCSPAWN].into_iter().map(|method| rust(method, Side::Others));
    let cpython = CPYTHON.into_iter().map(|method| Contestant {
        name: format!("CPython {method}"),
        is_ours: false,
        side: Side::CPython,
        method: method.to_owned(),
    });
    ours.chain(others).chain(cpython).collect()
}

/// The plot of time against resident size.
///
/// # Errors
/// Nothing was measured.
pub fn plot(results: &Results, sizes_mib: &[u64]) -> Result<String> {
    let ticks: Vec<f64> = sizes_mib.iter().map(|&mib| mib as f64).collect();
    let series = results.contestants.iter().enumerate().map(|(idx, contestant)| Series {
        name: contestant.name.clone(),
        is_ours: contestant.is_ours,
        points: ticks.iter().zip(&results.measured).map(|(&mib, at)| (mib, median(&at.times[idx]) * 1e3)).collect(),
    });
    plot::lines(
        "A child with an empty target: start and join",
        "resident in the starting process, MiB",
        "milliseconds",
        &ticks,
        &series.collect::<Vec<_>>(),
    )
}

/// The promises of this group.
pub const FIGURES: [Figure; 4] = [
    Figure { title: "spawn: start and join", ours: "spawn", limit: POSIX_SPAWN, column: "1 MiB", at_most: 1.15 },
    Figure { title: "forkserver: start and join", ours: "forkserver", limit: FORK, column: "1 MiB", at_most: 1.5 },
    Figure {
        title: "forkserver: start and join, 1 GiB resident in the parent",
        ours: "forkserver",
        limit: FORK,
        column: "1024 MiB",
        at_most: 0.01,
    },
    Figure { title: "fork: start and join", ours: "fork", limit: FORK, column: "1 MiB", at_most: 1.5 },
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
            assert!(SIZES_MIB.iter().any(|&mib| column(mib) == figure.column), "{}", figure.title);
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
