//! Calls on their way: what the answer to one that was sent is to be, and what becomes of one that nobody waits for.
//!
//! Relies on [`Link`] to keep answers until they are collected. Everything that calls goes through here: a call that waits is
//! one whose answer is collected at once.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use procession_sys::Deadline;

use crate::error::{CallError, Refusal};
use crate::frame::Response;
use crate::identity::{CalledObject, ObjectId};
use crate::link::{Link, Unanswered};
use crate::proxy::MethodName;
use crate::remote::Remote;
use crate::server::{Entry, Given, Reply};

/// What an answer is read as.
pub(crate) type Read<R> = fn(MethodName, Vec<Given>) -> Result<R, CallError>;

/// The result of a call that is on its way, as the methods ending in `_later` return it.
///
/// Such a method returns as soon as the call was sent, so that many can be on their way at once, and none waits for the one
/// before it. The server has them in the order in which they were made: what a thread asks of one object is done in that
/// order.
///
/// At most [`CALLS_AHEAD_MAX`](crate::CALLS_AHEAD_MAX) calls of a process, with
/// [`BYTES_AHEAD_MAX`](crate::BYTES_AHEAD_MAX) bytes in all, are on their way to one server like this; another one waits
/// until an answer has come, and is [`CallError::Crowded`] if none has in the time that calls of this client have. No thread
/// runs for them: answers are read when somebody waits for one, or calls anything else.
///
/// When it is dropped the call is carried out all the same, and its result goes, as does its error. Only one that takes
/// something, such as `get_later` of a queue, is given up: what it has taken goes back to its place.
///
/// It does not keep the object: one that still waits there when nobody refers to the object any more is
/// [`Refusal::NoObject`].
///
/// # Crashes
/// When the server dies, every call that has no answer yet is [`CallError::Disconnected`], at once.
///
/// # Fork
/// A forked copy is [`CallError::Forked`]: the answer is the parent's.
///
/// # Python
/// Managers have nothing like it. `AsyncResult` of pools is.
///
/// # Examples
/// ```
/// use procession_manager::SyncManager;
///
/// let manager = SyncManager::start()?;
/// let squares = manager.dict::<u64, u64>()?;
/// let pending: Vec<_> = (0..1000).map(|n| squares.insert_later(n, n * n)).collect::<Result<_, _>>()?;
/// for insert in pending {
///     assert_eq!(insert.get()?, None);
/// }
/// let (three, four) = (squares.get_later(&3)?, squares.get_later(&4)?);
/// assert_eq!((three.get()?, four.get()?), (Some(9), Some(16)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a call that nobody asks about fails without anybody knowing"]
pub struct Pending<R> {
    sent: Sent,
    read: Read<R>,
}

impl<R> Pending<R> {
    pub(crate) fn new(sent: Sent, read: Read<R>) -> Self {
        Self { sent, read }
    }

    /// That of a call that takes something.
    pub(crate) fn taking(mut self) -> Self {
        self.sent.takes = true;
        self
    }

    /// Waits for the result, as long as calls of this client may take.
    ///
    /// # Errors
    /// What the call would have ended with if it had been waited for.
    ///
    /// # Python
    /// `AsyncResult.get()`.
    pub fn get(self) -> Result<R, CallError> {
        self.sent.read(self.read)
    }

    /// Waits for the result for so long at most, and gives the call up then.
    ///
    /// # Errors
    /// [`CallError::TimedOut`]; and as [`get`](Self::get).
    ///
    /// # Python
    /// `AsyncResult.get(timeout)`, which does not give up.
    pub fn get_timeout(mut self, timeout: Duration) -> Result<R, CallError> {
        let until = Deadline::after(timeout);
        if self.sent.deadline.min(until) == until {
            (self.sent.deadline, self.sent.patience) = (until, Some(timeout));
        }
        self.get()
    }

    /// True once [`get`](Self::get) does not wait: there is a result or an error. Reads the answers that have come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.sent.wait(Deadline::NOW)
    }

    /// Waits for so long at most until there is a result or an error; false if there is none by then.
    #[must_use]
    pub fn wait_timeout(&mut self, timeout: Duration) -> bool {
        self.sent.wait(Deadline::after(timeout))
    }
}

impl<R> fmt::Debug for Pending<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("method", &self.sent.method.name).finish_non_exhaustive()
    }
}

/// A call that was sent.
pub(crate) struct Sent {
    pub(crate) method: MethodName,
    pub(crate) to: To,
    /// When it is given up.
    pub(crate) deadline: Deadline,
    /// What the deadline was made of.
    pub(crate) patience: Option<Duration>,
    /// Whether the call takes something, which goes back if nobody collects it.
    pub(crate) takes: bool,
}

/// Where it was sent to.
pub(crate) enum To {
    Remote {
        remote: Arc<Remote>,
        link: Arc<Link>,
        call: u64,
        object: ObjectId,
    },
    /// An object of this process, which is the server.
    Here {
        entry: Weak<Entry>,
        object: ObjectId,
        call: (u64, u64),
        reply: Arc<Reply>,
    },
    /// Its answer was collected.
    Nobody,
}

impl Sent {
    /// Waits for the answer; each value that comes back has its references.
    pub(crate) fn collect(self) -> Result<Vec<Given>, CallError> {
        self.read(|_, results| Ok(results))
    }

    /// Waits for the answer, and reads it. What the object has handed out and cannot be read here goes back to it.
    pub(crate) fn read<R>(mut self, read: Read<R>) -> Result<R, CallError> {
        let to = std::mem::replace(&mut self.to, To::Nobody);
        let (results, is_claimed) = self.answer(&to).map_err(|error| error.about(|| to.called()))?;
        let mut receipt = is_claimed.then(|| Receipt { to, is_read: false });
        let value = read(self.method, results);
        if let Some(receipt) = &mut receipt {
            receipt.is_read = value.is_ok();
        }
        value
    }

    /// The answer, and whether it is to be said that it was received.
    fn answer(&self, to: &To) -> Result<(Vec<Given>, bool), CallError> {
        match to {
            To::Remote { remote, link, call, object } => {
                let answer =
                    if link.is_own() { link.collect(*call, *object, self.deadline) } else { Err(Unanswered::Forked) };
                let is_claimed = matches!(answer, Ok(Response::Return { is_claimed: true, .. }));
                let mut results = remote.answered(self.method, self.patience, answer)?;
                results.iter_mut().for_each(|result| result.form = object.form());
                Ok((results, is_claimed))
            }
            To::Here { object, reply, .. } => self.answer_here(to, *object, reply),
            To::Nobody => Ok((Vec::new(), false)),
        }
    }

    fn answer_here(&self, to: &To, object: ObjectId, reply: &Reply) -> Result<(Vec<Given>, bool), CallError> {
        let (method, server) = (self.method.name, "this process".to_owned());
        if !reply.wait_until(Deadline::NOW) {
            if self.deadline == Deadline::NEVER && to.is_within() {
                return Err(CallError::refused(method, server, Refusal::WaitsForItself));
            }
            if !reply.wait_until(self.deadline) {
                to.abandon();
                return Err(CallError::TimedOut { method, server, after: self.patience.unwrap_or_default() });
            }
        }
        let gone = || (Err(Refusal::NoObject { object }), false);
        let (answer, is_claimed) = reply.take().unwrap_or_else(gone);
        let taken = answer.map_err(|refusal| CallError::refused(method, server, refusal))?;
        Ok((taken.into_iter().map(Given::from).collect(), is_claimed))
    }

    fn wait(&self, until: Deadline) -> bool {
        match &self.to {
            To::Remote { link, call, .. } => !link.is_own() || link.wait_for(*call, until),
            To::Here { reply, .. } => reply.wait_until(until),
            To::Nobody => true,
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        match &self.to {
            To::Remote { link, call, object, .. } if link.is_own() => link.forget(*call, *object, self.takes),
            To::Here { .. } if self.takes => self.to.abandon(),
            To::Remote { .. } | To::Here { .. } | To::Nobody => {}
        }
    }
}

impl To {
    /// What was called, as errors name it.
    fn called(&self) -> Option<CalledObject> {
        match self {
            Self::Remote { remote, object, .. } => remote.names.called(*object),
            Self::Here { object, .. } => CalledObject::of(*object),
            Self::Nobody => None,
        }
    }

    /// Tells the object whether what it has handed out can be read here.
    fn settle(&self, is_read: bool) {
        match self {
            Self::Remote { link, call, object, .. } => link.settle(*call, *object, is_read),
            Self::Here { entry, call, .. } => {
                let Some(entry) = entry.upgrade() else { return };
                if is_read { entry.settle(*call, true) } else { entry.undelivered(*call) }
            }
            Self::Nobody => {}
        }
    }

    /// Whether this thread is in the middle of a method of the object, which nothing is done with before that has returned.
    fn is_within(&self) -> bool {
        matches!(self, Self::Here { entry, .. } if entry.upgrade().is_some_and(|entry| entry.is_within()))
    }

    /// Gives up a call of an object that is here.
    fn abandon(&self) {
        if let Self::Here { entry, call, .. } = self {
            entry.upgrade().into_iter().for_each(|entry| entry.settle(*call, false));
        }
    }
}

/// That something was handed out, of which the object is told at the end of this whether it was received, also when the
/// value that it is read as panics.
struct Receipt {
    to: To,
    is_read: bool,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.to.settle(self.is_read);
    }
}
