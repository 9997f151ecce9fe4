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

A ratio compares two contestants that ran in turn, round after round, and is the median of the {rounds} rounds' ratios; each turn begins with runs that do not count.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start_methods::{FORK, POSIX_SPAWN, contestants};

    /// Two sizes and three rounds; every time is 8 ms but those given by name: theirs at 1 MiB and at 1024 MiB.
    fn measured(given: &[(&str, [f64; 3], [f64; 3])]) -> StartMethods {
        let contestants = contestants();
        let times = |contestant: &Contestant, large: bool| {
            let given = given.iter().find(|(name, ..)| contestant.name == *name);
            given.map_or([0.008; 3], |(_, at_small, at_large)| if large { *at_large } else { *at_small }).to_vec()
        };
        let at = |mib, large| Measured { mib, times: contestants.iter().map(|one| times(one, large)).collect() };
        let figure = |title, ours, limit, mib, at_most| Figure { title, ours, limit, mib, at_most };
        StartMethods {
            measured: vec![at(1, false), at(1024, true)],
            contestants,
            figures: vec![
                figure("small", "forkserver", FORK, 1, 1.5),
                figure("large", "forkserver", FORK, 1024, 0.01),
                figure("image", "spawn", POSIX_SPAWN, 1, 1.15),
                figure("unmeasured", "spawn", POSIX_SPAWN, 64, 1.15),
            ],
        }
    }

    fn shown(start_methods: &StartMethods) -> String {
        let machine = Machine {
            cpu: "A CPU".to_owned(),
            processors: 2,
            memory_gib: 24,
            kernel: "Linux 6.0".to_owned(),
            huge_pages: "madvise".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
            python: "CPython 3.13.0".to_owned(),
        };
        page(&Origin { command: "cargo xtask bench-report".to_owned(), rounds: 3, machine }, start_methods)
    }

    fn has_line(page: &str, line: &str) {
        assert!(page.lines().any(|there| there == line), "no line {line}\n{page}");
    }

    #[test]
    fn a_figure_is_the_median_of_the_rounds_ratios() {
        let page = shown(&measured(&[
            ("forkserver", [0.0003, 0.004, 0.0003], [0.0004; 3]),
            (FORK, [0.0002, 0.002, 0.0009], [0.02, 0.04, 0.16]),
            ("spawn", [0.001; 3], [0.001; 3]),
            (POSIX_SPAWN, [0.0008; 3], [0.001; 3]),
        ]));
        // The rounds' ratios are 1.5, 2 and 0.33; 0.02, 0.01 and 0.0025; 1.25 each time.
        has_line(&page, "| small | ≤ 1.5 × fork + wait | 1.50 | yes | 300 us | 900 us |");
        has_line(&page, "| large | ≤ 0.01 × fork + wait | 0.0100 | yes | 400 us | 40.0 ms |");
        has_line(&page, "| image | ≤ 1.15 × posix_spawn + wait | 1.25 | no | 1.00 ms | 800 us |");
        assert!(!page.contains("unmeasured"));
    }

    #[test]
    fn every_contestant_has_its_times_at_every_size() {
        let start_methods = measured(&[("CPython spawn", [0.09, 0.1, 0.2], [0.3; 3])]);
        let page = shown(&start_methods);
        has_line(&page, "| resident in the starting process | 1 MiB | 1024 MiB |");
        has_line(&page, "|---|---|---|");
        has_line(&page, "| **forkserver** | 8.00 ms | 8.00 ms |");
        has_line(&page, "| CPython spawn | 100 ms | 300 ms |");
        for contestant in &start_methods.contestants {
            assert!(page.lines().any(|line| line.contains(&contestant.name) && line.ends_with(" ms |")));
        }
    }

    #[test]
    fn the_page_says_what_made_it_and_names_no_path() {
        let page = shown(&measured(&[]));
        for said in ["`cargo xtask bench-report` wrote it", "the 3 rounds'", "A CPU, 2 of them", "24 GiB"] {
            assert!(page.contains(said), "{said}");
        }
        for said in ["| kernel | Linux 6.0 |", "| compiler | rustc 1.95.0 |", "| Python | CPython 3.13.0 |"] {
            has_line(&page, said);
        }
        let slashes = page.matches('/').count();
        assert_eq!(slashes, page.matches(START_METHODS_PLOT).count(), "a path in\n{page}");
    }

    #[test]
    fn the_plot_has_a_line_for_each_contestant() -> Result {
        let start_methods = measured(&[("CPython spawn", [0.09; 3], [0.3; 3])]);
        let svg = start_methods.plot()?;
        for contestant in &start_methods.contestants {
            assert!(svg.lines().any(|line| line == contestant.name), "{}", contestant.name);
        }
        Ok(())
    }
}
