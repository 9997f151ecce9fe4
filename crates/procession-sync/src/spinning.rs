//! Whether a thread looks at a word for a while before it sleeps: what it has learnt from its last waits there.
//!
//! Spinning is a wager that the wait is shorter than a sleep and a wake-up take. A thread counts for each object how often
//! it has lost; after a few losses it sleeps at once, and tries again ever more seldom, until it wins. While it wins it
//! gives up when a wait takes much longer than others that it won: then whoever it waits for does not run. Nothing of
//! this is in shared memory: what others do with an object shows in how long one waits for it.
//!
//! Relies on the scheduler to say how many processors there are. Nobody spins on the only one, where no other runs
//! meanwhile.

use std::cell::Cell;
use std::hint::spin_loop;
use std::thread;
use std::time::Duration;

use procession_sys::{Deadline, processor_count};

/// How long a wait spins at most: somewhat longer than it takes to wake a process on an idle virtual processor and to hear
/// from it. Were it shorter, two that take turns and sleep would never find each other awake.
pub(crate) const SPIN_TIME_MAX: Duration = Duration::from_micros(100);

/// How often a thread looks at a word between two looks at the clock, which take longer.
const LOOKS: u32 = 16;

/// How many looks follow one another without a pause. A peer that is at work answers within them, and a pause takes as long
/// as its answer: two that take turns would fall into step with their pauses, and take twice as long.
const EAGER_LOOKS: u32 = 2 * LOOKS;

/// From so many looks on a thread gives way now and then to others that want its processor: whoever it waits for may be among
/// them.
const YIELD_LOOKS: u32 = 4 * LOOKS;

/// How many times as long as at first a thread pauses between looks in the end. Each look takes the word's cache line from
/// whoever has the lock, who goes the faster the less it is disturbed.
const PAUSES_MAX: u32 = 32;

/// Habits that a thread has at a time; objects that share one share what is learnt.
const HABITS: usize = 64;

/// So many more losses than wins do not matter yet.
const LOSSES_BORNE: u8 = 3;

/// From so many on a thread does not try more seldom: once in 1,024 waits.
const LOSSES_MAX: u8 = LOSSES_BORNE + 9;

/// How many times as long as usual a thread spins that has mostly won, and how long at least, in looks.
const PATIENCE: u32 = 8;
const PATIENCE_MIN: u32 = 64;

/// What a thread knows of spinning for an object.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// How many more spins it has lost than won.
    losses: u8,
    /// How many waits have not spun since the last that did.
    passed_over: u16,
    /// How many looks the longer ones of its last wins have taken.
    usual: u32,
}

impl Habit {
    const NEW: Self = Self { losses: 0, passed_over: 0, usual: u32::MAX };

    /// How often the wait that begins is to look before it sleeps.
    fn decide(&mut self) -> u32 {
        let every = if self.losses < LOSSES_BORNE { 1 } else { 2 << (self.losses - LOSSES_BORNE) };
        self.passed_over += 1;
        if self.passed_over < every {
            return 0;
        }
        self.passed_over = 0;
        // What is usual says nothing when it has become different.
        if every > 1 { u32::MAX } else { self.usual.saturating_mul(PATIENCE).max(PATIENCE_MIN) }
    }

    /// After so many looks: it is worth another try at once.
    fn win(&mut self, looks: u32) {
        self.losses = self.losses.saturating_sub(1).min(LOSSES_BORNE - 1);
        self.usual = looks.max(self.usual - self.usual / 8);
    }

    /// It may have been impatient.
    fn lose(&mut self) {
        self.losses = (self.losses + 1).min(LOSSES_MAX);
        self.usual = self.usual.saturating_mul(2);
    }
}

thread_local! {
    // Without destructors, so that a signal handler may wait.
    static KNOWN: [Cell<Habit>; HABITS] = const { [const { Cell::new(Habit::NEW) }; HABITS] };
    /// How many processors this thread may run on, when it last asked; zero when it has to ask again.
    static PROCESSORS: Cell<usize> = const { Cell::new(0) };
}

/// Where a thread keeps its habit for the object at an address.
fn place(object: usize) -> usize {
    // Fibonacci hashing: objects are multiples of 64 bytes apart, and all bits of the product depend on all of those.
    let hash = (object as u64 >> 6).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (hash >> (u64::BITS - HABITS.ilog2())) as usize
}

/// Lets the habit for an object look at a wait, or learn from it.
fn with_habit<R>(object: usize, change: impl FnOnce(&mut Habit) -> R) -> R {
    KNOWN.with(|known| {
        let cell = &known[place(object)];
        let mut habit = cell.get();
        let result = change(&mut habit);
        cell.set(habit);
        result
    })
}

/// True if nobody else runs while this thread does, of those that share its processors.
fn is_alone() -> bool {
    if PROCESSORS.get() < 2 {
        // Where a filter forbids the question there may be many.
        PROCESSORS.set(processor_count().unwrap_or(usize::MAX));
    }
    PROCESSORS.get() < 2
}

/// One wait's spinning.
#[derive(Debug)]
pub struct Spin {
    object: usize,
    looks: Cell<u32>,
    looks_max: Cell<u32>,
    until: Cell<Deadline>,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotBegun,
    Spins,
    IsOver,
}

impl Spin {
    /// For the object at an address.
    #[inline]
    #[must_use]
    pub fn new(object: usize) -> Self {
        let (looks, looks_max, until) = (Cell::new(0), Cell::new(0), Cell::new(Deadline::NOW));
        Self { object, looks, looks_max, until, state: Cell::new(State::NotBegun) }
    }

    /// Lets a moment pass; false, from then on, when it is time to sleep, or nobody wants to wait any longer.
    #[inline]
    pub fn turn(&self, deadline: Deadline) -> bool {
        let looks = self.looks.get();
        if looks.is_multiple_of(LOOKS) && !self.goes_on(deadline) {
            return false;
        }
        self.looks.set(looks.wrapping_add(1));
        if looks < EAGER_LOOKS {
            return true;
        }
        if looks >= YIELD_LOOKS && looks.is_multiple_of(LOOKS) {
            thread::yield_now();
        }
        for _ in 0..1 << (looks / LOOKS).min(PAUSES_MAX.ilog2()) {
            spin_loop();
        }
        true
    }

    /// Looks at the clock, and the first time at the habit. While it says no, no look is counted, so that it is asked
    /// again each time.
    fn goes_on(&self, deadline: Deadline) -> bool {
        match self.state.get() {
            State::NotBegun => self.begin(deadline),
            State::Spins if self.looks.get() >= self.looks_max.get() || self.is_late(deadline) => {
                self.state.set(State::IsOver);
                // A wait that was to be shorter teaches nothing.
                if !deadline.has_passed() {
                    with_habit(self.object, Habit::lose);
                    PROCESSORS.set(0);
                }
                false
            }
            State::Spins => true,
            State::IsOver => false,
        }
    }

    /// Whether it has spun for as long as it may. The clock is read for the first time after some looks: reading it takes
    /// as long as many a wait.
    fn is_late(&self, deadline: Deadline) -> bool {
        if self.looks.get() > LOOKS {
            return self.until.get().has_passed();
        }
        self.until.set(deadline.min(Deadline::after(SPIN_TIME_MAX)));
        deadline.has_passed()
    }

    fn begin(&self, deadline: Deadline) -> bool {
        let may_spin = deadline != Deadline::NOW && !is_alone();
        let looks = if may_spin { with_habit(self.object, Habit::decide) } else { 0 };
        let spins = looks > 0;
        if spins {
            self.looks_max.set(looks);
        }
        self.state.set(if spins { State::Spins } else { State::IsOver });
        spins
    }
}

impl Drop for Spin {
    /// Whoever still spins when the wait is over has won.
    #[inline]
    fn drop(&mut self) {
        if self.state.get() == State::Spins {
            with_habit(self.object, |habit| habit.win(self.looks.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use procession_sys::{processors, run_on};

    use super::*;

    /// So many waits of a thread, which end after so many looks or sleep; how many of them slept.
    fn waits(object: usize, count: u32, looks: u32) -> u32 {
        let sleeps = |_: &u32| {
            let spin = Spin::new(object);
            (0..looks).any(|_| !spin.turn(Deadline::NEVER))
        };
        (0..count).filter(sleeps).count() as u32
    }

    /// Runs in a thread that has learnt nothing, and that may run on at least two processors.
    fn anew(run: impl FnOnce() + Send) {
        thread::scope(|scope| {
            scope.spawn(|| {
                PROCESSORS.set(2);
                run();
            });
        });
    }

    #[test]
    fn a_spin_that_is_worth_it_stays() {
        anew(|| assert_eq!(waits(64, 200, 3), 0));
    }

    #[test]
    fn long_waits_are_slept_through_and_short_ones_spun_for_again() {
        anew(|| {
            if processor_count().unwrap_or(2) < 2 {
                return;
            }
            assert_eq!(waits(64, 60, u32::MAX), 60);
            // Most of them have not spun, and neither do the next, until one does and wins.
            let slept = waits(64, 200, 1);
            assert!((1..100).contains(&slept), "{slept}");
            assert_eq!(waits(64, 100, 1), 0, "short waits are spun for");
        });
    }

    #[test]
    fn what_is_learnt_of_one_object_is_not_held_against_another() {
        anew(|| {
            waits(64, 20, u32::MAX);
            assert_eq!(waits(128, 10, 1), 0);
        });
    }

    #[test]
    fn a_spin_is_bounded() {
        anew(|| {
            let spin = Spin::new(64);
            let began = std::time::Instant::now();
            while spin.turn(Deadline::NEVER) {}
            assert!(began.elapsed() >= SPIN_TIME_MAX || processor_count().unwrap_or(2) < 2);
            assert!(!spin.turn(Deadline::NEVER), "one that is over stays so");
        });
    }

    #[test]
    fn nobody_spins_on_the_only_processor_and_everybody_again_on_two() {
        thread::scope(|scope| {
            scope.spawn(|| {
                let all = processors().unwrap();
                run_on(&all[..1]).unwrap();
                assert_eq!(waits(64, 100, 1), 100);
                run_on(&all).unwrap();
                assert_eq!(waits(64, 100, 1), if all.len() > 1 { 0 } else { 100 });
            });
        });
    }

    #[test]
    fn a_thread_that_is_confined_later_stops() {
        anew(|| {
            assert_eq!(waits(64, 100, 1), 0);
            run_on(&processors().unwrap()[..1]).unwrap();
            assert_eq!(waits(64, 1, u32::MAX), 1);
            assert_eq!(waits(64, 10, 1), 10);
        });
    }

    #[test]
    fn who_does_not_want_to_wait_does_not_spin_and_learns_nothing() {
        anew(|| {
            let spin = Spin::new(64);
            assert!(!spin.turn(Deadline::NOW));
            drop(spin);
            for _ in 0..100 {
                let spin = Spin::new(64);
                let soon = Deadline::after(Duration::from_nanos(1));
                while spin.turn(soon) {}
            }
            assert_eq!(waits(64, 10, 1), 0);
        });
    }

    /// How many of so many waits spin, each of which is won or lost.
    fn spins(habit: &mut Habit, count: u32, wins: impl Fn(u32) -> bool) -> u32 {
        let mut spins = 0;
        for wait in 0..count {
            if habit.decide() > 0 {
                spins += 1;
                if wins(wait) { habit.win(10) } else { habit.lose() }
            }
        }
        spins
    }

    #[test]
    fn who_always_loses_tries_ever_more_seldom_and_never_stops() {
        let mut habit = Habit::NEW;
        assert!((10..=12).contains(&spins(&mut habit, 1000, |_| false)));
        assert!((95..=105).contains(&spins(&mut habit, 100 * 1024, |_| false)));
    }

    #[test]
    fn who_wins_as_often_as_it_loses_spins_always_and_who_wins_seldom_hardly_ever() {
        assert_eq!(spins(&mut { Habit::NEW }, 1000, |wait| wait % 2 == 0), 1000);
        assert!(spins(&mut { Habit::NEW }, 10_000, |wait| wait % 20 == 0) < 1000);
    }

    #[test]
    fn who_wins_soon_gives_up_sooner_and_learns_that_it_was_too_soon() {
        let mut habit = Habit::NEW;
        for _ in 0..200 {
            assert!(habit.decide() >= 8 * 50);
            habit.win(50);
        }
        assert_eq!(habit.decide(), 8 * 50);
        habit.lose();
        assert_eq!(habit.decide(), 16 * 50);
        habit.win(700);
        assert_eq!(habit.decide(), 8 * 700);
        (0..LOSSES_BORNE).for_each(|_| habit.lose());
        let tries: Vec<u32> = (0..4).map(|_| habit.decide()).collect();
        assert_eq!(tries, [0, u32::MAX, 0, u32::MAX], "a try after losses is a patient one");
    }

    #[test]
    fn neighbours_have_habits_of_their_own() {
        let places: std::collections::BTreeSet<_> = (0..32).map(|slot| place(0x7f00_0000_0000 + slot * 64)).collect();
        assert!(places.len() >= 30, "{places:?}");
    }
}
