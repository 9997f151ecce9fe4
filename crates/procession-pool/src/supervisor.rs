//! The supervisor: says which worker runs which task, who is started and who is ended, and what has become of each task.
//!
//! It is a pure state machine. The engine tells it what has happened and does what it answers; it knows no process, no
//! clock and no thread, so that every order of events can be tried, and a recorded run gives the same answers again.
//!
//! # A worker
//!
//! | phase | meaning | leaves it by |
//! |---|---|---|
//! | starting | `Start` was said, there is no process yet | `Started` → initializing, `NotStarted` or `NoSource` → gone |
//! | initializing | the process runs its initializer | `Ready` → ready, `GiveUp` → killed |
//! | ready | takes tasks; *idle* without one, else *busy* | `Retire` → retiring, `Kill` → killed |
//! | retiring | told to end: given its number of tasks, or not needed any more; has no task | `Kill` → overdue |
//! | overdue | `Kill` was said to one that was retiring | |
//! | killed | `Kill` or `GiveUp` was said: its task took too long or was canceled, it was not ready in time, or everything ends | |
//!
//! `Died` ends each of them. At most [`Config::size`] workers are in a phase other than retiring and overdue.
//!
//! # A task
//!
//! ```text
//!              ┌──────────────── back: revoked, not begun when the worker died, no room
//!              ▼              │
//! Submitted ─► queued ─► offered ─► resolved: completed, died, timed out, cancelled
//!              ▲              │
//!              └── delayed ◄──┘  a failed attempt, while retries are left
//! ```
//!
//! Whatever is not offered is resolved as canceled, terminated or without workers when that is told.
//!
//! # Rules
//!
//! - An idle worker and a queued task never wait at the same time, and of several the worker that was busy last is taken.
//! - A busy worker is given tasks ahead only if its last ones were short ([`pace`]), and no more than its share of what
//!   waits. A task with a timeout is given to an idle worker, and nothing is given behind it. When another worker would be
//!   idle, what waits behind a task that takes long is revoked, and moved.
//! - A worker that dies costs the task that it had begun, which fails or is tried anew. What it had not begun comes first
//!   again, and does not notice.
//! - Before a worker is killed for a task, all that it has behind it is taken back; if any of this has begun, the task has
//!   finished meanwhile, and nobody is killed.
//! - Each event changes only what it tells of. [`Supervisor::settle`] then draws the conclusions, the same ones after every
//!   event.
//! - An event that makes no sense, since it came too late or twice, changes nothing.

mod alarm;
mod cancel;
mod dispatch;
mod ending;
mod pace;
mod report;
mod starts;
mod tasks;
#[cfg(test)]
mod tests;
mod vocabulary;
mod workers;

use std::time::Duration;

use self::alarm::Alarm;
use self::starts::{Outlook, Starts};
pub use self::starts::{RESTART_BACKOFF_MAX, STORM_DEATHS_MAX};
use self::tasks::Tasks;
pub use self::vocabulary::PoolCounts;
pub(crate) use self::vocabulary::{Action, Config, Event, TaskId, Terms, Verdict, WorkerId};
use self::workers::{Phase, Workers};

/// How many workers a task may kill: after so many it fails, whatever retries are left.
pub const POISON_DEATHS_MAX: u32 = 3;

/// The longest wait before another attempt at a task.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How long to wait before another attempt at a task, after so many.
pub(crate) fn pause_after(attempts: u32, backoff: Duration) -> Duration {
    // As many doublings as there were attempts before the last one.
    let factor = 2u32.saturating_pow(attempts.saturating_sub(1));
    backoff.saturating_mul(factor).min(BACKOFF_MAX)
}

/// How long tasks wait behind another one before they are moved to an idle worker: waking it takes about half of that.
pub(crate) const MOVE_AFTER: Duration = Duration::from_micros(200);

/// When a worker whose desk was full is tried again if it has not reported meanwhile.
pub(crate) const NO_ROOM_RETRY: Duration = Duration::from_millis(1);

/// The state machine.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(crate) struct Supervisor {
    config: Config,
    tasks: Tasks,
    workers: Workers,
    starts: Starts,
    alarm: Alarm,
    /// No more tasks come.
    is_closed: bool,
    /// Everything ends; closed as well.
    is_killed: bool,
    /// `AllEnded` was said.
    is_ended: bool,
}

/// What is passed along while one event is handled.
struct Step<'a> {
    now: Duration,
    actions: &'a mut Vec<Action>,
}

impl Step<'_> {
    fn say(&mut self, action: Action) {
        self.actions.push(action);
    }
}

impl Supervisor {
    /// One without workers; what an eager one wants at once is said after the first event, for which a `Tick` will do.
    pub(crate) fn new(mut config: Config) -> Self {
        config.size = config.size.max(1);
        config.tasks_per_child = config.tasks_per_child.map(|tasks| tasks.max(1));
        let starts = Starts::new(config.size);
        Self {
            config,
            tasks: Tasks::new(),
            workers: Workers::new(),
            starts,
            alarm: Alarm::default(),
            is_closed: false,
            is_killed: false,
            is_ended: false,
        }
    }

    /// Takes in what has happened, and adds what is to be done. `now` counts from any fixed moment, and does not decrease.
    pub(crate) fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        let step = &mut Step { now, actions };
        match event {
            Event::Submitted { task, terms } => self.submitted(task, &terms, step),
            Event::CancelAsked { task, kill } => self.cancel_asked(task, kill, step),
            Event::Started { worker } => self.started(worker, step),
            Event::NotStarted { worker } => self.not_started(worker, Outlook::Unknown, step),
            Event::NoSource { worker } => self.not_started(worker, Outlook::None, step),
            Event::Ready { worker } => self.ready(worker, step),
            Event::Finished { worker, task, failed } => self.finished(worker, task, failed, step),
            Event::Died { worker, running } => self.died(worker, running, step),
            Event::Revoked { worker, task, is_revoked } => self.revoked(worker, task, is_revoked, step),
            Event::NoRoom { worker, task } => self.no_room(worker, task, step),
            Event::Closed => self.is_closed = true,
            Event::CancelAll => self.cancel_all(step),
            Event::KillAll => self.kill_all(step),
            Event::Tick => self.tick(step),
        }
        self.settle(step);
    }

    /// Draws the conclusions from what has changed.
    fn settle(&mut self, step: &mut Step<'_>) {
        self.hand_out(step);
        self.start_workers(step);
        self.spread(step);
        if self.is_closed {
            self.wind_up(step);
        }
        if let Some(at) = self.alarm.news() {
            step.say(Action::Wake { at });
        }
    }

    /// Tells what has become of a task, which is forgotten.
    fn resolve(&mut self, task: TaskId, verdict: Verdict, step: &mut Step<'_>) {
        self.tasks.remove(task);
        step.say(Action::Resolve { task, verdict });
    }

    /// False once a worker that is being started, or would be later, has nothing to do and never will.
    pub(crate) fn wants_workers(&self) -> bool {
        !(self.is_killed || self.is_closed && self.tasks.is_empty())
    }

    /// How many tasks and workers there are in each state.
    pub(crate) fn counts(&self) -> PoolCounts {
        let phases = |wanted: &[Phase]| self.workers.iter().filter(|worker| wanted.contains(&worker.phase())).count();
        let busy = self.workers.iter().filter(|it| it.phase() == Phase::Ready && !it.orders().is_empty()).count();
        PoolCounts {
            queued: self.tasks.queued(),
            delayed: self.tasks.delayed(),
            offered: self.tasks.offered(),
            busy,
            idle: phases(&[Phase::Ready]) - busy,
            starting: self.workers.starting(),
            ending: phases(&[Phase::Retiring, Phase::Overdue, Phase::Killed]),
        }
    }
}

#[cfg(test)]
impl Supervisor {
    /// Whether no more tasks are taken.
    fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether every task that was submitted is resolved.
    fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The worker that has a task, begun or not.
    fn worker_of(&self, task: TaskId) -> Option<WorkerId> {
        match self.tasks.place(task)? {
            tasks::Place::Offered { worker } => Some(worker),
            _ => None,
        }
    }
}
