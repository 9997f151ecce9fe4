//! The condition's table: who waits, in which order, and who is notified. Relies on nothing but its `World`.
//!
#![doc = include_str!("condition.md")]

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use procession_shm::arena::Owner;

use super::{Word, World, low};

const STATE: u64 = 3;
const WAITING: u64 = 1;
const NOTIFIED: u64 = 2;

const TICKET_SHIFT: u32 = 2;
const TICKETS: u32 = 1 << 30;
const OWNER_SHIFT: u32 = 32;

/// Where the first word says how many entries were used.
const USED_SHIFT: u32 = 32;
const ONE_USED: u64 = 1 << USED_SHIFT;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    fn of(owner: Owner, state: u64, ticket: u32) -> Self {
        Self(u64::from(owner.word()) << OWNER_SHIFT | u64::from(ticket % TICKETS) << TICKET_SHIFT | state)
    }

    fn is(self, state: u64) -> bool {
        self.0 & STATE == state
    }

    fn ticket(self) -> u32 {
        low(self.0) >> TICKET_SHIFT
    }

    fn owner(self) -> Option<Owner> {
        Owner::from_word((self.0 >> OWNER_SHIFT) as u32) // The upper half.
    }

    /// The same of one that was notified when the next ticket was `now`.
    fn notified(self, now: u32) -> Self {
        let upper = self.0 >> OWNER_SHIFT << OWNER_SHIFT;
        Self(upper | u64::from(now % TICKETS) << TICKET_SHIFT | NOTIFIED)
    }

    /// Whether no living process has it.
    fn is_dead(self, world: &impl World) -> bool {
        !self.owner().is_some_and(|owner| world.is_alive(owner))
    }
}

/// How long ago a ticket was drawn, as a distance: less than zero for one that was drawn later.
fn age(ticket: u32, now: u32) -> i32 {
    let apart = now.wrapping_sub(ticket) << TICKET_SHIFT; // Its highest bit is the sign.
    apart.cast_signed() >> TICKET_SHIFT
}

/// The words of a condition.
#[derive(Debug)]
pub(crate) struct Table<'a, W> {
    first: &'a W,
    entries: &'a [W],
}

/// One thread's place in it.
#[derive(Debug)]
pub(crate) struct Place<'a, W> {
    word: &'a W,
    entry: Entry,
}

impl<'a, W: Word> Table<'a, W> {
    /// The table in these words; `None` if there are not even two.
    pub(crate) fn over(words: &'a [W]) -> Option<Self> {
        let (first, entries) = words.split_first()?;
        (!entries.is_empty()).then_some(Self { first, entries })
    }

    /// The entries that were ever used; whatever the word says, no more than there are.
    fn used(&self) -> &'a [W] {
        let used = (self.first.load(Acquire) >> USED_SHIFT) as usize;
        &self.entries[..used.min(self.entries.len())]
    }

    /// The number of the next ticket.
    fn now(&self) -> u32 {
        low(self.first.load(Acquire)) % TICKETS
    }

    /// Draws a ticket.
    fn draw(&self) -> u32 {
        let mut seen = self.first.load(Relaxed);
        loop {
            let ticket = low(seen) % TICKETS;
            let next = seen >> USED_SHIFT << USED_SHIFT | u64::from((ticket + 1) % TICKETS);
            match self.first.exchange(seen, next, AcqRel, Relaxed) {
                Ok(_) => return ticket,
                Err(newer) => seen = newer,
            }
        }
    }

    /// Notes that the entry there is going to be used.
    fn note(&self, at: usize) {
        let mut seen = self.first.load(Relaxed);
        while seen >> USED_SHIFT <= at as u64 {
            let next = ((at as u64 + 1) * ONE_USED) | u64::from(low(seen));
            match self.first.exchange(seen, next, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(newer) => seen = newer,
            }
        }
    }

    /// How many wait that are alive and not notified.
    pub(crate) fn waiters(&self, world: &impl World) -> usize {
        let entries = self.used().iter().map(|word| Entry(word.load(Acquire)));
        entries.filter(|entry| entry.is(WAITING) && !entry.is_dead(world)).count()
    }
}

/// Enters a thread of a process; `None` when the table is full of the living.
pub(crate) fn enter<'a, W: World>(world: &W, table: &Table<'a, W::Word>, own: Owner) -> Option<Place<'a, W::Word>> {
    let entry = Entry::of(own, WAITING, table.draw());
    world.at("condition: to enter");
    let is_taken = |at: usize, seen: u64| {
        table.note(at);
        table.entries[at].exchange(seen, entry.0, AcqRel, Relaxed).is_ok()
    };
    let is_free = |at: &usize| table.entries[*at].load(Relaxed) == 0 && is_taken(*at, 0);
    let was_left = |at: &usize| {
        let seen = table.entries[*at].load(Acquire);
        Entry(seen).is_dead(world) && is_taken(*at, seen)
    };
    let mut places = 0..table.entries.len();
    let at = places.find(is_free).or_else(|| (0..table.entries.len()).find(was_left))?;
    world.at("condition: entered");
    Some(Place { word: &table.entries[at], entry })
}

/// Waits until the place is notified and leaves it; false when the world was over first.
pub(crate) fn wait<W: World>(world: &W, table: &Table<'_, W::Word>, place: &Place<'_, W::Word>) -> bool {
    let mut has_slept = false;
    loop {
        let seen = place.word.load(Acquire);
        if seen != place.entry.0 {
            world.at("condition: to leave");
            leave(place, Entry(seen));
            return true;
        }
        if world.spin() {
            continue;
        }
        // Whoever has just been notified is alive, or this one comes to know of it when it has slept.
        if has_slept && takes_over(world, table, place) {
            return true;
        }
        if world.is_over() {
            if place.word.exchange(seen, 0, AcqRel, Relaxed).is_ok() {
                return false;
            }
            continue;
        }
        world.at("condition: to park");
        world.park(place.word, low(seen));
        world.at("condition: woken");
        has_slept = true;
    }
}

/// Frees the place of one that was notified. Words that say something else are not this one's any more.
fn leave<W: Word>(place: &Place<'_, W>, seen: Entry) {
    if seen.is(NOTIFIED) && seen.owner() == place.entry.owner() {
        let _ = place.word.exchange(seen.0, 0, AcqRel, Relaxed);
    }
}

/// Whether this one has left with the notification of one that died after it was notified.
fn takes_over<W: World>(world: &W, table: &Table<'_, W::Word>, place: &Place<'_, W::Word>) -> bool {
    let left = |word: &&W::Word| {
        let seen = Entry(word.load(Acquire));
        seen.is(NOTIFIED)
            && age(place.entry.ticket(), seen.ticket()) > 0
            && seen.is_dead(world)
            && word.exchange(seen.0, 0, AcqRel, Relaxed).is_ok()
    };
    if table.used().iter().find(left).is_none() {
        return false;
    }
    world.at("condition: taken over");
    if place.word.exchange(place.entry.0, 0, AcqRel, Acquire).is_err() {
        // It is notified itself, so another one gets what the dead one had.
        notify(world, table, 1);
        leave(place, Entry(place.word.load(Acquire)));
    }
    true
}

/// Notifies those that have waited for longest, so many at most; how many it did.
pub(crate) fn notify<W: World>(world: &W, table: &Table<'_, W::Word>, count: usize) -> usize {
    let count = count.min(table.entries.len());
    (0..count).take_while(|_| notify_oldest(world, table)).count()
}

/// Notifies the one that has waited for longest; false when none waits.
fn notify_oldest<W: World>(world: &W, table: &Table<'_, W::Word>) -> bool {
    loop {
        let now = table.now();
        let entries = table.used().iter().map(|word| (word, Entry(word.load(Acquire))));
        let waiting = entries.filter(|(_, entry)| entry.is(WAITING));
        let Some((word, seen)) = waiting.max_by_key(|(_, entry)| age(entry.ticket(), now)) else {
            return false;
        };
        if give(world, word, seen, now) {
            return true;
        }
    }
}

/// Notifies all that wait.
pub(crate) fn notify_all<W: World>(world: &W, table: &Table<'_, W::Word>) {
    for word in table.used() {
        let seen = Entry(word.load(Acquire));
        if seen.is(WAITING) {
            give(world, word, seen, table.now());
        }
    }
}

/// Notifies one; false if it has left meanwhile, or is dead.
fn give<W: World>(world: &W, word: &W::Word, seen: Entry, now: u32) -> bool {
    let notified = seen.notified(now);
    world.at("condition: to notify");
    if word.exchange(seen.0, notified.0, AcqRel, Relaxed).is_err() {
        return false;
    }
    world.at("condition: notified, not woken");
    if world.wake(word, 1) > 0 || !seen.is_dead(world) {
        return true;
    }
    world.at("condition: nobody woken");
    // If somebody who waits has taken it over, then it was given.
    word.exchange(notified.0, 0, AcqRel, Relaxed).is_err()
}

#[cfg(test)]
mod races {
    //! The races of `condition.md`. Each model tries every order with at most as many preemptions as it names.
    //!
    //! Places are entered by the first process in the others' names, so that their order is known.

    use super::super::lock::{self, Held};
    use super::super::loom_world::{Fate, Kernel, Process, model, name};
    use super::*;

    /// Four words: three can wait.
    fn table(kernel: &Kernel) -> Table<'_, loom::sync::atomic::AtomicU64> {
        Table::over(kernel.words(..)).expect("four words")
    }

    /// Enters a process; where.
    fn seat(kernel: &Kernel, number: u32) -> (usize, Entry) {
        let entry = enter(kernel, &table(kernel), name(number)).expect("room").entry;
        let at = kernel.words(..).iter().position(|word| word.load(Relaxed) == entry.0).expect("it is there");
        (at, entry)
    }

    /// Starts a process that has been entered.
    fn wait_at(kernel: &Kernel, (at, entry): (usize, Entry), fate: Fate) -> Process<bool> {
        let number = entry.owner().expect("a name").number();
        kernel.spawn(number, fate, move |kernel| wait(kernel, &table(kernel), &Place { word: kernel.word(at), entry }))
    }

    /// Enters a process, and starts it.
    fn waiter(kernel: &Kernel, number: u32, fate: Fate) -> Process<bool> {
        wait_at(kernel, seat(kernel, number), fate)
    }

    fn notifies(kernel: &Kernel, count: usize) -> usize {
        notify(kernel, &table(kernel), count)
    }

    /// Nobody has a place any more that is alive, and tickets were drawn.
    fn is_left(kernel: &Kernel) {
        assert_eq!(table(kernel).waiters(kernel), 0);
    }

    #[test]
    fn entered_and_freed() {
        model(2, |kernel| {
            // The first word is the lock here, and the table has one entry.
            let waits = |kernel: &Kernel, number: u32| {
                let own = Held::by(name(number), number);
                lock::take(kernel, kernel.word(0), own).expect("nobody waits in vain");
                kernel.touch();
                let table = Table::over(&kernel.words(..)[1..]).expect("three words");
                let place = enter(kernel, &table, name(number)).expect("room");
                lock::give(kernel, kernel.word(0), own);
                assert!(wait(kernel, &table, &place));
                lock::take(kernel, kernel.word(0), own).expect("nobody waits in vain");
                kernel.touch();
                lock::give(kernel, kernel.word(0), own);
            };
            let other = kernel.spawn(2, Fate::Lives, move |kernel| waits(kernel, 2));
            let own = Held::by(name(1), 1);
            loop {
                lock::take(&kernel, kernel.word(0), own).expect("nobody waits in vain");
                kernel.touch();
                let table = Table::over(&kernel.words(..)[1..]).expect("three words");
                let given = notify(&kernel, &table, 1);
                lock::give(&kernel, kernel.word(0), own);
                if given == 1 {
                    break;
                }
                loom::thread::yield_now();
            }
            assert_eq!(other.join(), Some(()));
        });
    }

    #[test]
    fn notified_and_out_of_time() {
        model(3, |kernel| {
            let (at, entry) = seat(&kernel, 2);
            let hurried = kernel.spawn(2, Fate::Lives, move |kernel| {
                kernel.hurry();
                wait(kernel, &table(kernel), &Place { word: kernel.word(at), entry })
            });
            let other = waiter(&kernel, 3, Fate::Lives);
            assert_eq!(notifies(&kernel, 1), 1);
            if hurried.join() == Some(true) {
                assert_eq!(notifies(&kernel, 1), 1, "the other one was not notified as well");
            }
            assert_eq!(other.join(), Some(true));
            is_left(&kernel);
        });
    }

    #[test]
    fn notified_and_not_woken() {
        model(2, |kernel| {
            let other = waiter(&kernel, 2, Fate::Lives);
            let notifier =
                kernel.spawn(3, Fate::KilledAt("condition: notified, not woken"), |kernel| notifies(kernel, 1));
            assert_eq!((notifier.join(), other.join()), (None, Some(true)));
        });
    }

    #[test]
    fn all_are_notified() {
        model(2, |kernel| {
            let dies = waiter(&kernel, 2, Fate::KilledAt("condition: woken"));
            let other = waiter(&kernel, 3, Fate::Lives);
            notify_all(&kernel, &table(&kernel));
            dies.join();
            assert_eq!(other.join(), Some(true));
            is_left(&kernel);
        });
    }

    #[test]
    fn killed_long_ago() {
        model(2, |kernel| {
            let places = [2, 3].map(|number| seat(&kernel, number));
            assert_eq!(wait_at(&kernel, places[0], Fate::KilledAt("condition: to park")).join(), None);
            assert_eq!(notifies(&kernel, 1), 1);
            is_left(&kernel); // Nobody needs to look again for that.
            assert_eq!(wait_at(&kernel, places[1], Fate::Lives).join(), Some(true));
        });
    }

    /// The oldest is killed there if it comes there; the other one has what it was given.
    fn killed_at(place: &'static str) {
        model(2, move |kernel| {
            let dies = waiter(&kernel, 2, Fate::KilledAt(place));
            let other = waiter(&kernel, 3, Fate::Lives);
            assert_eq!(notifies(&kernel, 1), 1);
            if dies.join().is_some() {
                notifies(&kernel, 1);
            }
            assert_eq!(other.join(), Some(true));
            is_left(&kernel);
        });
    }

    #[test]
    fn woken_and_killed() {
        killed_at("condition: woken");
        killed_at("condition: to leave");
    }

    #[test]
    fn both_have_it() {
        killed_at("condition: to park");
    }

    #[test]
    fn who_comes_later() {
        model(2, |kernel| {
            let old = seat(&kernel, 2);
            assert_eq!(notifies(&kernel, 1), 1);
            let (at, entry) = seat(&kernel, 1);
            assert_eq!(wait_at(&kernel, old, Fate::KilledAt("condition: to leave")).join(), None);
            let place = Place { word: kernel.word(at), entry };
            assert!(!takes_over(&kernel, &table(&kernel), &place));
        });
    }

    #[test]
    fn given_twice() {
        model(2, |kernel| {
            let places = [2, 3, 4].map(|number| seat(&kernel, number));
            assert_eq!(notifies(&kernel, 1), 1);
            assert_eq!(wait_at(&kernel, places[0], Fate::KilledAt("condition: to leave")).join(), None);
            let others = [places[1], places[2]].map(|place| wait_at(&kernel, place, Fate::Lives));
            assert_eq!(notifies(&kernel, 1), 1);
            assert_eq!(others.map(Process::join), [Some(true); 2]);
            is_left(&kernel);
        });
    }

    #[test]
    fn two_notify_at_once() {
        model(1, |kernel| {
            let others = [2, 3].map(|number| waiter(&kernel, number, Fate::Lives));
            let notifier = kernel.spawn(4, Fate::Lives, |kernel| notifies(kernel, 1));
            assert_eq!(notifies(&kernel, 1), 1);
            assert_eq!(notifier.join(), Some(1));
            assert_eq!(others.map(Process::join), [Some(true); 2]);
        });
    }

    #[test]
    fn a_table_that_is_full_of_the_dead() {
        model(2, |kernel| {
            let died = [2, 3, 4].map(|number| waiter(&kernel, number, Fate::KilledAt("condition: to park")));
            assert_eq!(died.map(Process::join), [None; 3]);
            let place = enter(&kernel, &table(&kernel), name(1)).expect("a dead one's");
            assert_eq!(notifies(&kernel, 1), 1);
            assert!(wait(&kernel, &table(&kernel), &place));
        });
    }

    #[test]
    fn a_ticket_that_comes_back() {
        assert_eq!([age(5, 7), age(7, 5), age(5, 5)], [2, -2, 0]);
        assert_eq!([age(TICKETS - 1, 1), age(1, TICKETS - 1)], [2, -2]);
        let words: [std::sync::atomic::AtomicU64; 2] = Default::default();
        let table = Table::over(&words).expect("two words");
        words[0].store(u64::from(TICKETS) - 1, Relaxed);
        table.note(0);
        assert_eq!([table.draw(), table.draw()], [TICKETS - 1, 0]);
        assert_eq!(table.used().len(), 1);
    }
}
