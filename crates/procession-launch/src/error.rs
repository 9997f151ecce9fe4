//! What can go wrong with a child: at its start, at its end, and in between.

use std::io;
use std::time::Duration;

use procession_boot::BootError;
use procession_wire::{DecodeError, EncodeError};

use crate::context::StartMethod;
use crate::status::ExitStatus;
use crate::tail::shown;

/// Why a process could not be started. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An argument cannot be encoded.
    #[error("cannot encode the arguments of process {name:?}: {error}")]
    Arguments {
        /// The process's name.
        name: String,
        /// What is wrong with them.
        error: EncodeError,
    },
    /// A variable given with `env` cannot stand in an environment.
    #[error(
        "cannot start process {name:?}: the environment variable {variable:?} cannot be set: \
         a name must not be empty or hold `=`, and neither name nor value may hold a NUL byte"
    )]
    Environment {
        /// The process's name.
        name: String,
        /// The variable's name.
        variable: std::ffi::OsString,
    },
    /// This image cannot have children, or the executable is not this image.
    #[error("cannot start process {name:?}: {error}{}", remedy_of_image(error))]
    Image {
        /// The process's name.
        name: String,
        /// What is wrong with the image.
        error: BootError,
    },
    /// A copy of this process was asked for, and this process has other threads.
    #[error(
        "cannot fork process {name:?}: this process has more than one thread{}, and locks that the others hold would stay \
         held in the copy: fork before the first thread is started, start children from a `Context::nursery()` taken \
         before it, or use the start method forkserver (in `#[test]` functions always, as they run beside another thread)",
        if *reads_output { ", the one that reads what children write and log among them" } else { "" }
    )]
    Threads {
        /// The process's name.
        name: String,
        /// Whether the thread that `Stdio::tail()` and `forward_logs()` need is one of them.
        reads_output: bool,
    },
    /// A function that the forkserver runs first has failed.
    #[error("cannot start process {name:?}: the preloaded {function}{}: {message}", failed_at(location.as_deref()))]
    Preload {
        /// The process's name.
        name: String,
        /// The function's type.
        function: String,
        /// Its error, or the panic's message, or what else went wrong.
        message: String,
        /// File, line and column of the panic.
        location: Option<String>,
        /// The frames at the panic.
        backtrace: Option<Box<str>>,
    },
    /// A function that the forkserver runs first has not returned in time: starts that pools and managers make have such a
    /// limit, others wait.
    #[error(
        "cannot start process {name:?}: the preloaded {function} has not returned within {after:?}: have it do less, or give \
         the pool or manager that the process is for more time with `start_timeout`"
    )]
    PreloadTimeout {
        /// The process's name.
        name: String,
        /// The type of the function that ran then.
        function: String,
        /// How long all of the context's functions were waited for together.
        after: Duration,
    },
    /// The nursery is gone that is to fork the child: it was killed, or is not this process's own.
    #[error(
        "cannot start process {name:?}: its nursery was killed, or belongs to the process that this one was forked from, or \
         to another user: take a new `Context::nursery()`"
    )]
    NurseryGone {
        /// The process's name.
        name: String,
    },
    /// The server that is to fork the child does not answer, and the start waits for it no longer: starts that pools
    /// and managers make have such a limit, others wait.
    #[error(
        "cannot start process {name:?}: the {} (pid {server}) has not answered within {after:?}: it {} stopped, and goes on \
         with `kill -CONT {server}`{}",
        if *is_nursery { "nursery" } else { "forkserver" },
        if *is_stopped { "is" } else { "may be" },
        if *is_nursery { ", or take a new `Context::nursery()`" } else { "; the next start executes another one" }
    )]
    Unanswered {
        /// The process's name.
        name: String,
        /// The server's number.
        server: u32,
        /// Whether it is a nursery, which nothing replaces.
        is_nursery: bool,
        /// Whether it was seen to be stopped all the time.
        is_stopped: bool,
        /// How long it was waited for. One that is stopped is waited for a second at most.
        after: Duration,
    },
    /// The context's start method cannot do what the context asks for.
    #[error("cannot start process {name:?} by {method}: {problem}")]
    Method {
        /// The process's name.
        name: String,
        /// The context's start method.
        method: StartMethod,
        /// What it cannot do.
        problem: &'static str,
    },
    /// A setting of the child that no process could have.
    #[error("cannot start process {name:?}: {setting}: {problem}")]
    Setting {
        /// The process's name.
        name: String,
        /// The builder's method.
        setting: &'static str,
        /// What is wrong with what it was given.
        problem: String,
    },
    /// The standard input was to be a tail, which only an output has.
    #[error(
        "cannot start process {name:?}: its standard input cannot be `Stdio::tail()`: use `Stdio::pipe()`, \
         `Stdio::file(..)`, `Stdio::null()` or `Stdio::inherit()`"
    )]
    TailOfInput {
        /// The process's name.
        name: String,
    },
    /// The system refused something that a start needs: descriptors, memory, processes, a directory.
    #[error("cannot start process {name:?}: cannot {step}: {error}{}", remedy(error))]
    System {
        /// The process's name.
        name: String,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// How a preloaded function failed, in a sentence.
fn failed_at(location: Option<&str>) -> String {
    location.map_or(" failed".to_owned(), |location| format!(" panicked at {location}"))
}

/// What helps against the errors that mean "too many".
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    /// `E2BIG`, `EMFILE`, `ENFILE`, `EAGAIN`, `ETOOMANYREFS`.
    const TOO_MANY: [(i32, &str); 5] = [
        (7, "; arguments and environment together are larger than exec takes (a quarter of RLIMIT_STACK)"),
        (24, "; raise the limit of open files (RLIMIT_NOFILE) or close some"),
        (23, "; the system's table of open files is full"),
        (11, "; raise the limit of processes (RLIMIT_NPROC, or the cgroup's pids.max) or end some"),
        (109, "; too many descriptors of this user are in flight: raise RLIMIT_NOFILE or let receivers catch up"),
    ];
    TOO_MANY.iter().find(|(errno, _)| error.raw_os_error() == Some(*errno)).map_or("", |(_, remedy)| remedy)
}

/// The same for an executable that cannot be run.
fn remedy_of_image(error: &BootError) -> &'static str {
    match error {
        BootError::Executable { error, .. } | BootError::Lifeline(error) => remedy(error),
        _ => "",
    }
}

/// Why a child did not deliver its result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The target panicked; the exit code is 1.
    #[error("process {name:?} (pid {pid}) panicked{}: {message}", at(location.as_deref()))]
    Panicked {
        /// The process's name.
        name: String,
        /// The process's number.
        pid: u32,
        /// The panic's message.
        message: String,
        /// File, line and column of the panic.
        location: Option<String>,
        /// The frames at the panic.
        backtrace: Option<Box<str>>,
        /// What it said last, if it was started with [`Stdio::tail`](crate::Stdio::tail) as its standard error.
        stderr: Option<String>,
    },
    /// A signal killed it: SIGKILL (9) may be the kernel's out-of-memory killer.
    #[error("process {name:?} (pid {pid}) was killed by {status}{}", shown(stderr.as_deref()))]
    Signaled {
        /// The process's name.
        name: String,
        /// The process's number.
        pid: u32,
        /// The signal's number.
        signal: i32,
        /// The whole status.
        status: ExitStatus,
        /// What it said last, if it was started with [`Stdio::tail`](crate::Stdio::tail) as its standard error.
        stderr: Option<String>,
    },
    /// It exited without a result: the target called `exit`, or the exit code is 255 because nobody knows it.
    #[error("process {name:?} (pid {pid}) ended with {status} and no result{}", shown(stderr.as_deref()))]
    Exited {
        /// The process's name.
        name: String,
        /// The process's number.
        pid: u32,
        /// The exit code.
        code: i32,
        /// The whole status.
        status: ExitStatus,
        /// What it said last, if it was started with [`Stdio::tail`](crate::Stdio::tail) as its standard error.
        stderr: Option<String>,
    },
    /// The child could not decode its arguments, or not begin at all.
    #[error("process {name:?} (pid {pid}) could not begin: {message}")]
    Refused {
        /// The process's name.
        name: String,
        /// The process's number.
        pid: u32,
        /// What the child says.
        message: String,
    },
    /// The child could not encode its result.
    #[error("the result of process {name:?} (pid {pid}) cannot be encoded: {message}")]
    Unencodable {
        /// The process's name.
        name: String,
        /// The process's number.
        pid: u32,
        /// What the child says.
        message: String,
    },
    /// The result arrived and cannot be decoded.
    #[error("the result of process {name:?} (pid {pid}) cannot be decoded: {error}")]
    Undecodable {
        /// The process's name.
        name: String,
        /// The process's number.
        pid: u32,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The system refused to wait or to receive.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// The place of a panic in a sentence.
fn at(location: Option<&str>) -> String {
    location.map(|location| format!(" at {location}")).unwrap_or_default()
}

/// Why a running child could not be signaled or waited for.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} process {name:?} (pid {pid}): {error}")]
pub struct ControlError {
    pub(crate) action: &'static str,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) error: io::Error,
}
