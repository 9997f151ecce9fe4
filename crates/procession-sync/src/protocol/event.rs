//! The event word: whether it is set, how often it was, and whether anybody may sleep. Relies on nothing but its `World`.
//!
#![doc = include_str!("event.md")]

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::{Word, World, low};

pub(crate) const SET: u64 = 1;

/// Somebody sleeps, or may be about to.
pub(crate) const WAITERS: u64 = 1 << 1;

/// How often it was set begins here.
const TIMES_SHIFT: u32 = 2;
const ONCE: u64 = 1 << TIMES_SHIFT;

/// Whether it is set.
#[inline]
pub(crate) fn is_set(word: &impl Word) -> bool {
    word.load(Acquire) & SET != 0
}

/// Sets it, and lets everybody go on that waits.
#[inline]
pub(crate) fn set<W: World>(world: &W, word: &W::Word) {
    world.at("event: to set");
    let mut seen = word.load(Relaxed);
    if seen & SET != 0 {
        // An exchange would wait for what was loaded; this need not, and orders as much.
        seen = word.touch(AcqRel);
        if seen & SET != 0 {
            return;
        }
    }
    loop {
        let next = if seen & SET == 0 { seen.wrapping_add(ONCE) & !WAITERS | SET } else { seen };
        match word.exchange(seen, next, AcqRel, Relaxed) {
            Ok(_) if seen & !next & WAITERS != 0 => return wake(world, word),
            Ok(_) => return,
            Err(newer) => seen = newer,
        }
    }
}

#[cold]
fn wake<W: World>(world: &W, word: &W::Word) {
    world.at("event: set, not woken");
    world.wake(word, u32::MAX);
    world.at("event: woke");
}

/// Clears it.
pub(crate) fn clear(word: &impl Word) {
    let mut seen = word.load(Relaxed);
    while let Err(newer) = word.exchange(seen, seen & !SET, AcqRel, Relaxed) {
        seen = newer;
    }
}

/// Waits until it is set, or was since the call; false when the world was over first.
pub(crate) fn wait<W: World>(world: &W, word: &W::Word) -> bool {
    let came = word.load(Acquire);
    loop {
        let seen = word.load(Acquire);
        if seen & SET != 0 || seen >> TIMES_SHIFT != came >> TIMES_SHIFT {
            world.at("event: to leave");
            return true;
        }
        if world.spin() {
            continue;
        }
        if world.is_over() {
            return false;
        }
        park(world, word, seen);
    }
}

/// Sleeps while the event is as it was seen.
fn park<W: World>(world: &W, word: &W::Word, seen: u64) {
    let marked = seen | WAITERS;
    world.at("event: to mark");
    if seen != marked && word.exchange(seen, marked, Relaxed, Relaxed).is_err() {
        return;
    }
    world.at("event: marked");
    world.park(word, low(marked));
    world.at("event: woken");
}

#[cfg(test)]
mod races {
    //! The races of `event.md`. Each model tries every order with at most as many preemptions as it names.

    use super::super::loom_world::{Fate, Kernel, Process, model};
    use super::*;

    fn waits(kernel: &Kernel) -> bool {
        wait(kernel, kernel.word(0))
    }

    /// Waits for the event, of which the setter has touched what it tells of.
    fn waits_and_touches(kernel: &Kernel) {
        assert!(waits(kernel));
        kernel.touch();
    }

    fn sets(kernel: &Kernel) {
        set(kernel, kernel.word(0));
    }

    fn sets_and_clears(kernel: &Kernel) {
        sets(kernel);
        clear(kernel.word(0));
    }

    fn waiter(kernel: &Kernel, number: u32) -> Process<bool> {
        kernel.spawn(number, Fate::Lives, waits)
    }

    #[test]
    fn marked_and_set() {
        model(4, |kernel| {
            let other = kernel.spawn(2, Fate::Lives, waits_and_touches);
            kernel.touch();
            sets(&kernel);
            assert_eq!(other.join(), Some(()));
            assert_eq!(kernel.word(0).load(Relaxed) & (SET | WAITERS), SET);
        });
    }

    #[test]
    fn set_and_not_woken() {
        model(2, |kernel| {
            let dies = kernel.spawn(2, Fate::KilledAt("event: set, not woken"), sets);
            let other = waiter(&kernel, 3);
            let died = dies.join().is_none();
            assert_eq!(other.join(), Some(true));
            assert!(died || is_set(kernel.word(0)));
        });
    }

    /// Whoever had come before is free, though the event is unset again; the others are when it is set the second time.
    #[test]
    fn set_and_cleared_at_once() {
        model(2, |kernel| {
            let others = [2, 3].map(|number| waiter(&kernel, number));
            sets_and_clears(&kernel);
            sets(&kernel);
            assert_eq!(others.map(Process::join), [Some(true); 2]);
        });
    }

    #[test]
    fn cleared_between_look_and_mark() {
        model(4, |kernel| {
            // It is asleep, or has at least looked, when the mark is there: nothing is set for it a second time.
            let other = waiter(&kernel, 2);
            while kernel.word(0).load(Relaxed) & WAITERS == 0 {
                loom::thread::yield_now();
            }
            sets_and_clears(&kernel);
            assert_eq!(other.join(), Some(true));
            assert!(!is_set(kernel.word(0)));
        });
    }

    #[test]
    fn a_wake_up_that_comes_late() {
        model(2, |kernel| {
            let other = waiter(&kernel, 2);
            let setter = kernel.spawn(3, Fate::Lives, sets);
            clear(kernel.word(0));
            setter.join();
            sets(&kernel);
            assert_eq!(other.join(), Some(true));
        });
    }

    #[test]
    fn woken_and_killed() {
        // Nobody looks again by itself.
        model(2, |kernel| {
            let dies = kernel.spawn(2, Fate::KilledUnnoticedAt("event: woken", WAITERS), waits);
            let other = waiter(&kernel, 3);
            sets_and_clears(&kernel);
            sets(&kernel);
            dies.join();
            assert_eq!(other.join(), Some(true));
        });
    }

    #[test]
    fn killed_asleep() {
        for place in ["event: to mark", "event: marked", "event: to leave"] {
            model(2, move |kernel| {
                let dies = kernel.spawn(2, Fate::KilledAt(place), waits);
                let other = waiter(&kernel, 3);
                sets(&kernel);
                dies.join();
                assert_eq!(other.join(), Some(true));
            });
        }
    }
}
