//! Futexes in memory that processes share.

use std::io;
use std::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex;

use crate::Deadline;

/// Sleeps until woken, unless the word differs from `expected`. True when woken or the word differed, false after
/// the deadline. May return true for no reason: look at the word again.
///
/// # Errors
/// `EFAULT` cannot happen for a reference; others mean a kernel that has no futexes.
pub fn futex_wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> io::Result<bool> {
    match futex::wait(word, futex::Flags::empty(), expected, deadline.timespec().as_ref()) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR) => Ok(true),
        Err(Errno::TIMEDOUT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Wakes at most `count` of those that sleep on the word and returns how many.
///
/// # Errors
/// As [`futex_wait`].
pub fn futex_wake(word: &AtomicU32, count: u32) -> io::Result<usize> {
    Ok(futex::wake(word, futex::Flags::empty(), count)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_word_that_differs_does_not_sleep_and_a_deadline_ends_the_sleep() {
        let word = AtomicU32::new(1);
        assert!(futex_wait(&word, 0, Deadline::NEVER).unwrap());
        assert!(!futex_wait(&word, 1, Deadline::after(Duration::from_millis(1))).unwrap());
        assert_eq!(futex_wake(&word, 1).unwrap(), 0);
    }
}
