//! Starts workers in a thread of its own, as long as there are any to be started: a start waits for the forkserver, which may
//! be stopped, and may run what is preloaded, while the background thread has times to keep.
//!
//! The thread tells nobody of what it has done but the background thread, which takes it in: no code of the program's is
//! called here.

use std::mem;
use std::sync::Arc;
use std::thread;

use procession_launch::{StartError, Stdio};

use super::Engine;
use super::core::Core;
use super::member::{LastWords, Member};
use crate::desk::{Desk, Listener};
use crate::error::PoolError;
use crate::supervisor::{Event, WorkerId};
use crate::worker::work;

/// What has become of a start; `None` of one that was not made.
pub(super) type Launched = Option<Result<Member, PoolError>>;

impl Engine {
    /// Starts a worker's process.
    pub(super) fn start_worker(&self, worker: WorkerId) -> Result<Member, PoolError> {
        let setup = &self.setup;
        let failed = |error| PoolError::System { name: setup.name.clone(), step: "make a worker's desk", error };
        let (desk, kit) = Desk::new(&self.bells).map_err(failed)?;
        let mut builder = setup.context.builder(work, (kit, setup.initializer.clone()));
        builder = builder.name(format!("{}-worker-{worker}", setup.name));
        builder = builder.daemon(true); // At this process's end an executor is waited for; workers are not.
        builder = builder.patience(setup.config.start_timeout, Some(Arc::clone(&self.starts_end)));
        if setup.keeps_tails {
            builder = builder.stderr(Stdio::tail());
        }
        if !setup.affinity.is_empty() {
            builder = builder.cpu_affinity([setup.affinity[worker as usize % setup.affinity.len()]]);
        }
        let process = builder.start()?;
        Ok(Member::new(desk, process))
    }

    /// For the background thread: has the workers started that are wanted, unless a thread is at it.
    pub(super) fn start_wanted(self: &Arc<Self>) {
        let mut core = self.core.lock();
        if core.starts.is_empty() || core.is_starting {
            return;
        }
        core.is_starting = true;
        drop(core);
        self.join_starter(); // It is past its last start.
        let engine = Arc::clone(self);
        let name = format!("{}-starter", self.setup.name);
        match thread::Builder::new().name(name).spawn(move || engine.run_starts()) {
            Ok(thread) => *self.starter.lock() = Some(thread),
            // No room for a thread. Then this one does it: late is better than not at all.
            Err(_) => self.run_starts(),
        }
    }

    /// Waits until the thread has ended that has started workers.
    pub(super) fn join_starter(&self) {
        let thread = self.starter.lock().take();
        let _ = thread.map(thread::JoinHandle::join);
    }

    /// Starts what is to be started until there is no more of it.
    fn run_starts(&self) {
        loop {
            let mut core = self.core.lock();
            let Some(worker) = core.starts.pop() else {
                core.is_starting = false;
                return;
            };
            let is_wanted = core.supervisor.wants_workers();
            drop(core);
            let launched = is_wanted.then(|| self.start_worker(worker));
            let no_other_can_be = matches!(&launched, Some(Err(error)) if has_no_source(error));
            let mut core = self.core.lock();
            core.launched.push((worker, launched));
            if no_other_can_be {
                // Each of them would take its time to come to the same end, and tasks would wait for all of them.
                let others = mem::take(&mut core.starts);
                core.launched.extend(others.into_iter().map(|worker| (worker, None)));
            }
            drop(core);
            self.bells.of(Listener::Background).ring();
        }
    }
}

/// True if the next start would end the same: a nursery that is killed or stopped is not replaced, as a forkserver is, and what
/// is preloaded and hangs is likely to hang again.
fn has_no_source(error: &PoolError) -> bool {
    let PoolError::Start(error) = error else { return false };
    let hangs = matches!(error, StartError::PreloadTimeout { .. });
    let is_gone = hangs || matches!(error, StartError::NurseryGone { .. });
    is_gone || matches!(error, StartError::Unanswered { is_nursery: true, is_stopped: true, .. })
}

impl Core {
    /// For the background thread: takes in what has become of starts.
    pub(super) fn take_in_launched(&mut self) {
        for (worker, launched) in mem::take(&mut self.launched) {
            match launched {
                Some(Ok(member)) => self.started(worker, member),
                Some(Err(error)) if self.supervisor.wants_workers() => {
                    tracing::warn!(%error, "a worker cannot be started");
                    let has_no_source = has_no_source(&error);
                    self.last_words = Some(LastWords::Unstarted(error));
                    self.tell(if has_no_source { Event::NoSource { worker } } else { Event::NotStarted { worker } });
                }
                _ => self.tell(Event::NotStarted { worker }),
            }
        }
    }

    /// True if starts are to be made, or were.
    pub(super) fn wants_background(&self) -> bool {
        !self.starts.is_empty() && !self.is_starting || !self.launched.is_empty()
    }

    /// True if a start is under way that nobody waits for any more.
    pub(super) fn starts_in_vain(&self) -> bool {
        self.is_starting && !self.supervisor.wants_workers()
    }
}
