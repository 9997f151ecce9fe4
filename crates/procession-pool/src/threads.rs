//! Tasks in threads of this process: the executor for work that waits, and for comparing.
//!
//! Relies on [`call`](crate::call), which runs the same calls as a worker's process does. Threads start when there is work for
//! them and stay until the executor ends.

mod pool;
mod slot;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use procession_launch::calls::see_panics;
use procession_launch::{Arguments, Passable, Target, cpu_count};
use procession_sys::{Deadline, Origin};

pub use crate::threads::pool::ThreadPool;
pub(crate) use crate::threads::slot::runner_name;

use crate::builder::next_name;
use crate::call::{Call, FAULT, Reply, run_closure, run_here};
use crate::cell::{Cell, Outcome, Promise};
use crate::error::{PoolError, SubmitError, TaskError};
use crate::executor::{Executor, Shared, executes_by};
use crate::future::Future;
use crate::intake::{Intake, Map};
use crate::map::{Imap, Mapper};
use crate::supervisor::pause_after;
use crate::task::{Task, TaskBuilder};
use crate::threads::slot::{Queued, Slot, join_crew};

/// How many threads an executor has at most if it is not told: processors and a few, as most of their tasks wait. As in
/// Python, a machine with many processors does not get many stacks for it.
pub const THREADS_DEFAULT_MAX: usize = 32;

/// How many threads besides one for each processor wait for something, by default.
const THREADS_MORE: usize = 4;

/// What runs for a task.
enum Work {
    Call(Call, Retries),
    Closure(Box<dyn FnOnce() -> Reply + Send>),
}

/// How often a call is made again if it fails, and after what time.
struct Retries {
    most: u32,
    backoff: Duration,
}

/// A task that has not begun.
struct Job {
    work: Work,
    promise: Promise,
}

/// What threads and handles share.
pub(crate) struct Crew {
    name: String,
    origin: Origin,
    size: usize,
    initializer: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Whether jobs are taken: asked and closed while the state is locked.
    intake: Intake,
    state: Mutex<State>,
    /// There is work, or no more will come.
    work: Condvar,
    /// Nothing is tried again any more.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    threads: Vec<JoinHandle<()>>,
    idle: usize,
    /// What has failed is not tried again any more.
    is_emptied: bool,
}

impl Crew {
    pub(crate) fn new(builder: ThreadPoolBuilder, kind: &str) -> Result<Arc<Self>, PoolError> {
        let name = builder.thread_name_prefix.unwrap_or_else(|| next_name(kind));
        if name.contains('\0') {
            let problem = "a name has no NUL in it".to_owned();
            return Err(PoolError::Setting { name, setting: "thread_name_prefix", problem });
        }
        let size = builder.max_workers.unwrap_or_else(|| THREADS_DEFAULT_MAX.min(cpu_count() + THREADS_MORE));
        if size == 0 {
            let problem = "0 threads run nothing: give it at least 1".to_owned();
            return Err(PoolError::Setting { name, setting: "max_workers", problem });
        }
        let (initializer, origin) = (builder.initializer, Origin::here());
        let make = |crew: &Weak<Self>| {
            let crew = Weak::clone(crew);
            let intake = Intake::new(move || _ = crew.upgrade().inspect(|crew| crew.wake_all()));
            Self {
                name,
                origin,
                size,
                initializer,
                intake,
                state: Mutex::default(),
                work: Condvar::new(),
                emptied: Condvar::new(),
            }
        };
        let crew = Arc::new_cyclic(make);
        see_panics();
        crew.initialize()?;
        Ok(crew)
    }

    /// Has every thread run the initializer, if there is one, before any task.
    fn initialize(self: &Arc<Self>) -> Result<(), PoolError> {
        let Some(initializer) = &self.initializer else { return Ok(()) };
        let cells: Vec<Arc<Cell>> = (0..self.size).map(|_| Arc::default()).collect();
        for cell in &cells {
            let (promise, initializer) = (Promise::of(cell), Arc::clone(initializer));
            let started = self.start(
                &mut self.state.lock(),
                Some(Box::new(move || {
                    _ = promise.resolve(Outcome::Returned(run_closure(|| initializer())));
                })),
            );
            started.map_err(|error| {
                self.close();
                PoolError::System { name: self.name.clone(), step: "start a thread", error }
            })?;
        }
        for cell in cells {
            if let Err(error) = Future::<()>::of(cell).into_result() {
                self.finish();
                return Err(PoolError::Initializer { name: self.name.clone(), error: error.after(0) });
            }
        }
        Ok(())
    }

    /// Starts one more thread.
    fn start(self: &Arc<Self>, state: &mut State, first: Option<Box<dyn FnOnce() + Send>>) -> std::io::Result<()> {
        let crew = Arc::clone(self);
        let name = format!("{}_{}", self.name, state.threads.len());
        let run = move || {
            join_crew(&crew);
            if let Some(first) = first {
                first();
            }
            crew.run();
        };
        state.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// A thread's life.
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(queued) = state.queue.pop_front() {
                MutexGuard::unlocked(&mut state, || {
                    if let Some(job) = queued.slot.take() {
                        self.do_job(job);
                    }
                });
            } else if self.intake.has_ended() {
                return;
            } else {
                state.idle += 1;
                self.work.wait(&mut state);
                state.idle -= 1;
            }
        }
    }

    fn do_job(&self, Job { work, promise }: Job) {
        if !promise.begin() {
            return;
        }
        let reply = match work {
            Work::Closure(closure) => closure(),
            Work::Call(call, retries) => self.make(call, retries),
        };
        // What it was cancelled with meanwhile counts.
        let _ = promise.resolve(Outcome::Returned(reply));
    }

    /// Makes a call, and makes it again while it fails and may be retried.
    fn make(&self, call: Call, retries: Retries) -> Reply {
        for attempt in 1..=retries.most {
            let reply = run_here(call.clone());
            if reply.items().tag() != Some(FAULT) || !self.rest(pause_after(attempt, retries.backoff)) {
                return reply.after(attempt);
            }
        }
        run_here(call).after(retries.most.saturating_add(1))
    }

    /// Lets time pass before a call is made again; false if the executor is being emptied meanwhile.
    fn rest(&self, time: Duration) -> bool {
        let deadline = Deadline::after(time);
        let mut state = self.state.lock();
        while !state.is_emptied {
            let Some(left) = deadline.remaining().filter(|left| !left.is_zero()) else { return true };
            self.emptied.wait_for(&mut state, left);
        }
        false
    }

    /// Takes a job, and starts a thread for it if all that there are have something to do.
    fn take(self: &Arc<Self>, priority: i32, job: Job, map: Option<&Arc<Map>>) -> Result<(), SubmitError> {
        if !self.origin.is_here() {
            return Err(SubmitError::Foreign { name: self.name.clone(), owner: self.origin.pid() });
        }
        let mut state = self.state.lock();
        if !self.intake.admits_of(map) {
            return Err(SubmitError::Closed { name: self.name.clone() });
        }
        if state.idle <= state.queue.len() && state.threads.len() < self.size {
            match self.start(&mut state, None) {
                Err(error) if state.threads.is_empty() => {
                    let step = "start a thread";
                    return Err(SubmitError::System { name: self.name.clone(), step, error });
                }
                Err(error) => tracing::warn!(%error, "cannot start one more thread: those that there are do its work"),
                Ok(()) => {}
            }
        }
        let at = match state.queue.back() {
            Some(last) if last.priority < priority => state.queue.partition_point(|other| other.priority >= priority),
            _ => state.queue.len(),
        };
        state.queue.insert(at, Queued { priority, slot: Slot::of(self, job) });
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Takes nothing any more, and ends what has not begun.
    pub(crate) fn empty(&self, error: &TaskError) {
        if !self.origin.is_here() {
            return; // The locks may be held by threads that a copy does not have.
        }
        let mut state = self.state.lock();
        self.intake.close_to_maps();
        state.is_emptied = true;
        let queue = mem::take(&mut state.queue);
        drop(state);
        self.work.notify_all();
        self.emptied.notify_all();
        for job in queue.iter().filter_map(|queued| queued.slot.take()) {
            // What was cancelled earlier stays so.
            let _ = job.promise.resolve(Outcome::failed(error.clone()));
        }
    }

    /// Takes no more jobs but those of maps that have begun.
    pub(crate) fn close(&self) {
        if !self.origin.is_here() {
            return;
        }
        let state = self.state.lock();
        self.intake.close();
        drop(state);
        self.work.notify_all();
    }

    /// Has all threads look whether they are to end.
    fn wake_all(&self) {
        drop(self.state.lock()); // Whoever has looked before is waiting by now.
        self.work.notify_all();
    }

    /// True if it takes tasks.
    pub(crate) fn is_open(&self) -> bool {
        self.origin.is_here() && !self.intake.is_closed()
    }

    /// Closes, and waits for maps and the threads.
    pub(crate) fn finish(&self) {
        if !self.origin.is_here() {
            return;
        }
        self.close();
        self.intake.await_end();
        let threads = mem::take(&mut self.state.lock().threads);
        let me = thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != me) {
            // Every panic of a task is caught, and the rest has none.
            let _ = thread.join();
        }
    }

    pub(crate) fn submit_closure<R: Passable>(
        self: &Arc<Self>,
        closure: impl FnOnce() -> R + Send + 'static,
    ) -> Result<Future<R>, SubmitError> {
        let cell = Arc::default();
        let work = Work::Closure(Box::new(move || run_closure(closure)));
        self.take(0, Job { work, promise: Promise::of(&cell) }, None)?;
        Ok(Future::of(cell))
    }
}

impl Executor for Shared<Crew> {
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
        if task.options.timeout().is_some() {
            let problem = "nobody can kill a thread: use processes, or let the function watch the time";
            return Err(SubmitError::Option { name: self.0.name.clone(), option: "timeout", problem });
        }
        let retries = Retries { most: task.options.retries(), backoff: task.options.backoff() };
        let job = Job { work: Work::Call(task.call, retries), promise: task.promise };
        self.0.take(task.options.priority, job, task.map.as_ref())
    }

    fn parallelism(&self) -> usize {
        self.0.size
    }

    fn close(&self) {
        self.0.close();
    }
}

/// Runs tasks in threads of this process: for functions that wait for files, networks or other processes.
///
/// Panics are caught, and results travel as bytes, as with processes. Threads are started when there is work for them.
/// Nobody can kill a thread: a task that has begun cannot be cancelled, and has no timeout.
///
/// A task may submit tasks to its own executor and wait for them, also if all threads are busy: a thread of this executor that
/// waits without a timeout for a task of it that has not begun runs it itself, and no other thread does. Only whoever awaits it
/// as a future of a runtime waits for another thread.
///
/// # Crashes and fork
/// A task that panics has [`TaskError::Panicked`]; one that aborts, or does what a signal kills for, takes this process along. A
/// forked copy of this process has no threads of the executor: there, submitting is [`SubmitError::Foreign`], and the rest does
/// nothing.
///
/// # Drop
/// Waits until all tasks have ended, as [`shutdown`](Self::shutdown) does; one that does not end keeps it. The normal end of the
/// program waits for no executor that is in a `static`.
///
/// # Python
/// `concurrent.futures.ThreadPoolExecutor`, which hangs for ever where the tasks of all threads wait for further ones.
///
/// # Examples
/// ```
/// use procession_pool::ThreadPoolExecutor;
///
/// let executor = ThreadPoolExecutor::new(4)?;
/// let text = String::from("any closure");
/// let future = executor.submit(move || text.len())?;
/// assert_eq!(future.result()?, 11);
/// executor.shutdown();
/// assert!(executor.submit(|| ()).is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct ThreadPoolExecutor {
    crew: Shared<Crew>,
}

impl ThreadPoolExecutor {
    /// An executor of up to `max_workers` threads.
    ///
    /// # Errors
    /// [`PoolError::Setting`] for none.
    pub fn new(max_workers: usize) -> Result<Self, PoolError> {
        Self::builder().max_workers(max_workers).build()
    }

    /// An executor with settings of its own.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::default()
    }

    /// Has `closure` called in a thread. It may capture what it likes, and runs once.
    ///
    /// # Errors
    /// [`SubmitError`]: the executor was shut down, or the system has no thread for the first task.
    ///
    /// # Python
    /// `Executor.submit()`.
    pub fn submit<R: Passable>(&self, closure: impl FnOnce() -> R + Send + 'static) -> Result<Future<R>, SubmitError> {
        self.crew.0.submit_closure(closure)
    }

    /// A function with its arguments as a task with options: retries, a priority. It may be called several times, and its
    /// arguments travel as bytes. One with a timeout is refused.
    pub fn task<F: Target<A>, A: Arguments>(&self, function: F, arguments: A) -> TaskBuilder<'_, F, A> {
        TaskBuilder::new(Arc::new(self), function, arguments)
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
        Mapper::new(Arc::new(self.crew.clone()) as Arc<dyn Executor>).imap(function, items)
    }

    /// Takes no more tasks, waits until those that there are have ended, and ends the threads.
    ///
    /// Maps of other threads are waited for. An iterator that the calling thread has of results, and that can get no further
    /// meanwhile, is not: what it has not submitted is lost. Take its results before.
    ///
    /// # Python
    /// `Executor.shutdown()`.
    pub fn shutdown(&self) {
        self.crew.finish();
    }

    /// As [`shutdown`](Self::shutdown), and cancels the tasks that have not begun.
    ///
    /// # Python
    /// `Executor.shutdown(cancel_futures=True)`.
    pub fn shutdown_now(&self) {
        self.crew.empty(&TaskError::Cancelled);
        self.crew.finish();
    }
}

executes_by!(ThreadPoolExecutor, crew);

impl Drop for ThreadPoolExecutor {
    fn drop(&mut self) {
        self.crew.finish();
    }
}

impl fmt::Debug for ThreadPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, max_workers) = (&self.crew.name, self.crew.size);
        f.debug_struct("ThreadPoolExecutor").field("name", name).field("max_workers", &max_workers).finish()
    }
}

/// What a [`ThreadPoolExecutor`] is made with.
#[derive(Default)]
#[must_use = "nothing is made before `build`"]
pub struct ThreadPoolBuilder {
    max_workers: Option<usize>,
    thread_name_prefix: Option<String>,
    initializer: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl ThreadPoolBuilder {
    /// How many threads it has at most. By default one for each processor and four more, and not more than
    /// [`THREADS_DEFAULT_MAX`].
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.max_workers = Some(max_workers);
        self
    }

    /// What the names of its threads begin with, and what errors call it; `_0`, `_1` … follow. By default its kind and a number.
    pub fn thread_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.thread_name_prefix = Some(prefix.into());
        self
    }

    /// Has every thread call this before its first task. All threads are then started at once; one in which it panics is an
    /// error from [`build`](Self::build).
    pub fn initializer(mut self, initializer: impl Fn() + Send + Sync + 'static) -> Self {
        self.initializer = Some(Arc::new(initializer));
        self
    }

    /// Makes the executor.
    ///
    /// # Errors
    /// [`PoolError`]: no threads, or an initializer that panics.
    pub fn build(self) -> Result<ThreadPoolExecutor, PoolError> {
        Ok(ThreadPoolExecutor { crew: Shared(Crew::new(self, "ThreadPoolExecutor")?) })
    }

    /// Makes a pool instead.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_pool(self) -> Result<ThreadPool, PoolError> {
        ThreadPool::with(self)
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder").field("max_workers", &self.max_workers).finish_non_exhaustive()
    }
}
