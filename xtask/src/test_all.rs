//! `cargo xtask test-all`: every step in order, what failed once more at the end, and one line that counts.
//!
//! Relies on [`steps`], and on [`failures`] for what is told again. A failed step does not stop the run, so that all
//! failures are seen at once; only a broken build does.

use std::time::Instant;

use crate::count::Tally;
use crate::failures::{self, Heard};
use crate::steps::{self, Kind, Step};
use crate::{Result, Told, flags};

const STEPS: &[Step] = &[
    steps::TOOLS,
    steps::FORMAT,
    steps::CLIPPY,
    steps::LAYERS,
    steps::TIDY,
    steps::BUILD,
    steps::TESTS,
    steps::PLANTS,
    steps::CONFORMANCE,
    steps::DOCTESTS,
    steps::EXAMPLES,
    steps::RELEASE,
    steps::IMAGES,
    steps::DOCS,
    steps::CONFINED,
    steps::BENCHES,
    steps::PACKAGE,
];

/// Runs everything.
///
/// # Errors
///
/// Says which steps failed.
pub(crate) fn run(args: &[String]) -> Result {
    flags::only(args, [])?;
    run_steps(STEPS)
}

/// Runs the steps and prints `N passed, N failed` alone on the last line.
///
/// # Errors
///
/// A step failed; which ones, with their failed tests and what these said, is printed before the last line.
pub(crate) fn run_steps(steps: &[Step]) -> Result {
    let (total, failed) = carry_out(steps);
    if !failed.is_empty() {
        println!("\n{}", failures::report(&failed).join("\n"));
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if failed.is_empty() { Ok(()) } else { Err(Told.into()) }
}

/// Runs the steps in order; returns what they count together, and which failed.
fn carry_out(steps: &[Step]) -> (Tally, Vec<(&'static str, Heard)>) {
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for (heading, kind) in steps {
        println!("\n== {heading} ==");
        failures::take(); // What steps that passed have printed.
        let begun = Instant::now();
        let tally = run_step(*kind);
        println!("that took {} s", begun.elapsed().as_secs());
        total += tally;
        if tally.failed == 0 {
            continue;
        }
        failed.push((*heading, failures::take()));
        if matches!(kind, Kind::Build(_)) {
            println!("the build is broken, so the steps after it are left out");
            break;
        }
    }
    (total, failed)
}

/// Runs one step. One that could not be carried out has failed.
fn run_step(kind: Kind) -> Tally {
    let result = match kind {
        Kind::Check(run) | Kind::Build(run) => run().map(|()| Tally::one(true)),
        Kind::Tests(run) => run(),
    };
    result.unwrap_or_else(|error| {
        failures::say(&error.to_string());
        Tally::one(false)
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::run::watch_into;

    const GOOD: Step = ("good", Kind::Check(|| Ok(())));
    const BAD: Step = ("bad", Kind::Check(|| Err("planted".into())));
    const BROKEN: Step = ("broken", Kind::Build(|| Err("planted".into())));
    const MANY: Step = ("many", Kind::Tests(|| Ok(Tally { passed: 3, failed: 1 })));

    /// What a run of these steps counts, and which have failed.
    fn ran(steps: &[Step]) -> (Tally, Vec<&'static str>) {
        let (total, failed) = carry_out(steps);
        (total, failed.into_iter().map(|(heading, _)| heading).collect())
    }

    #[test]
    fn all_failed_steps_are_named() {
        assert!(run_steps(&[GOOD, GOOD]).is_ok());
        assert!(run_steps(&[GOOD, BAD]).is_err());
        assert_eq!(ran(&[BAD, GOOD, MANY]), (Tally { passed: 4, failed: 2 }, vec!["bad", "many"]));
    }

    #[test]
    fn a_broken_build_ends_the_run() {
        assert_eq!(ran(&[BROKEN, BAD]), (Tally { passed: 0, failed: 1 }, vec!["broken"]));
    }

    /// A runner whose one test fails, and that prints much after it.
    fn noisy() -> Result<Tally> {
        let mut runner = Command::new("sh");
        let script = "echo '        FAIL [ 0.1s] (1/1) crate::file the_one'; echo '    it said no'; \
                      echo '     Summary [ 0.1s] 1 test run: 0 passed, 1 failed'; seq 500; exit 1";
        runner.args(["-c", script]);
        Ok(watch_into(&mut runner, Duration::from_secs(20), io::sink(), io::sink())?.tally())
    }

    #[test]
    fn what_failed_is_told_at_the_end_however_much_came_after_it() {
        const NOISY: Step = ("noisy", Kind::Tests(noisy));
        let (total, failed) = carry_out(&[GOOD, NOISY, GOOD, BAD]);
        assert_eq!(total, Tally { passed: 2, failed: 2 });
        let report = failures::report(&failed);
        let expected = [
            "failed: noisy",
            "  crate::file the_one",
            "    FAIL [ 0.1s] (1/1) crate::file the_one",
            "    it said no",
            "failed: bad",
            "    planted",
        ];
        assert_eq!(report, expected);
    }

    #[test]
    fn steps_count_as_tests_or_as_one() {
        assert_eq!(run_step(MANY.1), Tally { passed: 3, failed: 1 });
        assert_eq!(run_step(GOOD.1), Tally { passed: 1, failed: 0 });
        assert_eq!(run_step(BAD.1), Tally { passed: 0, failed: 1 });
    }
}
