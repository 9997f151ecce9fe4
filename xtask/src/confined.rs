//! The confined job: the process tests once more, as a container would run them.
//!
//! Relies on the program `confined` of procession-testkit, which gives up root, installs a seccomp
//! filter and becomes the test. The tests are copied first: a clone may stand in a directory that
//! only root can enter.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::built::{self, Executable};
use crate::count::Tally;
use crate::run::watch;
use crate::scratch::Scratch;
use crate::steps::{PROGRAMS, TESTS_BUILD};
use crate::{Result, manifest, tree};

/// The program that confines, and the package that has it.
const CONFINED: &str = "confined";
const PACKAGE: &str = "crates/procession-testkit";

/// Set for the tests, so that one can expect what confinement forbids.
const MARK: &str = "PROCESSION_CONFINED";

/// Runs every process test under `confined` and counts the results.
///
/// # Errors
///
/// `confined` or the tests cannot be built, or there are none.
pub(crate) fn tests() -> Result<Tally> {
    let confined = confined()?;
    let tests = process_tests(built::build(TESTS_BUILD)?.executables("test"))?;
    if tests.is_empty() {
        return Err("no crate has a `[[test]]` with `harness = false`, so there is nothing to confine".into());
    }
    let scratch = open_to_all()?;
    let mut total = Tally::default();
    for test in &tests {
        println!("-- {}", test.target);
        total += watch(&mut command(scratch.path(), &confined, test)?)?.tally();
    }
    Ok(total)
}

/// Builds the program that confines.
fn confined() -> Result<PathBuf> {
    if !tree::root().join(PACKAGE).join("Cargo.toml").exists() {
        return Err(format!("{PACKAGE} with its program `{CONFINED}` is missing").into());
    }
    built::build_program(PROGRAMS, CONFINED)
}

/// Those executables that their manifest declares without a harness.
fn process_tests(built: Vec<(Executable, PathBuf)>) -> Result<Vec<Executable>> {
    let mut tests = Vec::new();
    for (executable, manifest_path) in built {
        let manifest = fs::read_to_string(&manifest_path)?;
        if manifest::process_tests(&manifest).contains(&executable.target) {
            tests.push(executable);
        }
    }
    Ok(tests)
}

/// A directory that anybody can read and write.
fn open_to_all() -> Result<Scratch> {
    let scratch = Scratch::new(&std::env::temp_dir(), "confined")?;
    // The sticky bit, as in /tmp: everybody may add files, nobody may take another's.
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o1777))?;
    Ok(scratch)
}

/// A copy of the test in `dir`, under `confined`, with nothing in its environment that is root's.
fn command(dir: &Path, confined: &Path, test: &Executable) -> Result<Command> {
    let copy = dir.join(&test.target);
    fs::copy(&test.path, &copy)?;
    fs::set_permissions(&copy, Permissions::from_mode(0o755))?;
    let mut command = Command::new(confined);
    command.arg(copy).current_dir(dir).env("HOME", dir).env("TMPDIR", dir).env(MARK, "1");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::io::sink;
    use std::time::Duration;

    use super::*;
    use crate::run::watch_into;
    use crate::tree::root;

    #[test]
    fn a_test_with_libtest_is_no_process_test() -> Result {
        let test = Executable { target: "a".to_string(), path: PathBuf::from("/t") };
        assert_eq!(process_tests(vec![(test, root().join("xtask/Cargo.toml"))])?, []);
        Ok(())
    }

    #[test]
    fn a_copy_of_the_test_runs_with_the_mark_set() -> Result {
        let scratch = open_to_all()?;
        let test = Executable { target: "sh".to_string(), path: PathBuf::from("/bin/sh") };
        let mut command = command(scratch.path(), Path::new("/usr/bin/env"), &test)?;
        command.args(["-c", "echo \"test result: ok. $PROCESSION_CONFINED passed; 0 failed\""]);
        assert_eq!(
            watch_into(&mut command, Duration::from_secs(60), sink(), sink())?.tally(),
            Tally { passed: 1, failed: 0 }
        );
        Ok(())
    }
}
