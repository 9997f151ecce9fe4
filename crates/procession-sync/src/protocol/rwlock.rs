//! Readers and one writer: who is in, who waits, and whether a writer died. Relies on the ledger.
//!
#![doc = include_str!("rwlock.md")]

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::ledger::{COUNT_MAX, Change, Entry, Ledger, WAITERS};
use super::lock::{Held, Taken};
use super::{Word, World, low};

/// How many can read at once: as many as the bits below the marks can count. It is checked, and one more waits.
pub(crate) const READERS: u32 = WRITER - 1;
pub(crate) const WRITER: u32 = 1 << 28;
pub(crate) const DIED: u32 = 1 << 29;
pub(crate) const QUEUED: u32 = 1 << 30;

const _: () = assert!(QUEUED << 1 == WAITERS);

/// The words of a lock for readers and writers.
#[derive(Debug)]
pub(crate) struct Gate<'a, T> {
    pub(crate) ledger: Ledger<'a, T>,
    pub(crate) next: &'a T,
}

/// What becomes of the main word's value when a process is counted off that had this.
pub(crate) fn given_back(value: u32, entry: Entry) -> u32 {
    let readers = (value & READERS).saturating_sub(entry.count());
    let value = value & !READERS | readers;
    if entry.has_top() { value & !WRITER | DIED } else { value }
}

/// How it was had that was seen so.
fn taken(seen: u64) -> Taken {
    if low(seen) & DIED == 0 { Taken::Free } else { Taken::FromDead }
}

impl<T: Word> Gate<'_, T> {
    /// Begins to read unless somebody writes or waits to; the main word if so.
    #[inline]
    fn read_now<W: World<Word = T>>(&self, world: &W, at: usize) -> Result<Taken, u64> {
        loop {
            let seen = self.ledger.settled(world);
            let entry = self.ledger.entry(at);
            let value = low(seen);
            if value & (WRITER | QUEUED) != 0 || value & READERS == READERS || entry.count() == COUNT_MAX {
                return Err(seen);
            }
            world.at("rwlock: to read");
            if self.ledger.change(world, seen, (at, entry), Change::Add, (value & !DIED) + 1).is_some() {
                world.at("rwlock: reading");
                return Ok(taken(seen));
            }
        }
    }

    /// Begins to write unless somebody reads or writes; the main word if so.
    #[inline]
    fn write_now<W: World<Word = T>>(&self, world: &W, at: usize, own: Held) -> Result<Taken, u64> {
        loop {
            let seen = self.ledger.settled(world);
            let entry = self.ledger.entry(at);
            let value = low(seen);
            if value & (WRITER | READERS) != 0 || entry.has_top() {
                return Err(seen);
            }
            let is_next = value & QUEUED != 0 && self.next.load(Relaxed) == own.word();
            let kept = if is_next { value & WAITERS } else { value & (WAITERS | QUEUED) };
            world.at("rwlock: to write");
            if self.ledger.change(world, seen, (at, entry), Change::SetTop, kept | WRITER).is_some() {
                world.at("rwlock: writing");
                return Ok(taken(seen));
            }
        }
    }

    /// Begins to read if it can at once, or once the dead are counted off.
    pub(crate) fn try_read<W: World<Word = T>>(&self, world: &W, at: usize) -> Option<Taken> {
        loop {
            let seen = match self.read_now(world, at) {
                Ok(taken) => return Some(taken),
                Err(seen) => seen,
            };
            if !self.recover(world) && !self.pass_the_dead(world, seen) {
                return None;
            }
        }
    }

    /// Begins to read as soon as it can, unless the world is over first.
    #[inline]
    pub(crate) fn read<W: World<Word = T>>(&self, world: &W, at: usize) -> Option<Taken> {
        loop {
            let seen = match self.read_now(world, at) {
                Ok(taken) => return Some(taken),
                Err(seen) => seen,
            };
            if world.spin() || self.recover(world) || self.pass_the_dead(world, seen) {
                continue;
            }
            if world.is_over() {
                return None;
            }
            self.ledger.park(world, seen, 0);
            world.at("rwlock: woken to read");
        }
    }

    /// Begins to write if it can at once, or once the dead are counted off.
    pub(crate) fn try_write<W: World<Word = T>>(&self, world: &W, at: usize, own: Held) -> Option<Taken> {
        self.write_now(world, at, own)
            .or_else(|seen| if self.recover(world) { self.write_now(world, at, own) } else { Err(seen) })
            .ok()
    }

    /// Begins to write as soon as it can, unless the world is over first.
    #[inline]
    pub(crate) fn write<W: World<Word = T>>(&self, world: &W, at: usize, own: Held) -> Option<Taken> {
        let mut has_waited = false;
        loop {
            let seen = match self.write_now(world, at, own) {
                Ok(taken) => {
                    if has_waited {
                        world.at("rwlock: writing, still next");
                        let _ = self.next.exchange(own.word(), 0, Relaxed, Relaxed);
                    }
                    return Some(taken);
                }
                Err(seen) => seen,
            };
            if world.spin() || self.recover(world) {
                continue;
            }
            if world.is_over() {
                if has_waited {
                    self.leave(world, own);
                }
                return None;
            }
            has_waited = true;
            self.enter(world, own);
            self.ledger.park(world, seen, QUEUED);
            world.at("rwlock: woken to write");
        }
    }

    /// Has readers let this writer pass, unless they do so for another's sake.
    fn enter<W: World<Word = T>>(&self, world: &W, own: Held) {
        let next = self.next.load(Acquire);
        if next != own.word() && !is_alive(world, next) && self.next.exchange(next, own.word(), AcqRel, Relaxed).is_ok()
        {
            world.at("rwlock: next");
        }
    }

    /// Has readers no longer let this writer pass.
    #[cold]
    fn leave<W: World<Word = T>>(&self, world: &W, own: Held) {
        if self.next.exchange(own.word(), 0, AcqRel, Relaxed).is_err() {
            return;
        }
        world.at("rwlock: left, still queued");
        loop {
            let seen = self.ledger.settled(world);
            if low(seen) & QUEUED == 0 || self.unqueue(world, seen) {
                return;
            }
        }
    }

    /// Takes away a mark for whose sake nobody waits any more, if that is all that keeps readers waiting.
    #[cold]
    fn pass_the_dead<W: World<Word = T>>(&self, world: &W, seen: u64) -> bool {
        if low(seen) & (WRITER | QUEUED) != QUEUED || is_alive(world, self.next.load(Acquire)) {
            return false;
        }
        self.unqueue(world, seen);
        true
    }

    fn unqueue<W: World<Word = T>>(&self, world: &W, seen: u64) -> bool {
        let is_done = self.ledger.set_value(seen, low(seen) & !QUEUED).is_some();
        if is_done && low(seen) & WAITERS != 0 {
            world.at("rwlock: not queued, not woken");
            world.wake(self.ledger.main, u32::MAX);
        }
        is_done
    }

    /// Counts off the dead.
    #[cold]
    fn recover<W: World<Word = T>>(&self, world: &W) -> bool {
        self.ledger.recover_dead(world, given_back)
    }

    /// Ends to read; nothing happens if the entry's process does not.
    #[inline]
    pub(crate) fn end_read<W: World<Word = T>>(&self, world: &W, at: usize) {
        world.at("rwlock: to end reading");
        loop {
            let seen = self.ledger.settled(world);
            let entry = self.ledger.entry(at);
            if entry.count() == 0 || low(seen) & READERS == 0 {
                return;
            }
            if let Some(freed) = self.ledger.change(world, seen, (at, entry), Change::Subtract, low(seen) - 1) {
                return self.wake(world, freed);
            }
        }
    }

    /// Ends to write; nothing happens if the entry's process does not.
    #[inline]
    pub(crate) fn end_write<W: World<Word = T>>(&self, world: &W, at: usize) {
        world.at("rwlock: to end writing");
        loop {
            let seen = self.ledger.settled(world);
            let entry = self.ledger.entry(at);
            if !entry.has_top() {
                return;
            }
            if let Some(freed) = self.ledger.change(world, seen, (at, entry), Change::ClearTop, low(seen) & !WRITER) {
                return self.wake(world, freed);
            }
        }
    }

    /// Wakes all after the main word has become `freed`, if nobody is in.
    #[inline]
    fn wake<W: World<Word = T>>(&self, world: &W, freed: u64) {
        if low(freed) & WAITERS == 0 || low(freed) & (READERS | WRITER) != 0 {
            return;
        }
        world.at("rwlock: freed, not woken");
        world.wake(self.ledger.main, u32::MAX);
        world.at("rwlock: woke");
        // Who sleeps from now on has seen another word, and has marked it; but who lets a writer pass has not.
        if low(freed) & QUEUED == 0 {
            let _ = self.ledger.set_value(freed, low(freed) & !WAITERS);
        }
    }
}

/// Whether the process is that a word names.
fn is_alive(world: &impl World, next: u64) -> bool {
    Held::from_word(next).and_then(Held::owner).is_some_and(|owner| world.is_alive(owner))
}

#[cfg(test)]
mod races {
    //! The races of `rwlock.md`. Each model tries every order with at most as many preemptions as it names.

    use std::sync::atomic::Ordering::SeqCst;

    use super::super::loom_world::{Fate, Kernel, model, name};
    use super::*;

    fn gate(kernel: &Kernel) -> Gate<'_, loom::sync::atomic::AtomicU64> {
        let ledger = Ledger { main: kernel.word(0), entries: kernel.words(1..4), names: kernel.words(4..6) };
        Gate { ledger, next: kernel.word(6) }
    }

    /// Each process has an entry.
    fn begin(kernel: &Kernel) {
        for process in 1..=3 {
            let at = gate(kernel).ledger.claim(kernel, name(process), 0, given_back);
            assert_eq!(at, Some(entry_of(process)));
        }
    }

    fn entry_of(process: u32) -> usize {
        process as usize - 1
    }

    fn own(kernel: &Kernel) -> Held {
        Held::by(name(kernel.process()), kernel.process())
    }

    /// Reads, and says how it came to.
    fn reads(kernel: &Kernel) -> Taken {
        let at = entry_of(kernel.process());
        let taken = gate(kernel).read(kernel, at).expect("nobody waits in vain");
        kernel.look();
        gate(kernel).end_read(kernel, at);
        taken
    }

    /// Writes, and says how it came to.
    fn writes(kernel: &Kernel) -> Taken {
        let at = entry_of(kernel.process());
        let taken = gate(kernel).write(kernel, at, own(kernel)).expect("nobody waits in vain");
        kernel.touch();
        gate(kernel).end_write(kernel, at);
        taken
    }

    /// Nobody is in, and no mark keeps anybody out.
    fn assert_free(kernel: &Kernel) {
        let gate = gate(kernel);
        gate.recover(kernel);
        assert_eq!(low(gate.ledger.settled(kernel)) & (READERS | WRITER), 0);
        assert_eq!(gate.ledger.held().count(), 0);
        assert!(gate.try_read(kernel, entry_of(1)).is_some());
    }

    #[test]
    fn marked_and_freed() {
        model(2, |kernel| {
            begin(&kernel);
            let other = kernel.spawn(2, Fate::Lives, writes);
            assert_eq!(reads(&kernel), Taken::Free);
            assert_eq!(other.join(), Some(Taken::Free));
            assert_free(&kernel);
        });
    }

    #[test]
    fn a_late_clearing() {
        model(1, |kernel| {
            begin(&kernel);
            assert_eq!(gate(&kernel).write(&kernel, entry_of(1), own(&kernel)), Some(Taken::Free));
            let writes = kernel.spawn(2, Fate::Lives, writes);
            let reads = kernel.spawn(3, Fate::Lives, reads);
            gate(&kernel).end_write(&kernel, entry_of(1));
            assert_eq!((reads.join(), writes.join()), (Some(Taken::Free), Some(Taken::Free)));
            assert_free(&kernel);
        });
    }

    /// One process dies there if it comes there; another comes in, and is told if it wrote.
    fn killed_at(place: &'static str, visit: fn(&Kernel) -> Taken) {
        model(2, move |kernel| {
            begin(&kernel);
            let dies = kernel.spawn(2, Fate::KilledAt(place), visit);
            let first = reads(&kernel);
            let died = dies.join().is_none();
            let visits = [first, writes(&kernel)];
            let told = visits.iter().filter(|taken| **taken == Taken::FromDead).count();
            let wrote = matches!(place, "rwlock: writing" | "rwlock: writing, still next" | "rwlock: to end writing");
            assert_eq!(told, usize::from(died && wrote), "who comes next after a death is told");
            assert_free(&kernel);
        });
    }

    #[test]
    fn freed_and_not_woken() {
        killed_at("rwlock: freed, not woken", writes);
        killed_at("rwlock: freed, not woken", reads);
        killed_at("rwlock: woke", writes);
    }

    #[test]
    fn a_writer_dies() {
        killed_at("rwlock: writing", writes);
        killed_at("rwlock: to end writing", writes);
    }

    #[test]
    fn a_writer_dies_that_waited() {
        killed_at("rwlock: writing, still next", writes);
    }

    #[test]
    fn a_reader_dies() {
        killed_at("rwlock: reading", reads);
        killed_at("rwlock: to end reading", reads);
    }

    #[test]
    fn the_writer_that_waits_is_killed() {
        killed_at("rwlock: next", writes);
        killed_at("ledger: marked", writes);
        killed_at("rwlock: woken to write", writes);
    }

    #[test]
    fn woken_and_killed() {
        // Nobody looks again by itself.
        model(1, |kernel| {
            begin(&kernel);
            assert_eq!(gate(&kernel).write(&kernel, entry_of(1), own(&kernel)), Some(Taken::Free));
            let dies = kernel.spawn(2, Fate::KilledUnnoticedIf("rwlock: woken to read", |_| true), reads);
            let other = kernel.spawn(3, Fate::Lives, reads);
            gate(&kernel).end_write(&kernel, entry_of(1));
            dies.join();
            assert_eq!(other.join(), Some(Taken::Free));
        });
    }

    #[test]
    fn a_late_leaving() {
        model(1, |kernel| {
            begin(&kernel);
            let at = entry_of(1);
            assert_eq!(gate(&kernel).read(&kernel, at), Some(Taken::Free));
            // The first has waited in vain, and the second waits.
            gate(&kernel).enter(&kernel, Held::by(name(3), 3));
            let seen = kernel.word(0).load(SeqCst);
            gate(&kernel).ledger.set_value(seen, low(seen) | QUEUED | WAITERS).expect("nobody else is there");
            let leaves = kernel.spawn(3, Fate::Lives, |kernel| gate(kernel).leave(kernel, own(kernel)));
            let waits = kernel.spawn(2, Fate::Lives, writes);
            gate(&kernel).end_read(&kernel, at);
            leaves.join().expect("it lives");
            assert_eq!(waits.join(), Some(Taken::Free));
            assert_free(&kernel);
        });
    }
}
