//! Runs programs, shows what they print while they print it, and counts their tests.
//!
//! Relies on [`count`](crate::count) for the closing lines, and has [`failures`] hear all lines. A program that outlives its limit or
//! leaves a process behind that holds its output open is a failure, never a hang of the whole run.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::count::{Tally, closing_line};
use crate::{Result, failures, tree};

/// How long one program of a step may take. The slowest, a build from nothing, takes a few minutes.
const STEP_TIME_MAX: Duration = Duration::from_secs(25 * 60);

/// How long output may stay open after its program has ended: enough for a buffer to drain, also on a busy machine.
const LEAK_TIME_MAX: Duration = Duration::from_secs(5);

/// What users may ask for and do not have otherwise: tests and docs are of all of it.
pub(crate) const ALL_FEATURES: &str = "--features=procession/async";

/// How often an otherwise silent program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// It ended in time, with success, and left nothing behind.
    pub(crate) success: bool,
    /// The sum of all closing lines; `None` if it printed none.
    pub(crate) tests: Option<Tally>,
}

impl Outcome {
    /// The tests that it counted. Whatever failed without a failed test is one failure, and so
    /// is a test runner that never came to its closing line.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.tests.unwrap_or_default();
        let unexplained = !self.success && tally.failed == 0;
        if unexplained || self.tests.is_none() {
            tally.failed += 1;
        }
        tally
    }
}

/// What a program printed, kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// All of it so far, which is kept no longer.
    pub(crate) fn take(&self) -> String {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&std::mem::take(&mut *bytes)).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cargo itself, as started by whoever started this program, in the root of the repository.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(tree::root());
    command
}

/// Runs the command to its end and lets it print to where we print.
///
/// # Errors
///
/// Says which command could not start, failed, took too long or left a process behind.
pub(crate) fn check(mut command: Command) -> Result {
    let shown = show(&command);
    if watch(&mut command)?.success { Ok(()) } else { Err(format!("failed: {shown}").into()) }
}

/// Runs the command to its end and counts the tests in what it prints.
///
/// # Errors
///
/// Says which command could not start.
pub(crate) fn watch(command: &mut Command) -> Result<Outcome> {
    watch_within(command, STEP_TIME_MAX)
}

/// As [`watch`], for a program that may take at most so long.
///
/// # Errors
///
/// Says which command could not start.
pub(crate) fn watch_within(command: &mut Command, time_max: Duration) -> Result<Outcome> {
    println!("$ {}", show(command));
    watch_into(command, time_max, io::stdout(), io::stderr())
}

/// As [`watch_within`], with the output passed to `out` and `err`. Our own tests pass a sink, or whoever
/// counts their closing lines would count the lines of the programs that they start.
///
/// # Errors
///
/// Says which command could not start.
pub(crate) fn watch_into(
    command: &mut Command,
    time_max: Duration,
    out: impl Write + Send + 'static,
    err: impl Write + Send + 'static,
) -> Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", show(command)))?;
    let (lines, received) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, out, lines.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, err, lines);
    }
    let (status, tests) = follow(&mut child, time_max, &received)?;
    Ok(Outcome { success: status.is_some_and(|status| status.success()), tests })
}

/// Runs the command and returns what it prints, for programs to read.
///
/// # Errors
///
/// Says which command failed.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let shown = show(&command);
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("cannot start {shown}: {error}"))?;
    if !output.status.success() {
        return Err(format!("failed: {shown}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// True if the program is there and answers to `args`.
pub(crate) fn answers(mut command: Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The command as one would type it.
fn show(command: &Command) -> String {
    let mut shown = String::new();
    for (key, value) in command.get_envs() {
        let value = value.unwrap_or_default().to_string_lossy();
        shown.push_str(&format!("{}='{value}' ", key.to_string_lossy()));
    }
    let program = std::path::Path::new(command.get_program());
    shown.push_str(&program.file_name().unwrap_or_default().to_string_lossy());
    for arg in command.get_args() {
        shown.push(' ');
        shown.push_str(&arg.to_string_lossy());
    }
    shown
}

/// Passes everything from `from` to `to` and to `lines`, by lines.
fn forward(from: impl Read + Send + 'static, mut to: impl Write + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(io::Result::ok) {
            let shown = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
            let heard = lines.send(String::from_utf8_lossy(&line).into_owned());
            if shown.is_err() || heard.is_err() {
                return;
            }
        }
    });
}

/// Sums the closing lines until the program has ended and its output is closed. The status is
/// `None` if either did not happen in time.
fn follow(
    child: &mut Child,
    time_max: Duration,
    lines: &Receiver<String>,
) -> Result<(Option<ExitStatus>, Option<Tally>)> {
    let started = Instant::now();
    let mut ended: Option<(ExitStatus, Instant)> = None;
    let mut tests: Option<Tally> = None;
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                failures::hear(&line);
                if let Some(tally) = closing_line(&line) {
                    *tests.get_or_insert_default() += tally;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok((Some(child.wait()?), tests)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        if ended.is_some_and(|(_, at)| at.elapsed() > LEAK_TIME_MAX) {
            eprintln!("it has ended, but a process that it left behind holds its output open");
            return Ok((None, tests));
        }
        if ended.is_none() && started.elapsed() > time_max {
            eprintln!("it was killed after {time_max:?}");
            child.kill()?;
            return Ok((None, tests));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_without_a_closing_line_has_failed() {
        let silent = Outcome { success: true, tests: None };
        assert_eq!(silent.tally(), Tally { passed: 0, failed: 1 });
    }

    #[test]
    fn a_failure_without_a_failed_test_counts_as_one() {
        let tests = Some(Tally { passed: 4, failed: 0 });
        assert_eq!(Outcome { success: false, tests }.tally(), Tally { passed: 4, failed: 1 });
        assert_eq!(Outcome { success: true, tests }.tally(), Tally { passed: 4, failed: 0 });
    }

    #[test]
    fn what_a_program_prints_is_counted_from_both_streams() -> Result {
        let mut command = Command::new("sh");
        let script = "echo 'test result: ok. 2 passed; 0 failed;'; \
                      echo 'Summary [0.1s] 3 tests run: 3 passed, 0 skipped' >&2; exit 3";
        command.args(["-c", script]);
        let outcome = watch_into(&mut command, STEP_TIME_MAX, io::sink(), io::sink())?;
        assert!(!outcome.success);
        assert_eq!(outcome.tests, Some(Tally { passed: 5, failed: 0 }));
        Ok(())
    }

    #[test]
    fn a_process_left_behind_is_a_failure_and_no_hang() -> Result {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 30 & exit 0"]);
        let started = Instant::now();
        assert!(!watch_into(&mut command, STEP_TIME_MAX, io::sink(), io::sink())?.success);
        assert!(started.elapsed() < Duration::from_secs(15));
        Ok(())
    }
}
