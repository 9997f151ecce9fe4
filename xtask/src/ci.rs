//! `cargo xtask ci JOB`: what the workflow's jobs do, for a person to run as well.
//!
//! Relies on [`steps`]. `setup` is the only command that installs anything.

use std::process::Command;

use serde_json::Value;

use crate::run::{cargo, check};
use crate::steps::{self, Step};
use crate::test_all::run_steps;
use crate::{Result, test_all};

/// The gate before each commit: no test of it needs another process than its own.
const QUICK: &[Step] =
    &[steps::FORMAT, steps::CLIPPY, steps::LAYERS, steps::TIDY, steps::CONFORMANCE_PAGE, steps::UNIT_TESTS];

/// Where the workflow puts the results of the jobs before, as GitHub writes them.
const NEEDS: &str = "NEEDS";

/// Runs one job.
///
/// # Errors
///
/// The job does not exist, or it failed.
pub(crate) fn run(args: &[String]) -> Result {
    match args {
        [job] if job == "quick" => run_steps(QUICK),
        [job] if job == "test" => test_all::run(&[]),
        [job] if job == "setup" => setup(),
        [job] if job == "conclusion" => conclusion(&std::env::var(NEEDS).unwrap_or_default()),
        _ => Err("name one job: quick, test, setup or conclusion".into()),
    }
}

/// Installs what `test-all` uses where it finds it and demands with `CI=true`.
fn setup() -> Result {
    if !steps::has_nextest() {
        check(cargo(&["install", "cargo-nextest", "--locked"]))?;
    }
    let packages =
        [("python3", steps::has_python()), ("redis-server", steps::has_redis()), ("iproute2", steps::has_ip())];
    let missing: Vec<&str> = packages.into_iter().filter(|(_, found)| !found).map(|(name, _)| name).collect();
    if !missing.is_empty() {
        check(apt_get(&["update"]))?;
        check(apt_get(&[&["install", "--yes", "--no-install-recommends"], &missing[..]].concat()))?;
    }
    Ok(())
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Succeeds only if every job before did; a job that was skipped or cancelled did not.
fn conclusion(needs: &str) -> Result {
    let needs: Value = serde_json::from_str(needs)
        .map_err(|error| format!("the variable {NEEDS} does not hold the jobs' results: {error}"))?;
    let jobs = needs.as_object().filter(|jobs| !jobs.is_empty()).ok_or("there were no jobs")?;
    let failed = jobs.iter().filter(|(_, job)| job["result"].as_str() != Some("success"));
    let failed: Vec<&str> = failed.map(|(name, _)| name.as_str()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("these jobs did not succeed: {}", failed.join(", ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conclusion_wants_success_of_every_job() {
        assert!(conclusion(r#"{"a": {"result": "success"}}"#).is_ok());
        assert!(conclusion(r#"{"a": {"result": "success"}, "b": {"result": "skipped"}}"#).is_err());
        assert!(conclusion(r#"{"a": {}}"#).is_err());
        assert!(conclusion("{}").is_err());
        assert!(conclusion("").is_err());
    }

    #[test]
    fn an_unknown_job_is_an_error() {
        assert!(run(&["slow".to_string()]).is_err());
        assert!(run(&[]).is_err());
    }
}
