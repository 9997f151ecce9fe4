//! What pools and executors of processes are made with.
//!
//! Relies on `engine.rs` for what becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession_launch::calls::{Initializer, NoInitializer};
use procession_launch::{
    Arguments, Context, NAME_BYTES_MAX, PreloadResult, StartMethod, Target, cpu_count, get_start_method,
};
use procession_sys::{pid, processors_of};

use crate::engine::{Engine, Setup};
use crate::error::{PoolError, SubmitError};
use crate::supervisor::Config;

/// The most workers that a pool may have: each takes a process and three descriptors here.
pub const WORKERS_MAX: usize = 4096;

/// How many tasks a worker is handed at most beyond the one that it runs. More than one only while tasks are short.
pub const PREFETCH_MAX: usize = 32;

/// For how long a worker may take to end that has nothing to do any more; then it is killed.
pub const RETIRE_GRACE: Duration = Duration::from_secs(10);

/// For how long a worker may take from its start until it has run its initializer, by default; then it is killed. What its
/// context preloads may take as long. Much longer than a program takes to load, and than what an initializer should: a pool that
/// is not made says nothing.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a pool's name may be, in bytes: a worker's name is that and a number, and no longer than a process's.
pub const POOL_NAME_BYTES_MAX: usize = NAME_BYTES_MAX - "-worker-".len() - "4294967295".len();

/// What pools and executors have in common before they are made.
#[derive(Debug)]
pub(crate) struct Settings {
    kind: &'static str,
    name: Option<String>,
    size: Option<usize>,
    tasks_per_child: Option<usize>,
    context: Option<Context>,
    initializer: Option<Result<Initializer, SubmitError>>,
    affinity: Option<Vec<usize>>,
    start_timeout: Duration,
    keeps_tails: bool,
    is_recorded: bool,
    eager: bool,
}

impl Settings {
    pub(crate) fn new(kind: &'static str, eager: bool) -> Self {
        Self {
            kind,
            name: None,
            size: None,
            tasks_per_child: None,
            context: None,
            initializer: None,
            affinity: None,
            start_timeout: START_TIMEOUT,
            keeps_tails: true,
            is_recorded: false,
            eager,
        }
    }

    /// Makes what is to run the tasks.
    pub(crate) fn build(self, size_setting: &'static str) -> Result<Arc<Engine>, PoolError> {
        let name = self.name.unwrap_or_else(|| next_name(self.kind));
        let wrong =
            |setting, problem: &str| PoolError::Setting { name: name.clone(), setting, problem: problem.into() };
        let size = self.size.unwrap_or_else(cpu_count);
        if size == 0 {
            return Err(wrong(size_setting, "there must be at least one"));
        }
        if size > WORKERS_MAX {
            return Err(wrong(size_setting, &format!("{size} are more than the {WORKERS_MAX} that there may be")));
        }
        if name.contains('\0') || name.len() > POOL_NAME_BYTES_MAX {
            return Err(wrong("name", &format!("it has at most {POOL_NAME_BYTES_MAX} bytes, and no NUL")));
        }
        if let Some(absent) = self.affinity.as_ref().and_then(|wanted| absent_processor(wanted)) {
            return Err(wrong("pin_workers", &absent));
        }
        if self.tasks_per_child == Some(0) {
            return Err(wrong("max_tasks_per_child", "a worker must have at least one task"));
        }
        if self.start_timeout.is_zero() {
            return Err(wrong("start_timeout", "a worker needs time to start"));
        }
        let initializer = self.initializer.transpose();
        let initializer = initializer.map_err(|error| PoolError::Submit { name: name.clone(), error })?;
        let context = self.context.unwrap_or_else(|| Context::new(get_start_method()));
        let context = if needs_nursery(&context) { Context::nursery()? } else { context };
        let config = Config {
            size: size as u32, // At most WORKERS_MAX.
            eager: self.eager,
            tasks_per_child: self.tasks_per_child.map(|tasks| tasks as u64),
            prefetch_max: PREFETCH_MAX as u32,
            retire_grace: Some(RETIRE_GRACE),
            start_timeout: Some(self.start_timeout),
        };
        let (affinity, keeps_tails, is_recorded) =
            (self.affinity.unwrap_or_default(), self.keeps_tails, self.is_recorded);
        Engine::start(Setup { name, context, config, initializer, affinity, keeps_tails, is_recorded })
    }
}

/// Why workers cannot be dealt out to these processors, if they cannot.
fn absent_processor(wanted: &[usize]) -> Option<String> {
    if wanted.is_empty() {
        return Some("there must be at least one processor".to_owned());
    }
    let own = processors_of(pid()).ok()?;
    let absent = wanted.iter().find(|processor| !own.contains(processor))?;
    Some(format!("this process does not have processor {absent}: it has {own:?}"))
}

/// True for a context that would fork this process for each worker: it has threads by then.
fn needs_nursery(context: &Context) -> bool {
    context.start_method() == StartMethod::Fork && !context.is_nursery()
}

/// The name of one that was given none: no two of a process have the same.
pub(crate) fn next_name(kind: &str) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("{kind}-{}", LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

/// The initializer that calls this function with these arguments.
pub(crate) fn initializer<F, A>(function: F, arguments: &A) -> Result<Initializer, SubmitError>
where
    F: Target<A, Output: PreloadResult>,
    A: Arguments,
{
    Initializer::new(function, arguments).map_err(|why| match why {
        NoInitializer::Image(error) => SubmitError::Image { error },
        NoInitializer::Arguments(error) => SubmitError::Arguments { error },
    })
}

impl Settings {
    pub(crate) fn set_name(&mut self, name: impl Into<String>) {
        self.name = Some(name.into());
    }

    pub(crate) fn set_size(&mut self, size: usize) {
        self.size = Some(size);
    }

    pub(crate) fn set_tasks_per_child(&mut self, tasks: usize) {
        self.tasks_per_child = Some(tasks);
    }

    pub(crate) fn set_context(&mut self, context: Context) {
        self.context = Some(context);
    }

    pub(crate) fn set_initializer(&mut self, initializer: Result<Initializer, SubmitError>) {
        self.initializer = Some(initializer);
    }

    pub(crate) fn set_affinity(&mut self, processors: impl IntoIterator<Item = usize>) {
        self.affinity = Some(processors.into_iter().collect());
    }

    pub(crate) fn set_start_timeout(&mut self, timeout: Duration) {
        self.start_timeout = timeout;
    }

    pub(crate) fn set_recorded(&mut self) {
        self.is_recorded = true;
    }

    pub(crate) fn set_keeps_tails(&mut self, keeps: bool) {
        self.keeps_tails = keeps;
    }
}

/// The methods that both builders have.
macro_rules! settings_verbs {
    () => {
        /// The name, by which errors, log records and the workers' own names call it; by default its kind and a number. It has
        /// at most [`POOL_NAME_BYTES_MAX`](crate::POOL_NAME_BYTES_MAX) bytes.
        pub fn name(mut self, name: impl Into<String>) -> Self {
            self.settings.set_name(name);
            self
        }

        /// Calls a function in each worker before its first task. It returns nothing or a `Result<(), E>`; what it builds it
        /// keeps in a `static`. If it fails, or takes longer than [`start_timeout`](Self::start_timeout), `build` does: an executor
        /// starts one worker then to see that, a pool all. A worker that comes later, and whose initializer fails, is replaced:
        /// [`TaskError::NoWorkers`](crate::TaskError::NoWorkers) ends the tasks that wait if that happens again and again, or if it
        /// took too long and no other worker is ready.
        ///
        /// Python's `initializer` and `initargs`.
        pub fn initializer<F, A>(mut self, function: F, arguments: A) -> Self
        where
            F: procession_launch::Target<A, Output: procession_launch::PreloadResult>,
            A: procession_launch::Arguments,
        {
            self.settings.set_initializer($crate::builder::initializer(function, &arguments));
            self
        }

        /// How long a worker may take from its start until it has run its initializer; then it is killed. By default
        /// [`START_TIMEOUT`](crate::START_TIMEOUT); [`Duration::MAX`](std::time::Duration::MAX) for no limit.
        ///
        /// With an initializer, `build` then fails with [`PoolError::StartTimeout`](crate::PoolError::StartTimeout). A worker
        /// that is started later and takes too long is replaced, as one that died before it was ready. Where no other one is ready
        /// or being started by then, the next would be likely to take as long: [`TaskError::NoWorkers`](crate::TaskError::NoWorkers)
        /// ends the tasks that wait, and the next task is another try.
        ///
        /// Before there is a worker, two things more may take as long each: what the context preloads, all of its functions
        /// together, and the answer of the forkserver, or nursery, that it has forked one. `build` fails with
        /// [`StartError::PreloadTimeout`](procession_launch::StartError::PreloadTimeout), which names the function, or with
        /// [`StartError::Unanswered`](procession_launch::StartError::Unanswered), also that of an executor with an initializer. What a
        /// start that comes later preloads in vain is told to the tasks that wait, in
        /// [`TaskError::NoWorkers`](crate::TaskError::NoWorkers); one that has no answer is tried again.
        ///
        /// A forkserver that is stopped (SIGSTOP) is waited for a second at most; then another one takes its place. A nursery
        /// that is stopped, or was killed, has no substitute: `build` fails, and tasks that have no worker left end with
        /// [`TaskError::NoWorkers`](crate::TaskError::NoWorkers) at once.
        pub fn start_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.set_start_timeout(timeout);
            self
        }

        /// Replaces a worker by a new process after so many tasks, at least one; items of a map count one each.
        ///
        /// Python's `max_tasks_per_child` and `maxtasksperchild`, where a chunk counts as one.
        pub fn max_tasks_per_child(mut self, tasks: usize) -> Self {
            self.settings.set_tasks_per_child(tasks);
            self
        }

        /// How workers are started, by default as [`get_start_method`](procession_launch::get_start_method) says. With
        /// [`StartMethod::Fork`](procession_launch::StartMethod::Fork) this process is forked once, when the pool is made, and
        /// that copy forks the workers: it must have one thread then. The copy is not replaced if it is killed.
        pub fn start_method(mut self, method: procession_launch::StartMethod) -> Self {
            self.settings.set_context(procession_launch::Context::new(method));
            self
        }

        /// The context that workers are started from: with what it preloads, or with its executable.
        ///
        /// Python's `mp_context` and `context`.
        pub fn context(mut self, context: procession_launch::Context) -> Self {
            self.settings.set_context(context);
            self
        }

        /// Has each worker run on one processor of these only, dealt out in turn. They are numbers of processors that this
        /// process may use; `build` refuses others.
        pub fn pin_workers(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
            self.settings.set_affinity(processors);
            self
        }

        /// Writes down what the supervisor is told and what it says, for tests that replay it.
        #[doc(hidden)]
        pub fn recorded(mut self) -> Self {
            self.settings.set_recorded();
            self
        }

        /// Whether the last lines that a worker writes to its standard error are kept for the error of a task that it dies
        /// of; they are unless this says no. What workers write goes on to this process's standard error in any case.
        pub fn stderr_tail(mut self, keeps: bool) -> Self {
            self.settings.set_keeps_tails(keeps);
            self
        }
    };
}

pub(crate) use settings_verbs;
