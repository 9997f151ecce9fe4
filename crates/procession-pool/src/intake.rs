//! Whether an executor takes tasks: all, those of maps that had begun when it was closed, or none.
//!
//! Relies on nothing of the executor. A map submits its input by and by, from the thread that takes its results: it is one piece
//! of work that has begun, and what closes the executor lets it go on.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use procession_sys::Deadline;

use crate::task::Task;

/// How long whoever waits for an executor's end waits for maps before the log says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// What decides whether an executor takes a task, for who writes one.
///
/// [`admits`](Self::admits) says it for each task. After [`close`](Self::close) those of maps are taken that had begun by then,
/// until they have read all of their input, have failed or are dropped: only then nothing comes any more, and workers can
/// end. Ask and close while you hold the lock of the queue that the task goes into, so that none comes after the end.
///
/// # Python
/// A pool's task handler, which feeds what `imap` was given whoever takes the results.
///
/// # Examples
/// ```
/// use procession_pool::{Executor, ExecutorExt, Intake, SubmitError, Task};
///
/// /// Runs every task at once, where it is submitted.
/// struct Here(Intake);
/// impl Executor for Here {
///     fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
///         if !self.0.admits(&task) { return Err(SubmitError::Closed { name: "Here".into() }); }
///         let (call, promise) = task.into_parts();
///         if promise.begin() { _ = promise.set_reply(call.run()); }
///         Ok(())
///     }
///     fn parallelism(&self) -> usize { 1 }
///     fn close(&self) { self.0.close(); }
/// }
/// let here = Here(Intake::new(|| ()));
/// let squares = here.map(|n: u64| n * n, 0..1000);
/// here.close();
/// assert!(here.submit(|n: u64| n, (1,)).is_err() && !here.0.has_ended());
/// assert_eq!(squares.filter(Result::is_ok).count(), 1000);
/// assert!(here.0.has_ended());
/// ```
pub struct Intake(Arc<Shared>);

struct Shared {
    is_closed: AtomicBool,
    maps: Mutex<Vec<Arc<Map>>>,
    /// Told when the last map has ended.
    ended: Condvar,
    when_ended: Box<dyn Fn() + Send + Sync>,
}

/// A map, as its tasks and the executors know it that have taken one of these.
#[derive(Debug)]
pub(crate) struct Map {
    /// The thread that alone can feed it; `None` if whoever hears of results does.
    thread: Option<ThreadId>,
    taken_by: Mutex<Vec<Weak<Shared>>>,
}

/// What keeps executors open for a map until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Map>);

impl Hold {
    /// For a map that is fed by the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self(Arc::new(Map { thread: Some(thread::current().id()), taken_by: Mutex::default() }))
    }

    /// For one that needs no thread.
    pub(crate) fn of_no_thread() -> Self {
        Self(Arc::new(Map { thread: None, taken_by: Mutex::default() }))
    }

    /// What its tasks carry.
    pub(crate) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.0)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let taken_by = std::mem::take(&mut *self.0.taken_by.lock());
        for shared in taken_by.iter().filter_map(Weak::upgrade) {
            shared.forget(|map| Arc::ptr_eq(map, &self.0));
        }
    }
}

impl Intake {
    /// One that is open. `when_ended` is called, by whoever ends the last map, when that comes after [`close`](Self::close):
    /// it wakes those who wait for work. No lock is held then.
    pub fn new(when_ended: impl Fn() + Send + Sync + 'static) -> Self {
        let (is_closed, maps, ended) = (AtomicBool::new(false), Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { is_closed, maps, ended, when_ended: Box::new(when_ended) }))
    }

    /// Whether a task is to be taken. The map that it is of, if it is of one, has begun here from now on.
    #[must_use]
    #[inline]
    pub fn admits(&self, task: &Task) -> bool {
        self.admits_of(task.map.as_ref())
    }

    /// The same for a task of that map, if it is of one.
    #[inline]
    pub(crate) fn admits_of(&self, map: Option<&Arc<Map>>) -> bool {
        map.map_or_else(|| !self.is_closed(), |map| self.admits_map(map))
    }

    fn admits_map(&self, map: &Arc<Map>) -> bool {
        let mut maps = self.0.maps.lock();
        if maps.iter().any(|other| Arc::ptr_eq(other, map)) {
            return true;
        }
        if self.is_closed() {
            return false;
        }
        maps.push(Arc::clone(map));
        map.taken_by.lock().push(Arc::downgrade(&self.0));
        true
    }

    /// Takes only tasks of maps that have begun, from now on.
    pub fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
    }

    /// Takes nothing from now on.
    pub fn close_to_maps(&self) {
        self.close();
        self.0.maps.lock().clear();
        self.0.ended.notify_all();
    }

    /// True once it was closed.
    #[must_use]
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    /// True once it was closed and no map is under way: nothing comes any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.is_closed() && self.0.maps.lock().is_empty()
    }

    /// Waits, once it was closed, until no map is under way.
    ///
    /// Maps that only the calling thread can feed, whose results it has an iterator of, could not go on meanwhile, and are not
    /// waited for: what they have not submitted is not taken any more. A map of another thread whose iterator nobody takes
    /// results from is waited for; the log says so after ten seconds.
    pub fn await_end(&self) {
        self.await_end_until(Deadline::NEVER);
    }

    /// The same until a deadline; true if no map is under way.
    pub(crate) fn await_end_until(&self, deadline: Deadline) -> bool {
        // However long it may be: nothing can come of them before this returns.
        let me = thread::current().id();
        self.0.forget(|map| map.thread == Some(me));
        let complains = Deadline::after(PATIENCE);
        let mut has_complained = false;
        let mut maps = self.0.maps.lock();
        while !maps.is_empty() {
            let left = deadline.remaining().unwrap_or(PATIENCE);
            if left.is_zero() {
                return false;
            }
            self.0.ended.wait_for(&mut maps, left.min(PATIENCE));
            if complains.has_passed() && !has_complained && !maps.is_empty() {
                has_complained = true;
                tracing::warn!(
                    maps = maps.len(),
                    "the end of a pool waits for maps whose results are not taken: take them, or drop their iterators"
                );
            }
        }
        true
    }
}

impl Shared {
    /// Lets go of maps, and tells if these were the last ones.
    fn forget(&self, is_forgotten: impl Fn(&Arc<Map>) -> bool) {
        let mut maps = self.maps.lock();
        let before = maps.len();
        maps.retain(|map| !is_forgotten(map));
        let has_ended = maps.len() < before && maps.is_empty() && self.is_closed.load(Ordering::Acquire);
        drop(maps);
        if has_ended {
            self.ended.notify_all();
            (self.when_ended)();
        }
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let maps = self.0.maps.lock().len();
        f.debug_struct("Intake").field("is_closed", &self.is_closed()).field("maps", &maps).finish_non_exhaustive()
    }
}
