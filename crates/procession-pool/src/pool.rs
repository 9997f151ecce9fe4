//! The pool: workers that are there from the start, and verbs that wait for them.
//!
//! Relies on `engine.rs` for all that it does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_launch::ExitHook;
use procession_sys::Deadline;

use crate::builder::{Settings, settings_verbs};
use crate::engine::Engine;
use crate::error::PoolError;
use crate::executor::{Executor, Shared, executes_by};
use crate::supervisor::PoolCounts;
use crate::verbs::pool_verbs;

/// A number of worker processes that functions are called in.
///
/// The workers are there from the start; one that dies is replaced. Each has one task at a time. What it is given and gives
/// back is encoded; handles travel along.
///
/// # Crashes and fork
/// A worker that dies, of whatever, costs the task that it was running, which gets
/// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied); what it had not begun another worker does, and nothing else
/// notices. Where no worker can be started, tasks that wait for one end with
/// [`TaskError::NoWorkers`](crate::TaskError::NoWorkers). If this process dies, all workers do. A forked copy of this process has no workers: there, submitting is
/// [`SubmitError::Foreign`](crate::SubmitError::Foreign), and the rest does nothing.
///
/// # Drop
/// Terminates, as [`terminate`](Self::terminate). So does the normal end of the program for a pool that is in a `static`.
///
/// # Python
/// `multiprocessing.Pool`, which waits for ever for the result of a worker that was killed.
///
/// # Examples
/// ```
/// use procession_pool::Pool;
///
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.apply(|n: u64| n * n, (7,))?, 49);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    engine: Shared<Engine>,
    at_exit: ExitHook,
}

pool_verbs!(Pool, "Pool::new(2)");

impl Pool {
    /// A pool of so many workers.
    ///
    /// # Errors
    /// [`PoolError`]: zero workers, or more than [`WORKERS_MAX`](crate::WORKERS_MAX); or one cannot be started, for want of
    /// processes, memory or descriptors, or since the start method cannot be used here.
    pub fn new(processes: usize) -> Result<Self, PoolError> {
        Self::builder().processes(processes).build()
    }

    /// A pool that is made otherwise than by default.
    pub fn builder() -> PoolBuilder {
        PoolBuilder { settings: Settings::new("Pool", true) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.engine.name()
    }

    /// How many workers it has.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.engine.size()
    }

    /// The process numbers of the workers that there are now.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.engine.worker_pids()
    }

    /// How many tasks and workers it has now, by what they are at.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        self.engine.counts()
    }

    /// Replays what its supervisor was told so far, if it is recorded: how many events, or which one is answered otherwise.
    #[doc(hidden)]
    pub fn replay(&self) -> Result<usize, String> {
        self.engine.replay()
    }

    /// Takes no more tasks. Workers end when those that were submitted are done, and maps that have begun: these go on
    /// reading their input until it ends, they fail, or their iterator is dropped.
    pub fn close(&self) {
        self.engine.close();
    }

    /// Kills all workers, and waits until they have ended. Tasks that are not done end with [`TaskError::Terminated`](crate::TaskError::Terminated).
    pub fn terminate(&self) {
        self.engine.kill_and_join();
    }

    /// Waits until all workers have ended, after [`close`](Self::close) or [`terminate`](Self::terminate).
    ///
    /// Maps of other threads are waited for. An iterator that the calling thread has of results, and that can get no further
    /// meanwhile, is not: what it has not submitted is lost. Take its results before.
    ///
    /// # Errors
    /// [`PoolError::Open`]: neither was called, and it would wait for ever.
    pub fn join(&self) -> Result<(), PoolError> {
        self.join_until(Deadline::NEVER).map(drop)
    }

    /// The same for at most so long; true if they have. The calling thread's own iterators get no further in any case, also if
    /// they have not.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, PoolError> {
        self.join_until(Deadline::after(timeout))
    }

    fn shared(&self) -> Arc<dyn Executor> {
        Arc::new(self.engine.clone())
    }

    fn join_until(&self, deadline: Deadline) -> Result<bool, PoolError> {
        if self.engine.is_open() {
            return Err(PoolError::Open { name: self.name().to_owned() });
        }
        Ok(self.engine.join(deadline))
    }
}

executes_by!(Pool, engine);

impl Drop for Pool {
    fn drop(&mut self) {
        self.terminate();
        self.at_exit.cancel();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// What a [`Pool`] is made with.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    settings: Settings,
}

impl PoolBuilder {
    /// How many workers there are, from 1 to [`WORKERS_MAX`](crate::WORKERS_MAX); by default as many as processors.
    pub fn processes(mut self, processes: usize) -> Self {
        self.settings.set_size(processes);
        self
    }

    settings_verbs!();

    /// Makes the pool. Its workers have been started then; with an initializer, all of them have run it.
    ///
    /// # Errors
    /// [`PoolError`]; nothing is left behind. What it waits for may take as long as
    /// [`start_timeout`](Self::start_timeout) says.
    pub fn build(self) -> Result<Pool, PoolError> {
        let engine = Shared(self.settings.build("processes")?);
        let at_exit = engine.0.at_exit(Engine::kill_and_join);
        Ok(Pool { engine, at_exit })
    }
}
