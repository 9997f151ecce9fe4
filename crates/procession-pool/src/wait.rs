//! Waiting for several futures at once: as they complete, or until enough of them have.
//!
//! Relies on [`inbox`](crate::inbox). A future that is given twice counts once.

use std::collections::HashSet;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::Duration;

use procession_sys::Deadline;

use crate::cell::{Backend, Notice};
use crate::error::TimeoutError;
use crate::future::Future;
use crate::inbox::Inbox;

/// Futures that are watched, each under its place here.
struct Watched<T> {
    futures: Vec<Option<Future<T>>>,
    inbox: Arc<Inbox>,
    /// All before this place have ended.
    first: usize,
}

impl<T> Watched<T> {
    fn new(futures: impl IntoIterator<Item = Future<T>>) -> Self {
        let mut known = HashSet::new();
        let is_new = |future: &Future<T>| known.insert(Arc::as_ptr(future.cell()));
        let futures: Vec<_> = futures.into_iter().filter(is_new).map(Some).collect();
        let inbox = Arc::<Inbox>::default();
        for (token, future) in futures.iter().enumerate() {
            let told = future.as_ref().map(|future| future.cell().notify(Arc::clone(&inbox) as Arc<dyn Notice>, token));
            if told == Some(false) {
                inbox.tell(token);
            }
        }
        Self { futures, inbox, first: 0 }
    }

    /// Waits for the next one that ends.
    fn next(&mut self, deadline: Deadline) -> Option<usize> {
        self.inbox.take().or_else(|| {
            let backend = self.backend();
            self.inbox.wait(backend, deadline)
        })
    }

    /// Who drives the first one that has not ended.
    fn backend(&mut self) -> Option<Arc<dyn Backend>> {
        let has_ended = |future: &Option<Future<T>>| future.as_ref().is_none_or(Future::done);
        while self.futures.get(self.first).is_some_and(has_ended) {
            self.first += 1;
        }
        self.futures.get(self.first)?.as_ref()?.cell().backend()
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        let inbox = Arc::clone(&self.inbox) as Arc<dyn Notice>;
        for future in self.futures.iter().flatten().filter(|future| !future.done()) {
            future.cell().forget_notice(&inbox);
        }
    }
}

/// The futures as they complete: those that have ended first. Made by [`as_completed`].
pub struct AsCompleted<T> {
    watched: Watched<T>,
    left: usize,
}

/// Gives each of these futures when it has ended, whichever way: those first that have by now, then as they do. Each is given
/// once, and nothing of it is kept after that.
///
/// # Python
/// `concurrent.futures.as_completed()`.
///
/// # Examples
/// ```
/// use procession_pool::{ThreadPoolExecutor, as_completed};
///
/// let executor = ThreadPoolExecutor::new(2)?;
/// let futures = (1..=3_u64).map(|n| executor.submit(move || n * n)).collect::<Result<Vec<_>, _>>()?;
/// let sum: u64 = as_completed(futures).map(|future| future.result().unwrap()).sum();
/// assert_eq!(sum, 14);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn as_completed<T>(futures: impl IntoIterator<Item = Future<T>>) -> AsCompleted<T> {
    let watched = Watched::new(futures);
    AsCompleted { left: watched.futures.len(), watched }
}

impl<T> AsCompleted<T> {
    /// The next one, if the time lasts.
    fn next_until(&mut self, deadline: Deadline) -> Option<Future<T>> {
        if self.left == 0 {
            return None;
        }
        let token = self.watched.next(deadline)?;
        self.left -= 1;
        self.watched.futures[token].take()
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = Future<T>;

    fn next(&mut self) -> Option<Future<T>> {
        self.next_until(Deadline::NEVER)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for AsCompleted<T> {}
impl<T> FusedIterator for AsCompleted<T> {}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}

/// As [`AsCompleted`], for some time. Made by [`as_completed_timeout`].
#[derive(Debug)]
pub struct AsCompletedTimeout<T> {
    futures: AsCompleted<T>,
    deadline: Deadline,
    total: usize,
}

/// As [`as_completed`], for so long at most, counted from this call. Those that have ended are given also when the time is up;
/// then one error tells how many have not, and nothing follows it.
///
/// # Python
/// `concurrent.futures.as_completed(timeout=)`.
///
/// # Examples
/// ```
/// use procession_pool::{ThreadPoolExecutor, as_completed_timeout};
/// use std::time::Duration;
///
/// let executor = ThreadPoolExecutor::new(1)?;
/// let done = executor.submit(|| 7)?;
/// done.result()?;
/// for future in as_completed_timeout([done], Duration::ZERO) {
///     assert_eq!(future?.result()?, 7);
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn as_completed_timeout<T>(
    futures: impl IntoIterator<Item = Future<T>>,
    timeout: Duration,
) -> AsCompletedTimeout<T> {
    let deadline = Deadline::after(timeout);
    let futures = as_completed(futures);
    AsCompletedTimeout { deadline, total: futures.left, futures }
}

impl<T> Iterator for AsCompletedTimeout<T> {
    type Item = Result<Future<T>, TimeoutError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.futures.left == 0 {
            return None;
        }
        Some(self.futures.next_until(self.deadline).ok_or_else(|| {
            let unfinished = std::mem::take(&mut self.futures.left);
            TimeoutError { unfinished, total: self.total }
        }))
    }
}

impl<T> FusedIterator for AsCompletedTimeout<T> {}

/// What [`wait_futures`] waits for.
///
/// # Python
/// `FIRST_COMPLETED`, `FIRST_EXCEPTION` and `ALL_COMPLETED` of `concurrent.futures`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReturnWhen {
    /// Until one has ended, whichever way.
    FirstCompleted,
    /// Until one has failed, or all have ended. To be cancelled is not to fail.
    FirstException,
    /// Until all have ended.
    AllCompleted,
}

/// Waits until enough of these futures have ended; gives those that have, and those that have not, both in the order in which
/// they were given.
///
/// # Python
/// `concurrent.futures.wait()`.
///
/// # Examples
/// ```
/// use procession_pool::{ReturnWhen, ThreadPoolExecutor, wait_futures};
///
/// let executor = ThreadPoolExecutor::new(2)?;
/// let futures = [executor.submit(|| 1)?, executor.submit(|| 2)?];
/// let (done, pending) = wait_futures(futures, ReturnWhen::AllCompleted);
/// assert_eq!((done.len(), pending.len()), (2, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn wait_futures<T>(
    futures: impl IntoIterator<Item = Future<T>>,
    when: ReturnWhen,
) -> (Vec<Future<T>>, Vec<Future<T>>) {
    wait_until(futures, when, Deadline::NEVER)
}

/// As [`wait_futures`], for so long at most: then it gives what there is.
///
/// # Python
/// `concurrent.futures.wait(timeout=)`.
pub fn wait_futures_timeout<T>(
    futures: impl IntoIterator<Item = Future<T>>,
    when: ReturnWhen,
    timeout: Duration,
) -> (Vec<Future<T>>, Vec<Future<T>>) {
    wait_until(futures, when, Deadline::after(timeout))
}

fn wait_until<T>(
    futures: impl IntoIterator<Item = Future<T>>,
    when: ReturnWhen,
    deadline: Deadline,
) -> (Vec<Future<T>>, Vec<Future<T>>) {
    let mut watched = Watched::new(futures);
    for _ in 0..watched.futures.len() {
        let Some(token) = watched.next(deadline) else { break };
        let has_failed = || watched.futures[token].as_ref().is_some_and(Future::has_failed);
        let is_enough = match when {
            ReturnWhen::FirstCompleted => true,
            ReturnWhen::FirstException => has_failed(),
            ReturnWhen::AllCompleted => false,
        };
        if is_enough {
            break;
        }
    }
    watched.futures.iter().flatten().cloned().partition(Future::done)
}
