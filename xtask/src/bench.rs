//! `cargo xtask bench` and `cargo xtask bench-report`: what things cost, beside their limits and their peers.
//!
//! Relies on the package in `benches/`, which does the measuring: this tool's own list of dependencies stays short.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{cargo, check};
use crate::scratch::Scratch;
use crate::steps::PROGRAMS;
use crate::{Result, built, flags, manifest, tree};

/// The package that measures, and its manifest, whose `[[bench]]` tables are the groups.
const PACKAGE: &str = "procession-benches";
const MANIFEST: &str = "benches/Cargo.toml";

/// How its programs are built where figures are to mean something, and the one that writes the report.
const RELEASE: &[&str] = &["build", "--package", PACKAGE, "--bins", "--release"];
const REPORT: &str = "report";

/// The book, where the report goes.
const BOOK: &str = "docs/src";

/// Runs criterion on all groups, or on one: `[GROUP] [--quick]`.
///
/// # Errors
///
/// There is no such group, or a contestant is missing or failed.
pub(crate) fn run(args: &[String]) -> Result {
    let (options, named): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| arg.starts_with('-'));
    let options: Vec<String> = options.into_iter().cloned().collect();
    let [quick] = flags::only(&options, ["--quick"])?;
    let groups = groups(&tree::read(MANIFEST)?.text);
    let mut command = vec!["bench", "--package", PACKAGE];
    match named[..] {
        [] => command.push("--benches"),
        [group] if groups.contains(group) => command.extend(["--bench", group]),
        _ => return Err(format!("name one group or none; the groups are: {}", groups.join(", ")).into()),
    }
    if quick {
        command.extend(["--", "--quick"]);
    }
    check(cargo(&command))
}

/// Measures in alternating rounds and writes the book's page: `[--quick | --smoke]`.
///
/// # Errors
///
/// A contestant is missing or failed; then nothing is written.
pub(crate) fn report(args: &[String]) -> Result {
    match flags::only(args, ["--quick", "--smoke"])? {
        [_, true] => smoke(),
        [true, _] => measure(RELEASE, &tree::root().join(BOOK), &["--quick"]),
        _ => measure(RELEASE, &tree::root().join(BOOK), &[]),
    }
}

/// Measures once and hardly at all, with the debug build that the tests have made already: everybody has to take part,
/// and a page and its plot have to come of it.
///
/// # Errors
///
/// A contestant is missing or failed.
pub(crate) fn smoke() -> Result {
    let scratch = Scratch::new(&tree::root().join("target"), "bench-report")?;
    measure(PROGRAMS, scratch.path(), &["--smoke"])?;
    let page = fs::read_to_string(scratch.path().join("performance.md"))?;
    let plots = fs::read_dir(scratch.path().join("plots"))?;
    for plot in plots {
        let name = plot?.file_name();
        let shown = format!("](plots/{})", name.display());
        if !page.contains(&shown) {
            return Err(format!("the page does not show the plot {}", name.display()).into());
        }
    }
    Ok(())
}

/// Has cargo build the programs that measure, and lets them write into this folder.
fn measure(build: &[&str], folder: &Path, options: &[&str]) -> Result {
    let mut command = Command::new(built::build_program(build, REPORT)?);
    command.current_dir(tree::root()).arg(folder).args(options);
    check(command)
}

/// The names of the bench targets.
fn groups(manifest: &str) -> Vec<String> {
    let entries = manifest::entries(manifest).into_iter();
    let names = entries.filter(|entry| entry.table == "[bench]" && entry.key == "name");
    names.map(|entry| entry.value.trim_matches('"').to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_the_bench_targets() {
        let manifest = "[[bin]]\nname = \"a\"\n[[bench]]\nname = \"b\"\nharness = false\n[[bench]]\nname = \"c\"\n";
        assert_eq!(groups(manifest), ["b", "c"]);
    }

    #[test]
    fn unknown_groups_and_flags_are_errors_that_name_what_there_is() {
        let message = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(ToString::to_string).collect();
            run(&args).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(message(&["start_method"]).contains("start_methods"));
        assert!(message(&["start_methods", "start_methods"]).contains("name one group"));
        assert!(message(&["--slow"]).contains("--slow"));
    }
}
