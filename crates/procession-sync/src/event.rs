//! The event: a flag that threads of several processes wait for.
//!
//! Relies on `protocol/event.rs` for its word and on `waiting.rs` for the kernel.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use procession_shm::arena::{ArenaError, Slot};
use procession_sys::{Deadline, futex_sleepers, lower_half};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::LockError;
use crate::protocol::event;
use crate::waiting::Kernel;

/// What tells events from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"event\0\0\x01");

const WORDS: usize = 1;

/// A flag that several processes share and wait for: a handle, whose clones are the same event.
///
/// It is nobody's, so no death leaves it half done: who is killed in [`Event::set`] has set it or has not, and if it has,
/// everybody goes on, within [`RECHECK`](crate::RECHECK) if the wake-up was not sent any more.
///
/// # Python
/// `multiprocessing.Event`. There a `set` that is followed by a `clear` at once can leave a waiter with `False`, and a
/// `set` in a signal handler can wait for ever; here neither does.
///
/// Source: futex(2).
///
/// # Examples
/// ```
/// use procession_sync::Event;
///
/// let stop = Event::new()?; // A handle: a child that gets it has the same event.
/// let worker = std::thread::spawn({
///     let stop = stop.clone();
///     move || stop.wait()
/// });
/// stop.set();
/// worker.join().expect("it does not panic")?;
/// # Ok::<(), procession_sync::LockError>(())
/// ```
pub struct Event {
    slot: Slot,
}

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    /// [`LockError::Arena`] when there is no memory or no descriptor for it.
    pub fn new() -> Result<Self, LockError> {
        Self::over(Slot::allocate(WORDS * size_of::<u64>(), KIND)?)
    }

    /// The event that is in a slot.
    fn over(slot: Slot) -> Result<Self, LockError> {
        let slot = slot.expect(KIND)?;
        match slot.words().len() {
            WORDS => Ok(Self { slot }),
            _ => Err(ArenaError::Foreign { reason: "an event has another size" }.into()),
        }
    }

    /// Sets it: everybody that waits goes on, in all processes.
    ///
    /// What happened before this is seen by whoever finds the event set. It takes no lock and allocates nothing, so it may
    /// be called in a signal handler, also in one that interrupts [`Event::wait`] of the same thread.
    #[inline]
    pub fn set(&self) {
        event::set(&Kernel::new(&self.slot, Deadline::NEVER), self.word());
    }

    /// Clears it: who comes from now on waits. Whoever was waiting when it was set goes on all the same.
    ///
    /// As [`Event::set`], it may be called in a signal handler.
    #[inline]
    pub fn clear(&self) {
        event::clear(self.word());
    }

    /// Whether it is set.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        event::is_set(self.word())
    }

    /// Waits until it is set. Signals do not end the wait.
    ///
    /// Returns also if the event was set during the call and is not any more.
    ///
    /// # Errors
    /// [`LockError::Arena`] in a forked child whose handles could not be counted.
    pub fn wait(&self) -> Result<(), LockError> {
        self.wait_until(Deadline::NEVER).map(|_| ())
    }

    /// Waits until it is set, for so long at most; true if it was.
    ///
    /// A timeout of zero asks. One of centuries never ends.
    ///
    /// # Errors
    /// As [`Event::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, LockError> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<bool, LockError> {
        // Without a name in the arena the word may be another object's by now.
        self.slot.own_name()?;
        Ok(self.is_set() || event::wait(&Kernel::new(&self.slot, deadline), self.word()))
    }

    /// How many threads sleep until it is set, in all processes.
    #[must_use]
    pub fn waiters(&self) -> usize {
        futex_sleepers(lower_half(self.word())).unwrap_or(0)
    }

    #[inline]
    fn word(&self) -> &AtomicU64 {
        &self.slot.words()[0]
    }
}

impl Clone for Event {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone() }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish()
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.slot.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::over(Slot::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::fill_and;

    #[test]
    fn whatever_its_word_says_it_can_be_set() {
        let event = Event::new().unwrap();
        fill_and(event.slot.words(), || {
            let was_set = event.is_set();
            assert_eq!(event.wait_timeout(Duration::ZERO).unwrap(), was_set);
            event.clear();
            assert!(!event.wait_timeout(Duration::from_micros(1)).unwrap());
            event.set();
            event.wait().unwrap();
        });
    }
}
