//! Which threads of this process use a queue, for who must know whether anybody else could.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_sys::{Deadline, is_single_threaded, pid, thread_id};

/// The upper half is the process, as a forked child has its parent's; the lower the one thread, or [`SEVERAL`].
#[derive(Debug)]
pub(crate) struct Users(AtomicU64);

const SEVERAL: u32 = 0;
const PROCESS_SHIFT: u32 = 32;

impl Users {
    /// The calling thread alone.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(word(thread_id())))
    }

    /// Notes that the calling thread uses the queue.
    #[inline]
    pub(crate) fn note(&self) {
        let seen = self.0.load(Relaxed) as u32; // The lower half. No other process has a thread of this number.
        if seen != thread_id() && seen != SEVERAL {
            self.note_another();
        }
    }

    #[cold]
    fn note_another(&self) {
        let is_forked = self.is_of_another_process();
        self.0.store(word(if is_forked { thread_id() } else { SEVERAL }), Relaxed);
    }

    fn is_of_another_process(&self) -> bool {
        self.0.load(Relaxed) >> PROCESS_SHIFT != u64::from(pid())
    }

    /// True if no other thread of this process has ever used it.
    pub(crate) fn is_only_one(&self) -> bool {
        self.0.load(Relaxed) == word(thread_id())
    }
}

/// For how long a thread that seems to be the only user of a queue waits for another one of its process, which may have a
/// reference to its handle and not have used it yet: much longer than a thread takes to begin.
const PATIENCE: Duration = Duration::from_millis(500);

/// The patience of one wait.
#[derive(Debug)]
pub(crate) struct Patience(Cell<Option<Deadline>>);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(Cell::new(None))
    }

    /// Begins with the first call. A thread without others has none.
    pub(crate) fn is_over(&self) -> bool {
        if let Some(end) = self.0.get() {
            return end.has_passed();
        }
        self.0.set(Some(Deadline::after(PATIENCE)));
        is_single_threaded(Deadline::NOW).unwrap_or(false)
    }
}

fn word(thread: u32) -> u64 {
    u64::from(pid()) << PROCESS_SHIFT | u64::from(thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_is_noted_for_good() {
        let users = Users::new();
        users.note();
        assert!(users.is_only_one());
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!users.is_only_one()));
        });
        assert!(users.is_only_one(), "who asks does not use it");
        std::thread::scope(|scope| {
            scope.spawn(|| users.note());
        });
        users.note();
        assert!(!users.is_only_one());
    }
}
