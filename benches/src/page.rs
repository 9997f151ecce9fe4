//! The book's page on performance, from what was measured.
//!
//! The page names what it was made of and by which command. It holds no path and no host's name: nothing goes into it
//! but numbers, the names of contestants and [`Machine`].

use std::fmt::Write;

use crate::Result;
use crate::machine::Machine;
use crate::plot::{self, Series};
use crate::rounds::{median, ratio};
use crate::start_methods::{Contestant, Figure, Measured};

/// Where the plot stands, as seen from the page.
pub const START_METHODS_PLOT: &str = "plots/start_methods.svg";

/// How the report was made.
#[derive(Debug)]
pub struct Origin {
    /// The command that made it.
    pub command: String,
    /// How many rounds were counted.
    pub rounds: usize,
    /// On what.
    pub machine: Machine,
}

/// What the group `start_methods` gave.
#[derive(Debug)]
pub struct StartMethods {
    /// Who took part.
    pub contestants: Vec<Contestant>,
    /// What was promised.
    pub figures: Vec<Figure>,
    /// What came out.
    pub measured: Vec<Measured>,
}

impl StartMethods {
    /// A contestant's times at one size.
    fn times(&self, name: &str, mib: u64) -> Option<&[f64]> {
        let idx = self.contestants.iter().position(|contestant| contestant.name == name)?;
        let measured = self.measured.iter().find(|measured| measured.mib == mib)?;
        measured.times.get(idx).map(Vec::as_slice)
    }

    /// The plot of time against resident size.
    ///
    /// # Errors
    /// Nothing was measured.
    pub fn plot(&self) -> Result<String> {
        let series = self.contestants.iter().enumerate().map(|(idx, contestant)| Series {
            name: contestant.name.clone(),
            is_ours: contestant.is_ours,
            points: self.measured.iter().map(|at| (at.mib as f64, median(&at.times[idx]) * 1e3)).collect(),
        });
        let ticks: Vec<f64> = self.measured.iter().map(|measured| measured.mib as f64).collect();
        plot::lines(
            "A child with an empty target: start and join",
            "resident in the starting process, MiB",
            "milliseconds",
            &ticks,
            &series.collect::<Vec<_>>(),
        )
    }

    /// The promises with what came of them. One about a size that was not measured is left out.
    fn figures(&self) -> String {
        let mut text = String::from("| figure | target | measured | met | ours | limit |\n|---|---|---|---|---|---|\n");
        for Figure { title, ours, limit, mib, at_most } in &self.figures {
            let (Some(our_times), Some(limit_times)) = (self.times(ours, *mib), self.times(limit, *mib)) else {
                continue;
            };
            let measured = ratio(our_times, limit_times);
            let met = if measured <= *at_most { "yes" } else { "no" };
            let [ours, theirs] = [our_times, limit_times].map(|times| time(median(times)));
            let cells = [*title, &format!("≤ {at_most} × {limit}"), &digits(measured), met, &ours, &theirs];
            line(&mut text, &cells);
        }
        text
    }

    /// Every contestant's median at every size.
    fn all(&self) -> String {
        let sizes = self.measured.iter().map(|measured| format!("{} MiB", measured.mib));
        let head: Vec<String> = std::iter::once("resident in the starting process".to_owned()).chain(sizes).collect();
        let mut text = String::new();
        line(&mut text, &head);
        text.push_str(&"|---".repeat(head.len()));
        text.push_str("|\n");
        for (idx, contestant) in self.contestants.iter().enumerate() {
            let name = if contestant.is_ours { format!("**{}**", contestant.name) } else { contestant.name.clone() };
            let times = self.measured.iter().map(|measured| time(median(&measured.times[idx])));
            line(&mut text, &std::iter::once(name).chain(times).collect::<Vec<_>>());
        }
        text
    }
}

/// The whole page.
#[must_use]
pub fn page(origin: &Origin, start_methods: &StartMethods) -> String {
    let Origin { command, rounds, machine } = origin;
    let Machine { cpu, processors, memory_gib, kernel, huge_pages, rustc, python } = machine;
    let (figures, all) = (start_methods.figures(), start_methods.all());
    format!(
        "# Performance

This page shows what was measured on one machine, beside the bare system calls and beside what else there is.
It is generated: `{command}` wrote it.

A ratio compares two contestants that ran in turn, round after round, and is the median of the {rounds} rounds' ratios.
So it says something on a busy machine too; the times give the scale, nothing more.

| measured on | |
|---|---|
| processor | {cpu}, {processors} of them |
| memory | {memory_gib} GiB, transparent huge pages: {huge_pages} |
| kernel | {kernel} |
| compiler | {rustc} |
| Python | {python} |

## Start

A child with an empty target is started and joined, and its exit code or result is checked.
Every contestant runs in a process with one thread, which holds 1 MiB of its own unless the figure says otherwise.
Servers run before the first start that counts.

{figures}
## Start methods and the size of the parent

![Time to start and join a child against the parent's resident size]({START_METHODS_PLOT})

{all}
Names in bold are this project's start methods.
`fork + wait`, `posix_spawn + wait` and `std::process::Command` run no function and return no value: their children exit at once.
The last two execute the same image as the start methods do.
"
    )
}

/// A line of a table.
fn line(text: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        let _ = write!(text, "| {} ", cell.as_ref()); // Writing to a string does not fail.
    }
    text.push_str("|\n");
}

/// Seconds in the unit that suits them.
fn time(seconds: f64) -> String {
    match seconds {
        0.1.. => format!("{:.0} ms", seconds * 1e3),
        0.01.. => format!("{:.1} ms", seconds * 1e3),
        0.001.. => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.0} us", seconds * 1e6),
    }
}

/// A ratio with as many digits as it deserves.
fn digits(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}
