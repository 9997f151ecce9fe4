//! A process that runs contestants when it is told to, and says how long that took.
//!
//! It is started with a number of MiB as its last argument, holds so much memory, and writes
//! `ready RESIDENT_KIB VERSION`. Then it answers each line `run METHOD N` on its standard input with the seconds that N
//! runs took, or with `failed: ` and the reason. It ends when its standard input does.

use std::ffi::OsStr;
use std::fmt::Display;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use procession_sys::{Deadline, Interest, poll_one};

use crate::Result;

/// How long an answer may take: the longest that anybody asks for takes a few seconds, so this is a hang.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// What begins the line of a runner that is ready, and of one whose run failed.
const READY: &str = "ready ";
const FAILED: &str = "failed: ";
const RUN: &str = "run ";

/// A running runner.
#[derive(Debug)]
pub struct Runner {
    name: &'static str,
    version: String,
    process: Child,
    answers: BufReader<ChildStdout>,
    patience: Duration,
}

impl Runner {
    /// Starts `program`, which is `name` in messages, and waits until it holds its memory.
    ///
    /// # Errors
    /// It cannot be started, or does not say that it holds so much.
    pub fn start(name: &'static str, program: &OsStr, args: &[&OsStr], mib: u64) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(args).arg(mib.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let missing = |error: io::Error| format!("{name} is missing: cannot start {}: {error}", program.display());
        let mut process = command.spawn().map_err(missing)?;
        let answers = BufReader::new(process.stdout.take().ok_or("its output is no pipe")?);
        let mut runner = Self { name, version: String::new(), process, answers, patience: ANSWER_TIME_MAX };
        let line = runner.answer()?;
        let ready = line.strip_prefix(READY).and_then(|rest| rest.split_once(' '));
        let (resident_kib, version) = ready.ok_or_else(|| format!("{name} is not ready, it says: {line}"))?;
        if resident_kib.parse::<u64>()? < mib << 10 {
            return Err(format!("{name} holds {resident_kib} KiB, not {mib} MiB").into());
        }
        runner.version = version.to_owned();
        Ok(runner)
    }

    /// Of what it is made, as it says.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs `method` so many times in turn.
    ///
    /// # Errors
    /// A run failed or hangs, or the runner ended.
    pub fn run(&mut self, method: &str, times: u64) -> Result<Duration> {
        let stdin = self.process.stdin.as_mut().ok_or("its input is no pipe")?;
        let asked = stdin.write_all(format!("{RUN}{method} {times}\n").as_bytes());
        let name = self.name;
        asked.map_err(|error| format!("{name} cannot be asked to run {method}: {error}"))?;
        let line = self.answer().map_err(|error| format!("{method}: {error}"))?;
        if let Some(reason) = line.strip_prefix(FAILED) {
            return Err(format!("{name}, {method}: {reason}").into());
        }
        let seconds: f64 = line.parse().map_err(|_| format!("{name}, {method}: not a number of seconds: {line}"))?;
        Ok(Duration::try_from_secs_f64(seconds)?)
    }

    /// The next line. Nothing is left in the buffer from the one before: every line is asked for.
    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        if !poll_one(self.answers.get_ref(), Interest::Read, Deadline::after(self.patience))? {
            self.process.kill()?;
            return Err(format!("{} gave no answer in {:?}", self.name, self.patience).into());
        }
        if self.answers.read_line(&mut line)? == 0 {
            let status = self.process.wait()?;
            return Err(format!("{} ended without an answer ({status})", self.name).into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.process.stdin.take()); // So that it ends, and takes with it what it has started.
        if let Err(error) = self.process.wait() {
            eprintln!("cannot wait for {}: {error}", self.name);
        }
    }
}

/// The other side: says that it is ready, then calls `run` with each method and number that it is asked for.
///
/// # Errors
/// The pipes are broken, or a line is not understood.
pub fn answer_all(resident_kib: u64, version: &str, mut run: impl FnMut(&str, u64) -> Result<Duration>) -> Result {
    say(format_args!("{READY}{resident_kib} {version}"))?;
    let mut line = String::new();
    // Line by line, so that nobody holds the lock of standard input while a run forks this process.
    while io::stdin().read_line(&mut line)? > 0 {
        let asked = line.trim_end().strip_prefix(RUN).and_then(|rest| rest.rsplit_once(' '));
        let (method, times) = asked.ok_or_else(|| format!("not understood: {line}"))?;
        match run(method, times.parse()?) {
            Ok(time) => say(time.as_secs_f64())?,
            Err(error) => say(format_args!("{FAILED}{error}"))?,
        }
        line.clear();
    }
    Ok(())
}

/// How long it takes to do a thing so many times.
///
/// # Errors
/// It failed.
pub fn timed<T>(times: u64, mut once: impl FnMut() -> Result<T>) -> Result<Duration> {
    let began = Instant::now();
    for _ in 0..times {
        black_box(once()?);
    }
    Ok(began.elapsed())
}

fn say(line: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runner that is a shell script; `$1` is the number of MiB.
    fn script(script: &str) -> Result<Runner> {
        let args = ["-c", script, "sh"].map(OsStr::new);
        Runner::start("a script", OsStr::new("sh"), &args, 2)
    }

    fn message<T>(result: Result<T>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn it_is_asked_and_answers() -> Result {
        let mut runner = script("echo ready $(($1 * 1024)) sh 1.0; while read _ m n; do echo $n.5; done")?;
        assert_eq!(runner.version(), "sh 1.0");
        assert_eq!(runner.run("m", 3)?, Duration::from_millis(3500));
        assert_eq!(runner.run("m", 4)?, Duration::from_millis(4500));
        Ok(())
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = message(Runner::start("CPython", OsStr::new("no-such-python"), &[], 1));
        assert!(error.starts_with("CPython is missing: cannot start no-such-python"), "{error}");
    }

    #[test]
    fn one_that_holds_too_little_or_ends_at_once_is_refused() {
        assert_eq!(message(script("echo ready 2047 sh")), "a script holds 2047 KiB, not 2 MiB");
        assert!(message(script("exit 3")).contains("ended without an answer (exit status: 3)"));
        assert_eq!(message(script("echo hello")), "a script is not ready, it says: hello");
    }

    #[test]
    fn one_that_hangs_is_given_up() -> Result {
        let mut runner = script("echo ready 2048 sh; exec sleep 600")?;
        runner.patience = Duration::from_millis(20);
        assert_eq!(message(runner.run("fork", 1)), "fork: a script gave no answer in 20ms");
        Ok(())
    }

    #[test]
    fn a_failed_run_is_named_with_its_reason() -> Result {
        let mut runner = script("echo ready 2048 sh; read _; echo failed: the child is lost; read _; exit 4")?;
        assert_eq!(message(runner.run("fork", 1)), "a script, fork: the child is lost");
        assert!(message(runner.run("fork", 1)).starts_with("fork: a script ended without an answer"));
        Ok(())
    }
}
