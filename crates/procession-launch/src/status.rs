//! How a child ended.

use std::fmt;

use procession_sys::Ended;

/// How a child ended: with an exit code, or by a signal.
///
/// ```
/// use procession_launch::Process;
///
/// fn give_up() { std::process::exit(3) }
///
/// let child = Process::start(give_up, ())?;
/// let status = child.wait()?;
/// assert_eq!((status.exitcode(), status.code(), status.signal()), (3, Some(3), None));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExitStatus(Option<Ended>);

/// The exit code of a child whose own is not known any more, as in Python.
const LOST: i32 = 255;

impl ExitStatus {
    /// The status of a child that somebody saw end.
    pub(crate) const fn new(ended: Ended) -> Self {
        Self(Some(ended))
    }

    /// The status of a child that has ended unseen: its server was killed, or somebody else reaped it.
    pub(crate) const LOST: Self = Self(None);

    /// Python's convention: the exit code, or minus the signal's number, or 255 when it is not known because the
    /// forkserver was killed before it could tell.
    #[must_use]
    pub const fn exitcode(self) -> i32 {
        match self.0 {
            Some(Ended::Exited(code)) => code,
            Some(Ended::Signaled { signal, .. }) => -signal,
            None => LOST,
        }
    }

    /// The exit code, 0 to 255, of a child that exited.
    #[must_use]
    pub const fn code(self) -> Option<i32> {
        match self.0 {
            Some(Ended::Signaled { .. }) => None,
            Some(Ended::Exited(code)) => Some(code),
            None => Some(LOST),
        }
    }

    /// The number of the signal that killed the child.
    #[must_use]
    pub const fn signal(self) -> Option<i32> {
        match self.0 {
            Some(Ended::Signaled { signal, .. }) => Some(signal),
            _ => None,
        }
    }

    /// True when that signal left a core file.
    #[must_use]
    pub const fn core_dumped(self) -> bool {
        matches!(self.0, Some(Ended::Signaled { core_dumped: true, .. }))
    }

    /// True for exit code 0.
    #[must_use]
    pub const fn success(self) -> bool {
        self.exitcode() == 0
    }

    /// False when the exit code 255 stands for "nobody knows".
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Ended::Exited(code)) => write!(f, "exit code {code}"),
            Some(Ended::Signaled { signal, core_dumped: false }) => write!(f, "signal {signal}"),
            Some(Ended::Signaled { signal, core_dumped: true }) => write!(f, "signal {signal} (core dumped)"),
            None => write!(f, "an unknown exit code (its forkserver was killed, or somebody else reaped it)"),
        }
    }
}
