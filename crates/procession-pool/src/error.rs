//! What can go wrong with a pool, with a submission and with a task.
//!
//! Relies on the errors of the layers below. What a task ends with holds texts only, so that it can itself be a result:
//! a task that has a pool of its own can return what went wrong there.

use std::io;
use std::time::Duration;

use procession_boot::BootError;
use procession_launch::StartError;
use procession_launch::calls::CaughtPanic;
use procession_wire::EncodeError;
use serde::{Deserialize, Serialize};

use crate::call::{Failure, Fault};
use crate::supervisor::POISON_DEATHS_MAX;
use crate::text::Text;

/// Why there is no result of a task, or not yet.
///
/// What goes wrong with one task is never told to another one. It is a value like any other: it can be cloned, and be a
/// result or an argument itself.
///
/// # Python
/// The exception that `Future.result()` and `AsyncResult.get()` raise, with `BrokenProcessPool`, `CancelledError` and
/// `TimeoutError` told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. Its worker goes on.
    #[error(
        "{} panicked in {name:?} (pid {pid}){}{}: {message}",
        if *attempts > 0 { "the task" } else { "the initializer" },
        at(location.as_deref()),
        tries(*attempts)
    )]
    Panicked {
        /// The name of the worker's process or thread.
        name: Text,
        /// The number of the worker's process.
        pid: u32,
        /// The panic's message.
        message: Text,
        /// File, line and column of the panic.
        location: Option<Text>,
        /// The frames at the panic, if `RUST_BACKTRACE` asks for them.
        backtrace: Option<Text>,
        /// How often the task was begun; 0 if it was an initializer.
        attempts: u32,
    },
    /// The worker's process ended while it ran the task. The pool has another one by now.
    #[error(
        "worker {name:?} (pid {pid}) {} {}{}{}{}",
        ended(*signal, *exitcode, *core_dumped),
        if *attempts > 0 { "while it ran the task" } else { "before it was ready for tasks" },
        tries(*attempts),
        surrender(*given_up),
        said(stderr.as_deref())
    )]
    WorkerDied {
        /// The process's name.
        name: Text,
        /// The process's number.
        pid: u32,
        /// The signal that killed it: SIGKILL (9) may be the kernel's out-of-memory killer.
        signal: Option<i32>,
        /// The exit code, or minus the signal's number, or 255 when nobody knows it.
        exitcode: i32,
        /// Whether the kernel wrote its memory to a file.
        core_dumped: bool,
        /// What it said last on its standard error, since it was handed the task, if the pool keeps that. Of tasks that
        /// follow each other within 100 us it may be what the ones before have said, too.
        stderr: Option<Text>,
        /// How often the task was begun; 0 if there was none, as the worker was not ready yet.
        attempts: u32,
        /// True if retries were left, and the task was given up all the same: so many workers have died of it as
        /// [`POISON_DEATHS_MAX`] says.
        given_up: bool,
    },
    /// The task ran for longer than its timeout, and was killed with its worker. The pool has another one by now.
    #[error("the task ran for longer than its timeout of {after:?}{}, and its worker was killed", tries(*attempts))]
    TimedOut {
        /// The task's timeout.
        after: Duration,
        /// The process that was killed.
        pid: u32,
        /// How often the task was begun.
        attempts: u32,
    },
    /// The task was cancelled: it has not run, or was killed while it did.
    #[error("the task was cancelled")]
    Cancelled,
    /// An initializer returned an error, or its arguments could not be decoded.
    #[error("{name:?} (pid {pid}) says: {reason}")]
    Refused {
        /// The name of the worker's process.
        name: Text,
        /// The number of the worker's process.
        pid: u32,
        /// The error, as text.
        reason: Text,
    },
    /// The worker could not decode the arguments, in any attempt.
    #[error("the task's arguments cannot be decoded by the worker: {reason}")]
    Arguments {
        /// What is wrong with them.
        reason: String,
    },
    /// The worker could not encode the result, in any attempt.
    #[error("the task's result cannot be encoded by the worker: {reason}")]
    Output {
        /// What is wrong with it.
        reason: String,
    },
    /// The result arrived and cannot be decoded.
    #[error("the task's result cannot be decoded: {reason}")]
    Decode {
        /// What is wrong with it.
        reason: String,
    },
    /// The pool was ended before the task was.
    #[error("the pool was terminated before the task had ended: use `close` and `join` to let tasks finish")]
    Terminated,
    /// No worker could be started, again and again; or the first that could not is enough: its nursery is killed or stopped, or
    /// what its context preloads, or its initializer, has taken longer than the pool's `start_timeout`.
    #[error("{} ready, so that the task found none: {last}", in_vain(*deaths))]
    NoWorkers {
        /// How many, one after the other.
        deaths: u32,
        /// How the last one ended, or why it was not started.
        last: String,
    },
    /// The task was not submitted. Only tasks that a map makes by itself end so; others tell it in [`SubmitError`].
    #[error("the task was not submitted: {reason}")]
    NotSubmitted {
        /// Why.
        reason: String,
    },
    /// The task has not ended yet, and it was asked not to wait.
    #[error("the task has not ended yet: wait with `result`, `get`, or a timeout")]
    WouldBlock,
    /// The task did not end for as long as was waited. It goes on.
    #[error("the task did not end for as long as was waited: it goes on, and can be waited for again or cancelled")]
    Timeout,
}

/// A result of a map that holds a number is so large, whether or not it is an error: a larger one makes maps slower that ask
/// for the end of each item.
const _: () = assert!(size_of::<Result<u64, TaskError>>() <= 48);

impl TaskError {
    /// True if the task has not ended, and can be asked again.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self, Self::WouldBlock | Self::Timeout)
    }

    /// A panic as it is reported.
    pub(crate) fn panicked(
        name: String,
        pid: u32,
        message: String,
        location: Option<String>,
        backtrace: Option<Box<str>>,
        attempts: u32,
    ) -> Self {
        let (location, backtrace) = (location.map(Text::from), backtrace.map(Text::from));
        Self::Panicked { name: name.into(), pid, message: message.into(), location, backtrace, attempts }
    }

    /// The process that it happened in.
    pub(crate) const fn pid(&self) -> Option<u32> {
        match *self {
            Self::Panicked { pid, .. } | Self::WorkerDied { pid, .. } | Self::TimedOut { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// The same of a task that was given up, if it was.
    pub(crate) fn given_up(mut self, is_given_up: bool) -> Self {
        if let Self::WorkerDied { given_up, .. } = &mut self {
            *given_up = is_given_up;
        }
        self
    }

    /// What a worker that died said last.
    pub(crate) const fn stderr(&self) -> Option<&Text> {
        match self {
            Self::WorkerDied { stderr, .. } => stderr.as_ref(),
            _ => None,
        }
    }

    /// The same at the end of so many attempts.
    pub(crate) fn after(mut self, tried: u32) -> Self {
        if let Self::WorkerDied { attempts, .. } | Self::Panicked { attempts, .. } = &mut self {
            *attempts = tried;
        }
        self
    }
}

impl From<Fault> for TaskError {
    fn from(Fault { name, pid, attempts, failure }: Fault) -> Self {
        match failure {
            Failure::Panicked(CaughtPanic { message, location, backtrace }) => {
                Self::panicked(name, pid, message, location, backtrace, attempts)
            }
            Failure::Arguments(reason) if attempts == 0 => {
                let reason = format!("its initializer's arguments cannot be decoded: {reason}");
                Self::Refused { name: name.into(), pid, reason: reason.into() }
            }
            Failure::Arguments(reason) => Self::Arguments { reason },
            Failure::Output(reason) => Self::Output { reason },
            Failure::Refused(reason) => Self::Refused { name: name.into(), pid, reason: reason.into() },
        }
    }
}

/// The place of a panic in a sentence.
fn at(location: Option<&str>) -> String {
    location.map(|location| format!(" at {location}")).unwrap_or_default()
}

/// How a process ended, in a sentence.
fn ended(signal: Option<i32>, exitcode: i32, core_dumped: bool) -> String {
    let core = if core_dumped { " (core dumped)" } else { "" };
    match signal {
        Some(signal) => format!("was killed by signal {signal}{core}"),
        None => format!("ended with exit code {exitcode}"),
    }
}

/// How often a task was tried, if that is worth a word.
fn tries(attempts: u32) -> String {
    if attempts > 1 { format!(" (attempt {attempts})") } else { String::new() }
}

/// How many workers there were that came to nothing, in a sentence.
fn in_vain(deaths: u32) -> String {
    if deaths == 1 {
        "a worker ended before it was".into()
    } else {
        format!("{deaths} workers in a row ended before they were")
    }
}

/// Why a task was not tried any more, if it could have been.
fn surrender(given_up: bool) -> String {
    if given_up { format!(": it is given up, as {POISON_DEATHS_MAX} workers have died of it") } else { String::new() }
}

/// What a process said last, in a sentence.
pub(crate) fn said(stderr: Option<&str>) -> String {
    procession_launch::shown(stderr)
}

/// Why a task was not submitted. Nothing of it has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// An argument cannot be encoded.
    #[error("cannot encode the task's arguments: {error}")]
    Arguments {
        /// What is wrong with them.
        error: EncodeError,
    },
    /// The function is not one of this program's image.
    #[error("cannot name the task's function: {error}")]
    Image {
        /// What is wrong with it.
        error: BootError,
    },
    /// An argument is a handle, and the task is to be run where none can be sent.
    #[error("the arguments hold {count} descriptors, which only a process of this machine can be given: pass values")]
    Descriptors {
        /// How many.
        count: usize,
    },
    /// The executor takes no more tasks.
    #[error("{name:?} takes no more tasks: submit before `close`, `shutdown`, `join` or `terminate`")]
    Closed {
        /// The executor's name.
        name: String,
    },
    /// The executor belongs to the process that this one was forked from.
    #[error("{name:?} belongs to process {owner}, of which this one is a copy: make an executor here")]
    Foreign {
        /// The executor's name.
        name: String,
        /// The process that has made it.
        owner: u32,
    },
    /// The executor cannot do what an option of the task asks for.
    #[error("{name:?} cannot run a task with `{option}`: {problem}")]
    Option {
        /// The executor's name.
        name: String,
        /// The option.
        option: &'static str,
        /// Why not.
        problem: &'static str,
    },
    /// The system refused something that the submission needs.
    #[error("cannot submit a task to {name:?}: cannot {step}: {error}")]
    System {
        /// The executor's name.
        name: String,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl From<SubmitError> for TaskError {
    /// For those who do not tell apart a task that was not begun and one that failed.
    fn from(error: SubmitError) -> Self {
        Self::NotSubmitted { reason: error.to_string() }
    }
}

/// Why a pool or an executor was not made. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A worker could not be started: the system refused, the forkserver did not answer, what the context preloads has failed
    /// or takes too long, or this process has threads and is to be forked.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A pool that takes tasks cannot be joined: that would wait for ever.
    #[error("cannot join {name:?}, which takes tasks: call `close` or `terminate` first")]
    Open {
        /// The pool's name.
        name: String,
    },
    /// The initializer failed in a worker.
    #[error("cannot make {name:?}: its initializer failed: {error}")]
    Initializer {
        /// The pool's name.
        name: String,
        /// How it failed.
        error: TaskError,
    },
    /// A worker was not ready in time: its initializer takes long, or does not end.
    #[error(
        "cannot make {name:?}: worker process {pid} had not run its initializer within {after:?}, and was killed: \
         have it do less, or give it more time with `start_timeout`{}",
        said(stderr.as_deref())
    )]
    StartTimeout {
        /// The pool's name.
        name: String,
        /// The number of the worker's process.
        pid: u32,
        /// How long it was given.
        after: Duration,
        /// What it said last on its standard error, if the pool keeps that.
        stderr: Option<Text>,
    },
    /// A setting that no pool could have.
    #[error("cannot make {name:?}: {setting}: {problem}")]
    Setting {
        /// The pool's name.
        name: String,
        /// The builder's method.
        setting: &'static str,
        /// What is wrong with what it was given.
        problem: String,
    },
    /// The initializer's arguments, or its function, cannot travel.
    #[error("cannot make {name:?}: its initializer: {error}")]
    Submit {
        /// The pool's name.
        name: String,
        /// What is wrong with it.
        error: SubmitError,
    },
    /// The system refused something that a pool needs: descriptors, memory, threads.
    #[error("cannot make {name:?}: cannot {step}: {error}")]
    System {
        /// The pool's name.
        name: String,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// The time was up before all futures were done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{unfinished} of {total} futures were not done in time: they go on, and can be waited for again")]
pub struct TimeoutError {
    /// How many were not done.
    pub unfinished: usize,
    /// How many there were.
    pub total: usize,
}

/// A task was told for the second time how it ended; the first time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task has ended already: how it ended first is what counts")]
pub struct InvalidState;
