//! The example programs: all are built, and each is run to its end.
//!
//! Relies on the table below for what each is run with. An example that is not in it is a failure, so that none is
//! added that nobody runs.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::confined::executables;
use crate::count::Tally;
use crate::run::{cargo, output, watch_within};
use crate::{Result, tree};

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
    ("thumbnails", &[]),
    ("tour", &[]),
    ("wordcount", &["docs"]),
];

/// How long one example may take. The slowest take a few seconds on a quiet machine.
const EXAMPLE_TIME_MAX: Duration = Duration::from_secs(60);

/// Builds all examples and runs each; counts those that end in time and with success.
///
/// # Errors
///
/// They cannot be built.
pub(crate) fn run_all() -> Result<Tally> {
    let messages = output(cargo(&["build", "--workspace", "--examples", "--release", "--message-format=json"]))?;
    let built = executables(&messages, "example").into_iter().map(|(built, _)| (built.target, built.path)).collect();
    Ok(run_each(built, ARGUMENTS, EXAMPLE_TIME_MAX))
}

/// Runs the examples with the arguments that the table has for them. What is on one side only has failed.
fn run_each(mut built: Vec<(String, PathBuf)>, arguments: &[(&str, &[&str])], time_max: Duration) -> Tally {
    built.sort();
    let mut total = Tally::default();
    for (name, path) in &built {
        let listed = arguments.iter().find(|(listed, _)| listed == name);
        let passed = match listed {
            Some((_, arguments)) => run(path, arguments, time_max),
            None => {
                Err(format!("example `{name}` is not in the table of xtask/src/examples.rs: add its arguments").into())
            }
        };
        if let Err(error) = &passed {
            println!("{error}");
        }
        total += Tally::one(passed.is_ok());
    }
    for (name, _) in arguments.iter().filter(|(name, _)| !built.iter().any(|(built, _)| built == name)) {
        println!("xtask/src/examples.rs lists `{name}`, which is no example any more: take it out");
        total += Tally::one(false);
    }
    total
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

    const TIME_MAX: Duration = Duration::from_millis(300);

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
