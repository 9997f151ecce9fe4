//! The end of a process that does not drop its links: a forked copy, which has its parent's proxies, one with proxies in a
//! `static`, one that calls `exit`.
//!
//! Relies on an exit hook, which belongs to the process that has registered it: a forked copy registers its own with the first
//! call of its own that nobody waits for. The hook may run when the values of `thread_local!` are gone, so it uses none.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use procession_launch::{ExitHook, at_exit};
use procession_sys::Deadline;

use super::{Awaits, Link, PARTING_TIME_MAX};

/// What this process waits for at its end.
static PARTING: Mutex<Parting> = Mutex::new(Parting { links: Vec::new(), hook: None });

struct Parting {
    /// Those that have calls which nobody waits for, or had. In a forked copy its parent's, too, which are not its own.
    links: Vec<Weak<Link>>,
    /// Of the process that has registered it, while it has not run.
    hook: Option<ExitHook>,
}

/// Has the end of this process wait for what the link has on its way that nobody waits for. Told whenever it has some again.
pub(super) fn wait_at_exit(link: &Arc<Link>) {
    let mut parting = PARTING.lock();
    parting.links.retain(|other| other.strong_count() > 0);
    if !parting.links.iter().any(|other| other.as_ptr() == Arc::as_ptr(link)) {
        parting.links.push(Arc::downgrade(link));
    }
    if !parting.hook.as_ref().is_some_and(ExitHook::is_active) {
        parting.hook = Some(at_exit(part_from_all));
    }
}

/// Waits for all of them, one second at most.
pub(super) fn part_from_all() {
    let links = std::mem::take(&mut PARTING.lock().links);
    let until = Deadline::after(PARTING_TIME_MAX);
    links.iter().filter_map(Weak::upgrade).for_each(|link| link.part(until));
}

impl Link {
    /// Waits for the answers to calls that nobody waits for, where closing the connection before would cost what has arrived
    /// there.
    pub(super) fn part(&self, until: Deadline) {
        if self.is_own() && self.loses_unread() {
            let _ = self.wait(Awaits::Parting, until, |state| (state.dropped == 0).then_some(()));
        }
    }
}
