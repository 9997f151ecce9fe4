//! What is said to the supervisor and what it answers: plain data, so that a run can be recorded and replayed.
//!
//! Relies on nothing. Times are counted from a moment that the engine chooses once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The engine's number for a task: an index, small and used again, in the lower half, and in the upper half how often the
/// index was used before. No two tasks have the same one at a time.
pub(crate) type TaskId = u64;

/// The supervisor's number for a worker: counted up, never used twice.
pub(crate) type WorkerId = u32;

/// What does not change in a supervisor's life.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Config {
    /// How many workers there are at most, apart from those that are ending: at least one, or it is taken as one.
    pub(crate) size: u32,
    /// Whether there are always as many as that, as a pool has; otherwise they are started as they are needed.
    pub(crate) eager: bool,
    /// How many items a worker is given before it is replaced: at least one, or it is taken as one.
    pub(crate) tasks_per_child: Option<u64>,
    /// How many tasks a worker is given at most beyond the one that it runs.
    pub(crate) prefetch_max: u32,
    /// How long a worker may take to end that was told to; then it is killed.
    pub(crate) retire_grace: Option<Duration>,
    /// How long a process may take until its worker is ready; then it is given up.
    pub(crate) start_timeout: Option<Duration>,
}

/// How a task is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Higher ones first; those with the same one in the order in which they came.
    pub(crate) priority: i32,
    /// How many calls the task stands for: a chunk's, or one.
    pub(crate) items: u32,
    /// How long an attempt may take, from its offer to a worker on.
    pub(crate) timeout: Option<Duration>,
    /// How many more attempts there are after one that failed.
    pub(crate) retries: u32,
    /// How long to wait before the second attempt; twice as long before each further one.
    pub(crate) backoff: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { priority: 0, items: 1, timeout: None, retries: 0, backoff: Duration::ZERO }
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Event {
    /// There is a new task.
    Submitted { task: TaskId, terms: Terms },
    /// A task is not wanted any more; `kill`: not even if it has begun.
    CancelAsked { task: TaskId, kill: bool },
    /// The process of a worker that was to be started exists.
    Started { worker: WorkerId },
    /// It could not be made, and there will be none.
    NotStarted { worker: WorkerId },
    /// The same, and no other can be made now: what workers are forked from is gone, or stopped, or hangs in what it preloads.
    NoSource { worker: WorkerId },
    /// The worker has run its initializer, and takes tasks.
    Ready { worker: WorkerId },
    /// The worker's report on a task is complete; `failed`: the task panicked, or could not be decoded or encoded.
    Finished { worker: WorkerId, task: TaskId, failed: bool },
    /// The worker's process has ended. Whatever it had finished was told before; `running` is what it had begun.
    Died { worker: WorkerId, running: Option<TaskId> },
    /// The answer to [`Action::Revoke`]: whether the task was taken back before the worker had begun it.
    Revoked { worker: WorkerId, task: TaskId, is_revoked: bool },
    /// What [`Action::Offer`] asked for cannot be done now: the desk is full.
    NoRoom { worker: WorkerId, task: TaskId },
    /// No more tasks come. What there is is finished, then the workers end.
    Closed,
    /// Whatever has not begun is canceled.
    CancelAll,
    /// Everything ends now.
    KillAll,
    /// The time has come that [`Action::Wake`] asked for, or any other.
    Tick,
}

/// What the engine is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Action {
    /// Start a worker; the answer is `Started` or `NotStarted`.
    Start { worker: WorkerId },
    /// Give the worker this task, behind those that it has.
    Offer { worker: WorkerId, task: TaskId },
    /// Take the task back if the worker has not begun it; the answer is `Revoked`, told before anything else of the task.
    Revoke { worker: WorkerId, task: TaskId },
    /// End the worker's process at once, even if it is stopped; the answer is `Died`.
    Kill { worker: WorkerId },
    /// The same to one that was not ready in time.
    GiveUp { worker: WorkerId },
    /// Tell the worker, which has nothing to do, to end; the answer is `Died`.
    Retire { worker: WorkerId },
    /// This is what has become of a task: told exactly once for each. A `Finished` to whose task nothing is told here
    /// was a failed attempt, and the task is tried anew.
    Resolve { task: TaskId, verdict: Verdict },
    /// Say `Tick` at that time, and not at one that was asked for before.
    Wake { at: Duration },
    /// So many workers in a row have ended before they were ready. Told when the limit is reached, no worker can be had, or one
    /// was not ready in time and no other is, and not again before a worker was ready.
    Storm { deaths: u32 },
    /// It is closed or killed, and there is no worker and no task left. The last action, but for what is told to tasks
    /// that are submitted all the same.
    AllEnded,
}

/// What has become of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// The engine has its report.
    Completed,
    /// The engine has its report, which is that it has failed, in as many attempts as it was given.
    Failed { attempts: u32 },
    /// Its worker died of it, in as many attempts as it was given; or it was given up before, as it has killed enough workers.
    Died { attempts: u32, given_up: bool },
    /// It took longer than `after`, in as many attempts as it was given.
    TimedOut { after: Duration, attempts: u32 },
    /// It was canceled before it was finished.
    Cancelled,
    /// The pool was killed, or had been closed when the task came.
    Terminated,
    /// There is no worker, as so many in a row have ended before they were ready, or not in time, or none can be had.
    NoWorkers { deaths: u32 },
}

/// How many tasks and workers a pool has, by what they are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolCounts {
    /// Tasks that wait for a worker.
    pub queued: usize,
    /// Tasks that wait for the time of their next attempt.
    pub delayed: usize,
    /// Tasks that workers have, begun or not.
    pub offered: usize,
    /// Workers that are ready and have a task.
    pub busy: usize,
    /// Workers that are ready and have none.
    pub idle: usize,
    /// Workers that are being started, or run their initializer.
    pub starting: usize,
    /// Workers that are ending, by their own way or killed.
    pub ending: usize,
}
