//! The end of a process that does not drop its links: a forked copy, which has its parent's proxies, one with proxies in a
//! `static`, one that calls `exit`.
//!
//! Relies on an exit hook, which belongs to the process that has registered it: a forked copy registers its own with the first
//! call of its own that nobody waits for. The hook may run when the values of `thread_local!` are gone, so it uses none.

use std::mem;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use procession_launch::{ExitHook, at_exit};
use procession_sys::{Deadline, Origin};

use super::{Awaits, Link, PARTING_TIME_MAX};

/// What this process waits for at its end.
static PARTING: Mutex<Parting> = Mutex::new(Parting { links: Vec::new(), hook: None, end: None });

struct Parting {
    /// Those that have calls which nobody waits for, or had. In a forked copy its parent's, too, which are not its own.
    links: Vec<Weak<Link>>,
    /// Of the process that has registered it, while it has not run.
    hook: Option<ExitHook>,
    /// The process that is ending, and until when it waits: threads that still run may go on dropping calls for ever.
    end: Option<(Origin, Deadline)>,
}

impl Parting {
    /// Until when this process waits, if it is ending.
    fn until(&self) -> Option<Deadline> {
        self.end.and_then(|(process, until)| process.is_here().then_some(until))
    }
}

/// Has the end of this process wait for what the link has on its way that nobody waits for. Told of each.
pub(super) fn wait_at_exit(link: &Arc<Link>) {
    let mut parting = PARTING.lock();
    if parting.until().is_some_and(Deadline::has_passed) {
        return;
    }
    parting.links.retain(|other| other.strong_count() > 0);
    if !parting.links.iter().any(|other| other.as_ptr() == Arc::as_ptr(link)) {
        parting.links.push(Arc::downgrade(link));
    }
    if !parting.hook.as_ref().is_some_and(ExitHook::is_active) {
        parting.hook = Some(at_exit(part_from_all));
    }
}

/// Waits for all of them, one second at most, however often the end of this process comes here.
pub(super) fn part_from_all() {
    let (links, until) = {
        let mut parting = PARTING.lock();
        let until = parting.until().unwrap_or_else(|| Deadline::after(PARTING_TIME_MAX));
        parting.end = Some((Origin::here(), until));
        (mem::take(&mut parting.links), until)
    };
    for link in links.iter().filter_map(Weak::upgrade) {
        link.part(until);
        link.state.lock().has_parted = true;
    }
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
