//! How a worker is ruined, and what whoever had a task there is told.
//!
//! # Safety
//! What is undefined here happens on purpose, in a process that has nothing but this to do: it writes where no memory is, or
//! closes descriptors that others in it own, and whoever owns them finds them closed.

#![expect(unsafe_code, reason = "a worker is to be ruined in ways that safe code does not have")]

use std::hint::black_box;
use std::process;
use std::ptr;
use std::thread;
use std::time::Duration;

use procession_pool::TaskError;
use procession_sys::{Scarcity, close_all_but, limit, pid, send_signal};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long a task may take that is to be stopped.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(400);

/// What a task returns that comes to its end.
pub(crate) const RESULT: u64 = 42;

pub(crate) const ABORTED: i32 = 6;
pub(crate) const KILLED: i32 = 9;
pub(crate) const SEGFAULT: i32 = 11;
pub(crate) const STOPPED: i32 = 19;

const EXIT_CODE: i32 = 7;
const MESSAGE: &str = "planned";

/// An address in the first pages, which are never mapped.
const NOWHERE: usize = 0x1000;

/// Addresses that a worker has, which are less than it uses already, and what it asks for then.
const ADDRESSES: u64 = 64 << 20;
const TOO_MUCH: usize = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Panic,
    Exit,
    Abort,
    Segfault,
    Kill,
    /// It is stopped, and killed when its time is over.
    Stop,
    OutOfMemory,
    /// All descriptors but the standard streams are closed.
    Descriptors,
}

impl End {
    pub(crate) const ALL: [Self; 8] = [
        Self::Panic,
        Self::Exit,
        Self::Abort,
        Self::Segfault,
        Self::Kill,
        Self::Stop,
        Self::OutOfMemory,
        Self::Descriptors,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Exit => "exit",
            Self::Abort => "abort",
            Self::Segfault => "segfault",
            Self::Kill => "sigkill",
            Self::Stop => "sigstop",
            Self::OutOfMemory => "out_of_memory",
            Self::Descriptors => "closed_descriptors",
        }
    }

    /// Happens in this process. After most ends it does not return.
    pub(crate) fn come(self) {
        eprintln!("{}", self.last_words());
        match self {
            Self::Panic => panic!("{MESSAGE}"),
            Self::Exit => process::exit(EXIT_CODE),
            Self::Abort => process::abort(),
            // SAFETY: none; this process is to die of it.
            Self::Segfault => unsafe { ptr::without_provenance_mut::<u8>(NOWHERE).write_volatile(1) },
            Self::Kill => by_signal(KILLED),
            Self::Stop => by_signal(STOPPED),
            Self::OutOfMemory => {
                limit(Scarcity::AddressSpace, Some(ADDRESSES)).unwrap();
                black_box(vec![1_u8; TOO_MUCH]);
            }
            // SAFETY: none; whoever owns them finds that they are not there any more.
            Self::Descriptors => unsafe { close_all_but(&[]) },
        }
    }

    /// What the worker says before.
    fn last_words(self) -> String {
        format!("{} is what comes now", self.name())
    }

    /// Sees that whoever had the task is told of this and of nothing else, and gives the process that it happened in.
    #[track_caller]
    pub(crate) fn check(self, outcome: &Result<u64, TaskError>, keeps_tail: bool) -> Option<u32> {
        self.check_with(outcome, keeps_tail, 1)
    }

    /// The same after so many attempts: none for an initializer.
    #[track_caller]
    pub(crate) fn check_with(self, outcome: &Result<u64, TaskError>, keeps_tail: bool, tried: u32) -> Option<u32> {
        match (self, outcome) {
            (Self::Descriptors, Ok(RESULT)) => None,
            (Self::Panic, Err(TaskError::Panicked { pid, message, attempts, .. })) => {
                assert_eq!((message.as_str(), *attempts), (MESSAGE, tried));
                Some(*pid)
            }
            (Self::Stop, Err(TaskError::TimedOut { pid, after, attempts })) => {
                assert_eq!((*after, *attempts), (TIMEOUT, 1));
                Some(*pid)
            }
            (_, Err(TaskError::WorkerDied { pid, signal, exitcode, attempts, stderr, .. })) => {
                assert_eq!((*signal, *exitcode, *attempts), (self.signal(), self.exitcode(), tried), "{outcome:?}");
                self.check_tail(stderr.as_deref(), keeps_tail);
                Some(*pid)
            }
            _ => panic!("{outcome:?}"),
        }
    }

    #[track_caller]
    fn check_tail(self, stderr: Option<&str>, keeps_tail: bool) {
        assert_eq!(stderr.is_some(), keeps_tail);
        let Some(tail) = stderr else { return };
        assert!(tail.contains(&self.last_words()), "{tail:?}");
        assert!(self != Self::OutOfMemory || tail.contains("memory allocation of 1073741824 bytes failed"), "{tail:?}");
    }

    fn signal(self) -> Option<i32> {
        match self {
            Self::Abort | Self::OutOfMemory => Some(ABORTED),
            Self::Segfault => Some(SEGFAULT),
            Self::Kill => Some(KILLED),
            _ => None,
        }
    }

    fn exitcode(self) -> i32 {
        self.signal().map_or(EXIT_CODE, |signal| -signal)
    }
}

/// Sends itself a signal, and comes back when it goes on.
fn by_signal(number: i32) {
    send_signal(pid(), number).unwrap();
    if number == KILLED {
        thread::park();
    }
}

/// An argument that its end comes with when it is decoded.
#[derive(Serialize)]
pub(crate) struct EndsWhenRead(pub(crate) End);

impl<'de> Deserialize<'de> for EndsWhenRead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = End::deserialize(deserializer)?;
        end.come();
        Ok(Self(end))
    }
}

/// A result that its end comes with when it is encoded.
#[derive(Deserialize)]
pub(crate) struct EndsWhenWritten(End);

impl EndsWhenWritten {
    pub(crate) fn new(end: End) -> Self {
        Self(end)
    }
}

impl Serialize for EndsWhenWritten {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.come();
        self.0.serialize(serializer)
    }
}
