//! The handle of what a pool does meanwhile: one call, or all of a map.
//!
//! Relies on [`cell`](crate::cell). What is kept of the end is bytes; how they become a value is told by whoever makes the handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_sys::Deadline;

use crate::cell::{Cell, End};
use crate::error::TaskError;
use crate::future::Future;

/// The handle of a call or a map that a pool was given with one of its `_async` verbs.
///
/// A clone is a handle of the same; to drop all of them lets the pool go on.
///
/// # Crashes and fork
/// As with [`Future`]. Of a map whose worker dies, the item that it ran fails with [`TaskError::WorkerDied`]; the others have
/// been run when that is told.
///
/// # Python
/// `multiprocessing.pool.AsyncResult`, and `MapResult`.
///
/// # Examples
/// ```
/// use procession_pool::ThreadPool;
///
/// let pool = ThreadPool::new(2)?;
/// let squares = pool.map_async(|n: u64| n * n, 0..4)?;
/// squares.on_success(|squares| assert_eq!(squares.len(), 4));
/// assert_eq!(squares.get()?, [0, 1, 4, 9]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncResult<T> {
    cell: Arc<Cell>,
    read: fn(&End) -> Result<T, TaskError>,
}

impl<T> AsyncResult<T> {
    pub(crate) fn new(cell: Arc<Cell>, read: fn(&End) -> Result<T, TaskError>) -> Self {
        Self { cell, read }
    }

    /// Waits for the result. It is decoded anew each time.
    ///
    /// # Errors
    /// How the call failed; of a map, the error of the item with the lowest index, after all have ended.
    ///
    /// # Python
    /// `AsyncResult.get()`.
    pub fn get(&self) -> Result<T, TaskError> {
        self.wait();
        self.try_get()
    }

    /// The result if it is there.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`TaskError::WouldBlock`].
    pub fn try_get(&self) -> Result<T, TaskError> {
        self.cell.end().map_or(Err(TaskError::WouldBlock), self.read)
    }

    /// Waits for the result for so long at most.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`TaskError::Timeout`].
    ///
    /// # Python
    /// `AsyncResult.get(timeout)`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, TaskError> {
        if self.wait_timeout(timeout) { self.try_get() } else { Err(TaskError::Timeout) }
    }

    /// Waits until there is a result or an error.
    pub fn wait(&self) {
        self.cell.wait(Deadline::NEVER);
    }

    /// Waits for so long at most; false if there is none by then.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.cell.wait(Deadline::after(timeout))
    }

    /// True once there is a result or an error.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.cell.is_done()
    }

    /// Whether all has gone well; `None` until it is known.
    ///
    /// # Python
    /// `AsyncResult.successful()`, which raises instead of `None`.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        self.cell.end().map(|end| (self.read)(end).is_ok())
    }
}

impl<T: 'static> AsyncResult<T> {
    /// Calls `callback` with the result when it is there, on the thread for callbacks; never, if there is an error instead.
    /// See [`Future::add_done_callback`].
    ///
    /// # Python
    /// `callback=` of `apply_async`, `map_async` and `starmap_async`.
    pub fn on_success(&self, callback: impl FnOnce(T) + Send + 'static) {
        self.call_back(move |result| _ = result.map(callback));
    }

    /// Calls `callback` with the error, if it is one that comes.
    ///
    /// # Python
    /// `error_callback=` of `apply_async`, `map_async` and `starmap_async`.
    pub fn on_error(&self, callback: impl FnOnce(TaskError) + Send + 'static) {
        self.call_back(move |result| _ = result.map_err(callback));
    }

    fn call_back(&self, callback: impl FnOnce(Result<T, TaskError>) + Send + 'static) {
        let result = self.clone();
        self.cell.call_back(Box::new(move || callback(result.try_get())));
    }
}

impl<T> Clone for AsyncResult<T> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell), read: self.read }
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let future = Future::<T>::of(Arc::clone(&self.cell));
        f.debug_tuple("AsyncResult").field(&future).finish()
    }
}
