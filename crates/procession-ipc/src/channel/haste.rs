//! Tries that must not keep other tasks of their thread: they wait for whoever has a lock as good as not at all.
//!
//! Relies on nothing. The thread knows whether it tries for a task, as the wait for a lock is far below.

use std::cell::Cell;
use std::time::Duration;

/// For how long a task's try waits for another that is just putting or taking: longer than most of that takes, and less than
/// a tenth of what other tasks would notice.
const TASK_PATIENCE: Duration = Duration::from_millis(1);

thread_local! {
    static IS_TASK: Cell<bool> = const { Cell::new(false) };
}

/// Ends the haste, also by a panic.
struct Haste;

impl Drop for Haste {
    fn drop(&mut self) {
        IS_TASK.set(false);
    }
}

/// Tries something for a task.
pub(crate) fn in_haste<R>(attempt: impl FnOnce() -> R) -> R {
    IS_TASK.set(true);
    let _haste = Haste;
    attempt()
}

/// For how long who does not want to wait waits, instead of `usual`.
pub(super) fn patience(usual: Duration) -> Duration {
    if IS_TASK.get() { TASK_PATIENCE } else { usual }
}
