//! Where one thread waits for the ends of many tasks, and is told which.
//!
//! Relies on [`cell`](crate::cell), which tells.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};

use parking_lot::Mutex;
use procession_sys::Deadline;

use crate::cell::{Backend, Notice, park};

/// The numbers of tasks that have ended, in the order in which they did.
#[derive(Default)]
pub(crate) struct Inbox {
    told: Mutex<Told>,
    /// How many there are, for who looks often.
    count: AtomicUsize,
}

#[derive(Default)]
struct Told {
    tokens: VecDeque<usize>,
    waiter: Option<Thread>,
}

impl Inbox {
    /// True if a task has ended that nobody has taken.
    pub(crate) fn has_news(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// The next task that has ended, if one has.
    pub(crate) fn take(&self) -> Option<usize> {
        let token = self.told.lock().tokens.pop_front()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(token)
    }

    /// Waits for it; works for `backend` meanwhile, which some of the tasks are with.
    pub(crate) fn wait(&self, backend: Option<Arc<dyn Backend>>, deadline: Deadline) -> Option<usize> {
        if let Some(token) = self.take() {
            return Some(token);
        }
        self.told.lock().waiter = Some(thread::current());
        // Whoever tells has the lock before it looks for a waiter, so that what it told by then is seen below.
        let mut done = || self.has_news();
        match backend {
            Some(backend) => backend.drive(&mut done, deadline),
            None => park(&mut done, deadline),
        }
        self.told.lock().waiter = None;
        self.take()
    }
}

impl Inbox {
    /// Puts a number in.
    pub(crate) fn tell(&self, token: usize) {
        let mut told = self.told.lock();
        told.tokens.push_back(token);
        self.count.fetch_add(1, Ordering::Release);
        let waiter = told.waiter.clone();
        drop(told);
        if let Some(waiter) = waiter {
            waiter.unpark();
        }
    }
}

impl Notice for Inbox {
    fn told(self: Arc<Self>, token: usize) {
        self.tell(token);
    }
}
