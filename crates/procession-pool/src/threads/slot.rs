//! A task that waits for a thread: run by the next one that is free, or by one that waits for its result.
//!
//! Relies on the crew of [`threads`](super). A thread runs the very task that it waits for and no other one while it waits:
//! that one it needs anyway, while any other might wait in its turn for what this thread has yet to do.

use std::cell::Cell as Slate;
use std::ptr;
use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::Mutex;
use procession_launch::current_process;
use procession_sys::Deadline;

use crate::cell::{Backend, Outcome, park};
use crate::error::TaskError;
use crate::threads::{Crew, Job};

thread_local! {
    /// The crew that this thread is of, and in which process: a copy of the process has a copy of this.
    static CREW: Slate<(*const Crew, u32)> = const { Slate::new((ptr::null(), 0)) };
}

/// To be called first by a thread of a crew.
pub(super) fn join_crew(crew: &Arc<Crew>) {
    CREW.set((Arc::as_ptr(crew), procession_sys::pid()));
}

/// Who runs a task here: a thread of a crew, or this process.
pub(crate) fn runner_name() -> String {
    let (crew, pid) = CREW.get();
    match thread::current().name() {
        Some(name) if !crew.is_null() && pid == procession_sys::pid() => name.to_owned(),
        _ => current_process().name().to_owned(),
    }
}

/// A task, until somebody takes it.
pub(super) struct Slot {
    /// Whose threads may run it. Only ever compared while it is not upgraded, and never the same as another one's.
    crew: Weak<Crew>,
    job: Mutex<Option<Job>>,
}

impl Slot {
    /// Puts a task in, and tells its handles.
    pub(super) fn of(crew: &Arc<Crew>, job: Job) -> Arc<Self> {
        let slot = Arc::new(Self { crew: Arc::downgrade(crew), job: Mutex::default() });
        job.promise.set_backend(Arc::clone(&slot) as Arc<dyn Backend>, 0);
        *slot.job.lock() = Some(job);
        slot
    }

    /// The task, if nobody has taken it.
    pub(super) fn take(&self) -> Option<Job> {
        self.job.lock().take()
    }
}

impl Backend for Slot {
    fn drive(&self, done: &mut dyn FnMut() -> bool, deadline: Deadline) {
        // Whoever has no time to wait has none to work, which takes as long as it takes.
        if deadline.remaining().is_none() {
            self.help();
        }
        park(done, deadline);
    }

    fn help(&self) {
        if CREW.get() != (self.crew.as_ptr(), procession_sys::pid()) {
            return;
        }
        if let (Some(crew), Some(job)) = (self.crew.upgrade(), self.take()) {
            crew.do_job(job);
        }
    }

    fn cancel(&self, _: u64, _: bool) -> bool {
        let job = self.take();
        job.is_some_and(|job| job.promise.resolve(Outcome::failed(TaskError::Cancelled)).is_ok())
    }

    fn is_running(&self, _: u64) -> bool {
        self.job.lock().is_none()
    }
}

/// A slot in its place in the queue. The task in one that is thrown away ends: its handles have the slot, so that nothing
/// else would end it.
pub(super) struct Queued {
    pub(super) priority: i32,
    pub(super) slot: Arc<Slot>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        drop(self.slot.take());
    }
}
