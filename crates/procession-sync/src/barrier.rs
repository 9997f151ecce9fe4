//! The barrier: parties in several processes that wait for each other, and the action that one of them runs.
//!
//! Relies on `protocol/barrier.rs` for its words, on `waiting.rs` for the kernel, and on `procession_boot` to name the
//! action in every process.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use procession_boot::{BootError, Procedure};
use procession_shm::arena::{ArenaError, Slot};
use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::BarrierError;
use crate::protocol::barrier::{self, Arrival, BROKEN, Manner, Refused, Role, Round};
use crate::waiting::Kernel;

/// What tells barriers from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"barrier\x01");

/// How many parties a barrier can have: as many as there is room for in a slot of the arena, a page.
pub const PARTIES_MAX: usize = 511;

/// A place that none of several parties passes before all of them are there: a handle, whose clones are the same barrier.
///
/// A party is a thread, in whichever process; it is one as long as it waits. When the last one comes, all pass, and the
/// barrier is as new: it may be used for any number of rounds. If a round cannot end well it breaks, for all its parties,
/// and the barrier stays broken until somebody resets it.
///
/// # When a process dies
/// A party that is killed while it waits breaks the round, within 100 ms. So does one that is killed in the action. One that
/// was killed before it came is one that never comes: wait with a timeout. Who is killed while it aborts or resets the
/// barrier has done so or has not; there is nothing between.
///
/// # Python
/// `multiprocessing.Barrier`, where the death of a party is not noticed.
///
/// Source: futex(2).
///
/// # Examples
/// ```
/// use procession_sync::Barrier;
///
/// let barrier = Barrier::new(2)?; // A handle: a child that gets it has the same barrier.
/// let other = std::thread::spawn({
///     let barrier = barrier.clone();
///     move || barrier.wait()
/// });
/// let turn = barrier.wait()?;
/// let leaders = [turn, other.join().expect("it does not panic")?].iter().filter(|turn| turn.is_leader()).count();
/// assert_eq!(leaders, 1);
/// # Ok::<(), procession_sync::BarrierError>(())
/// ```
pub struct Barrier {
    slot: Slot,
    action: Option<Procedure>,
    timeout: Option<Duration>,
}

/// What a barrier is made with; see [`Barrier::builder`].
#[derive(Debug)]
#[must_use = "there is no barrier before `build`"]
pub struct BarrierBuilder {
    parties: usize,
    action: Option<Result<Procedure, BootError>>,
    timeout: Option<Duration>,
}

impl BarrierBuilder {
    /// Has the last party of each round run a function before anybody passes: one without captures, since every process
    /// may be the one that runs it. If it panics, the round breaks, and the panic is its party's.
    pub fn action<F: Fn() + Copy + Send + 'static>(mut self, action: F) -> Self {
        self.action = Some(Procedure::of(action));
        self
    }

    /// Has [`Barrier::wait`] wait for so long at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The barrier.
    ///
    /// # Errors
    /// [`BarrierError::NoParties`], [`BarrierError::TooManyParties`] for more than [`PARTIES_MAX`];
    /// [`BarrierError::Arena`] when there is no memory or no descriptor for it; [`BarrierError::Action`] for a function that
    /// other processes cannot know.
    pub fn build(self) -> Result<Barrier, BarrierError> {
        let parties = self.parties;
        match parties {
            0 => return Err(BarrierError::NoParties),
            1..=PARTIES_MAX => {}
            _ => return Err(BarrierError::TooManyParties { parties }),
        }
        let slot = Slot::allocate((1 + parties) * size_of::<u64>(), KIND)?;
        Barrier::over(slot, self.action.transpose()?, self.timeout)
    }
}

/// That a party has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierTurn {
    index: usize,
    is_leader: bool,
}

impl BarrierTurn {
    /// How many came before it: another number for each party, from zero on.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether it was the last one, which is true for one of the parties, and which ran the action.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}

impl Barrier {
    /// A barrier for so many parties.
    ///
    /// # Errors
    /// As [`BarrierBuilder::build`].
    pub fn new(parties: usize) -> Result<Self, BarrierError> {
        Self::builder(parties).build()
    }

    /// A barrier with an action, or a timeout for all waits.
    pub fn builder(parties: usize) -> BarrierBuilder {
        BarrierBuilder { parties, action: None, timeout: None }
    }

    /// The barrier that is in a slot.
    fn over(slot: Slot, action: Option<Procedure>, timeout: Option<Duration>) -> Result<Self, BarrierError> {
        let slot = slot.expect(KIND)?;
        match slot.words().len() {
            2.. => Ok(Self { slot, action, timeout }),
            _ => Err(ArenaError::Foreign { reason: "a barrier has another size" }.into()),
        }
    }

    /// Waits until all parties are there, or for as long as the barrier was made with. Signals do not end the wait.
    ///
    /// # Errors
    /// [`BarrierError::Broken`]; [`BarrierError::Timeout`] for the one whose time was over, which breaks the round for the
    /// others; [`BarrierError::Arena`] in a forked child whose handles could not be counted.
    ///
    /// # Panics
    /// As the action does, if this party is the one that runs it.
    pub fn wait(&self) -> Result<BarrierTurn, BarrierError> {
        self.wait_until(self.timeout.map_or(Deadline::NEVER, Deadline::after), false)
    }

    /// As [`Barrier::wait`], for so long at most. The action's time counts, too.
    ///
    /// # Errors
    /// As [`Barrier::wait`].
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierTurn, BarrierError> {
        self.wait_until(Deadline::after(timeout), false)
    }

    /// Passes if all others are there.
    ///
    /// # Errors
    /// [`BarrierError::WouldBlock`] if they are not, which breaks nothing; [`BarrierError::Broken`].
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn try_wait(&self) -> Result<BarrierTurn, BarrierError> {
        self.wait_until(Deadline::NOW, true)
    }

    fn wait_until(&self, deadline: Deadline, only_last: bool) -> Result<BarrierTurn, BarrierError> {
        let own = self.slot.own_name()?;
        let (world, round) = (Kernel::new(&self.slot, deadline), self.round());
        let manner = Manner { acts: self.action.is_some(), only_last };
        let arrival = barrier::arrive(&world, &round, own, manner).map_err(refused)?;
        let outcome = match (arrival.role, self.action) {
            (Role::Waits, _) => barrier::wait(&world, &round, arrival),
            (Role::Acts, Some(action)) => Acting { world: &world, round: &round, arrival }.run(action),
            (Role::Acts | Role::Passes, _) => Ok(()),
        };
        outcome.map_err(refused)?;
        Ok(BarrierTurn { index: arrival.index as usize, is_leader: arrival.role != Role::Waits })
    }

    /// Breaks the barrier: whoever waits gets [`BarrierError::Broken`], and so does whoever comes, until it is reset.
    ///
    /// # Errors
    /// [`BarrierError::Arena`] in a forked child whose handles could not be counted.
    pub fn abort(&self) -> Result<(), BarrierError> {
        self.slot.own_name()?;
        barrier::abort(&self.world(), &self.round());
        Ok(())
    }

    /// Makes the barrier as new: whoever waits gets [`BarrierError::Broken`], and whoever comes is the first. Nothing happens
    /// to one that is not broken and at which nobody waits.
    ///
    /// While the action runs, its round is given up, though the action goes on.
    ///
    /// # Errors
    /// As [`Barrier::abort`].
    pub fn reset(&self) -> Result<(), BarrierError> {
        self.slot.own_name()?;
        barrier::reset(&self.world(), &self.round());
        Ok(())
    }

    /// How many parties it is for.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.slot.words().len() - 1
    }

    /// How many have come that have not passed; none at a broken barrier, which one is whose waiting party has died.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        let seen = self.round().look_for_dead(&self.world());
        if seen & BROKEN == 0 { (barrier::arrived(seen) as usize).min(self.parties()) } else { 0 }
    }

    /// Whether it is broken. That a party has died while it waited is found here, too, if nobody else has found it.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.round().look_for_dead(&self.world()) & BROKEN != 0
    }

    fn world(&self) -> Kernel<'_> {
        Kernel::new(&self.slot, Deadline::NEVER)
    }

    fn round(&self) -> Round<'_, AtomicU64> {
        Round::over(self.slot.words()).expect("at least two words, which `over` has counted")
    }
}

fn refused(refused: Refused) -> BarrierError {
    match refused {
        Refused::Broken => BarrierError::Broken,
        Refused::Timeout => BarrierError::Timeout,
        Refused::NotLast => BarrierError::WouldBlock,
    }
}

/// A party that runs the action; dropping this breaks the round.
struct Acting<'a> {
    world: &'a Kernel<'a>,
    round: &'a Round<'a, AtomicU64>,
    arrival: Arrival,
}

impl Acting<'_> {
    fn run(self, action: Procedure) -> Result<(), Refused> {
        action.call();
        barrier::pass(self.world, self.round, self.arrival) // And dropping `self` then finds no round to break.
    }
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        barrier::fail(self.world, self.round, self.arrival);
    }
}

impl Clone for Barrier {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone(), action: self.action, timeout: self.timeout }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Barrier");
        text.field("parties", &self.parties()).field("n_waiting", &self.n_waiting());
        text.field("is_broken", &self.is_broken()).finish()
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.slot, self.action, self.timeout).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (slot, action, timeout) = Deserialize::deserialize(deserializer)?;
        Self::over(slot, action, timeout).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::fill_and;

    #[test]
    fn whatever_its_words_say_every_verb_returns() {
        for parties in [1, 2, 3] {
            let barrier = Barrier::builder(parties).action(|| ()).build().unwrap();
            fill_and(barrier.slot.words(), || {
                assert!(barrier.n_waiting() <= parties);
                let _ = barrier.try_wait();
                let _ = barrier.wait_timeout(Duration::from_micros(1));
                barrier.abort().unwrap();
                assert!(matches!(barrier.wait(), Err(BarrierError::Broken)));
                barrier.reset().unwrap();
                assert!(!barrier.is_broken());
                assert_eq!(barrier.n_waiting(), 0);
                let _ = barrier.wait_timeout(Duration::from_micros(1));
            });
        }
    }
}
