//! The lock that its holder takes again: a lock word, and how many more times it was taken. Relies on `lock.rs`.
//!
#![doc = include_str!("rlock.md")]

use std::sync::atomic::Ordering::Relaxed;

use super::lock::{self, Held, Refused, Taken};
use super::{Word, World};

/// How many times more than once a thread may hold a lock: more were never given back.
pub(crate) const LEVELS_MAX: u64 = u32::MAX as u64;

/// How a lock was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Had {
    /// It was free.
    Free,
    /// Its holder is dead.
    FromDead,
    /// The caller held it already.
    Again,
}

/// Why it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// Somebody else holds it.
    Held,
    /// The caller holds it as many times as can be counted.
    TooDeep,
}

/// Takes the lock if it is free, its holder dead, or the caller its holder.
pub(crate) fn try_take<W: World>(world: &W, word: &W::Word, levels: &W::Word, own: Held) -> Result<Had, Barred> {
    had(world, levels, lock::try_take(world, word, own))
}

/// Takes the lock as soon as that is so, unless the world is over first.
pub(crate) fn take<W: World>(world: &W, word: &W::Word, levels: &W::Word, own: Held) -> Result<Had, Barred> {
    had(world, levels, lock::take(world, word, own))
}

/// What taking the lock's word means.
fn had<W: World>(world: &W, levels: &W::Word, taken: Result<Taken, Refused>) -> Result<Had, Barred> {
    match taken {
        Ok(Taken::Free) => Ok(Had::Free),
        Ok(Taken::FromDead) => {
            world.at("rlock: inherited");
            set(levels, 0);
            world.at("rlock: begun anew");
            Ok(Had::FromDead)
        }
        Err(Refused::HeldBySelf) => enter(world, levels),
        Err(Refused::Held) => Err(Barred::Held),
    }
}

/// Takes once more what the caller holds.
fn enter<W: World>(world: &W, levels: &W::Word) -> Result<Had, Barred> {
    let level = levels.load(Relaxed);
    if level >= LEVELS_MAX {
        return Err(Barred::TooDeep);
    }
    world.at("rlock: to enter");
    set(levels, level + 1);
    world.at("rlock: entered");
    Ok(Had::Again)
}

/// Gives one level back, the last one by freeing the lock, which `own` holds.
pub(crate) fn give<W: World>(world: &W, word: &W::Word, levels: &W::Word, own: Held) {
    match levels.load(Relaxed) {
        0 => lock::give(world, word, own),
        level => {
            set(levels, level - 1);
            world.at("rlock: left");
        }
    }
}

/// Writes what only the holder writes. Who holds the lock next sees it: taking pairs with freeing.
fn set(levels: &impl Word, level: u64) {
    let mut seen = levels.load(Relaxed);
    while let Err(other) = levels.exchange(seen, level, Relaxed, Relaxed) {
        seen = other; // Only a peer that breaks the rules writes meanwhile.
    }
}

#[cfg(test)]
mod races {
    //! The races of `rlock.md`. Each model tries every order with at most two preemptions.

    use super::super::loom_world::{Fate, Kernel, model, name};
    use super::*;

    /// Takes the lock twice, touches what it guards, and frees it.
    fn visit(kernel: &Kernel) -> Had {
        let (word, levels) = (kernel.word(0), kernel.word(1));
        let own = Held::by(name(kernel.process()), kernel.process());
        let had = take(kernel, word, levels, own).expect("nobody waits in vain");
        kernel.touch();
        assert_eq!(take(kernel, word, levels, own), Ok(Had::Again));
        kernel.touch();
        give(kernel, word, levels, own);
        kernel.touch();
        give(kernel, word, levels, own);
        had
    }

    /// Two processes die there if they come there; this one has the lock in the end, told or not, and frees it by as many
    /// guards as it has.
    fn killed_at(place: &'static str, also: &'static str) {
        model(2, move |kernel| {
            let first = kernel.spawn(2, Fate::KilledAt(place), visit);
            let second = kernel.spawn(3, Fate::KilledAt(also), visit);
            visit(&kernel);
            let _ = (first.join(), second.join());
            visit(&kernel);
            assert_eq!(visit(&kernel), Had::Free);
            assert_eq!((kernel.word(0).load(Relaxed), kernel.word(1).load(Relaxed)), (0, 0));
        });
    }

    #[test]
    fn two_levels_and_a_waiter() {
        model(2, |kernel| {
            let others = [2, 3].map(|number| kernel.spawn(number, Fate::Lives, visit));
            assert_eq!(visit(&kernel), Had::Free);
            for other in others {
                assert_eq!(other.join(), Some(Had::Free));
            }
            assert_eq!((kernel.word(0).load(Relaxed), kernel.word(1).load(Relaxed)), (0, 0));
        });
    }

    #[test]
    fn killed_between_count_and_word() {
        killed_at("lock: taken", "");
        killed_at("rlock: left", "");
        killed_at("lock: to free", "");
        killed_at("lock: freed, not woken", "");
    }

    #[test]
    fn killed_deep() {
        killed_at("rlock: to enter", "");
        killed_at("rlock: entered", "");
    }

    #[test]
    fn the_heir_dies_before_the_count() {
        killed_at("rlock: entered", "rlock: inherited");
        killed_at("rlock: entered", "rlock: begun anew");
    }
}
