//! How objects end: one after the other, and not one within the other.
//!
//! Relies on a list for each thread. An object that is the last to hold another one ends it: of objects that hold each other
//! in a row of a million that would take a million calls within each other, and more stack than there is.

use std::cell::RefCell;
use std::sync::Arc;

use procession_launch::calls::catch_call;

use crate::host::Hosting;

thread_local! {
    /// What is to end after that which is ending; none while nothing is.
    static WAITING: RefCell<Option<Vec<Arc<dyn Hosting>>>> = const { RefCell::new(None) };
}

/// Ends an object, if nobody else has it, when those before it have ended.
pub(crate) fn bury(host: Arc<dyn Hosting>) {
    let mut next = Some(host);
    let waits = WAITING.try_with(|waiting| match &mut *waiting.borrow_mut() {
        Some(waiting) => waiting.extend(next.take()),
        none => *none = Some(Vec::new()),
    });
    if waits.is_err() {
        return; // The thread itself is ending.
    }
    while let Some(host) = next {
        // A value of a user's type may panic when it is dropped.
        if let Err(panic) = catch_call(|| drop(host)) {
            tracing::error!(panic = panic.message, "an object has panicked at its end");
        }
        next = WAITING.with_borrow_mut(|waiting| {
            let next = waiting.as_mut().and_then(Vec::pop);
            if next.is_none() {
                *waiting = None;
            }
            next
        });
    }
}
