//! Permits: so many are there, and each process has so many. Relies on the ledger.
//!
#![doc = include_str!("semaphore.md")]

use super::ledger::{COUNT_MAX, Change, Entry, Ledger, WAITERS};
use super::{Word, World, low};

/// How many permits a semaphore can have at most.
///
/// It is CPython's limit, `SEM_VALUE_MAX`, and what 31 bits can count.
pub const PERMITS_MAX: u32 = (1 << 31) - 1;

const _: () = assert!(PERMITS_MAX & WAITERS == 0);

/// The words of a semaphore.
#[derive(Debug)]
pub(crate) struct Permits<'a, T> {
    pub(crate) ledger: Ledger<'a, T>,
    /// More are never there.
    pub(crate) maximum: u32,
    /// Whether those that processes have count as well.
    pub(crate) is_bounded: bool,
}

/// How many permits are there.
#[inline]
pub(crate) fn available(value: u32) -> u32 {
    value & PERMITS_MAX
}

impl<T: Word> Permits<'_, T> {
    /// Takes a permit for an entry if one is there; the main word if not.
    #[inline]
    fn take_one<W: World<Word = T>>(&self, world: &W, at: usize) -> Result<(), u64> {
        loop {
            let seen = self.ledger.settled(world);
            let entry = self.ledger.entry(at);
            if available(low(seen)) == 0 || entry.count() == COUNT_MAX {
                return Err(seen);
            }
            world.at("semaphore: to take");
            if self.ledger.change(world, seen, (at, entry), Change::Add, low(seen) - 1).is_some() {
                world.at("semaphore: taken");
                return Ok(());
            }
        }
    }

    /// Takes a permit for an entry if one is there, or was a dead process's.
    pub(crate) fn try_take<W: World<Word = T>>(&self, world: &W, at: usize) -> bool {
        self.take_one(world, at).is_ok() || (self.recover(world) && self.take_one(world, at).is_ok())
    }

    /// Takes a permit as soon as there is one, unless the world is over first.
    #[inline]
    pub(crate) fn take<W: World<Word = T>>(&self, world: &W, at: usize) -> bool {
        loop {
            let Err(seen) = self.take_one(world, at) else { return true };
            if world.spin() || self.recover(world) {
                continue;
            }
            if world.is_over() {
                return false;
            }
            self.ledger.park(world, seen, 0);
            world.at("semaphore: woken");
        }
    }

    /// Gives back what the dead have.
    #[cold]
    fn recover<W: World<Word = T>>(&self, world: &W) -> bool {
        self.ledger.recover_dead(world, |value, entry| self.given_back(value, entry))
    }

    /// What becomes of the main word's value when a process's permits come back.
    pub(crate) fn given_back(&self, value: u32, entry: Entry) -> u32 {
        value & WAITERS | (available(value).saturating_add(entry.count())).min(self.maximum)
    }

    /// Gives back a permit that an entry has; nothing happens if it has none.
    #[inline]
    pub(crate) fn give<W: World<Word = T>>(&self, world: &W, at: usize) {
        world.at("semaphore: to give");
        let given = loop {
            let seen = self.ledger.settled(world);
            let entry = self.ledger.entry(at);
            if entry.count() == 0 {
                return;
            }
            let value = low(seen) & WAITERS | (available(low(seen)) + 1).min(self.maximum);
            if let Some(given) = self.ledger.change(world, seen, (at, entry), Change::Subtract, value) {
                break given;
            }
        };
        self.wake(world, given, 1);
    }

    /// Has a permit that an entry has be nobody's.
    #[inline]
    pub(crate) fn forget<W: World<Word = T>>(&self, world: &W, at: usize) {
        loop {
            let seen = self.ledger.settled(world);
            let entry = self.ledger.entry(at);
            world.at("semaphore: to forget");
            if entry.count() == 0 || self.ledger.change(world, seen, (at, entry), Change::Subtract, low(seen)).is_some()
            {
                return;
            }
        }
    }

    /// Adds permits that are nobody's; false, and none of them, if there would be too many.
    #[inline]
    pub(crate) fn release<W: World<Word = T>>(&self, world: &W, count: u32) -> bool {
        let given = loop {
            let seen = self.ledger.settled(world);
            // While the main word stays as it is, so do the entries.
            let held: u64 = if self.is_bounded { self.held() } else { 0 };
            let there = available(low(seen));
            if held + u64::from(there) + u64::from(count) > u64::from(self.maximum) {
                return false;
            }
            world.at("semaphore: to release");
            if let Some(given) = self.ledger.set_value(seen, low(seen) + count) {
                break given;
            }
        };
        self.wake(world, given, count);
        true
    }

    /// How many permits processes have.
    fn held(&self) -> u64 {
        self.ledger.held().map(|(_, entry)| u64::from(entry.count())).sum()
    }

    /// Wakes as many as there are new permits, after the main word has become `given`.
    #[inline]
    fn wake<W: World<Word = T>>(&self, world: &W, given: u64, count: u32) {
        if low(given) & WAITERS == 0 {
            return;
        }
        world.at("semaphore: given, not woken");
        let woken = world.wake(self.ledger.main, count);
        world.at("semaphore: woke");
        // Who sleeps from now on has seen another word, and has marked it.
        if woken < count as usize {
            let _ = self.ledger.set_value(given, low(given) & !WAITERS);
        }
    }
}

#[cfg(test)]
mod races {
    //! The races of `semaphore.md`. Each model tries every order with at most as many preemptions as it names.

    use std::sync::atomic::Ordering::SeqCst;

    use super::super::loom_world::{Fate, Kernel, model, name};
    use super::*;

    fn permits(kernel: &Kernel) -> Permits<'_, loom::sync::atomic::AtomicU64> {
        let ledger = Ledger { main: kernel.word(0), entries: kernel.words(1..4), names: kernel.words(4..6) };
        Permits { ledger, maximum: 2, is_bounded: true }
    }

    /// So many permits, and each process has an entry.
    fn begin(kernel: &Kernel, available: u32) {
        kernel.word(0).store(available.into(), SeqCst);
        for process in 1..=3 {
            let at = permits(kernel).ledger.claim(kernel, name(process), 0, |value, _| value);
            assert_eq!(at, Some(entry_of(process)));
        }
    }

    fn entry_of(process: u32) -> usize {
        process as usize - 1
    }

    fn acquire(kernel: &Kernel) {
        assert!(permits(kernel).take(kernel, entry_of(kernel.process())), "nobody waits in vain");
    }

    /// Takes a permit, and gives it back; where there is one, it guards something.
    fn visit(kernel: &Kernel) {
        acquire(kernel);
        kernel.touch();
        permits(kernel).give(kernel, entry_of(kernel.process()));
    }

    /// Everything has come back, and nobody sleeps.
    fn assert_available(kernel: &Kernel, expected: u32) {
        permits(kernel).recover(kernel);
        assert_eq!(available(low(permits(kernel).ledger.settled(kernel))), expected);
        assert_eq!(permits(kernel).held(), 0);
    }

    #[test]
    fn marked_and_given() {
        model(2, |kernel| {
            begin(&kernel, 1);
            let other = kernel.spawn(2, Fate::Lives, visit);
            visit(&kernel);
            other.join().expect("it lives");
            assert_eq!(low(kernel.word(0).load(SeqCst)), 1);
        });
    }

    /// The first process has the only permit, and gives it back.
    fn give_held(kernel: &Kernel) {
        kernel.touch();
        permits(kernel).give(kernel, entry_of(1));
    }

    #[test]
    fn a_late_clearing() {
        model(1, |kernel| {
            begin(&kernel, 1);
            acquire(&kernel);
            let others = [2, 3].map(|number| kernel.spawn(number, Fate::Lives, visit));
            give_held(&kernel);
            others.into_iter().for_each(|other| other.join().expect("it lives"));
            assert_available(&kernel, 1);
        });
    }

    #[test]
    fn woken_and_killed() {
        // One order, step by step: of all, those in which the first sleeper dies are too many to try.
        model(0, |kernel| {
            begin(&kernel, 1);
            acquire(&kernel);
            let seen = kernel.word(0).load(SeqCst);
            permits(&kernel).ledger.set_value(seen, low(seen) | WAITERS).expect("nobody else is there");
            kernel.put_to_sleep(0, 2);
            kernel.put_to_sleep(0, 4);
            give_held(&kernel);
            assert_eq!(kernel.asleep(), 1, "the second process is woken, and killed");
            assert!(permits(&kernel).try_take(&kernel, entry_of(3)));
            permits(&kernel).give(&kernel, entry_of(3));
            assert_eq!(kernel.asleep(), 0, "who barged in wakes the other");
        });
    }

    /// One process dies there if it comes there; the other has the permit.
    fn killed_at(place: &'static str) {
        model(2, move |kernel| {
            begin(&kernel, 1);
            let dies = kernel.spawn(2, Fate::KilledAt(place), visit);
            visit(&kernel);
            visit(&kernel);
            dies.join();
            assert_available(&kernel, 1);
        });
    }

    #[test]
    fn given_and_not_woken() {
        killed_at("semaphore: given, not woken");
        killed_at("semaphore: woke");
    }

    #[test]
    fn the_last_permit_is_a_dead_processs() {
        killed_at("semaphore: taken");
        killed_at("semaphore: to give");
    }

    #[test]
    fn killed_on_the_way_in() {
        killed_at("semaphore: to take");
        killed_at("ledger: marked");
        killed_at("semaphore: woken");
    }

    #[test]
    fn over_release_by_two() {
        model(2, |kernel| {
            begin(&kernel, 2);
            acquire(&kernel);
            permits(&kernel).forget(&kernel, entry_of(1));
            let other = kernel.spawn(2, Fate::Lives, |kernel| permits(kernel).release(kernel, 1));
            // What somebody has is not to be released.
            let third = kernel.spawn(3, Fate::Lives, acquire);
            let own = permits(&kernel).release(&kernel, 1);
            assert_ne!(other.join(), Some(own), "one of them");
            third.join().expect("it lives");
            assert_eq!(available(low(kernel.word(0).load(SeqCst))), 1);
        });
    }
}
