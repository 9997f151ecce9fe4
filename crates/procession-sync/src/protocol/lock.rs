//! The lock word: who holds it, and whether anybody may sleep. Relies on nothing but its `World`.
//!
#![doc = include_str!("lock.md")]

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use procession_shm::arena::Owner;
use procession_sys::THREAD_IDS_END;

use super::{Word, World, low};

/// Somebody sleeps, or may be about to.
pub const WAITERS: u64 = 1 << 31;

const OWNER_SHIFT: u32 = 32;

/// A word that says a thread holds the lock, without the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(u64);

impl Held {
    /// No thread's.
    pub const NOBODY: Self = Self(0);

    /// The word of a thread of a process.
    #[inline]
    #[must_use]
    pub fn by(owner: Owner, thread: u32) -> Self {
        Self(u64::from(owner.word()) << OWNER_SHIFT | u64::from(thread % THREAD_IDS_END))
    }

    /// Who holds a lock of which the word says this; `None` for a free one.
    #[inline]
    #[must_use]
    pub fn from_word(word: u64) -> Option<Self> {
        let held = word & !WAITERS;
        (held != 0).then_some(Self(held))
    }

    /// The word.
    #[inline]
    #[must_use]
    pub fn word(self) -> u64 {
        self.0
    }

    /// The process; `None` for a word that no process of ours has written.
    #[inline]
    #[must_use]
    pub fn owner(self) -> Option<Owner> {
        Owner::from_word((self.0 >> OWNER_SHIFT) as u32) // The upper half.
    }

    /// Whether it names a process.
    #[inline]
    pub(crate) fn is_by(self, owner: Owner) -> bool {
        self.0 >> OWNER_SHIFT == u64::from(owner.word())
    }

    /// The thread, by its number.
    #[must_use]
    pub fn thread(self) -> u32 {
        low(self.0) % THREAD_IDS_END
    }
}

/// How a lock was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was free.
    Free,
    /// Its holder is dead.
    FromDead,
}

/// Why it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Somebody else holds it.
    Held,
    /// The caller does.
    HeldBySelf,
}

/// Takes a lock that is free and that nobody waits for.
#[inline]
pub fn take_free(word: &impl Word, own: Held) -> bool {
    word.exchange(0, own.0, Acquire, Relaxed).is_ok()
}

/// Takes the lock if it is free or its holder dead.
///
/// # Errors
/// Somebody holds it.
pub fn try_take<W: World>(world: &W, word: &W::Word, own: Held) -> Result<Taken, Refused> {
    loop {
        let seen = word.load(Relaxed);
        let taken = match Held::from_word(seen) {
            None => Taken::Free,
            Some(holder) if holder == own => return Err(Refused::HeldBySelf),
            Some(holder) if is_alive(world, holder) => return Err(Refused::Held),
            Some(_) => Taken::FromDead,
        };
        world.at("lock: to take");
        if word.exchange(seen, own.0 | seen & WAITERS, Acquire, Relaxed).is_ok() {
            world.at("lock: taken");
            return Ok(taken);
        }
    }
}

/// Takes the lock as soon as it is free or its holder dead, unless the world is over first.
///
/// # Errors
/// The calling thread holds it, or somebody else does for too long.
pub fn take<W: World>(world: &W, word: &W::Word, own: Held) -> Result<Taken, Refused> {
    // Who has slept does not know how many others still do.
    let mut mark = 0;
    loop {
        let seen = word.load(Relaxed);
        let taken = match Held::from_word(seen) {
            None => Taken::Free,
            Some(holder) if holder == own => return Err(Refused::HeldBySelf),
            Some(_) if world.spin() => continue,
            Some(holder) if !is_alive(world, holder) => Taken::FromDead,
            Some(_) if world.is_over() => return Err(Refused::Held),
            Some(_) => {
                park(world, word, seen);
                mark = WAITERS;
                continue;
            }
        };
        world.at("lock: to take");
        if word.exchange(seen, own.0 | seen & WAITERS | mark, Acquire, Relaxed).is_ok() {
            world.at("lock: taken");
            return Ok(taken);
        }
    }
}

/// Sleeps while the lock is held as it was seen.
fn park<W: World>(world: &W, word: &W::Word, seen: u64) {
    let marked = seen | WAITERS;
    if seen != marked && word.exchange(seen, marked, Relaxed, Relaxed).is_err() {
        return;
    }
    world.at("lock: marked");
    world.park(word, low(marked));
    world.at("lock: woken");
}

/// Whether a holder is; one that no process of ours is called is not.
fn is_alive(world: &impl World, holder: Held) -> bool {
    holder.owner().is_some_and(|owner| world.is_alive(owner))
}

/// Frees a lock that `own` holds and that nobody waits for.
#[inline]
pub fn give_unmarked(word: &impl Word, own: Held) -> bool {
    word.exchange(own.0, 0, Release, Relaxed).is_ok()
}

/// Frees a lock that `own` holds; nothing happens to one that it does not.
pub fn give<W: World>(world: &W, word: &W::Word, own: Held) {
    world.at("lock: to free");
    if give_unmarked(word, own) {
        world.at("lock: freed");
        return;
    }
    if word.exchange(own.0 | WAITERS, WAITERS, Release, Relaxed).is_err() {
        return;
    }
    world.at("lock: freed, not woken");
    if world.wake(word, 1) == 0 {
        world.at("lock: nobody woken");
        let _ = word.exchange(WAITERS, 0, Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod races {
    //! The races of `lock.md`. Each model tries every order with at most as many preemptions as it names.

    use super::super::loom_world::{Fate, Kernel, model, name};
    use super::*;

    /// Takes the lock, touches what it guards, and frees it.
    fn visit(kernel: &Kernel) -> Taken {
        let own = Held::by(name(kernel.process()), kernel.process());
        let taken = take(kernel, kernel.word(0), own).expect("nobody waits in vain");
        kernel.touch();
        give(kernel, kernel.word(0), own);
        taken
    }

    /// So many others, and this one; the lock is free in the end.
    fn visits(preemptions: usize, others: &'static [u32]) {
        model(preemptions, |kernel| {
            let others: Vec<_> = others.iter().map(|&number| kernel.spawn(number, Fate::Lives, visit)).collect();
            assert_eq!(visit(&kernel), Taken::Free);
            for other in others {
                assert_eq!(other.join(), Some(Taken::Free));
            }
            assert_eq!(kernel.word(0).load(Relaxed), 0);
        });
    }

    #[test]
    fn marked_and_freed() {
        visits(4, &[2]);
    }

    #[test]
    fn a_late_clearing() {
        visits(2, &[2, 3]);
    }

    /// One process dies there if it comes there; the others have the lock, and are told at most once.
    fn killed_at(place: &'static str) {
        model(2, move |kernel| {
            let dies = kernel.spawn(2, Fate::KilledAt(place), visit);
            let other = kernel.spawn(3, Fate::Lives, visit);
            let first = visit(&kernel);
            let died = dies.join().is_none();
            let visits = [Some(first), other.join(), Some(visit(&kernel))];
            let told = visits.iter().filter(|taken| **taken == Some(Taken::FromDead)).count();
            let had_it = matches!(place, "lock: taken" | "lock: to free");
            assert_eq!(told, usize::from(died && had_it), "who comes next after a death is told");
        });
    }

    #[test]
    fn two_find_a_holder_dead() {
        killed_at("lock: taken");
        killed_at("lock: to free");
    }

    #[test]
    fn freed_and_not_woken() {
        killed_at("lock: freed, not woken");
        killed_at("lock: nobody woken");
    }

    #[test]
    fn killed_on_the_way_in() {
        killed_at("lock: to take");
        killed_at("lock: marked");
        killed_at("lock: woken");
    }

    #[test]
    fn woken_and_killed() {
        // Nobody looks again by itself: whoever sleeps is woken by who barged in.
        model(2, |kernel| {
            let dies = kernel.spawn(2, Fate::KilledUnnoticedAt("lock: woken", WAITERS), visit);
            let other = kernel.spawn(3, Fate::Lives, visit);
            visit(&kernel);
            visit(&kernel);
            dies.join();
            assert_eq!(other.join(), Some(Taken::Free));
        });
    }

    #[test]
    fn the_heir_dies_as_well() {
        model(2, |kernel| {
            let first = kernel.spawn(2, Fate::KilledAt("lock: taken"), visit);
            let heir = kernel.spawn(3, Fate::KilledAt("lock: taken"), visit);
            assert_eq!((first.join(), heir.join()), (None, None));
            assert_eq!([visit(&kernel), visit(&kernel)], [Taken::FromDead, Taken::Free]);
        });
    }

    #[test]
    fn a_number_that_comes_back() {
        let [old, new] = [1, 2].map(|times| Owner::from_word(times << 8 | 3).expect("a name"));
        assert_eq!(old.number(), new.number());
        assert_ne!(Held::by(old, 7), Held::by(new, 7));
    }
}
