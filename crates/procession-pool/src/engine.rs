//! What runs a pool: the core behind its lock, whoever drives it, and the thread that does when nobody else does.
//!
//! Relies on [`Core`] for all state. Whoever waits for a result drives, one thread at a time, so that a result takes no way
//! through another thread. The background thread hears of deaths and keeps the time, always; it takes reports in when nobody
//! drives. Workers are started by a thread that is there only meanwhile, for a start may take long. Ends of tasks are told without the lock, for whoever is told may call back.

mod background;
mod core;
mod driving;
mod entries;
mod member;
mod starting;

use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use procession_launch::calls::Initializer;
use procession_launch::{Context, ExitHook, at_exit};
use procession_sys::{Bell, Deadline, Epoll, Interest, Origin, processor_count};

use self::core::{BELL, Core};
use self::member::LastWords;
use crate::cell::Backend;
use crate::desk::{Bells, Listener};
use crate::error::{PoolError, SubmitError};
use crate::executor::{Executor, Shared};
use crate::intake::Intake;
use crate::record::{Log, replay};
use crate::supervisor::{Config, Event, PoolCounts, WorkerId};
use crate::task::{Options, Task, encode};

/// How long a thread sleeps at most while workers have something to do: a worker that was stopped or killed just when it was
/// to ring does not keep its pool waiting for longer.
const RECHECK: Duration = Duration::from_millis(50);

/// What a pool is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) context: Context,
    pub(crate) config: Config,
    pub(crate) initializer: Option<Initializer>,
    /// The processors that workers are dealt out to, in turn.
    pub(crate) affinity: Vec<usize>,
    /// Whether what workers say last is kept for the error of one that dies.
    pub(crate) keeps_tails: bool,
    /// Whether it is written down what the supervisor is told and says.
    pub(crate) is_recorded: bool,
}

/// A pool, whoever its handle is.
pub(crate) struct Engine {
    setup: Setup,
    /// Whose it is: a forked copy has the memory and no workers.
    origin: Origin,
    /// Whether tasks are taken: asked and closed while the core is locked. The supervisor is told when nothing comes any more.
    intake: Intake,
    core: Mutex<Core>,
    bells: Bells,
    watched: Arc<Epoll>,
    /// How many processors this process may use.
    processors: usize,
    /// Told when the core has ended.
    ended: Condvar,
    background: Mutex<Option<JoinHandle<()>>>,
    /// The thread that starts workers, or has.
    starter: Mutex<Option<JoinHandle<()>>>,
    /// Rung when workers that are being started are not wanted any more, nor any later.
    starts_end: Arc<Bell>,
}

impl Engine {
    /// Starts the first workers and the background thread.
    ///
    /// # Errors
    /// A worker cannot be started, or its initializer fails or takes too long. Nothing is left then.
    pub(crate) fn start(setup: Setup) -> Result<Arc<Self>, PoolError> {
        let name = setup.name.clone();
        let failed = |step| {
            let name = name.clone();
            move |error| PoolError::System { name, step, error }
        };
        let bells = Bells::new().map_err(failed("make its bells"))?;
        let starts_end = Arc::new(Bell::new().map_err(failed("make its bells"))?);
        let watched = Arc::new(Epoll::new().map_err(failed("make the set of its workers"))?);
        watched.add(bells.of(Listener::Background), BELL, Interest::Read).map_err(failed("watch its bell"))?;
        let processors = processor_count().unwrap_or(1);
        let mut core = Core::new(setup.config.clone(), Arc::clone(&watched), processors);
        core.log = setup.is_recorded.then(|| Log::new(setup.config.clone()));
        let core = Mutex::new(core);
        let (ended, background, starter) = (Condvar::new(), Mutex::new(None), Mutex::new(None));
        let make = |engine: &Weak<Self>| {
            let (engine, origin) = (Weak::clone(engine), Origin::here());
            let intake = Intake::new(move || _ = engine.upgrade().inspect(|engine| engine.wind_up()));
            Self { setup, origin, intake, core, bells, watched, processors, ended, background, starter, starts_end }
        };
        let engine = Arc::new_cyclic(make);
        engine.start_first()?;
        let thread = Arc::clone(&engine);
        let thread = thread::Builder::new().name(format!("{name}-supervisor")).spawn(move || thread.run());
        match thread {
            Ok(thread) => *engine.background.lock() = Some(thread),
            Err(error) => {
                engine.end_at_once();
                return Err(failed("start its thread")(error));
            }
        }
        engine.wait_initialized().inspect_err(|_| engine.kill_and_join())?;
        Ok(engine)
    }

    /// Starts those that are to be there at once, in the calling thread: whoever makes a pool is told what fails.
    fn start_first(&self) -> Result<(), PoolError> {
        let mut core = self.core.lock();
        core.tell(Event::Tick);
        for worker in std::mem::take(&mut core.starts) {
            match self.start_worker(worker) {
                Ok(member) => core.started(worker, member),
                Err(error) => {
                    drop(core);
                    self.end_at_once();
                    return Err(error);
                }
            }
        }
        self.unlock(core);
        Ok(())
    }

    /// Waits until the first workers have run the initializer, if there is one.
    fn wait_initialized(self: &Arc<Self>) -> Result<(), PoolError> {
        if self.setup.initializer.is_none() {
            return Ok(());
        }
        let name = || self.setup.name.clone();
        // An executor starts a worker when there is work. This is none of a worker's number of tasks.
        let nothing = encode(|| (), ()).map_err(|error| PoolError::Submit { name: name(), error })?;
        let (task, probe) = Task::new(nothing, Options::of_items(0));
        self.submit(task).map_err(|error| PoolError::Submit { name: name(), error })?;
        let mut failure = None;
        let mut is_known = || {
            let mut core = self.core.lock();
            failure = failure.take().or_else(|| core.last_words.take());
            failure.is_some() || (probe.is_done() && core.members.values().all(|member| member.is_ready))
        };
        self.drive(&mut is_known, Deadline::NEVER);
        match failure {
            None => Ok(()),
            Some(LastWords::Unstarted(error)) => Err(error),
            Some(LastWords::Died(error)) => Err(PoolError::Initializer { name: name(), error }),
            Some(LastWords::Late { pid, after, stderr }) => {
                Err(PoolError::StartTimeout { name: name(), pid, after, stderr })
            }
        }
    }

    /// The pool's name.
    pub(crate) fn name(&self) -> &str {
        &self.setup.name
    }

    pub(crate) fn size(&self) -> usize {
        self.setup.config.size as usize
    }

    /// How many items may be one task: not more than a worker may have at all.
    pub(crate) fn chunk_items_max(&self) -> usize {
        self.setup.config.tasks_per_child.map_or(usize::MAX, |tasks| usize::try_from(tasks).unwrap_or(usize::MAX))
    }

    /// True if it takes tasks.
    pub(crate) fn is_open(&self) -> bool {
        self.is_own() && !self.intake.is_closed()
    }

    /// False in a forked copy of the process that made it.
    #[inline]
    pub(crate) fn is_own(&self) -> bool {
        self.origin.is_here()
    }

    /// The numbers of the workers that live.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        if !self.is_own() {
            return Vec::new();
        }
        self.core.lock().members.values().map(|member| member.process.pid()).collect()
    }

    /// How many tasks and workers there are.
    pub(crate) fn counts(&self) -> PoolCounts {
        if self.is_own() { self.core.lock().supervisor.counts() } else { PoolCounts::default() }
    }

    /// Takes a task.
    pub(crate) fn submit(self: &Arc<Self>, task: Task) -> Result<(), SubmitError> {
        if !self.is_own() {
            return Err(SubmitError::Foreign { name: self.setup.name.clone(), owner: self.origin.pid() });
        }
        let mut core = self.core.lock();
        if !self.intake.admits(&task) {
            return Err(SubmitError::Closed { name: self.setup.name.clone() });
        }
        core.submit(task, Arc::clone(self) as Arc<dyn Backend>);
        self.unlock(core);
        Ok(())
    }

    /// Replays what the supervisor was told so far: how many events, or where it would say something else now.
    pub(crate) fn replay(&self) -> Result<usize, String> {
        let core = self.core.lock();
        let log = core.log.as_ref().ok_or("it is not recorded")?;
        replay(log).map_err(|difference| difference.to_string())?;
        Ok(log.entries.len())
    }

    /// Takes no more tasks but those of maps that have begun.
    pub(crate) fn close(&self) {
        self.end_intake(Intake::close, None);
    }

    /// Cancels what has not begun, and takes nothing any more.
    pub(crate) fn cancel_all(&self) {
        self.end_intake(Intake::close_to_maps, Some(Event::CancelAll));
    }

    fn kill_all(&self) {
        self.end_intake(Intake::close_to_maps, Some(Event::KillAll));
    }

    /// The last map has ended.
    fn wind_up(&self) {
        self.end_intake(|_| (), None);
    }

    /// Takes less than before, tells the supervisor what happens, and that nothing comes any more if that is so.
    fn end_intake(&self, close: impl FnOnce(&Intake), event: Option<Event>) {
        if !self.is_own() {
            return;
        }
        let mut core = self.core.lock();
        close(&self.intake);
        let closed = self.intake.has_ended().then_some(Event::Closed);
        event.into_iter().chain(closed).for_each(|event| core.tell(event));
        self.unlock(core);
    }

    /// Waits until nothing is left of the pool; false if the deadline comes first.
    pub(crate) fn join(&self, deadline: Deadline) -> bool {
        if !self.is_own() {
            return true;
        }
        let is_background = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        if self.background.lock().as_ref().is_some_and(is_background) {
            return false; // A waker has dropped the pool, and this thread is what ends it.
        }
        if !self.intake.await_end_until(deadline) {
            return false;
        }
        let mut core = self.core.lock();
        while !core.has_ended {
            match deadline.remaining() {
                None => self.ended.wait(&mut core),
                Some(left) if left.is_zero() => return false,
                Some(left) => drop(self.ended.wait_for(&mut core, left)),
            }
        }
        drop(core);
        if let Some(thread) = self.background.lock().take() {
            let _ = thread.join();
        }
        true
    }

    /// Ends everything, and waits until it has.
    pub(crate) fn kill_and_join(&self) {
        self.kill_all();
        self.join(Deadline::NEVER);
    }

    /// Takes no more tasks, and waits until those that there are have ended.
    pub(crate) fn finish(&self) {
        self.close();
        self.join(Deadline::NEVER);
    }

    /// The same at the program's end, at which no map goes on.
    pub(crate) fn finish_last(&self) {
        self.end_intake(Intake::close_to_maps, None);
        self.join(Deadline::NEVER);
    }

    /// Has `end` called at this process's normal end, if there is anything to be ended by then.
    pub(crate) fn at_exit(self: &Arc<Self>, end: fn(&Self)) -> ExitHook {
        let engine = Arc::downgrade(self);
        at_exit(move || {
            if let Some(engine) = engine.upgrade() {
                end(&engine);
            }
        })
    }

    /// Ends what there is without a background thread.
    fn end_at_once(&self) {
        let mut core = self.core.lock();
        core.tell(Event::KillAll);
        let workers: Vec<WorkerId> = core.members.keys().copied().collect();
        for worker in workers {
            core.died(worker);
        }
        self.unlock(core);
    }

    /// Lets go of the core, and does what has been left for then.
    fn unlock(&self, mut core: MutexGuard<'_, Core>) {
        core.wake_offered();
        let settled = std::mem::take(&mut core.settled);
        let (has_ended, listener) = (core.has_ended, core.listener);
        let wants_background = core.wants_background() || has_ended || core.has_sooner_wake();
        let starts_in_vain = core.starts_in_vain();
        drop(core);
        if starts_in_vain {
            self.starts_end.ring();
        }
        if wants_background {
            self.bells.of(Listener::Background).ring();
        }
        if has_ended {
            self.ended.notify_all();
        }
        if settled.is_empty() {
            return;
        }
        for (promise, outcome) in settled {
            let _ = promise.resolve(outcome);
        }
        if listener == Some(Listener::Driver) {
            self.bells.of(Listener::Driver).ring();
        }
    }
}

impl Executor for Shared<Engine> {
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
        self.0.submit(task)
    }

    fn parallelism(&self) -> usize {
        self.0.size()
    }

    fn chunk_items_max(&self) -> usize {
        self.0.chunk_items_max()
    }

    fn close(&self) {
        self.0.close();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("name", &self.setup.name).finish_non_exhaustive()
    }
}
