//! Where a task's end is kept: written once by who runs the task, read by whoever holds a handle of it.
//!
//! Relies on [`call`](crate::call) for what a worker sends back. One million of these may wait at once, so that what few
//! tasks have (watchers, an error, descriptors) is behind a pointer. A lock guards who waits; the end itself is read
//! without one.

use std::fmt;
use std::mem;
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::Waker;
use std::thread::{self, Thread};

use parking_lot::{Mutex, MutexGuard};
use procession_sys::Deadline;

use crate::call::{Call, FAULT, Items, Reply};
use crate::callbacks;
use crate::error::{InvalidState, TaskError};

/// How a task ended, as its back-end tells it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A worker ran it to its end and reports; that may be a panic.
    Returned(Reply),
    /// No worker did.
    Failed {
        /// Why.
        error: TaskError,
        /// What a worker had reported before it died.
        partial: Option<Reply>,
        /// What it had been told, so that what it has not begun can be given to another one.
        call: Option<Call>,
    },
}

impl Outcome {
    /// An end without anything from a worker.
    pub(crate) const fn failed(error: TaskError) -> Self {
        Self::Failed { error, partial: None, call: None }
    }
}

/// A task's end as it is kept: what is rare is behind a pointer.
#[derive(Debug)]
pub(crate) enum End {
    /// A worker's report, all of it bytes.
    Bytes(Box<[u8]>),
    /// One with parcels.
    Reply(Box<Reply>),
    /// No worker ran it to its end.
    Failed(Box<Failure>),
    /// It was cancelled.
    Cancelled,
    /// It was a map, all of whose chunks have ended.
    Gathered(Box<[Chain]>),
}

/// Some items of a map that were submitted as one task.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) cell: Arc<Cell>,
    /// How many there are.
    pub(crate) items: u32,
}

/// A chunk, and what was submitted anew of it, one after the other.
pub(crate) type Chain = Vec<Chunk>;

/// What is left of a task that no worker ran to its end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: TaskError,
    pub(crate) partial: Option<Reply>,
    pub(crate) call: Option<Call>,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Returned(reply) if reply.parcels.is_empty() => Self::Bytes(reply.bytes.into_boxed_slice()),
            Outcome::Returned(reply) => Self::Reply(Box::new(reply)),
            Outcome::Failed { error: TaskError::Cancelled, .. } => Self::Cancelled,
            Outcome::Failed { error, partial, call } => Self::Failed(Box::new(Failure { error, partial, call })),
        }
    }
}

impl End {
    /// The items that a worker reported; else why none did.
    #[inline]
    pub(crate) fn items(&self) -> Result<Items<'_>, TaskError> {
        match self {
            Self::Bytes(bytes) => Ok(Items::of(bytes, &[])),
            Self::Reply(reply) => Ok(reply.items()),
            Self::Failed(failure) => Err(failure.error.clone()),
            Self::Cancelled => Err(TaskError::Cancelled),
            Self::Gathered(_) => Ok(Items::of(&[], &[])),
        }
    }

    /// True for an error of a single task, as far as it is known without decoding its result. A cancelled one has none.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::Cancelled | Self::Gathered(_) => false,
            Self::Failed(_) => true,
            Self::Bytes(_) | Self::Reply(_) => self.items().is_ok_and(|items| items.tag() == Some(FAULT)),
        }
    }
}

/// What a thread that waits for a task can do for it, and what can be done to a task that was submitted.
pub(crate) trait Backend: Send + Sync {
    /// Called by a thread that waits: returns when `done` or when the deadline has passed. Whatever makes `done` true
    /// also unparks the thread.
    fn drive(&self, done: &mut dyn FnMut() -> bool, deadline: Deadline) {
        park(done, deadline);
    }

    /// Called by a thread that waits for this task and for others: runs it at once, if it is for this thread and has not begun.
    fn help(&self) {}

    /// Cancels what has not begun; with `kill`, also what has. True if the task is, or is going to be, cancelled.
    fn cancel(&self, id: u64, kill: bool) -> bool;

    /// True while a worker runs it.
    fn is_running(&self, id: u64) -> bool;

    /// Somebody wants to hear of an end who does not wait in [`drive`](Self::drive).
    fn attend(&self) {}
}

/// Sleeps until `done` or the deadline; for who is unparked when something changes.
pub(crate) fn park(done: &mut dyn FnMut() -> bool, deadline: Deadline) {
    while !done() {
        match deadline.remaining() {
            None => thread::park(),
            Some(left) if left.is_zero() => return,
            Some(left) => thread::park_timeout(left),
        }
    }
}

/// Who wants to be told of the ends of several tasks.
pub(crate) trait Notice: Send + Sync {
    /// The task that was watched with this number has ended. Called by whoever ends it, so it is short and never waits.
    fn told(self: Arc<Self>, token: usize);
}

/// Who waits for one task.
enum Watcher {
    Thread(Thread),
    Waker(u32, Waker),
    Notice(Arc<dyn Notice>, usize),
    Callback(callbacks::Job),
}

/// What a task has until it ends.
#[derive(Default)]
struct Waiting {
    /// [`Begun`] for a task that runs and whose back-end has not given itself.
    backend: Option<(Arc<dyn Backend>, u64)>,
    others: Option<Box<Others>>,
}

/// Those that wait, which most tasks have none of while they are many.
#[derive(Default)]
struct Others {
    /// The first thread that waits: usually the only one.
    thread: Option<Thread>,
    watchers: Vec<Watcher>,
    /// The last number that was given to a waker.
    last_key: u32,
}

/// A task as its back-end and its handles share it.
#[derive(Default)]
pub(crate) struct Cell {
    end: OnceLock<End>,
    waiting: Mutex<Waiting>,
}

/// A million tasks may wait at once.
const _: () = assert!(size_of::<Cell>() <= 72);

/// What a task has instead of a back-end once it has begun: nobody can drive it, and nobody can cancel it.
struct Begun;

impl Backend for Begun {
    fn cancel(&self, _: u64, _: bool) -> bool {
        false
    }

    fn is_running(&self, _: u64) -> bool {
        true
    }
}

impl Begun {
    fn shared() -> Arc<dyn Backend> {
        static SHARED: LazyLock<Arc<dyn Backend>> = LazyLock::new(|| Arc::new(Begun));
        Arc::clone(&SHARED)
    }
}

impl Cell {
    /// How the task ended, if it has.
    #[inline]
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// True once it has ended.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.end.get().is_some()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.end(), Some(End::Cancelled))
    }

    /// True while a worker runs it.
    pub(crate) fn is_running(&self) -> bool {
        let waiting = self.waiting.lock();
        if self.is_done() {
            return false;
        }
        let backend = waiting.backend.clone();
        drop(waiting);
        let asked = backend.is_some_and(|(backend, id)| backend.is_running(id));
        asked && !self.is_done()
    }

    /// Cancels it if it has not begun; with `kill`, also if it has. True if it is or will be cancelled.
    pub(crate) fn cancel(&self, kill: bool) -> bool {
        let waiting = self.waiting.lock();
        if self.is_done() {
            return self.is_cancelled();
        }
        if let Some((backend, id)) = waiting.backend.clone() {
            drop(waiting);
            return backend.cancel(id, kill) || self.is_cancelled();
        }
        self.settle(waiting, End::Cancelled).is_ok()
    }

    /// Waits until it has ended; false if the deadline passed first.
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        if self.is_done() {
            return true;
        }
        let mut waiting = self.waiting.lock();
        if self.is_done() {
            return true;
        }
        let me = thread::current();
        let id = me.id();
        let others = waiting.others();
        match &others.thread {
            None => others.thread = Some(me),
            Some(_) => others.watchers.push(Watcher::Thread(me)),
        }
        let backend = waiting.backend.clone();
        drop(waiting);
        let mut done = || self.is_done();
        match backend {
            Some((backend, _)) => backend.drive(&mut done, deadline),
            None => park(&mut done, deadline),
        }
        self.is_done() || {
            let mut waiting = self.waiting.lock();
            let others = waiting.others();
            if others.thread.as_ref().is_some_and(|thread| thread.id() == id) {
                others.thread = None;
            } else {
                waiting.forget(|watcher| matches!(watcher, Watcher::Thread(thread) if thread.id() == id));
            }
            self.is_done()
        }
    }

    /// Adds one that waits, unless the task has ended: then it comes back.
    fn watch(&self, watcher: Watcher) -> Result<(), Watcher> {
        let mut waiting = self.waiting.lock();
        if self.is_done() {
            return Err(watcher);
        }
        waiting.others().watchers.push(watcher);
        Ok(())
    }

    /// Has `notice` told of its end; false if it has ended, and nobody is told.
    pub(crate) fn notify(&self, notice: Arc<dyn Notice>, token: usize) -> bool {
        self.watch(Watcher::Notice(notice, token)).is_ok()
    }

    /// Takes back what [`Self::notify`] was given.
    pub(crate) fn forget_notice(&self, notice: &Arc<dyn Notice>) {
        let own = Arc::as_ptr(notice).cast::<()>();
        let is_own =
            |watcher: &Watcher| matches!(watcher, Watcher::Notice(other, _) if Arc::as_ptr(other).cast() == own);
        self.waiting.lock().forget(is_own);
    }

    /// Calls it back when it has ended, on the thread for that; at once there if it has.
    pub(crate) fn call_back(&self, job: callbacks::Job) {
        match self.watch(Watcher::Callback(job)) {
            Err(Watcher::Callback(job)) => callbacks::run(job),
            _ => self.attend(),
        }
    }

    /// Tells whoever runs it that somebody listens who does not drive.
    fn attend(&self) {
        if let Some(backend) = self.backend() {
            backend.attend();
        }
    }

    /// Wakes a task of a runtime when it has ended, under the number that `key` gets; false if it has ended.
    pub(crate) fn wake(&self, key: &mut u32, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock();
        if self.is_done() {
            return false;
        }
        let others = waiting.others();
        let known = others.watchers.iter_mut().find_map(|watcher| match watcher {
            Watcher::Waker(its, waker) if *its == *key => Some(waker),
            _ => None,
        });
        match known {
            Some(known) => known.clone_from(waker),
            None => {
                others.last_key += 1;
                *key = others.last_key;
                others.watchers.push(Watcher::Waker(*key, waker.clone()));
            }
        }
        drop(waiting);
        self.attend();
        true
    }

    /// Takes back what [`Self::wake`] was given.
    pub(crate) fn forget_waker(&self, key: u32) {
        self.waiting.lock().forget(|watcher| matches!(watcher, Watcher::Waker(its, _) if *its == key));
    }

    /// Who can drive it.
    pub(crate) fn backend(&self) -> Option<Arc<dyn Backend>> {
        self.waiting.lock().backend.as_ref().map(|(backend, _)| Arc::clone(backend))
    }

    /// Ends it, and tells those that wait.
    fn settle(&self, mut waiting: MutexGuard<'_, Waiting>, end: End) -> Result<(), InvalidState> {
        self.end.set(end).map_err(|_| InvalidState)?;
        let Waiting { backend, others } = mem::take(&mut *waiting);
        drop(waiting);
        drop(backend);
        if let Some(others) = others {
            if let Some(thread) = others.thread {
                thread.unpark();
            }
            others.watchers.into_iter().for_each(Watcher::tell);
        }
        Ok(())
    }
}

impl Waiting {
    fn others(&mut self) -> &mut Others {
        self.others.get_or_insert_default()
    }

    /// Takes out the watchers that are meant.
    fn forget(&mut self, is_meant: impl Fn(&Watcher) -> bool) {
        if let Some(others) = &mut self.others {
            others.watchers.retain(|watcher| !is_meant(watcher));
        }
    }
}

impl Watcher {
    fn tell(self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            Self::Waker(_, waker) => waker.wake(),
            Self::Notice(notice, token) => notice.told(token),
            Self::Callback(job) => callbacks::run(job),
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("end", &self.end.get()).finish_non_exhaustive()
    }
}

/// The end of a task that whoever runs it holds: says when it begins and how it ends.
///
/// A promise that is dropped before that ends its task with [`TaskError::Terminated`], so that nobody waits for ever.
/// Ending a task wakes whoever waits for it, which may call wakers of a runtime: hold no lock meanwhile that submitting,
/// cancelling or waiting takes.
#[derive(Debug, Default)]
pub struct Promise(Arc<Cell>);

impl Promise {
    /// The other end of a task's handle.
    pub(crate) fn of(cell: &Arc<Cell>) -> Self {
        Self(Arc::clone(cell))
    }

    /// Says that the task begins; false if it was cancelled meanwhile, and must not.
    #[must_use]
    pub fn begin(&self) -> bool {
        let mut waiting = self.0.waiting.lock();
        if self.0.is_done() {
            return false;
        }
        waiting.backend.get_or_insert_with(|| (Begun::shared(), 0));
        true
    }

    /// True once the task has ended, as it does when it is cancelled.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Ends the task.
    pub(crate) fn resolve(&self, outcome: Outcome) -> Result<(), InvalidState> {
        self.end(outcome.into())
    }

    /// The same with an end as it is kept.
    pub(crate) fn end(&self, end: End) -> Result<(), InvalidState> {
        self.0.settle(self.0.waiting.lock(), end)
    }

    /// Says who can drive and cancel the task, and under which number. Without, waiting threads sleep, and only what has
    /// not begun can be cancelled.
    pub(crate) fn set_backend(&self, backend: Arc<dyn Backend>, id: u64) {
        self.0.waiting.lock().backend = Some((backend, id));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !self.0.is_done() {
            let _ = self.resolve(Outcome::failed(TaskError::Terminated));
        }
    }
}
