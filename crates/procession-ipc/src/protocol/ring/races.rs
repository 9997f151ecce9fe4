//! The races of `ring.md`. Each model tries every order with at most as many preemptions as it names. The store is two
//! places, or one, that `loom` watches: it objects when somebody writes where another may be.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use procession_sync::protocol::loom_world::{Fate, Kernel, Process, model, name};

use super::*;

mod bells; // Of those who poll.
mod room; // Of those who wait for more room than one item's.

/// Where an item is, in two halves.
struct Place {
    watched: UnsafeCell<()>,
    halves: [AtomicU64; 2],
}

impl Place {
    fn new(_: u64) -> Self {
        Self { watched: UnsafeCell::new(()), halves: [AtomicU64::new(0), AtomicU64::new(0)] }
    }

    fn write(&self, half: usize, item: u64) {
        self.watched.with_mut(|_| self.halves[half].store(item, Relaxed));
    }

    fn read(&self, half: usize) -> u64 {
        self.watched.with(|_| self.halves[half].load(Relaxed))
    }
}

/// One ring as its processes have it.
#[derive(Clone)]
struct Shared(Arc<Vec<Place>>);

/// The word that stands for the socket by which a bell rings.
const BELL: usize = 16;

const HALF_IN: &str = "model: half written";
const HALF_OUT: &str = "model: half read";

fn ring(kernel: &Kernel) -> Ring<'_, AtomicU64> {
    let word = |at| kernel.word(at);
    let side = |count, lock: usize| Side {
        count: word(count),
        lock: word(lock),
        positions: [word(lock + 1), word(lock + 2), word(lock + 3), word(lock + 4)],
        seen: [word(lock + 5), word(lock + 6)],
    };
    Ring { put: side(0, 2), taken: side(1, 9) }
}

fn held(kernel: &Kernel) -> Held {
    Held::by(name(kernel.process()), kernel.process())
}

impl Shared {
    fn of(places: u64) -> Self {
        Self(Arc::new((0..places).map(Place::new).collect()))
    }

    fn places(&self) -> u64 {
        self.0.len() as u64
    }

    /// Where a turn writes or reads. Items are a place and a byte each, so that everything must agree.
    fn place(&self, from: Position) -> &Place {
        assert_eq!((from.at, from.bytes), (from.count, from.count), "a position of another count");
        &self.0[(from.at % self.places()) as usize]
    }

    fn end(from: Position) -> Result<End, ()> {
        Ok(End { at: from.at + 1, bytes: 1 })
    }

    fn try_put(&self, kernel: &Kernel, item: u64) -> Result<(), Missed<()>> {
        let word = self.try_put_untold(kernel, item)?;
        assert_eq!(tell(kernel, ring(kernel).put.count, word), 0, "nobody polls");
        Ok(())
    }

    /// The count's word, of which nobody was told.
    fn try_put_untold(&self, kernel: &Kernel, item: u64) -> Result<u64, Missed<()>> {
        let room = Room { items: self.places(), bytes: self.places() };
        let ring = ring(kernel);
        let write = |from| {
            self.place(from).write(0, item);
            kernel.at(HALF_IN);
            self.place(from).write(1, item);
            Self::end(from)
        };
        put(kernel, &ring, held(kernel), room, 1, |_| kernel.at("model: heir"), write)
    }

    fn put(&self, kernel: &Kernel, item: u64) {
        let count = ring(kernel).taken.count;
        loop {
            let seen = count.load(Acquire);
            match self.try_put(kernel, item) {
                Err(Missed::Nothing) => pause(kernel, count, seen, WAITERS),
                done => return done.expect("nobody waits in vain"),
            };
        }
    }

    fn try_get(&self, kernel: &Kernel) -> Result<u64, Missed<()>> {
        let (item, calls) = self.try_take(kernel)?;
        assert_eq!(calls, 0, "nobody waits for more room");
        Ok(item)
    }

    /// An item, and the marks of those who want to hear of its room.
    fn try_take(&self, kernel: &Kernel) -> Result<(u64, u64), Missed<()>> {
        let ring = ring(kernel);
        let read = |from| {
            let item = self.place(from).read(0);
            kernel.at(HALF_OUT);
            assert_eq!(self.place(from).read(1), item, "half of another item");
            Ok((item, Self::end(from)?))
        };
        let (item, word) = take(kernel, &ring, held(kernel), |_| kernel.at("model: heir"), read, |_, _, _| {})?;
        Ok((item, tell(kernel, ring.taken.count, word)))
    }

    /// Puts as a task does: sleeps until a bell rings, which no mark of the count's tells.
    fn put_as_task(&self, kernel: &Kernel, item: u64) {
        let (count, bell) = (ring(kernel).taken.count, kernel.word(BELL));
        loop {
            let rung = bell.load(Acquire);
            if self.try_put(kernel, item).is_ok() {
                return;
            }
            while count.load(Acquire) & TASKS == 0 {
                mark(count, count.load(Acquire), TASKS);
            }
            if self.try_put(kernel, item).is_ok() {
                return;
            }
            kernel.park(bell, low(rung));
        }
    }

    /// Takes an item that is there, and rings.
    fn take_and_ring(&self, kernel: &Kernel) -> u64 {
        let (item, calls) = self.try_take(kernel).expect("nobody else takes");
        if calls & TASKS != 0 {
            kernel.word(BELL).add(1, AcqRel);
            kernel.wake(kernel.word(BELL), 1);
        }
        item
    }

    fn get(&self, kernel: &Kernel) -> u64 {
        let count = ring(kernel).put.count;
        loop {
            let seen = count.load(Acquire);
            match self.try_get(kernel) {
                Err(Missed::Nothing) => pause(kernel, count, seen, WAITERS),
                done => return done.expect("nobody waits in vain"),
            };
        }
    }

    /// What is left, when nobody else is there.
    fn rest(&self, kernel: &Kernel) -> Vec<u64> {
        std::iter::from_fn(|| self.try_get(kernel).ok()).collect()
    }

    /// A process that puts these.
    fn putter(&self, kernel: &Kernel, number: u32, fate: Fate, items: &'static [u64]) -> Process<()> {
        let shared = self.clone();
        kernel.spawn(number, fate, move |kernel| items.iter().for_each(|&item| shared.put(kernel, item)))
    }

    /// A process that takes so many.
    fn getter(&self, kernel: &Kernel, number: u32, fate: Fate, count: usize) -> Process<Vec<u64>> {
        let shared = self.clone();
        kernel.spawn(number, fate, move |kernel| (0..count).map(|_| shared.get(kernel)).collect())
    }
}

/// Everybody lives: a producer with these items and a consumer for some of them; this process puts and takes the rest.
fn all_live(preemptions: usize, places: u64, items: &'static [u64], takes: usize) {
    model(preemptions, move |kernel| {
        let shared = Shared::of(places);
        let putter = shared.putter(&kernel, 2, Fate::Lives, items);
        let getter = shared.getter(&kernel, 3, Fate::Lives, takes);
        let mut all: Vec<_> = (takes..items.len()).map(|_| shared.get(&kernel)).collect();
        let others = getter.join().expect("it lives");
        putter.join().expect("it lives");
        assert!(all.is_sorted() && others.is_sorted(), "{all:?}, {others:?}: in order of one producer");
        all.extend(others);
        all.sort_unstable();
        assert_eq!(all, items, "each once");
        assert_eq!(len(&ring(&kernel)), 0);
    });
}

#[test]
fn marked_and_published() {
    model(4, |kernel| {
        let shared = Shared::of(2);
        let putter = shared.putter(&kernel, 2, Fate::Lives, &[7]);
        assert_eq!(shared.get(&kernel), 7);
        putter.join().expect("it lives");
    });
}

#[test]
fn full_and_freed() {
    // One place: the second item waits for the first to be taken.
    model(3, |kernel| {
        let shared = Shared::of(1);
        let putter = shared.putter(&kernel, 2, Fate::Lives, &[1, 2]);
        assert_eq!([shared.get(&kernel), shared.get(&kernel)], [1, 2]);
        putter.join().expect("it lives");
    });
}

#[test]
fn marked_for_a_bell_and_freed() {
    // One place: a task's item waits for the first to be taken.
    model(3, |kernel| {
        let shared = Shared::of(1);
        shared.put(&kernel, 1);
        let task = shared.clone();
        let task = kernel.spawn(2, Fate::Lives, move |kernel| task.put_as_task(kernel, 2));
        assert_eq!(shared.take_and_ring(&kernel), 1);
        task.join().expect("it lives");
        assert_eq!(shared.take_and_ring(&kernel), 2);
    });
}

#[test]
fn the_ring_comes_round() {
    model(2, |kernel| {
        let shared = Shared::of(1);
        let putter = shared.putter(&kernel, 2, Fate::Lives, &[1, 2, 3]);
        assert_eq!([shared.get(&kernel), shared.get(&kernel), shared.get(&kernel)], [1, 2, 3]);
        putter.join().expect("it lives");
    });
}

#[test]
fn two_take() {
    all_live(1, 2, &[1, 2], 1);
}

#[test]
fn nobody_slept_yet() {
    all_live(2, 2, &[1], 0);
    // Two that sleep, or are about to, for as many items.
    model(1, |kernel| {
        let shared = Shared::of(2);
        let first = shared.getter(&kernel, 2, Fate::Lives, 1);
        let second = shared.getter(&kernel, 3, Fate::Lives, 1);
        shared.put(&kernel, 1);
        shared.put(&kernel, 2);
        let mut all = [first, second].map(|getter| getter.join().expect("it lives")[0]);
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

/// A producer dies there if it comes there, while this process waits for its item or another's; `is_there` says
/// whether the item is.
fn putter_killed_at(place: &'static str, is_there: bool) {
    model(1, move |kernel| {
        let shared = Shared::of(2);
        let dies = shared.putter(&kernel, 2, Fate::KilledAt(place), &[1]);
        let other = shared.putter(&kernel, 3, Fate::Lives, &[11, 12]);
        let mut had = vec![shared.get(&kernel), shared.get(&kernel)];
        let died = dies.join().is_none();
        other.join().expect("it lives");
        had.extend(shared.rest(&kernel));
        let others: Vec<_> = had.iter().copied().filter(|&item| item > 10).collect();
        assert_eq!(others, [11, 12], "nobody else's is lost, and all are in order");
        let count = had.iter().filter(|&&item| item == 1).count();
        assert_eq!(count, usize::from(is_there || !died), "{had:?}");
    });
}

#[test]
fn killed_half_way_in() {
    for place in ["lock: taken", "ring: to put", HALF_IN, "ring: written"] {
        putter_killed_at(place, false);
    }
}

#[test]
fn published_and_not_told() {
    for place in ["ring: published", "ring: not told", "ring: nobody woken", "ring: mark cleared"] {
        putter_killed_at(place, true);
    }
}

/// A consumer dies there if it comes there; `is_taken` says whether its item is gone with it.
fn getter_killed_at(place: &'static str, is_taken: bool) {
    model(1, move |kernel| {
        let shared = Shared::of(1);
        let dies = shared.getter(&kernel, 2, Fate::KilledAt(place), 1);
        let other = shared.getter(&kernel, 3, Fate::Lives, 1);
        shared.put(&kernel, 1);
        shared.put(&kernel, 2);
        let died = dies.join();
        // It may have gone with the one item that the other could have had.
        if is_taken && died.is_none() {
            shared.put(&kernel, 3);
        }
        let other = other.join().expect("it lives");
        let mut had = [other, died.clone().unwrap_or_default(), shared.rest(&kernel)].concat();
        had.sort_unstable();
        match (died, is_taken) {
            (None, true) => assert!(had == [1, 3] || had == [2, 3], "{had:?}"),
            _ => assert_eq!(had, [1, 2]),
        }
    });
}

#[test]
fn killed_half_way_out() {
    for place in ["lock: taken", "ring: to take", HALF_OUT, "ring: read", "ring: marked"] {
        getter_killed_at(place, false);
    }
    for place in ["ring: taken", "ring: settled", "ring: not told"] {
        getter_killed_at(place, true);
    }
}

#[test]
fn woken_and_killed() {
    // Nobody looks again by itself: the next item wakes another, since the mark has stayed.
    model(2, |kernel| {
        let shared = Shared::of(2);
        let dies = shared.getter(&kernel, 2, Fate::KilledUnnoticedAt("ring: woken", MARKS), 1);
        let other = shared.getter(&kernel, 3, Fate::Lives, 1);
        shared.put(&kernel, 1);
        shared.put(&kernel, 2);
        let had = other.join().expect("it lives")[0];
        let mut all = [vec![had], dies.join().unwrap_or_default(), shared.rest(&kernel)].concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2], "who is killed before it takes one leaves it");
    });
}

#[test]
fn a_producer_is_woken_and_killed() {
    model(1, |kernel| {
        let shared = Shared::of(1);
        shared.put(&kernel, 1);
        let dies = shared.putter(&kernel, 2, Fate::KilledAt("ring: woken"), &[2]);
        let other = shared.putter(&kernel, 3, Fate::Lives, &[3]);
        assert_eq!(shared.get(&kernel), 1);
        let first = shared.get(&kernel);
        let died = dies.join().is_none();
        let rest = if died { Vec::new() } else { vec![shared.get(&kernel)] };
        other.join().expect("it lives");
        let mut all = [vec![first], rest, shared.rest(&kernel)].concat();
        all.sort_unstable();
        assert_eq!(all, if died { vec![3] } else { vec![2, 3] });
    });
}

/// The death of who had a side's lock is told to the next one, before it looks for room or for an item.
#[test]
fn the_heir_finds_nothing_to_do() {
    model(2, |kernel| {
        let shared = Shared::of(1);
        let dies = shared.putter(&kernel, 2, Fate::KilledAt("ring: published"), &[1]);
        assert!(dies.join().is_none());
        // There is no room, and it repairs none the less, dying of it; so the next one does.
        let heir = shared.clone();
        let heir = kernel.spawn(3, Fate::KilledAt("model: heir"), move |kernel| heir.try_put(kernel, 2).is_ok());
        assert_eq!(heir.join(), None);
        assert_eq!(shared.rest(&kernel), [1]);
        let dies = shared.getter(&kernel, 4, Fate::KilledAt("ring: taken"), 1);
        shared.put(&kernel, 2);
        assert!(dies.join().is_none());
        assert_eq!(shared.rest(&kernel), []);
    });
}

#[test]
fn a_glance_while_it_goes_on() {
    model(3, |kernel| {
        let shared = Shared::of(2);
        [1, 2].into_iter().for_each(|item| shared.put(&kernel, item));
        let glance = |kernel: &Kernel| ring(kernel).taken.glance().expect("it ends");
        let glancer = kernel.spawn(2, Fate::Lives, glance);
        assert_eq!([shared.get(&kernel), shared.get(&kernel)], [1, 2]);
        let seen = glancer.join().expect("it lives");
        assert_eq!((seen.at, seen.bytes), (seen.count, seen.count));
    });
}
