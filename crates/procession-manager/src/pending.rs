//! Calls on their way: what the answer to one that was sent is to be, and what becomes of one that nobody waits for.
//!
//! Relies on [`Link`] to keep answers until they are collected. Everything that calls goes through here: a call that waits is
//! one whose answer is collected at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_sys::Deadline;

use crate::error::CallError;
use crate::identity::ObjectId;
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
/// until an answer has come. No thread runs for them: answers are read when somebody waits for one, or calls anything else.
///
/// When it is dropped the call is carried out all the same, and its result goes, as does its error. Only one that takes
/// something, such as `get_later` of a queue, is given up: what it has taken goes back.
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
        let method = self.sent.method;
        (self.read)(method, self.sent.collect()?)
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
        entry: Arc<Entry>,
        call: (u64, u64),
        reply: Arc<Reply>,
    },
    /// Its answer was collected.
    Nobody,
}

impl Sent {
    /// Waits for the answer; each value that comes back has its references.
    pub(crate) fn collect(mut self) -> Result<Vec<Given>, CallError> {
        match std::mem::replace(&mut self.to, To::Nobody) {
            To::Remote { remote, link, call, object } => {
                let answer =
                    if link.is_own() { link.collect(call, object, self.deadline) } else { Err(Unanswered::Forked) };
                let mut results = remote.answered(self.method, self.patience, answer)?;
                results.iter_mut().for_each(|result| result.form = object.form());
                Ok(results)
            }
            To::Here { entry, call, reply } => self.collect_here(&entry, call, &reply),
            To::Nobody => Ok(Vec::new()),
        }
    }

    fn collect_here(&self, entry: &Arc<Entry>, call: (u64, u64), reply: &Reply) -> Result<Vec<Given>, CallError> {
        let (method, server) = (self.method.name, "this process".to_owned());
        if !reply.wait_until(self.deadline) {
            entry.settle(call, false);
            return Err(CallError::TimedOut { method, server, after: self.patience.unwrap_or_default() });
        }
        let (answer, is_claimed) = reply.wait();
        if is_claimed {
            entry.settle(call, true);
        }
        let refused = |refusal| CallError::refused(method, server, refusal);
        answer.map(|taken| taken.into_iter().map(Given::from).collect()).map_err(refused)
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
            To::Here { entry, call, .. } if self.takes => entry.settle(*call, false),
            To::Remote { .. } | To::Here { .. } | To::Nobody => {}
        }
    }
}
