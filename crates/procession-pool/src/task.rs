//! A task on its way to a worker: a call, what is to be done if it fails, and the promise that waits for its end.
//!
//! Relies on [`call`](crate::call) for the call itself and on [`cell`](crate::cell) for the promise. Nothing here knows where
//! a task will run.

use std::sync::Arc;
use std::time::Duration;

use procession_launch::{Arguments, Target};

use crate::call::{Call, Load, name_single};
use crate::cell::{Cell, Promise};
use crate::error::SubmitError;
use crate::executor::Executor;
use crate::future::Future;
use crate::intake::{Hold, Map};

/// A task on its way to a worker, as an [`Executor`] is given it.
///
/// Who writes an executor has the call of [`into_parts`](Self::into_parts) made somewhere, between [`Promise::begin`] and
/// [`Promise::set_reply`].
#[derive(Debug)]
pub struct Task {
    pub(crate) call: Call,
    pub(crate) options: Options,
    pub(crate) promise: Promise,
    /// The map that it is a chunk of.
    pub(crate) map: Option<Arc<Map>>,
}

/// A million tasks may wait at once.
const _: () = assert!(size_of::<Task>() <= 96);

/// What is to be done with a task besides running it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) priority: i32,
    pub(crate) items: u32,
    /// Most tasks have none.
    limits: Option<Box<Limits>>,
}

/// What becomes of a task that fails or takes too long.
#[derive(Clone, Debug, Default)]
struct Limits {
    timeout: Option<Duration>,
    retries: u32,
    backoff: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { priority: 0, items: 1, limits: None }
    }
}

impl Options {
    /// Those of a chunk.
    pub(crate) fn of_items(items: u32) -> Self {
        Self { items, ..Self::default() }
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.limits.as_ref().and_then(|limits| limits.timeout)
    }

    pub(crate) fn retries(&self) -> u32 {
        self.limits.as_ref().map_or(0, |limits| limits.retries)
    }

    pub(crate) fn backoff(&self) -> Duration {
        self.limits.as_ref().map_or(Duration::ZERO, |limits| limits.backoff)
    }

    fn limits(&mut self) -> &mut Limits {
        self.limits.get_or_insert_default()
    }
}

impl Task {
    /// A task and the cell of its handle.
    pub(crate) fn new(call: Call, options: Options) -> (Self, Arc<Cell>) {
        let cell = Arc::default();
        (Self { call, options, promise: Promise::of(&cell), map: None }, cell)
    }

    /// The same of a chunk of so many items, of a map.
    pub(crate) fn of_map(call: Call, items: u32, hold: &Hold) -> (Self, Arc<Cell>) {
        let (task, cell) = Self::new(call, Options::of_items(items));
        (Self { map: Some(hold.map()), ..task }, cell)
    }

    /// The urgency: tasks of a higher one are begun first.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.options.priority
    }

    /// How many calls it is: one, or as many as the chunk of a map has items.
    #[must_use]
    pub fn items(&self) -> u32 {
        self.options.items
    }

    /// After which time the task is to be killed.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.options.timeout()
    }

    /// How often it is to be tried again.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.options.retries()
    }

    /// How long to wait before the first of these, twice as long before each further one.
    #[must_use]
    pub fn backoff(&self) -> Duration {
        self.options.backoff()
    }
}

/// The call of a function with arguments.
pub(crate) fn encode<F: Target<A>, A: Arguments>(function: F, arguments: A) -> Result<Call, SubmitError> {
    let function = name_single::<F, A>(function).map_err(|error| SubmitError::Image { error })?;
    let arguments = Load::of(arguments).map_err(|error| SubmitError::Arguments { error })?;
    Ok(Call { function, arguments })
}

/// Submits a call, and gives the handle of its task.
pub(crate) fn submit<T>(executor: &dyn Executor, call: Call, options: Options) -> Result<Future<T>, SubmitError> {
    let (task, cell) = Task::new(call, options);
    executor.submit_raw(task)?;
    Ok(Future::of(cell))
}

/// A task with options, which [`submit`](Self::submit) hands in.
///
/// Made by `task` of an executor or a pool.
///
/// # Examples
/// ```
/// use procession_pool::ThreadPoolExecutor;
///
/// let executor = ThreadPoolExecutor::new(1)?;
/// let urgent = executor.task(|n: u64| n * n, (7,)).priority(1).retries(2).submit()?;
/// assert_eq!(urgent.result()?, 49);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing runs before `submit`"]
pub struct TaskBuilder<'e, F, A> {
    executor: Arc<dyn Executor + 'e>,
    function: F,
    arguments: A,
    options: Options,
}

impl<'e, F: Target<A>, A: Arguments> TaskBuilder<'e, F, A> {
    pub(crate) fn new(executor: Arc<dyn Executor + 'e>, function: F, arguments: A) -> Self {
        Self { executor, function, arguments, options: Options::default() }
    }

    /// Kills the task, and the process that runs it, when it has run for so long. It ends with
    /// [`TaskError::TimedOut`](crate::TaskError::TimedOut), or is tried again. Its time begins when it is handed to a worker,
    /// which has nothing else to do then; what comes before that, such as waiting for a worker, is no part of it.
    ///
    /// Executors of threads refuse such a task with [`SubmitError::Option`]: nobody can kill a thread.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.limits().timeout = Some(timeout);
        self
    }

    /// Tries the task again, up to so many times, when it panics, when its worker dies or is too slow, or when the worker cannot
    /// decode its arguments or encode its result. It may then have run several times, each as far as it came.
    ///
    /// A task that [`POISON_DEATHS_MAX`](crate::POISON_DEATHS_MAX) workers have died of is tried no more, whatever is left.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.limits().retries = retries;
        self
    }

    /// Waits for so long before it is tried again, and for twice as long before each further time, but for no longer than
    /// [`BACKOFF_MAX`](crate::BACKOFF_MAX). Zero by default.
    pub fn backoff(mut self, backoff: Duration) -> Self {
        self.options.limits().backoff = backoff;
        self
    }

    /// Hands it to a worker before all tasks of a lower priority; zero by default. Those of the same are handed out in the order
    /// in which they were submitted.
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.priority = priority;
        self
    }

    /// Submits the task.
    ///
    /// # Errors
    /// [`SubmitError`]: nothing has been submitted.
    pub fn submit(self) -> Result<Future<F::Output>, SubmitError> {
        let call = encode(self.function, self.arguments)?;
        submit(&*self.executor, call, self.options)
    }
}

impl<F, A> std::fmt::Debug for TaskBuilder<'_, F, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
