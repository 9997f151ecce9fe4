//! The races of producers that wait for more than the room of one item, and of those who only visit a side.
//!
//! Items are bytes without content here: what counts is how many of them there is room for.

use super::*;

/// The word that counts heirs.
const HEIRS: usize = 17;

const ROOM: Room = Room { items: 3, bytes: 4 };
/// Only one that is alone has room for so many bytes.
const LARGE: u64 = ROOM.bytes;

fn count_heir(kernel: &Kernel) {
    kernel.word(HEIRS).fetch_add(1, AcqRel);
}

fn try_put_bytes(kernel: &Kernel, bytes: u64) -> Result<(), Missed<()>> {
    let ring = ring(kernel);
    if !may_put(&ring, ROOM, bytes) {
        return Err(Missed::Nothing);
    }
    let heir = |_| count_heir(kernel);
    let write = |from: Position| {
        kernel.touch();
        Ok(End { at: from.at, bytes })
    };
    let word = put(kernel, &ring, held(kernel), ROOM, bytes, heir, write)?;
    tell(kernel, ring.put.count, word);
    Ok(())
}

/// As `channel/send.rs` waits for room.
fn put_bytes(kernel: &Kernel, bytes: u64) {
    let ring = ring(kernel);
    let mut slept_with = 0;
    loop {
        let seen = ring.taken.count.load(Acquire);
        match try_put_bytes(kernel, bytes) {
            Err(Missed::Nothing) => {}
            done => return done.expect("nobody waits in vain"),
        }
        pause_for_room(kernel, &ring, ROOM, seen, &mut slept_with);
    }
}

/// Takes an item whose bytes are known.
fn take_bytes(kernel: &Kernel, bytes: u64) {
    let ring = ring(kernel);
    loop {
        let seen = ring.put.count.load(Acquire);
        let read = |from: Position| Ok::<_, ()>(((), End { at: from.at, bytes }));
        match take(kernel, &ring, held(kernel), |_| (), read, |_, _, _| ()) {
            Err(Missed::Nothing) => pause(kernel, ring.put.count, seen, WAITERS),
            taken => {
                let (_, word) = taken.expect("nobody waits in vain");
                if tell(kernel, ring.taken.count, word) != 0 {
                    wake_all(kernel, ring.taken.count);
                }
                return;
            }
        };
    }
}

/// One waits for more room than one item leaves, and one for no more than that.
#[test]
fn room_for_the_other() {
    model(1, |kernel| {
        put_bytes(&kernel, 1);
        let large = kernel.spawn(2, Fate::Lives, |kernel| put_bytes(kernel, LARGE));
        let small = kernel.spawn(3, Fate::Lives, |kernel| put_bytes(kernel, 1));
        small.join();
        // The large one has room only now, and it is all there is.
        (0..2).for_each(|_| take_bytes(&kernel, 1));
        large.join();
        take_bytes(&kernel, LARGE);
        assert_eq!((len(&ring(&kernel)), bytes(&ring(&kernel))), (0, 0));
    });
}

/// Lets others go on until so many sleep.
fn until_asleep(kernel: &Kernel, count: usize) {
    while kernel.asleep() < count {
        loom::thread::yield_now();
    }
}

/// Items of these bytes are there, and two sleep that wait for room: the one that does longer has none when the first is
/// taken, and the other has.
fn two_sleep(there: &'static [u64]) {
    model(1, move |kernel| {
        there.iter().for_each(|&bytes| put_bytes(&kernel, bytes));
        let large = kernel.spawn(2, Fate::Lives, |kernel| put_bytes(kernel, LARGE));
        until_asleep(&kernel, 1);
        let small = kernel.spawn(3, Fate::Lives, |kernel| put_bytes(kernel, 1));
        until_asleep(&kernel, 2);
        take_bytes(&kernel, there[0]);
        small.join();
        there[1..].iter().chain(&[1]).for_each(|&bytes| take_bytes(&kernel, bytes));
        large.join();
        take_bytes(&kernel, LARGE);
    });
}

/// There are as many bytes as there may be: both have said that they need more than one item's room.
#[test]
fn room_for_one_of_two() {
    two_sleep(&[1, LARGE - 1]);
}

/// There are as many items as there may be: one is woken, and it is the one that has no room.
#[test]
fn woken_without_room() {
    two_sleep(&[1, 1, 1]);
}

/// More than there is ever room for goes as soon as there is nothing else.
#[test]
fn room_for_the_largest() {
    model(3, |kernel| {
        put_bytes(&kernel, 1);
        let largest = kernel.spawn(2, Fate::Lives, |kernel| put_bytes(kernel, LARGE + 1));
        take_bytes(&kernel, 1);
        take_bytes(&kernel, LARGE + 1);
        largest.join();
    });
}

/// Who only looks whether it is an heir, and who comes to put something: one of them is, once.
#[test]
fn one_heir() {
    for place in ["lock: taken", "ring: to put", "ring: written", "ring: published"] {
        model(2, move |kernel| {
            let dies = kernel.spawn(2, Fate::KilledAt(place), |kernel| try_put_bytes(kernel, 1));
            let other = kernel.spawn(3, Fate::Lives, |kernel| {
                let heir = |_| count_heir(kernel);
                inherit(kernel, &ring(kernel).put, held(kernel), heir);
            });
            let put = try_put_bytes(&kernel, 1);
            let has_died = dies.join().is_none();
            other.join();
            assert!(put.is_ok() || !has_died, "nobody else has the lock for long");
            // Somebody comes after who died last.
            take_bytes(&kernel, 1);
            let _ = try_put_bytes(&kernel, 1);
            assert_eq!(kernel.word(HEIRS).load(Acquire), u64::from(has_died));
        });
    }
}

/// Who visits a side is alone there, or does nothing.
#[test]
fn a_visitor_is_alone() {
    model(3, |kernel| {
        let putter = kernel.spawn(2, Fate::Lives, |kernel| put_bytes(kernel, 1));
        let visited = visit(&kernel, &ring(&kernel).put, held(&kernel), |from, is_heir| {
            kernel.touch();
            assert!(!is_heir);
            from.count
        });
        putter.join();
        assert!(visited.is_none_or(|count| count < 2));
        assert_eq!(len(&ring(&kernel)), 1);
    });
}
