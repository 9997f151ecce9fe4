//! The threads of a server: each does what it is given, and ends when there was nothing for a while.
//!
//! Relies on who leads to refuse what may take long when there are few threads left. So one is always there to lead, and one
//! to see to a client that is gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::graves::Graves;
use super::{Client, Server};

/// How many calls of users' types may take long at once; one more is [`Refusal::Limit`](crate::Refusal::Limit).
pub const THREADS_MAX: usize = 256;

/// Threads beside those, for what else may take long: functions that clients name, clients that are gone.
const THREADS_SPARE: usize = 64;

/// How many there are at most.
const THREADS_ALL: usize = THREADS_MAX + THREADS_SPARE;

/// How long a thread stands by without anything to do.
const STANDBY_TIME: Duration = Duration::from_secs(10);

/// Something to be done by a thread.
pub(super) enum Job {
    Lead,
    /// Answers wait for clients that read slowly.
    Flush,
    /// This client is gone, and what it held may take long to drop.
    Part(Arc<Client>),
    /// These objects are to end, which may take long, too.
    Bury(Graves),
}

impl Job {
    /// How many threads there may be when one more is started for this.
    fn threads_max(&self) -> usize {
        match self {
            Self::Part(_) | Self::Bury(_) => THREADS_ALL,
            // Whoever had the lead has lost it already, and looked before; and for all who read slowly there is one.
            Self::Lead | Self::Flush => usize::MAX,
        }
    }
}

/// Those who stand by.
pub(super) struct Standby {
    state: Mutex<State>,
    called: Condvar,
    /// How many threads have something to do.
    busy: AtomicUsize,
    has_ended: AtomicBool,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
}

impl Standby {
    pub(super) fn new() -> Self {
        let (state, has_ended) = (Mutex::default(), AtomicBool::new(false));
        Self { state, called: Condvar::new(), busy: AtomicUsize::new(0), has_ended }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        drop(self.state.lock()); // Whoever looked before this was set waits by now.
        self.called.notify_all();
    }

    /// Whether a call may be carried out that may take long: of a user's type, or of anything else.
    pub(super) fn has_room(&self, is_users: bool) -> bool {
        let busy = self.busy.load(Ordering::Relaxed);
        // The one that leads is none of them.
        busy <= if is_users { THREADS_MAX } else { THREADS_ALL - 1 }
    }

    /// Whether another thread could lead.
    pub(super) fn could_lead(&self) -> bool {
        let state = self.state.lock();
        state.idle > state.jobs.len() || state.threads < THREADS_ALL
    }

    /// Gives a thread something to do.
    pub(super) fn give(&self, server: &Arc<Server>, job: Job) {
        let mut state = self.state.lock();
        let threads_max = job.threads_max();
        match job {
            Job::Lead => state.jobs.push_front(job),
            job => state.jobs.push_back(job),
        }
        if state.idle >= state.jobs.len() || state.threads >= threads_max {
            drop(state);
            self.called.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        self.busy.fetch_add(1, Ordering::Relaxed);
        let worker = Arc::clone(server);
        let spawned = thread::Builder::new().name("manager".into()).spawn(move || worker.stand_by());
        if let Err(error) = spawned {
            // Whoever is done next takes the job; at the latest the thread that the server was started with.
            tracing::error!(%error, "a server cannot start another thread");
            self.leave();
        }
    }

    /// How many threads there are.
    #[cfg(test)]
    pub(super) fn threads(&self) -> usize {
        self.state.lock().threads
    }

    /// Counts a thread that has come by itself.
    pub(super) fn join(&self) {
        self.state.lock().threads += 1;
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        self.state.lock().threads -= 1;
    }

    /// What this thread is to do next; none if it is to end, and is counted no more. One that `stays` waits as long as it takes.
    pub(super) fn next_job(&self, stays: bool) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if self.has_ended() {
                break;
            }
            state.idle += 1;
            self.busy.fetch_sub(1, Ordering::Relaxed);
            let is_late = self.called.wait_for(&mut state, STANDBY_TIME).timed_out();
            self.busy.fetch_add(1, Ordering::Relaxed);
            state.idle -= 1;
            if is_late && !stays && state.jobs.is_empty() {
                break;
            }
        }
        drop(state);
        self.leave();
        None
    }
}
