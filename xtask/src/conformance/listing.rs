//! Which tests there are: what the built test programs answer to `--list`.
//!
//! Relies on `--list --format terse`, which libtest and libtest-mimic both answer with lines `name: test`, and on each
//! package's directory to have the package's name. Only the programs that are asked for are run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use super::entries::Test;
use crate::Result;
use crate::built::{self, Built};
use crate::run::output;
use crate::steps::TESTS_BUILD;

/// The start methods for which a case named without one must exist. It exists for fork as well where that can be.
const METHODS: [&str; 2] = ["forkserver", "spawn"];

/// The names of the cases of each test program, by the name that nextest gives the program.
pub(super) struct Listing {
    programs: BTreeMap<String, BTreeSet<String>>,
}

/// Builds all tests and asks those programs that are in `wanted` for their cases.
///
/// # Errors
///
/// The tests cannot be built, or a program does not answer.
pub(super) fn ask(wanted: &BTreeSet<&str>) -> Result<Listing> {
    let built = built::build(TESTS_BUILD)?;
    let mut programs = BTreeMap::new();
    for (name, path) in named(&built) {
        if wanted.contains(name.as_str()) {
            let mut list = Command::new(path);
            list.args(["--list", "--format", "terse"]);
            programs.insert(name, cases(&output(list)?));
        }
    }
    Ok(Listing { programs })
}

/// Every test program: integration tests, and the unit tests of libraries.
fn named(built: &Built) -> Vec<(String, PathBuf)> {
    let package = |manifest: PathBuf| Some(manifest.parent()?.file_name()?.to_str()?.to_string());
    let tests = built.executables("test").into_iter().filter_map(|(found, manifest)| {
        let name = format!("{}::{}", package(manifest)?, found.target);
        Some((name, found.path))
    });
    let units = built.executables("lib");
    let units = units.into_iter().filter_map(|(found, manifest)| Some((package(manifest)?, found.path)));
    tests.chain(units).collect()
}

fn cases(answer: &str) -> BTreeSet<String> {
    answer.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_string).collect()
}

impl Listing {
    /// Why there is no such test, if there is none.
    pub(super) fn objection(&self, test: &Test) -> Option<String> {
        let Test { binary, case } = test;
        let Some(cases) = self.programs.get(binary) else {
            return Some(format!("there is no test program `{binary}`"));
        };
        let absent = |method: &&str| !cases.contains(&format!("{method}::{case}"));
        let absent: Vec<&str> = METHODS.into_iter().filter(absent).collect();
        if cases.contains(case) || absent.is_empty() {
            return None;
        }
        if absent.len() == METHODS.len() {
            return Some(format!("`{binary}` has no test `{case}`"));
        }
        Some(format!("`{binary}` has `{case}`, but not for {}", absent.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let cases = cases("forkserver::both: test\nspawn::both: test\nspawn::one: test\nplain: test\nb: bench\n\n");
        Listing { programs: BTreeMap::from([("p::t".to_string(), cases)]) }
    }

    fn objection(binary: &str, case: &str) -> Option<String> {
        listing().objection(&Test { binary: binary.to_string(), case: case.to_string() })
    }

    #[test]
    fn a_test_is_found_with_or_without_a_method() {
        assert_eq!(objection("p::t", "both"), None);
        assert_eq!(objection("p::t", "plain"), None);
        assert_eq!(objection("p::t", "spawn::one"), None);
    }

    #[test]
    fn a_test_that_does_not_exist_is_refused() {
        assert_eq!(objection("p::t", "none").unwrap(), "`p::t` has no test `none`");
        assert_eq!(objection("p::t", "b").unwrap(), "`p::t` has no test `b`");
        assert_eq!(objection("p::other", "both").unwrap(), "there is no test program `p::other`");
        assert_eq!(objection("p::t", "one").unwrap(), "`p::t` has `one`, but not for forkserver");
    }

    #[test]
    fn programs_have_the_names_that_nextest_gives_them() {
        let message = |kind: &str, target: &str| {
            format!(
                "{{\"target\": {{\"kind\": [\"{kind}\"], \"name\": \"{target}\"}}, \
                 \"executable\": \"/{target}\", \"manifest_path\": \"/crates/procession-sys/Cargo.toml\"}}\n"
            )
        };
        let messages = message("test", "processes") + &message("lib", "procession_sys") + &message("bin", "tool");
        let names: Vec<String> = named(&Built(messages)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["procession-sys::processes", "procession-sys"]);
    }
}
