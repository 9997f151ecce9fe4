//! The example programs: all are built, and each is run to its end; those that Ctrl-C may stop are stopped by it.
//!
//! Relies on the table below for what each is run with. An example that is not in it is a failure, so that none is
//! added that nobody runs. [`interrupt`] presses Ctrl-C.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::count::Tally;
use crate::run::watch_within;
use crate::scratch::Scratch;
use crate::steps::RELEASED;
use crate::{Result, built, failures, interrupt, tree};

/// Each example and its arguments, which keep its input small.
const ARGUMENTS: &[(&str, &[&str])] = &[
    ("async_executor", &[]),
    ("compare", &[]),
    ("graceful", &["0.2"]),
    ("monitor", &[]),
    ("preload", &[]),
    ("producers_consumers", &[]),
    ("safe_process", &[]),
    ("shared_array", &["64"]),
    ("shared_state", &[]),
    ("start_methods", &[]),
    ("task_master", &["--address", "127.0.0.1:0", "--tasks", "40", "--workers", "2"]),
    ("task_worker", &["--address", "@procession-example-tasks"]),
    ("thumbnails", &[]),
    ("tour", &[]),
    ("wordcount", &["docs"]),
];

/// The examples that are nothing without another one, which is started before them and ends with them.
const BESIDE: &[(&str, &str, &[&str])] =
    &[("task_worker", "task_master", &["--address", "@procession-example-tasks", "--tasks", "20"])];

/// The examples that Ctrl-C may stop at any time, with arguments that give them work for minutes; `TEXTS` is a directory of
/// text.
const INTERRUPTED: &[(&str, &[&str])] =
    &[("thumbnails", &["--generate", "500", "--size", "2000x1500"]), ("wordcount", &["TEXTS"])];

/// How long one example may take. The slowest take a few seconds on a quiet machine.
const EXAMPLE_TIME_MAX: Duration = Duration::from_secs(60);

/// Builds all examples and runs each; counts those that end in time and with success.
///
/// # Errors
///
/// They cannot be built.
pub(crate) fn run_all() -> Result<Tally> {
    let built = built::build(&[&["build"], RELEASED, &["--examples"]].concat())?.executables("example");
    let built = built.into_iter().map(|(built, _)| (built.target, built.path));
    let built: Vec<(String, PathBuf)> = built.collect();
    let mut total = interrupt_each(&built, INTERRUPTED)?;
    total += run_each(built, ARGUMENTS, EXAMPLE_TIME_MAX);
    Ok(total)
}

/// Interrupts the examples that are listed for it.
///
/// # Errors
///
/// There is no place for their input.
fn interrupt_each(built: &[(String, PathBuf)], listed: &[(&str, &[&str])]) -> Result<Tally> {
    let scratch = Scratch::new(&std::env::temp_dir(), "texts")?;
    interrupt::texts(scratch.path())?;
    let mut total = Tally::default();
    for (name, arguments) in listed {
        let Some((_, path)) = built.iter().find(|(built, _)| built == name) else {
            failures::say(&format!(
                "xtask/src/examples.rs interrupts `{name}`, which is no example any more: take it out"
            ));
            total += Tally::one(false);
            continue;
        };
        println!("-- Ctrl-C in the middle of {name}");
        let mut command = Command::new(path);
        for argument in *arguments {
            match *argument {
                "TEXTS" => command.arg(scratch.path()),
                argument => command.arg(argument),
            };
        }
        let result = interrupt::interrupt(command);
        if let Err(error) = &result {
            failures::say(&format!("{name}: {error}"));
        }
        total += Tally::one(result.is_ok());
    }
    Ok(total)
}

/// Runs the examples with the arguments that the table has for them. What is on one side only has failed.
fn run_each(mut built: Vec<(String, PathBuf)>, arguments: &[(&str, &[&str])], time_max: Duration) -> Tally {
    built.sort();
    let mut total = Tally::default();
    for (name, path) in &built {
        let beside = match start_beside(name, &built) {
            Ok(beside) => beside,
            Err(error) => {
                failures::say(&error.to_string());
                total += Tally::one(false);
                continue;
            }
        };
        let listed = arguments.iter().find(|(listed, _)| listed == name);
        let passed = match listed {
            Some((_, arguments)) => run(path, arguments, time_max),
            None => {
                Err(format!("example `{name}` is not in the table of xtask/src/examples.rs: add its arguments").into())
            }
        };
        if let Err(error) = &passed {
            failures::say(&error.to_string());
        }
        total += Tally::one(passed.is_ok());
        total += end_beside(beside, time_max);
    }
    for (name, _) in arguments.iter().filter(|(name, _)| !built.iter().any(|(built, _)| built == name)) {
        failures::say(&format!("xtask/src/examples.rs lists `{name}`, which is no example any more: take it out"));
        total += Tally::one(false);
    }
    total
}

/// Starts what an example needs beside it.
fn start_beside(name: &str, built: &[(String, PathBuf)]) -> Result<Option<Child>> {
    let Some((_, beside, arguments)) = BESIDE.iter().find(|(needs, ..)| *needs == name) else { return Ok(None) };
    let Some((_, path)) = built.iter().find(|(built, _)| built == beside) else {
        return Err(format!("{name} needs `{beside}`, which is no example any more").into());
    };
    Ok(Some(Command::new(path).args(*arguments).current_dir(tree::root()).spawn()?))
}

/// Waits for what an example needed, which ends by itself.
fn end_beside(beside: Option<Child>, time_max: Duration) -> Tally {
    let Some(mut beside) = beside else { return Tally::default() };
    let end = Instant::now() + time_max;
    while Instant::now() < end {
        match beside.try_wait() {
            Ok(Some(status)) => return Tally::one(status.success()),
            // Nobody tells when a child of the standard library ends.
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => break,
        }
    }
    failures::say("what was started beside an example does not end");
    let _ = beside.kill();
    let _ = beside.wait();
    Tally::one(false)
}

/// Runs one example in the root of the repository.
fn run(path: &PathBuf, arguments: &[&str], time_max: Duration) -> Result {
    let mut command = Command::new(path);
    command.args(arguments).current_dir(tree::root());
    let outcome = watch_within(&mut command, time_max)?;
    if outcome.success { Ok(()) } else { Err(format!("failed: {}", path.display()).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough for a shell that exits, also on a busy machine.
    const TIME_MAX: Duration = Duration::from_secs(3);

    fn tally(built: &[&str], arguments: &[(&str, &[&str])]) -> (usize, usize) {
        let built = built.iter().map(|name| ((*name).to_string(), PathBuf::from("/bin/sh"))).collect();
        let Tally { passed, failed } = run_each(built, arguments, TIME_MAX);
        (passed, failed)
    }

    #[test]
    fn an_example_passes_if_it_ends_in_time_with_success() {
        assert_eq!(tally(&["a"], &[("a", &["-c", "exit 0"])]), (1, 0));
        assert_eq!(tally(&["a"], &[("a", &["-c", "exit 3"])]), (0, 1));
        assert_eq!(tally(&["a"], &[("a", &["-c", "kill -9 $$"])]), (0, 1));
        assert_eq!(tally(&["a"], &[("a", &["-c", "exec sleep 60"])]), (0, 1));
    }

    #[test]
    fn an_example_on_one_side_only_has_failed() {
        assert_eq!(tally(&["a", "new"], &[("a", &["-c", "exit 0"])]), (1, 1));
        assert_eq!(tally(&[], &[("gone", &[])]), (0, 1));
    }

    #[test]
    fn an_example_that_does_not_stop_well_has_failed() -> Result {
        let built = [("a".to_owned(), PathBuf::from("/bin/sh"))];
        let tally = |script| interrupt_each(&built, &[("a", &["-c", script])]);
        // The trap comes first, as the interrupt does when the second worker is there.
        let good = "trap 'kill $a $!; echo stopped by Ctrl-C; exit 130' INT; sleep 50 & a=$!; sleep 50 & sleep 50";
        assert_eq!(tally(good)?, Tally { passed: 1, failed: 0 });
        assert_eq!(tally("exit 0")?, Tally { passed: 0, failed: 1 });
        assert_eq!(interrupt_each(&built, &[("gone", &[])])?, Tally { passed: 0, failed: 1 });
        Ok(())
    }

    #[test]
    fn the_table_lists_the_files() -> Result {
        // A file, or a folder with a `main.rs`.
        let name = |path: &str| match path.split('/').collect::<Vec<_>>()[..] {
            ["crates", _, "examples", file] => file.strip_suffix(".rs").map(str::to_owned),
            ["crates", _, "examples", folder, "main.rs"] => Some(folder.to_owned()),
            _ => None,
        };
        let mut names: Vec<String> = tree::files()?.iter().filter_map(|file| name(&file.path)).collect();
        names.sort();
        assert_eq!(names, ARGUMENTS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        Ok(())
    }
}
