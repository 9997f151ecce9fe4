//! The executor whose workers are processes.
//!
//! Relies on `engine.rs` for all that it does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_launch::{Arguments, ExitHook, Passable, Target};
use procession_sys::Deadline;

use crate::builder::{Settings, settings_verbs};
use crate::engine::Engine;
use crate::error::{PoolError, SubmitError};
use crate::executor::{ExecutorExt, Shared, executes_by};
use crate::future::Future;
use crate::map::{Imap, Mapper};
use crate::supervisor::PoolCounts;
use crate::task::TaskBuilder;

/// Runs functions in worker processes, and gives a [`Future`] for each.
///
/// Workers are started when there is work for them, up to the executor's size, and stay. Each has one task at a time. What
/// it is given and gives back is encoded; handles travel along.
///
/// # Crashes and fork
/// A worker that dies, of whatever, costs the task that it was running, whose future gets
/// [`TaskError::WorkerDied`](crate::TaskError::WorkerDied), or which is tried again if it was submitted with retries. It is
/// replaced, and nothing else notices. Where no worker can be started, tasks that wait for one end with
/// [`TaskError::NoWorkers`](crate::TaskError::NoWorkers). If this process dies, all workers do. A forked copy of this process
/// has no workers: there, submitting is [`SubmitError::Foreign`], and the rest does nothing.
///
/// # Drop
/// Finishes, as [`shutdown`](Self::shutdown), for as long as its tasks take:
/// [`kill_workers`](Self::kill_workers) ends it before one that does not end. So does the normal end of the program for an executor that is in a `static`.
///
/// # Python
/// `concurrent.futures.ProcessPoolExecutor`, where one dead worker fails all futures and ends the executor.
///
/// # Examples
/// ```
/// use procession_pool::ProcessPoolExecutor;
///
/// let executor = ProcessPoolExecutor::new(2)?;
/// let square = executor.submit(|n: u64| n * n, (7,))?;
/// assert_eq!(square.result()?, 49);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct ProcessPoolExecutor {
    engine: Shared<Engine>,
    at_exit: ExitHook,
}

impl ProcessPoolExecutor {
    /// An executor with at most so many workers.
    ///
    /// # Errors
    /// [`PoolError`]: zero workers, or more than [`WORKERS_MAX`](crate::WORKERS_MAX); or the system has no descriptors or
    /// threads left.
    pub fn new(max_workers: usize) -> Result<Self, PoolError> {
        Self::builder().max_workers(max_workers).build()
    }

    /// An executor that is made otherwise than by default.
    pub fn builder() -> ProcessPoolExecutorBuilder {
        ProcessPoolExecutorBuilder { settings: Settings::new("ProcessPoolExecutor", false) }
    }

    /// Has `function` called with `arguments` in a worker.
    ///
    /// # Errors
    /// [`SubmitError`]: an argument cannot be encoded, or the executor was shut down.
    pub fn submit<F: Target<A>, A: Arguments>(
        &self,
        function: F,
        arguments: A,
    ) -> Result<Future<F::Output>, SubmitError> {
        ExecutorExt::submit(self, function, arguments)
    }

    /// The same with options: a timeout, retries, a priority.
    pub fn task<F: Target<A>, A: Arguments>(&self, function: F, arguments: A) -> TaskBuilder<'_, F, A> {
        ExecutorExt::task(self, function, arguments)
    }

    /// The results of `function` for the items, in their order, as they can be had. Chunks of items are submitted from this call
    /// on, a bounded number ahead of the results that are taken.
    ///
    /// # Python
    /// `Executor.map()`.
    pub fn map<'i, F, I>(&self, function: F, items: I) -> Imap<'i, F::Output>
    where
        F: Target<(I::Item,)>,
        I: IntoIterator<Item: Passable, IntoIter: 'i>,
    {
        Mapper::new(Arc::new(self.engine.clone())).imap(function, items)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.engine.name()
    }

    /// How many workers it has at most.
    #[must_use]
    pub fn max_workers(&self) -> usize {
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

    /// Takes no more tasks; those that were submitted are finished in the background, and maps that have begun go on until
    /// their input ends or they are dropped.
    ///
    /// Python's `shutdown(wait=False)`.
    pub fn close(&self) {
        self.engine.close();
    }

    /// Takes no more tasks, and waits until those that were submitted are finished and all workers have ended.
    ///
    /// Maps of other threads are waited for. An iterator that the calling thread has of results, and that can get no further
    /// meanwhile, is not: what it has not submitted is lost. Take its results before.
    pub fn shutdown(&self) {
        self.engine.finish();
    }

    /// The same for at most so long; true if it is done, and otherwise it goes on in the background. The calling thread's own
    /// iterators get no further in any case.
    #[must_use]
    pub fn shutdown_timeout(&self, timeout: Duration) -> bool {
        self.close();
        self.engine.join(Deadline::after(timeout))
    }

    /// Cancels what has not begun, finishes what has, and waits until all workers have ended.
    ///
    /// Python's `shutdown(cancel_futures=True)`.
    pub fn shutdown_now(&self) {
        self.engine.cancel_all();
        self.shutdown();
    }

    /// Kills all workers, and waits until they have ended. Tasks that are not done end with
    /// [`TaskError::Terminated`](crate::TaskError::Terminated).
    pub fn kill_workers(&self) {
        self.engine.kill_and_join();
    }
}

executes_by!(ProcessPoolExecutor, engine);

impl Drop for ProcessPoolExecutor {
    fn drop(&mut self) {
        self.shutdown();
        self.at_exit.cancel();
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutor").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// What a [`ProcessPoolExecutor`] is made with.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ProcessPoolExecutorBuilder {
    settings: Settings,
}

impl ProcessPoolExecutorBuilder {
    /// How many workers there are at most, from 1 to [`WORKERS_MAX`](crate::WORKERS_MAX); by default as many as processors.
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.settings.set_size(workers);
        self
    }

    settings_verbs!();

    /// Makes the executor. With an initializer, a first worker has run it then.
    ///
    /// # Errors
    /// [`PoolError`]; nothing is left behind. Without an initializer no worker is started yet, and what hinders the first one
    /// is told by the tasks.
    pub fn build(self) -> Result<ProcessPoolExecutor, PoolError> {
        let engine = Shared(self.settings.build("max_workers")?);
        let at_exit = engine.0.at_exit(Engine::finish_last);
        Ok(ProcessPoolExecutor { engine, at_exit })
    }
}
