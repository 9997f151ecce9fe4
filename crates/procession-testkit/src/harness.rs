//! Lists, filters and runs the cases as libtest does, each in a fence. The only part with threads; it runs no case.

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::roles::{self, Role};
use crate::suite::{Case, Suite};
use crate::{body, fence};

/// Does what this process was started for.
pub(crate) fn run(suite: Suite) -> ExitCode {
    match roles::own() {
        Role::Harness => run_all(suite),
        Role::Fence { case, shown } => fence::run(find(&suite, &case), shown),
        Role::Body { case } => body::run(suite.warm_up, find(&suite, &case)),
        Role::Program { name } => {
            let program = suite.programs.iter().find(|program| program.name == name);
            let program = program.unwrap_or_else(|| panic!("this test file has no program {name:?}"));
            (program.main)();
            ExitCode::SUCCESS
        }
    }
}

/// The case of this name.
fn find<'a>(suite: &'a Suite, name: &str) -> &'a Case {
    let case = suite.cases.iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("this test file has no case {name:?}"))
}

/// Runs the cases that the arguments select.
fn run_all(suite: Suite) -> ExitCode {
    let arguments = Arguments::from_args();
    let shown = arguments.nocapture;
    let number = Arc::new(AtomicU32::new(0));
    let trials = suite.cases.into_iter().map(|case| {
        let number = Arc::clone(&number);
        Trial::test(case.name.clone(), move || {
            let number = number.fetch_add(1, Ordering::Relaxed);
            run_fenced(&case.name, shown, &format!("procession-test-{}-{number}", std::process::id()))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs one case in its fence.
fn run_fenced(case: &str, shown: bool, unique: &str) -> Result<(), Failed> {
    let mut fence = roles::fence(case, shown, unique);
    // The fence sees its standard input close when this process is killed, and then takes its case along.
    let fence = fence.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let output = wait(fence)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stdout)).into())
}

/// Waits for the fence while its standard input stays open.
fn wait(mut fence: std::process::Child) -> std::io::Result<std::process::Output> {
    let held = fence.stdin.take();
    let output = fence.wait_with_output();
    drop(held);
    output
}
