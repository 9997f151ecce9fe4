//! The single steps that the gate, the full run and the workflow's jobs are made of.
//!
//! Each step is one function with no arguments. They build with the same profile and the same
//! selection of packages wherever they can, so that one step's build serves the next.

use std::process::Command;

use crate::count::Tally;
use crate::run::{ALL_FEATURES, answers, cargo, check, watch};
use crate::{Result, bench, confined, conformance, docs, examples, images, layers, package, stress, tidy};

/// What a step is, which says how it counts.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Counts as one, passed or failed.
    Check(fn() -> Result),
    /// Counts as one; when it fails the steps after it would only say the same again.
    Build(fn() -> Result),
    /// Counts as many tests as it ran.
    Tests(fn() -> Result<Tally>),
}

/// A step and its heading.
pub(crate) type Step = (&'static str, Kind);

pub(crate) const TOOLS: Step = ("tools that are used where they are found", Kind::Check(tools));
pub(crate) const FORMAT: Step = ("format", Kind::Check(format));
pub(crate) const CLIPPY: Step = ("clippy", Kind::Check(clippy));
pub(crate) const LAYERS: Step = ("layers", Kind::Check(layers_check));
pub(crate) const TIDY: Step = ("tidy", Kind::Check(tidy_check));
pub(crate) const UNIT_TESTS: Step = ("unit tests", Kind::Tests(unit_tests));
pub(crate) const BUILD: Step = ("build of all tests", Kind::Build(build));
pub(crate) const TESTS: Step = ("unit and integration tests", Kind::Tests(tests));
pub(crate) const DOCTESTS: Step = ("examples in docs and book", Kind::Tests(doctests));
pub(crate) const EXAMPLES: Step = ("every example runs, release build", Kind::Tests(examples::run_all));
pub(crate) const RELEASE: Step = ("launcher's tests, release build", Kind::Tests(release_tests));
pub(crate) const IMAGES: Step = ("children of programs built in every way", Kind::Tests(images::all));
pub(crate) const PLANTS: Step = ("bugs that the kill loop must notice", Kind::Tests(stress::plants));
pub(crate) const CONFORMANCE_PAGE: Step = ("the page of promises", Kind::Check(conformance::check_page));
pub(crate) const CONFORMANCE: Step = ("a test for each promise", Kind::Check(conformance_check));
pub(crate) const DOCS: Step = ("docs", Kind::Check(docs_check));
pub(crate) const CONFINED: Step = ("process tests as an ordinary user under seccomp", Kind::Tests(confined::tests));
pub(crate) const BENCHES: Step = ("every contestant of the benches takes part", Kind::Check(bench::smoke));
pub(crate) const PACKAGE: Step = ("every crate can be published", Kind::Check(package::all));

/// Builds all tests.
pub(crate) const TESTS_BUILD: &[&str] = &["test", "--workspace", ALL_FEATURES, "--no-run"];

/// Builds all programs out of what the tests' build has made. Examples and tests alone have the dependencies for tests, and
/// without these cargo builds many others anew, with fewer features.
pub(crate) const PROGRAMS: &[&str] = &["build", "--workspace", ALL_FEATURES, "--bins", "--examples"];

/// What release builds are made of: the examples, and the tests that differ from a debug build's. One selection for both,
/// as cargo builds a dependency anew for each set of features that another selection asks of it.
pub(crate) const RELEASED: &[&str] =
    &["--release", "--package", "procession-launch", "--package", "procession", ALL_FEATURES];

/// True on a machine that says it is for continuous integration, where nothing may be left out.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

pub(crate) fn has_nextest() -> bool {
    answers(cargo(&["nextest", "--version"]))
}

pub(crate) fn has_python() -> bool {
    let mut python = Command::new("python3");
    python.arg("--version");
    answers(python)
}

pub(crate) fn has_redis() -> bool {
    let mut redis = Command::new("redis-server");
    redis.arg("--version");
    answers(redis)
}

pub(crate) fn has_ip() -> bool {
    let mut ip = Command::new("ip");
    ip.arg("-V");
    answers(ip)
}

fn tools() -> Result {
    let mut n_absent = 0;
    let tools = [
        ("cargo-nextest", has_nextest(), "tests run under `cargo test`, without time limits"),
        ("python3", has_python(), "the benches, which compare with CPython, fail"),
        ("redis-server", has_redis(), "the benches, which compare with Redis, fail"),
        ("ip", has_ip(), "managers on two hosts are not tested"),
    ];
    for (name, found, without) in tools {
        if found {
            println!("{name}: found");
        } else {
            println!("{name}: absent, so {without}");
            n_absent += 1;
        }
    }
    if in_ci() && n_absent > 0 {
        return Err("with CI=true every tool must be there: run `cargo xtask ci setup`".into());
    }
    Ok(())
}

fn format() -> Result {
    check(cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result {
    // As users have it who ask for nothing, and then with all.
    check(cargo(&["clippy", "--workspace", "--lib", "--bins", "--", "-D", "warnings"]))?;
    check(cargo(&["clippy", "--workspace", ALL_FEATURES, "--all-targets", "--", "-D", "warnings"]))
}

fn layers_check() -> Result {
    layers::run(&["--check".to_string()])
}

fn tidy_check() -> Result {
    tidy::run(&[])
}

fn conformance_check() -> Result {
    conformance::run(&["--check".to_string()])
}

fn docs_check() -> Result {
    docs::run(&[])
}

fn build() -> Result {
    check(cargo(TESTS_BUILD))
}

fn unit_tests() -> Result<Tally> {
    run_tests(&["--workspace", ALL_FEATURES, "--lib", "--bins"])
}

fn tests() -> Result<Tally> {
    run_tests(&["--workspace", ALL_FEATURES, "--tests"])
}

fn release_tests() -> Result<Tally> {
    // Debug and release builds differ in how the linker lays out the function table.
    run_tests(&[RELEASED, &["--tests"]].concat())
}

fn doctests() -> Result<Tally> {
    Ok(watch(&mut cargo(&["test", "--workspace", ALL_FEATURES, "--doc", "--no-fail-fast"]))?.tally())
}

/// Runs the selected tests under nextest where it is found, otherwise under `cargo test`.
fn run_tests(selection: &[&str]) -> Result<Tally> {
    let profile: &[&str] = if in_ci() { &["--profile", "ci"] } else { &[] };
    let runner = if has_nextest() { ["nextest", "run"].as_slice() } else { &["test"] };
    let profile = if has_nextest() { profile } else { &[] };
    let args = [runner, selection, profile, &["--no-fail-fast"]].concat();
    Ok(watch(&mut cargo(&args))?.tally())
}
