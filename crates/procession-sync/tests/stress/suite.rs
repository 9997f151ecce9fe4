//! The subjects as tests of a file, or by hand.
//!
//! Relies on the loop, and on the test kit where it is a test.

use std::process::ExitCode;
use std::time::Duration;

use procession_testkit::{Case, Suite};

use crate::chase::{self, Orders};
use crate::report::Verdict;
use crate::subject::Subject;

/// The first argument of a run that is no test.
const MARK: &str = "--stress";

/// Kills in a test.
const SHORT: Orders = Orders { kills: 300, seed: 1 };

/// How long a test may take, on a machine that does much else.
const SHORT_MAX: Duration = Duration::from_secs(50);

/// A subject's loop.
pub(crate) type Run = fn(Orders) -> Verdict;

/// A subject's name and loop.
pub(crate) const fn of<S: Subject>() -> (&'static str, Run) {
    (S::NAME, chase::run::<S>)
}

/// Runs these as the tests of a file, or as its arguments say.
pub(crate) fn main(subjects: &'static [(&'static str, Run)]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == MARK) {
        return stress(subjects, &arguments[1..]);
    }
    let suite = Suite::new().warm_up(warm_up);
    subjects.iter().fold(suite, |suite, (name, run)| suite.case(short(name, *run))).main()
}

/// A subject's test.
fn short(name: &str, run: Run) -> Case {
    let name = format!("{}_survives_kills_at_every_step", name.replace('-', "_"));
    Case::new(name, move || assert!(run(SHORT).show(), "see above")).within(SHORT_MAX)
}

/// The lifeline of forked children stays.
fn warm_up() {
    use procession_launch::{Context, StartMethod};
    Context::new(StartMethod::Fork).fork(|| ()).unwrap().join().unwrap();
}

/// A run by hand: of those that are named, or of all.
fn stress(subjects: &[(&str, Run)], arguments: &[String]) -> ExitCode {
    let [kills, seed, names @ ..] = arguments else { return refuse("how many kills, and which seed?") };
    let (Ok(kills), Ok(seed)) = (kills.parse(), seed.parse()) else { return refuse("kills and seed are numbers") };
    let known = |name: &String| subjects.iter().any(|(subject, _)| subject == name);
    if let Some(stranger) = names.iter().find(|name| !known(name)) {
        let known: Vec<_> = subjects.iter().map(|(name, _)| *name).collect();
        return refuse(&format!("there is no {stranger:?} among {}", known.join(", ")));
    }
    let mut code = ExitCode::SUCCESS;
    for (_, run) in subjects.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name)) {
        if !run(Orders { kills, seed }).show() {
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("{MARK} KILLS SEED [SUBJECT...]: {reason}");
    ExitCode::from(2)
}
