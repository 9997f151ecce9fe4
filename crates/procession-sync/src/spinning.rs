//! Whether, and for how long, a thread looks at a word before it sleeps: what it has learnt from its last waits there.
//!
//! Spinning is a wager that the wait is shorter than a sleep and a wake-up take. It is worth it if it wins every other
//! time, so a thread counts for each object, and stops when it loses more often. Now and then it tries again. Nothing of
//! this is in shared memory: what others do with an object shows in how long one waits for it.
//!
//! Relies on the scheduler to say how many processors there are. Nobody spins on the only one, where no other runs
//! meanwhile.

use std::cell::Cell;
use std::time::Duration;

use procession_sys::{Deadline, processor_count};

/// How long a wait spins at most: about as long as falling asleep and being woken take, so that a wager that is lost
/// costs as much again as sleeping at once.
pub(crate) const SPIN_TIME_MAX: Duration = Duration::from_micros(30);

/// How often a thread looks at a word between two looks at the clock, which take longer.
const LOOKS: u32 = 16;

/// Habits that a thread has at a time; objects that share one share what is learnt.
const HABITS: usize = 64;

/// The best that can be thought of spinning, and from where on a thread does it.
const TRUST_MAX: u8 = 15;
const TRUST_ENOUGH: u8 = 8;

/// A thread that does not trust in spinning tries it once in so many waits.
const TRY_AGAIN: u8 = 32;

/// What a thread thinks of spinning for an object.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// One more for each spin that was worth it, one less for each that was not.
    trust: u8,
    /// How many waits have not spun since the last that did.
    passed_over: u8,
}

impl Habit {
    /// In doubt, which the first few waits settle.
    const NEW: Self = Self { trust: TRUST_ENOUGH + 2, passed_over: 0 };

    /// Whether the wait that begins is to spin.
    fn decide(&mut self) -> bool {
        let spins = self.trust >= TRUST_ENOUGH || self.passed_over + 1 >= TRY_AGAIN;
        self.passed_over = if spins { 0 } else { self.passed_over + 1 };
        spins
    }

    fn learn(&mut self, was_worth_it: bool) {
        self.trust = if was_worth_it { (self.trust + 1).min(TRUST_MAX) } else { self.trust.saturating_sub(1) };
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
pub(crate) struct Spin {
    object: usize,
    looks: Cell<u32>,
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
    pub(crate) fn new(object: usize) -> Self {
        let (looks, until) = (Cell::new(0), Cell::new(Deadline::NOW));
        Self { object, looks, until, state: Cell::new(State::NotBegun) }
    }

    /// Lets a moment pass; false, from then on, when it is time to sleep, or nobody wants to wait any longer.
    #[inline]
    pub(crate) fn turn(&self, deadline: Deadline) -> bool {
        let looks = self.looks.get();
        if looks.is_multiple_of(LOOKS) && !self.goes_on(deadline) {
            return false;
        }
        self.looks.set(looks.wrapping_add(1));
        std::hint::spin_loop();
        true
    }

    /// Looks at the clock, and the first time at the habit. While it says no, no look is counted, so that it is asked
    /// again each time.
    fn goes_on(&self, deadline: Deadline) -> bool {
        match self.state.get() {
            State::NotBegun => self.begin(deadline),
            State::Spins if self.until.get().has_passed() => {
                self.state.set(State::IsOver);
                // A wait that was to be shorter teaches nothing.
                if !deadline.has_passed() {
                    with_habit(self.object, |habit| habit.learn(false));
                    PROCESSORS.set(0);
                }
                false
            }
            State::Spins => true,
            State::IsOver => false,
        }
    }

    fn begin(&self, deadline: Deadline) -> bool {
        let spins = deadline != Deadline::NOW && !is_alone() && with_habit(self.object, Habit::decide);
        if spins {
            self.until.set(deadline.min(Deadline::after(SPIN_TIME_MAX)));
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
            with_habit(self.object, |habit| habit.learn(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

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
            assert_eq!(waits(64, 600, u32::MAX), 600);
            // A thread that has learnt to sleep does so at once, but for the tries.
            let slept = waits(64, 320, 1);
            assert!((200..320).contains(&slept), "{slept}");
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

    #[test]
    fn trust_has_bounds() {
        let mut habit = Habit::NEW;
        for was_worth_it in [true, false] {
            (0..1000).for_each(|_| habit.learn(was_worth_it));
            assert_eq!(habit.decide(), was_worth_it);
        }
        let tries = (0..10 * u32::from(TRY_AGAIN)).filter(|_| habit.decide()).count();
        assert!((9..=11).contains(&tries), "{tries}");
    }

    #[test]
    fn neighbours_have_habits_of_their_own() {
        let places: std::collections::BTreeSet<_> = (0..32).map(|slot| place(0x7f00_0000_0000 + slot * 64)).collect();
        assert!(places.len() >= 30, "{places:?}");
    }
}
