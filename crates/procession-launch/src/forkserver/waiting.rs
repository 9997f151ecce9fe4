//! Waiting for a server that was asked for a child: until it answers, the time is up, or it is seen to be stopped.
//!
//! Relies on [`Patience`](crate::patience::Patience) for the time, and for who may call the start off. Without a limit a stop
//! counts for nothing: a server that was stopped goes on some day.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use procession_sys::{Deadline, Interest};

use super::source::Server;
use crate::builder::Plan;
use crate::context::StartMethod;
use crate::error::StartError;

/// How often a server that does not answer is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How many times in a row it must be seen stopped to be waited for no longer. Counted, not timed, for a whole program that is
/// stopped and goes on (Ctrl-Z) has had no time to answer.
const STOPPED_LOOKS: u32 = 20;

/// How long that takes.
const STOPPED_MAX: Duration = LOOK.saturating_mul(STOPPED_LOOKS);

/// How many looks in a row say the same when the time is up before: one alone may be the end of a stop of this process, too.
const STOPPED_LOOKS_AT_END: u32 = 2;

/// One wait.
pub(super) struct Waiting<'a> {
    pub(super) plan: &'a Plan,
    pub(super) server: &'a Server,
    deadline: Deadline,
    /// How many times in a row the server was seen stopped.
    stopped: u32,
}

impl<'a> Waiting<'a> {
    /// Its time begins now.
    pub(super) fn new(plan: &'a Plan, server: &'a Server) -> Self {
        Self { plan, server, deadline: plan.patience.deadline(), stopped: 0 }
    }

    /// Waits until one of the two is ready.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, or when the server is stopped; when the start is called off, an error that says so.
    pub(super) fn wait(&mut self, watched: [(BorrowedFd<'_>, Interest); 2]) -> io::Result<()> {
        let patience = &self.plan.patience;
        if patience.limit().is_none() {
            return patience.wait(watched, self.deadline);
        }
        loop {
            match patience.wait(watched, self.deadline.min(Deadline::after(LOOK))) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                other => return other,
            }
            self.stopped = if self.server.is_stopped() { self.stopped + 1 } else { 0 };
            if self.stopped >= STOPPED_LOOKS || !self.has_time() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// True until the time is up.
    pub(super) fn has_time(&self) -> bool {
        !self.deadline.has_passed()
    }

    /// An error of such a wait, which is one of its own if the server was waited for in vain.
    pub(super) fn failed(&self, step: &'static str, error: io::Error) -> StartError {
        let Self { plan, server, stopped, .. } = *self;
        let Some(limit) = plan.patience.limit().filter(|_| error.kind() == io::ErrorKind::TimedOut) else {
            return plan.failed(step)(error);
        };
        let after = if stopped >= STOPPED_LOOKS { limit.min(STOPPED_MAX) } else { limit };
        let (is_nursery, is_stopped) = (plan.method == StartMethod::Fork, stopped >= STOPPED_LOOKS_AT_END);
        StartError::Unanswered { name: plan.name.clone(), server: server.number, is_nursery, is_stopped, after }
    }
}
