//! Futexes in memory that processes share: 32 bits, on their own or as the lower half of 64.
//!
//! # Safety
//! The lower half of a double word is a word: aligned, within it, and as much an atomic as the whole.

#![expect(unsafe_code, reason = "looks at half of an atomic, which the kernel's futexes are")]

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::io::Errno;
use rustix::thread::futex;

use crate::Deadline;

/// The most that one call wakes or counts.
const COUNT_MAX: u32 = i32::MAX.unsigned_abs();

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
    // The kernel takes what is more for a negative number, and wakes one.
    Ok(futex::wake(word, futex::Flags::empty(), count.min(COUNT_MAX))?)
}

/// How many sleep on the word. Nobody is woken, and who was killed is not counted.
///
/// # Errors
/// As [`futex_wait`].
pub fn futex_sleepers(word: &AtomicU32) -> io::Result<usize> {
    // The kernel counts those that it moves from one futex to another, and leaves them be if that is the same.
    Ok(futex::requeue(word, futex::Flags::empty(), 0, COUNT_MAX, word)?)
}

/// The half of a double word that a futex can be.
#[must_use]
#[inline]
pub fn lower_half(double: &AtomicU64) -> &AtomicU32 {
    let offset = usize::from(cfg!(target_endian = "big"));
    // SAFETY: the half that this is lies within the double word, whose alignment is more than it needs, and lives as
    // long. Both are atomics, so others may change it meanwhile.
    unsafe { &*std::ptr::from_ref(double).cast::<AtomicU32>().wrapping_add(offset) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_word_that_differs_does_not_sleep_and_a_deadline_ends_the_sleep() {
        let word = AtomicU32::new(1);
        assert!(futex_wait(&word, 0, Deadline::NEVER).unwrap());
        assert!(!futex_wait(&word, 1, Deadline::after(Duration::from_millis(1))).unwrap());
        assert_eq!(futex_wake(&word, 1).unwrap(), 0);
    }

    #[test]
    fn sleepers_are_counted_and_sleep_on() {
        let double = AtomicU64::new(7 << 32 | 5);
        let word = lower_half(&double);
        assert_eq!(word.load(SeqCst), 5);
        assert_eq!(futex_sleepers(word).unwrap(), 0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| while word.load(SeqCst) == 5 && futex_wait(word, 5, Deadline::NEVER).unwrap() {});
            }
            let end = Instant::now() + Duration::from_secs(20);
            while futex_sleepers(word).unwrap() < 3 {
                assert!(Instant::now() < end, "three threads sleep");
                std::thread::yield_now();
            }
            assert_eq!(futex_sleepers(word).unwrap(), 3);
            word.store(6, SeqCst);
            assert_eq!(futex_wake(word, u32::MAX).unwrap(), 3);
        });
        assert_eq!(double.load(SeqCst), 7 << 32 | 6);
    }
}
