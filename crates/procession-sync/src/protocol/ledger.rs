//! Counts that belong to processes, whole at every instant without a lock. Relies on nothing but its `World`.
//!
#![doc = include_str!("ledger.md")]

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use procession_shm::arena::Owner;

use super::{Word, World, low};

/// Somebody sleeps on the main word, or may be about to.
pub(crate) const WAITERS: u32 = 1 << 31;

const ENTRY_SHIFT: u32 = 32;
const ENTRY_BITS: u32 = 8;
const CHANGE_SHIFT: u32 = ENTRY_SHIFT + ENTRY_BITS;
const CHANGE_BITS: u32 = 3;
const VERSION_SHIFT: u32 = CHANGE_SHIFT + CHANGE_BITS;
const VERSION_MASK: u32 = (1 << (u64::BITS - VERSION_SHIFT)) - 1;

/// What a change of the main word does to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add = 1,
    Subtract = 2,
    SetTop = 3,
    ClearTop = 4,
    Clear = 5,
}

impl Change {
    const ALL: [Self; 5] = [Self::Add, Self::Subtract, Self::SetTop, Self::ClearTop, Self::Clear];

    #[inline]
    fn of(main: u64) -> Option<Self> {
        let number = (main >> CHANGE_SHIFT) % (1 << CHANGE_BITS);
        Self::ALL.into_iter().find(|change| *change as u64 == number)
    }
}

/// The most that one process can have.
pub(crate) const COUNT_MAX: u32 = TOP - 1;
const TOP: u32 = 1 << 31;

/// What one process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u64);

impl Entry {
    const VERSION_SHIFT: u32 = 32;

    #[inline]
    pub(crate) fn count(self) -> u32 {
        low(self.0) & COUNT_MAX
    }

    #[inline]
    pub(crate) fn has_top(self) -> bool {
        low(self.0) & TOP != 0
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        low(self.0) == 0
    }

    /// How often it has changed, without the highest bits.
    #[inline]
    fn version(self) -> u32 {
        (self.0 >> Self::VERSION_SHIFT) as u32 // The upper half.
    }

    /// What a change makes of it.
    #[inline]
    fn after(self, change: Change) -> Self {
        let top = low(self.0) & TOP;
        // Who changes it has looked that it can be: the limits matter only where somebody has scribbled.
        let now = match change {
            Change::Add => top | self.count().saturating_add(1).min(COUNT_MAX),
            Change::Subtract => top | self.count().saturating_sub(1),
            Change::SetTop => top | TOP | self.count(),
            Change::ClearTop => self.count(),
            Change::Clear => 0,
        };
        Self(u64::from(self.version().wrapping_add(1)) << Self::VERSION_SHIFT | u64::from(now))
    }
}

/// The main word whose change is to be noted in an entry.
#[inline]
fn main_word(value: u32, at: usize, change: Change, entry: Entry) -> u64 {
    u64::from(value)
        | (at as u64) << ENTRY_SHIFT
        | (change as u64) << CHANGE_SHIFT
        | u64::from(entry.version() & VERSION_MASK) << VERSION_SHIFT
}

/// The same main word with another value, by which no entry changes.
#[inline]
fn with_value(main: u64, value: u32) -> u64 {
    main & !u64::from(u32::MAX) | u64::from(value)
}

/// The words of a ledger.
#[derive(Debug)]
pub(crate) struct Ledger<'a, T> {
    pub(crate) main: &'a T,
    pub(crate) entries: &'a [T],
    /// Two names in each.
    pub(crate) names: &'a [T],
}

impl<T: Word> Ledger<'_, T> {
    /// The main word, once what it says of an entry is noted there.
    #[inline]
    pub(crate) fn settled<W: World<Word = T>>(&self, world: &W) -> u64 {
        loop {
            let seen = self.main.load(Acquire);
            let at = (seen >> ENTRY_SHIFT) as usize % (1 << ENTRY_BITS);
            let (Some(change), Some(word)) = (Change::of(seen), self.entries.get(at)) else { return seen };
            let entry = Entry(word.load(Acquire));
            let next = entry.after(change);
            if main_word(low(seen), at, change, next) != seen {
                return seen; // It is noted.
            }
            world.at("ledger: to help");
            // If the word is still the same, its change is the entry's next one, and not one of long ago.
            if self.main.load(Acquire) == seen {
                let _ = word.exchange(entry.0, next.0, AcqRel, Acquire);
                return seen;
            }
        }
    }

    /// Changes a settled main word and an entry together; the new main word, or `None` if it is another by now.
    #[inline]
    pub(crate) fn change<W: World<Word = T>>(
        &self,
        world: &W,
        seen: u64,
        (at, entry): (usize, Entry),
        change: Change,
        value: u32,
    ) -> Option<u64> {
        let word = self.entries.get(at)?;
        let next = entry.after(change);
        let changed = main_word(value, at, change, next);
        world.at("ledger: to change");
        self.main.exchange(seen, changed, AcqRel, Relaxed).ok()?;
        world.at("ledger: changed, not noted");
        let _ = word.exchange(entry.0, next.0, AcqRel, Relaxed); // Or somebody has helped.
        world.at("ledger: noted");
        Some(changed)
    }

    /// Changes only the value of a settled main word; the new one.
    #[inline]
    pub(crate) fn set_value(&self, seen: u64, value: u32) -> Option<u64> {
        let changed = with_value(seen, value);
        self.main.exchange(seen, changed, AcqRel, Relaxed).ok().map(|_| changed)
    }

    /// Marks a main word, and sleeps while its value stays as it is then.
    pub(crate) fn park<W: World<Word = T>>(&self, world: &W, seen: u64, marks: u32) -> bool {
        let value = low(seen) | marks | WAITERS;
        if low(seen) != value && self.set_value(seen, value).is_none() {
            return false;
        }
        world.at("ledger: marked");
        world.park(self.main, value);
        true
    }

    /// An entry as it is now; an empty one where there is none.
    #[inline]
    pub(crate) fn entry(&self, at: usize) -> Entry {
        Entry(self.entries.get(at).map_or(0, |word| word.load(Acquire)))
    }

    /// Whose entry it is; zero is nobody's.
    #[inline]
    pub(crate) fn name(&self, at: usize) -> u32 {
        let pair = self.names.get(at / 2).map_or(0, |word| word.load(Acquire));
        (pair >> (at % 2 * 32)) as u32 // One half of it.
    }

    /// Has an entry belong to somebody else.
    fn rename(&self, at: usize, from: u32, to: u32) -> bool {
        let shift = at % 2 * 32;
        let Some(word) = self.names.get(at / 2) else { return false };
        loop {
            let pair = word.load(Acquire);
            if (pair >> shift) as u32 != from {
                return false;
            }
            let renamed = pair & !(u64::from(u32::MAX) << shift) | u64::from(to) << shift;
            if word.exchange(pair, renamed, AcqRel, Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// The entry of a process, which it keeps; `None` when all belong to others that live.
    #[inline]
    pub(crate) fn claim<W: World<Word = T>>(
        &self,
        world: &W,
        own: Owner,
        hint: usize,
        give_back: impl Fn(u32, Entry) -> u32,
    ) -> Option<usize> {
        if self.name(hint) == own.word() { Some(hint) } else { self.claim_anew(world, own, give_back) }
    }

    #[cold]
    fn claim_anew<W: World<Word = T>>(
        &self,
        world: &W,
        own: Owner,
        give_back: impl Fn(u32, Entry) -> u32,
    ) -> Option<usize> {
        loop {
            // The own one stands before any that is free, so two threads that look in this order come to the same.
            let mut names = (0..self.entries.len()).map(|at| (at, self.name(at)));
            let (at, name) = match names.find(|(_, name)| *name == own.word() || *name == 0) {
                Some((at, 0)) => (at, 0),
                Some((at, _)) => return Some(at),
                None => self.dead(world)?,
            };
            if name != 0 && !self.recover(world, at, name, &give_back) {
                continue;
            }
            world.at("ledger: to claim");
            if self.rename(at, name, own.word()) {
                world.at("ledger: claimed");
            }
        }
    }

    /// An entry whose process is dead, and what that was called.
    fn dead<W: World<Word = T>>(&self, world: &W) -> Option<(usize, u32)> {
        let entries = (0..self.entries.len()).map(|at| (at, self.name(at)));
        entries.into_iter().find(|(_, name)| !is_alive(world, *name))
    }

    /// Gives back what dead processes have; true if there was any. `give_back` says what becomes of the main word's value.
    pub(crate) fn recover_dead<W: World<Word = T>>(&self, world: &W, give_back: impl Fn(u32, Entry) -> u32) -> bool {
        // A dead process's last change may not be noted yet.
        self.settled(world);
        let mut found = false;
        for at in 0..self.entries.len() {
            if self.entry(at).is_empty() {
                continue;
            }
            let name = self.name(at);
            if !is_alive(world, name) && !self.entry(at).is_empty() {
                found |= self.recover(world, at, name, &give_back);
            }
        }
        found
    }

    /// Empties the entry of a dead process; false if it belongs to somebody else by now.
    fn recover<W: World<Word = T>>(
        &self,
        world: &W,
        at: usize,
        name: u32,
        give_back: &impl Fn(u32, Entry) -> u32,
    ) -> bool {
        loop {
            let seen = self.settled(world);
            // In this order: whoever has the entry now took it before it changed the word.
            let entry = self.entry(at);
            if self.name(at) != name {
                return false;
            }
            if entry.is_empty() {
                return true;
            }
            let value = give_back(low(seen), entry);
            if self.change(world, seen, (at, entry), Change::Clear, value).is_some() {
                world.at("ledger: given back, not woken");
                if value & WAITERS != 0 {
                    world.wake(self.main, u32::MAX);
                }
            }
        }
    }

    /// What each process has that has anything, by its name.
    pub(crate) fn held(&self) -> impl Iterator<Item = (u32, Entry)> {
        let entries = (0..self.entries.len()).map(|at| (self.name(at), self.entry(at)));
        entries.filter(|(_, entry)| !entry.is_empty())
    }
}

/// Whether a process is that a name names; one that no process of ours is called is not.
fn is_alive(world: &impl World, name: u32) -> bool {
    Owner::from_word(name).is_some_and(|owner| world.is_alive(owner))
}

#[cfg(test)]
mod races {
    //! The races of `ledger.md`. Each model tries every order with at most as many preemptions as it names.

    use std::sync::atomic::Ordering::SeqCst;

    use super::super::loom_world::{Fate, Kernel, model, name};
    use super::*;

    fn ledger(kernel: &Kernel) -> Ledger<'_, loom::sync::atomic::AtomicU64> {
        Ledger { main: kernel.word(0), entries: kernel.words(1..4), names: kernel.words(4..6) }
    }

    /// What is there, the value, and what all have together are always this many.
    const ALL: u32 = 3;

    fn give_back(value: u32, entry: Entry) -> u32 {
        value + entry.count()
    }

    /// Has so many there, and so many entries known to belong to processes from the first on.
    fn begin(kernel: &Kernel, claimed: u32) {
        kernel.word(0).store(ALL.into(), SeqCst);
        for process in 1..=claimed {
            ledger(kernel).claim(kernel, name(process), 2, give_back).expect("there is room");
        }
    }

    fn claim(kernel: &Kernel) -> usize {
        ledger(kernel).claim(kernel, name(kernel.process()), 0, give_back).expect("there is room")
    }

    /// Moves one between the value and this process's entry.
    fn once(kernel: &Kernel, at: usize, change: Change) {
        let ledger = ledger(kernel);
        loop {
            let seen = ledger.settled(kernel);
            let entry = ledger.entry(at);
            let value = if change == Change::Add { low(seen) - 1 } else { low(seen) + 1 };
            if ledger.change(kernel, seen, (at, entry), change, value).is_some() {
                return;
            }
        }
    }

    fn take(kernel: &Kernel) {
        once(kernel, claim(kernel), Change::Add);
    }

    fn take_and_give(kernel: &Kernel) {
        take(kernel);
        once(kernel, claim(kernel), Change::Subtract);
    }

    /// The value and what each entry has, once all is noted.
    fn sums(kernel: &Kernel) -> (u32, Vec<u32>) {
        let ledger = ledger(kernel);
        let value = low(ledger.settled(kernel));
        (value, (0..3).map(|at| ledger.entry(at).count()).collect())
    }

    #[test]
    fn helped_by_two() {
        model(1, |kernel| {
            begin(&kernel, 3);
            let others = [2, 3].map(|number| kernel.spawn(number, Fate::Lives, take));
            take(&kernel);
            others.into_iter().for_each(|other| other.join().expect("it lives"));
            assert_eq!(sums(&kernel), (0, vec![1, 1, 1]));
        });
    }

    #[test]
    fn a_late_helper() {
        model(2, |kernel| {
            begin(&kernel, 2);
            let other = kernel.spawn(2, Fate::Lives, |kernel| {
                take_and_give(kernel);
                take_and_give(kernel);
            });
            take_and_give(&kernel);
            other.join().expect("it lives");
            assert_eq!(sums(&kernel), (ALL, vec![0, 0, 0]));
        });
    }

    /// One dies there, and its own come back, once, though two look for them.
    fn killed_at(place: &'static str) {
        model(2, move |kernel| {
            begin(&kernel, 3);
            let dies = kernel.spawn(2, Fate::KilledAt(place), take);
            let other = kernel.spawn(3, Fate::Lives, |kernel| ledger(kernel).recover_dead(kernel, give_back));
            let own = ledger(&kernel).recover_dead(&kernel, give_back);
            dies.join();
            let other = other.join().expect("it lives");
            let later = ledger(&kernel).recover_dead(&kernel, give_back);
            assert!([own, other, later].contains(&true), "somebody finds it");
            assert_eq!(sums(&kernel), (ALL, vec![0, 0, 0]));
        });
    }

    #[test]
    fn changed_and_killed() {
        killed_at("ledger: changed, not noted");
    }

    #[test]
    fn two_find_a_holder_dead() {
        killed_at("ledger: noted");
    }

    #[test]
    fn the_finder_dies_as_well() {
        for place in ["ledger: changed, not noted", "ledger: given back, not woken"] {
            model(1, move |kernel| {
                begin(&kernel, 3);
                let first = kernel.spawn(2, Fate::KilledAt("ledger: noted"), take);
                first.join();
                let finder = kernel.spawn(3, Fate::KilledAt(place), |kernel| {
                    ledger(kernel).recover_dead(kernel, give_back);
                });
                take_and_give(&kernel);
                ledger(&kernel).recover_dead(&kernel, give_back);
                finder.join();
                ledger(&kernel).recover_dead(&kernel, give_back);
                assert_eq!(sums(&kernel), (ALL, vec![0, 0, 0]));
            });
        }
    }

    #[test]
    fn found_dead_and_replaced() {
        model(2, |kernel| {
            begin(&kernel, 3);
            let first = kernel.spawn(2, Fate::KilledAt("ledger: noted"), take);
            first.join();
            // There is no room for a fourth but the dead one's.
            let heir = kernel.spawn(4, Fate::Lives, take);
            ledger(&kernel).recover_dead(&kernel, give_back);
            heir.join().expect("it lives");
            assert_eq!(sums(&kernel), (ALL - 1, vec![0, 1, 0]));
        });
    }

    #[test]
    fn two_threads_enter() {
        model(2, |kernel| {
            begin(&kernel, 1);
            let other = kernel.spawn(2, Fate::Lives, claim);
            let also = ledger(&kernel).claim(&kernel, name(2), 0, give_back);
            assert_eq!((other.join(), also), (Some(1), Some(1)));
            assert_eq!((ledger(&kernel).name(1), ledger(&kernel).name(2)), (name(2).word(), 0));
        });
    }

    #[test]
    fn a_version_that_comes_round_is_noted_once() {
        model(1, |kernel| {
            begin(&kernel, 1);
            kernel.word(1).store(u64::MAX << Entry::VERSION_SHIFT, SeqCst);
            take(&kernel);
            assert_eq!(sums(&kernel), (ALL - 1, vec![1, 0, 0]));
            take_and_give(&kernel);
            assert_eq!(sums(&kernel), (ALL - 1, vec![1, 0, 0]));
        });
    }
}
