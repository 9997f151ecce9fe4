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

/// The names of the signals from 1 on that have one, the same on x86-64 and arm64 (signal(7)).
const SIGNAL_NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The name of a signal; a real-time signal has none.
fn signal_name(signal: i32) -> Option<&'static str> {
    SIGNAL_NAMES.get(usize::try_from(signal).ok()?.checked_sub(1)?).copied()
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Ended::Exited(code)) => write!(f, "exit code {code}"),
            Some(Ended::Signaled { signal, core_dumped }) => {
                write!(f, "signal {signal}")?;
                match (signal_name(signal), core_dumped) {
                    (Some(name), false) => write!(f, " ({name})"),
                    (Some(name), true) => write!(f, " ({name}, core dumped)"),
                    (None, false) => Ok(()),
                    (None, true) => write!(f, " (core dumped)"),
                }
            }
            None => write!(f, "an unknown exit code (its forkserver was killed, or somebody else reaped it)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_shown_with_its_name() {
        let shown = |signal, core_dumped| ExitStatus::new(Ended::Signaled { signal, core_dumped }).to_string();
        assert_eq!(shown(9, false), "signal 9 (SIGKILL)");
        assert_eq!(shown(11, true), "signal 11 (SIGSEGV, core dumped)");
        assert_eq!((shown(1, false), shown(31, false)), ("signal 1 (SIGHUP)".into(), "signal 31 (SIGSYS)".into()));
        assert_eq!((shown(40, false), shown(0, false)), ("signal 40".into(), "signal 0".into()));
    }
}
