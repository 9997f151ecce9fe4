//! A child whose target's result is known by type.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};

use crate::builder::Builder;
use crate::child::Child;
use crate::error::{JoinError, StartError};
use crate::passable::{Arguments, Passable};
use crate::protocol::Report;
use crate::status::ExitStatus;
use crate::target::Target;

/// A child process that runs a function and delivers its result `R`.
///
/// It has every method of [`Child`]. Dropping it lets the child go on; see there.
///
/// Python's `multiprocessing.Process`, with a result.
///
/// # Examples
/// ```
/// use procession_launch::{JoinError, Process};
///
/// fn divide(a: u32, b: u32) -> u32 { a / b }
///
/// assert_eq!(Process::start(divide, (7, 2))?.join()?, 3);
/// match Process::start(divide, (7, 0))?.join() {
///     Err(JoinError::Panicked { message, .. }) => assert_eq!(message, "attempt to divide by zero"),
///     other => unreachable!("{other:?}"),
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Process<R> {
    child: Child,
    result: PhantomData<fn() -> R>,
}

impl Process<()> {
    /// Starts a child that calls `target` with `arguments`, by the default start method.
    ///
    /// `arguments` is a tuple of up to eight values. They are encoded before anything else happens, so an error leaves
    /// nothing behind.
    ///
    /// # Errors
    /// [`StartError`], with the process's name and the remedy.
    pub fn start<F, A>(target: F, arguments: A) -> Result<Process<F::Output>, StartError>
    where
        F: Target<A>,
        A: Arguments,
    {
        Self::builder(target, arguments).start()
    }

    /// A child to be given a name, a directory, an environment and more before it is started.
    pub fn builder<F, A>(target: F, arguments: A) -> Builder<F, A>
    where
        F: Target<A>,
        A: Arguments,
    {
        Builder::new(target, arguments)
    }
}

impl<R: Passable> Process<R> {
    /// A child that was just started with a target that returns `R`.
    pub(crate) fn new(child: Child) -> Self {
        Self { child, result: PhantomData }
    }

    /// Waits until the child has ended and returns what its target returned.
    ///
    /// # Errors
    /// [`JoinError::Panicked`] with message, place and backtrace; [`JoinError::Signaled`] when it was killed;
    /// [`JoinError::Exited`] when it left by `exit`; the others when values could not be carried over.
    pub fn join(self) -> Result<R, JoinError> {
        let status = self.child.wait()?;
        let (name, pid) = (self.child.name().to_owned(), self.child.pid());
        let Some(mut decoder) = self.child.take_report() else { return Err(self.without_report(status)) };
        let report = match decoder.value::<Report>() {
            Ok(report) => report,
            Err(error) => return Err(JoinError::Undecodable { name, pid, error }),
        };
        match report {
            Report::Returned => {
                let value = decoder.value::<R>().and_then(|value| decoder.finish().map(|()| value));
                value.map_err(|error| JoinError::Undecodable { name, pid, error })
            }
            Report::Panicked { message, location, backtrace } => {
                let stderr = self.child.stderr_tail();
                Err(JoinError::Panicked { name, pid, message, location, backtrace, stderr })
            }
            Report::BadArguments(message) | Report::Refused(message) => Err(JoinError::Refused { name, pid, message }),
            Report::BadResult(message) => Err(JoinError::Unencodable { name, pid, message }),
        }
    }

    /// The error for a child that ended without a report.
    fn without_report(&self, status: ExitStatus) -> JoinError {
        let (name, pid, stderr) = (self.child.name().to_owned(), self.child.pid(), self.child.stderr_tail());
        match status.signal() {
            Some(signal) => JoinError::Signaled { name, pid, signal, status, stderr },
            None => JoinError::Exited { name, pid, code: status.exitcode(), status, stderr },
        }
    }
}

impl<R> Deref for Process<R> {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

/// As [`Child`]'s: readable when the child has ended.
impl<R> AsFd for Process<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.sentinel()
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.child).finish()
    }
}
