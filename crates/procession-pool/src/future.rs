//! The handle of a task that was submitted to an executor.
//!
//! Relies on [`cell`](crate::cell), where the task's end is kept. Results are kept as bytes, and decoded by whoever asks:
//! in the asking thread, and anew each time.

use std::any::type_name;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use procession_launch::Passable;
use procession_sys::Deadline;

use crate::async_result::AsyncResult;
use crate::call::Item;
use crate::cell::{Cell, End};
use crate::error::TaskError;

/// The handle of a task: waits for its result, cancels it, calls back when it has ended.
///
/// A clone is a handle of the same task, and equal to it. To drop all of them lets the task go on. A thread that waits works
/// for the executor meanwhile. It is also a [`std::future::Future`], of `Result<T, TaskError>`: any runtime can await it.
///
/// # Crashes and fork
/// A worker that dies ends its task with [`TaskError::WorkerDied`]; no wait outlasts it. In a process that was forked from
/// this one the handle works for tasks that had ended before; others never end there, and are waited for in vain.
///
/// # Python
/// `concurrent.futures.Future`. `set_result`, `set_exception` and `set_running_or_notify_cancel` belong to
/// [`Promise`](crate::Promise).
///
/// # Examples
/// ```
/// use procession_pool::ThreadPoolExecutor;
///
/// let executor = ThreadPoolExecutor::new(1)?;
/// let future = executor.submit(|| 6 * 7)?;
/// assert_eq!(future.result()?, 42);
/// assert!(future.done() && !future.cancel());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Future<T> {
    cell: Arc<Cell>,
    /// The number of the waker that was left with the cell; zero for none.
    waker: u32,
    result: PhantomData<fn() -> T>,
}

impl<T> Future<T> {
    pub(crate) fn of(cell: Arc<Cell>) -> Self {
        Self { cell, waker: 0, result: PhantomData }
    }

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Cancels the task if it has not begun. True if it is cancelled, now or earlier.
    ///
    /// # Python
    /// `Future.cancel()`.
    #[expect(clippy::must_use_candidate, reason = "it is done for what it does; the answer is for who wants to know")]
    pub fn cancel(&self) -> bool {
        self.cell.cancel(false)
    }

    /// Cancels the task also if it has begun, by killing the process that runs it: it ends with
    /// [`TaskError::Cancelled`], and the pool starts another worker. True if it is or will be cancelled; false if it has
    /// ended, or is run by a thread, which nobody can kill.
    #[expect(clippy::must_use_candidate, reason = "it is done for what it does; the answer is for who wants to know")]
    pub fn kill(&self) -> bool {
        self.cell.cancel(true)
    }

    /// True if it was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }

    /// True while a worker runs it.
    #[must_use]
    pub fn running(&self) -> bool {
        self.cell.is_running()
    }

    /// True once it has ended: with a result, with an error, or by being cancelled.
    #[must_use]
    pub fn done(&self) -> bool {
        self.cell.is_done()
    }

    /// True if it has ended with an error, as far as that is known without decoding a result; being cancelled is none.
    pub(crate) fn has_failed(&self) -> bool {
        self.cell.end().is_some_and(End::is_failure)
    }
}

impl<T: Passable> Future<T> {
    /// Waits for the result. It is decoded anew each time.
    ///
    /// # Errors
    /// How the task ended, if not with a result.
    ///
    /// # Python
    /// `Future.result()`.
    pub fn result(&self) -> Result<T, TaskError> {
        self.result_until(Deadline::NEVER, TaskError::Timeout)
    }

    /// As [`result`](Self::result), and gives the handle up.
    ///
    /// # Errors
    /// As [`result`](Self::result).
    pub fn into_result(self) -> Result<T, TaskError> {
        self.result()
    }

    /// The result if the task has ended.
    ///
    /// # Errors
    /// As [`result`](Self::result), and [`TaskError::WouldBlock`].
    pub fn try_result(&self) -> Result<T, TaskError> {
        self.cell.end().map_or(Err(TaskError::WouldBlock), read)
    }

    /// Waits for the result for so long at most. A task that is done gives it also if the time is zero.
    ///
    /// # Errors
    /// As [`result`](Self::result), and [`TaskError::Timeout`].
    ///
    /// # Python
    /// `Future.result(timeout)`.
    pub fn result_timeout(&self, timeout: Duration) -> Result<T, TaskError> {
        self.result_until(Deadline::after(timeout), TaskError::Timeout)
    }

    /// Waits until the task has ended, and says how it failed; `None` if it did not.
    ///
    /// # Python
    /// `Future.exception()`. A cancelled task gives [`TaskError::Cancelled`] instead of raising it.
    #[must_use]
    pub fn exception(&self) -> Option<TaskError> {
        self.result().err()
    }

    /// How the task failed, if it has ended; `None` if it did not fail.
    ///
    /// # Errors
    /// [`TaskError::WouldBlock`].
    pub fn try_exception(&self) -> Result<Option<TaskError>, TaskError> {
        failure(self.try_result())
    }

    /// Waits for so long at most until the task has ended, and says how it failed; `None` if it did not.
    ///
    /// # Errors
    /// [`TaskError::Timeout`].
    pub fn exception_timeout(&self, timeout: Duration) -> Result<Option<TaskError>, TaskError> {
        failure(self.result_timeout(timeout))
    }

    /// Calls `callback` with a handle of the task when it has ended; if it has, as soon as can be.
    ///
    /// Callbacks run one after the other on a thread of their own, in the order in which they were added to one task. One
    /// that panics is reported by the panic hook and does not disturb others; one that waits lets later ones wait.
    ///
    /// # Python
    /// `Future.add_done_callback()`.
    ///
    /// # Examples
    /// ```
    /// use procession_pool::ThreadPoolExecutor;
    ///
    /// let executor = ThreadPoolExecutor::new(1)?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// executor.submit(|| 42)?.add_done_callback(move |future| sender.send(future.result()).unwrap());
    /// assert_eq!(receiver.recv()?, Ok(42));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_done_callback(&self, callback: impl FnOnce(Self) + Send + 'static) {
        let future = self.clone();
        self.cell.call_back(Box::new(move || callback(future)));
    }

    /// The handle that pools give.
    pub(crate) fn into_async_result(self) -> AsyncResult<T> {
        AsyncResult::new(Arc::clone(&self.cell), read)
    }

    fn result_until(&self, deadline: Deadline, late: TaskError) -> Result<T, TaskError> {
        if !self.cell.wait(deadline) {
            return Err(late);
        }
        self.try_result()
    }
}

/// How a task that has ended failed.
fn failure<T>(result: Result<T, TaskError>) -> Result<Option<TaskError>, TaskError> {
    match result {
        Ok(_) => Ok(None),
        Err(pending) if pending.is_pending() => Err(pending),
        Err(error) => Ok(Some(error)),
    }
}

/// The result of a single task.
pub(crate) fn read<T: Passable>(end: &End) -> Result<T, TaskError> {
    end.items()?.next::<T>().and_then(result_of).unwrap_or_else(|| Err(no_result()))
}

/// What an item is to whoever waits for it; `None` for the end of a chunk.
#[inline]
pub(crate) fn result_of<R>(item: Item<R>) -> Option<Result<R, TaskError>> {
    match item {
        Item::Value(value) => Some(Ok(value)),
        Item::Fault(fault) => Some(Err(fault.into())),
        Item::Undecodable(error) => Some(Err(TaskError::Decode { reason: error.to_string() })),
        Item::Ran(_) => None,
    }
}

/// What a report means that ends before its result: the worker could not carry even what it had to say about that.
pub(crate) fn no_result() -> TaskError {
    TaskError::Output { reason: "the worker could carry neither the result nor an error".to_owned() }
}

impl<T: Passable> std::future::Future for Future<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { cell, waker, .. } = &mut *self;
        if !cell.is_done() && cell.wake(waker, context.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(self.try_result())
    }
}

impl<T> Drop for Future<T> {
    fn drop(&mut self) {
        if self.waker != 0 && !self.cell.is_done() {
            self.cell.forget_waker(self.waker);
        }
    }
}

impl<T> Clone for Future<T> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.cell))
    }
}

impl<T> PartialEq for Future<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }
}

impl<T> Eq for Future<T> {}

impl<T> Hash for Future<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.cell).hash(state);
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.cell.end() {
            Some(End::Cancelled) => "cancelled",
            Some(end) if end.is_failure() => "failed",
            Some(_) => "finished",
            None if self.running() => "running",
            None => "pending",
        };
        write!(f, "Future<{}>({state})", type_name::<T>())
    }
}
