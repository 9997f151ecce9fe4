//! The kill loop: workers use one object and are killed at every step, and those that live must never notice more than
//! they are promised.
//!
//! As a test it runs a few hundred kills a primitive. `cargo xtask stress` runs it with arguments of its own:
//! `--stress KILLS SEED [SUBJECT...]`.

mod board; // What workers and supervisor tell each other.
mod subject; // What is put to the test. Read this first.

mod plan; // Who dies where.
mod worker;

mod chase; // The loop.
mod report;

mod barrier; // The subjects.
mod condition;
mod event;
mod lock;
mod rlock;
mod rwlock;
mod semaphore;
mod value;

use std::process::ExitCode;
use std::time::Duration;

use procession_sync::{Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RwLock, Semaphore, Value};
use procession_testkit::{Case, Suite};

use crate::chase::Orders;
use crate::report::Verdict;
use crate::subject::Subject;

/// The first argument of a run that is no test.
const MARK: &str = "--stress";

/// Kills in a test.
const SHORT: Orders = Orders { kills: 300, seed: 1 };

/// How long a test may take, on a machine that does much else.
const SHORT_MAX: Duration = Duration::from_secs(50);

type Run = fn(Orders) -> Verdict;

/// Every subject, by its name.
const SUBJECTS: &[(&str, Run)] = &[
    of::<Lock>(),
    of::<RLock>(),
    of::<RwLock>(),
    of::<Semaphore>(),
    of::<BoundedSemaphore>(),
    of::<Event>(),
    of::<Condition>(),
    of::<Barrier>(),
    of::<Value<[u64; 2]>>(),
];

const fn of<S: Subject>() -> (&'static str, Run) {
    (S::NAME, chase::run::<S>)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == MARK) {
        return stress(&arguments[1..]);
    }
    let suite = Suite::new().warm_up(warm_up);
    SUBJECTS.iter().fold(suite, |suite, (name, run)| suite.case(short(name, *run))).main()
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
fn stress(arguments: &[String]) -> ExitCode {
    let [kills, seed, names @ ..] = arguments else { return refuse("how many kills, and which seed?") };
    let (Ok(kills), Ok(seed)) = (kills.parse(), seed.parse()) else { return refuse("kills and seed are numbers") };
    let known = |name: &String| SUBJECTS.iter().any(|(subject, _)| subject == name);
    if let Some(stranger) = names.iter().find(|name| !known(name)) {
        let known: Vec<_> = SUBJECTS.iter().map(|(name, _)| *name).collect();
        return refuse(&format!("there is no {stranger:?} among {}", known.join(", ")));
    }
    let mut code = ExitCode::SUCCESS;
    for (_, run) in SUBJECTS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name)) {
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
