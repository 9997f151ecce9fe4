//! A pool of threads: the verbs of `Pool`, for functions that wait.
//!
//! Relies on the crew of [`threads`](super).

use std::fmt;
use std::sync::Arc;

use crate::error::{PoolError, TaskError};
use crate::executor::{Executor, Shared, executes_by};
use crate::threads::{Crew, ThreadPoolBuilder};
use crate::verbs::pool_verbs;

/// A pool of threads of this process, with the verbs of `Pool`.
///
/// # Crashes and fork
/// A task that panics has [`TaskError::Panicked`]; one that aborts, or does what a signal kills for, takes this process along. A
/// forked copy of this process has no threads of the pool: there, submitting is
/// [`SubmitError::Foreign`](crate::SubmitError::Foreign), and the rest does nothing.
///
/// # Drop
/// Ends the tasks that have not begun with [`TaskError::Terminated`], as [`terminate`](Self::terminate) does. What a thread runs
/// it runs to its end, which nobody waits for; [`join`](Self::join) does.
///
/// # Python
/// `multiprocessing.pool.ThreadPool`, `multiprocessing.dummy.Pool`.
///
/// # Examples
/// ```
/// use procession_pool::ThreadPool;
///
/// let pool = ThreadPool::new(4)?;
/// let lengths = pool.map(|word: String| word.len(), ["one", "three"].map(String::from))?;
/// assert_eq!(lengths, [3, 5]);
/// pool.close();
/// pool.join()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct ThreadPool {
    crew: Shared<Crew>,
}

pool_verbs!(ThreadPool, "ThreadPool::new(2)");

impl ThreadPool {
    /// A pool of `threads` threads.
    ///
    /// # Errors
    /// [`PoolError::Setting`] for none.
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        Self::with(ThreadPoolBuilder::default().max_workers(threads))
    }

    pub(super) fn with(builder: ThreadPoolBuilder) -> Result<Self, PoolError> {
        Ok(Self { crew: Shared(Crew::new(builder, "ThreadPool")?) })
    }

    /// Takes no more tasks but those of maps that have begun: these go on reading their input until it ends, they fail, or their
    /// iterator is dropped.
    pub fn close(&self) {
        self.crew.close();
    }

    /// Takes no more tasks, and ends those that have not begun with [`TaskError::Terminated`]. Those that run go on.
    pub fn terminate(&self) {
        self.crew.empty(&TaskError::Terminated);
    }

    /// Waits until all tasks have ended, after [`close`](Self::close) or [`terminate`](Self::terminate).
    /// The threads end with it.
    ///
    /// Maps of other threads are waited for. An iterator that the calling thread has of results, and that can get no further
    /// meanwhile, is not: what it has not submitted is lost. Take its results before.
    ///
    /// # Errors
    /// [`PoolError::Open`]: neither was called, and it would wait for ever.
    pub fn join(&self) -> Result<(), PoolError> {
        if self.crew.is_open() {
            return Err(PoolError::Open { name: self.crew.name.clone() });
        }
        self.crew.finish();
        Ok(())
    }

    fn shared(&self) -> Arc<dyn Executor> {
        Arc::new(self.crew.clone())
    }
}

executes_by!(ThreadPool, crew);

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.terminate();
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("threads", &self.crew.size).finish_non_exhaustive()
    }
}
