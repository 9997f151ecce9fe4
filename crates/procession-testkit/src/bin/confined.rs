//! `confined PROGRAM ARGS…` becomes PROGRAM as a container would run it: an ordinary user under a seccomp filter.
//!
//! Relies on seccompiler for the filter. What a usual container profile refuses is refused here; everything else is
//! allowed, because a test runs under it, not a hostile program.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use procession_sys::{
    CONTAINER_DENIES_TO_HAVE, CONTAINER_REFUSES, NO_SUCH_CALL, NOT_PERMITTED, become_user, is_root, renounce_new_rights,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// The user and the group of nobody, on every distribution.
const NOBODY: u32 = 65534;

fn main() -> ExitCode {
    let Err(error) = confine_and_run();
    eprintln!("confined: {error}");
    ExitCode::FAILURE
}

/// Becomes the program that the arguments name; returns only to say why not.
fn confine_and_run() -> Result<std::convert::Infallible, Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().ok_or("name the program to be confined")?;
    if is_root() {
        become_user(NOBODY, NOBODY)?;
    }
    renounce_new_rights()?;
    for (calls, errno) in [(CONTAINER_DENIES_TO_HAVE, NO_SUCH_CALL), (CONTAINER_REFUSES, NOT_PERMITTED)] {
        apply_filter(&filter(calls, errno)?)?;
    }
    let error = Command::new(&program).args(args).exec();
    Err(format!("cannot run {}: {error}", program.display()).into())
}

/// Answers `calls` with `errno` and lets everything else pass.
fn filter(calls: &[i64], errno: u32) -> Result<BpfProgram, Box<dyn Error>> {
    let rules: BTreeMap<_, _> = calls.iter().map(|&call| (call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), architecture)?;
    Ok(filter.try_into()?)
}
