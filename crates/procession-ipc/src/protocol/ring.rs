//! The ring: what was put, what was taken, and who is doing either. Relies on nothing but its `World`.
//!
#![doc = include_str!("ring.md")]

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use procession_sync::protocol::lock::{self, Held, Taken};
use procession_sync::protocol::{Word, World, low};

/// In a count: somebody sleeps until it changes, or may be about to.
pub(crate) const WAITERS: u64 = 1;
/// In a count: somebody else wants to hear of the next change. Of what is put, who polls; of what is taken, who needs more
/// room than one item's.
pub(crate) const CALLERS: u64 = 2;
/// In the count of what is taken: a task waits for room, and hears of it by a bell.
pub(crate) const TASKS: u64 = 4;

const MARKS: u64 = WAITERS | CALLERS | TASKS;
/// One item, in a count.
pub(crate) const ONE: u64 = MARKS + 1;

/// How often a glance at the other side is tried again because it went on meanwhile.
const GLANCES_MAX: u32 = 1000;

/// How often a mark is tried again that others' changes have prevented. More than that is a peer's mischief, and who polls
/// looks again by itself.
const MARKS_MAX: u32 = 1000;

/// Words of a side's two positions.
pub(crate) const POSITION_WORDS: usize = 4;

/// One side's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'w, W> {
    /// Who is putting, or taking.
    pub(crate) lock: &'w W,
    /// How many items, and the marks.
    pub(crate) count: &'w W,
    /// Where each of the last two counts is in the store: the place, and the bytes up to there.
    pub(crate) positions: [&'w W; POSITION_WORDS],
    /// As far as this side has seen the other one's count, and the bytes up to there.
    pub(crate) seen: [&'w W; 2],
}

/// A ring's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring<'w, W> {
    pub(crate) put: Side<'w, W>,
    pub(crate) taken: Side<'w, W>,
}

/// How far a side has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Items.
    pub(crate) count: u64,
    /// The place in the store after the last one.
    pub(crate) at: u64,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
}

/// What a ring holds at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

/// Where an item's record ends, and what it counts for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) at: u64,
    pub(crate) bytes: u64,
}

/// Why a turn came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed<E> {
    /// There is no room, or no item.
    Nothing,
    /// Somebody has the side's lock for too long.
    Held,
    /// The calling thread has it: a signal handler has interrupted it.
    HeldBySelf,
    /// The words say what they cannot.
    Corrupt,
    /// What the caller says.
    Failed(E),
}

/// How many items a count's word says.
#[inline]
pub(crate) fn count_of(word: u64) -> u64 {
    word / ONE
}

impl<W: Word> Side<'_, W> {
    /// How far it has come, for who has its lock.
    #[inline]
    fn position(&self) -> Position {
        self.position_of(count_of(self.count.load(Relaxed)))
    }

    #[inline]
    fn position_of(&self, count: u64) -> Position {
        let [at, bytes] = self.place_of(count);
        Position { count, at: at.load(Acquire), bytes: bytes.load(Acquire) }
    }

    #[inline]
    fn place_of(&self, count: u64) -> [&W; 2] {
        let [even_at, even_bytes, odd_at, odd_bytes] = self.positions;
        if count.is_multiple_of(2) { [even_at, even_bytes] } else { [odd_at, odd_bytes] }
    }

    /// Notes where it is going to be with the next count, which is not said before.
    #[inline]
    fn prepare(&self, from: Position, end: End) {
        let [at, bytes] = self.place_of(from.count.wrapping_add(1));
        // Who glances at this sees by the count, which has gone on before, that it is not what it wanted.
        at.store(end.at, Release);
        bytes.store(from.bytes.wrapping_add(end.bytes), Release);
    }

    /// How far it has come, for the other side; `None` when that cannot be told.
    fn glance(&self) -> Option<Position> {
        (0..GLANCES_MAX).find_map(|_| {
            let count = count_of(self.count.load(Acquire));
            let position = self.position_of(count);
            (count_of(self.count.load(Relaxed)) == count).then_some(position)
        })
    }
}

/// A side's lock, had by the calling thread.
struct Hold<'a, W: World> {
    world: &'a W,
    lock: &'a W::Word,
    own: Held,
}

impl<'a, W: World> Hold<'a, W> {
    /// Waits for whoever has it, which nobody has for longer than it takes to copy a record; and says whether it died.
    #[inline]
    fn take<E>(world: &'a W, lock: &'a W::Word, own: Held) -> Result<(Self, bool), Missed<E>> {
        let taken = if lock::take_free(lock, own) { Taken::Free } else { wait_for(world, lock, own)? };
        Ok((Self { world, lock, own }, taken == Taken::FromDead))
    }
}

impl<W: World> Drop for Hold<'_, W> {
    #[inline]
    fn drop(&mut self) {
        // Who is killed in a model unwinds, and frees nothing.
        if cfg!(test) && !self.own.owner().is_some_and(|owner| self.world.is_alive(owner)) {
            return;
        }
        if !lock::give_unmarked(self.lock, self.own) {
            lock::give(self.world, self.lock, self.own);
        }
    }
}

#[cold]
fn wait_for<W: World, E>(world: &W, lock: &W::Word, own: Held) -> Result<Taken, Missed<E>> {
    lock::take(world, lock, own).map_err(|refused| match refused {
        lock::Refused::Held => Missed::Held,
        lock::Refused::HeldBySelf => Missed::HeldBySelf,
    })
}

/// Puts one item, for which there must be room for so many bytes: `write` writes its record and says where it ends, then
/// it is there. Gives the count's word as it is then, for [`tell`]. Before that, and whether there is room or not, `inherit`
/// throws away what somebody has begun who died with the lock.
#[inline]
pub(crate) fn put<W: World, E>(
    world: &W,
    ring: &Ring<'_, W::Word>,
    own: Held,
    room: Room,
    bytes: u64,
    inherit: impl FnOnce(Position),
    write: impl FnOnce(Position) -> Result<End, E>,
) -> Result<u64, Missed<E>> {
    let side = &ring.put;
    let (hold, is_heir) = Hold::take(world, side.lock, own)?;
    world.at("ring: to put");
    let from = side.position();
    if is_heir {
        inherit(from);
    }
    if !has_room(ring, from, room, bytes)? {
        return Err(Missed::Nothing);
    }
    let end = write(from).map_err(Missed::Failed)?;
    side.prepare(from, end);
    world.at("ring: written");
    // The lock's freeing alone would publish it as well, but this tells in one step who sleeps.
    let word = side.count.add(ONE, AcqRel).wrapping_add(ONE);
    world.at("ring: published");
    drop(hold);
    Ok(word)
}

/// Whether one more item of so many bytes may be put. An item of any size may be if there is no other.
#[inline]
fn has_room<W: Word, E>(ring: &Ring<'_, W>, from: Position, room: Room, bytes: u64) -> Result<bool, Missed<E>> {
    let [count, bytes_then] = ring.put.seen;
    let seen = Position { count: count.load(Relaxed), at: 0, bytes: bytes_then.load(Relaxed) };
    if fits(from, seen, room, bytes) {
        return Ok(true);
    }
    let now = ring.taken.glance().ok_or(Missed::Corrupt)?;
    if now.count > from.count {
        return Err(Missed::Corrupt);
    }
    count.store(now.count, Relaxed);
    bytes_then.store(now.bytes, Relaxed);
    Ok(fits(from, now, room, bytes))
}

/// Whether one more item of so many bytes could be put, as it is right now, for who would have much to do before it tries.
pub(crate) fn may_put<W: Word>(ring: &Ring<'_, W>, room: Room, bytes: u64) -> bool {
    let mut taken = ring.taken.glance();
    for _ in 0..GLANCES_MAX {
        // In this order, so that no more seems taken than was put.
        let (Some(then), Some(put)) = (taken, ring.put.glance()) else { return true };
        if fits(put, then, room, bytes) {
            return true;
        }
        taken = ring.taken.glance();
        if taken == Some(then) {
            return false;
        }
    }
    true
}

#[inline]
fn fits(from: Position, taken: Position, room: Room, bytes: u64) -> bool {
    let items = from.count.wrapping_sub(taken.count);
    let used = from.bytes.wrapping_sub(taken.bytes);
    items < room.items && (items == 0 || used.saturating_add(bytes) <= room.bytes)
}

/// Takes one item: `read` reads its record, and says where it ends; then it is taken, and `settle` does what is to be done
/// with what it leaves, while nobody else takes one. Gives the count's word as it is then, for [`tell`]. `inherit` as in
/// [`put`].
#[inline]
pub(crate) fn take<W: World, R, E>(
    world: &W,
    ring: &Ring<'_, W::Word>,
    own: Held,
    inherit: impl FnOnce(Position),
    read: impl FnOnce(Position) -> Result<(R, End), E>,
    settle: impl FnOnce(&mut R, Position, End),
) -> Result<(R, u64), Missed<E>> {
    let side = &ring.taken;
    let (hold, is_heir) = Hold::take(world, side.lock, own)?;
    world.at("ring: to take");
    let from = side.position();
    if is_heir {
        inherit(from);
    }
    if !has_item(ring, from)? {
        return Err(Missed::Nothing);
    }
    let (mut record, end) = read(from).map_err(Missed::Failed)?;
    side.prepare(from, end);
    world.at("ring: read");
    let word = side.count.add(ONE, AcqRel).wrapping_add(ONE);
    world.at("ring: taken");
    settle(&mut record, from, end);
    world.at("ring: settled");
    drop(hold);
    Ok((record, word))
}

#[inline]
fn has_item<W: Word, E>(ring: &Ring<'_, W>, from: Position) -> Result<bool, Missed<E>> {
    let [seen, _] = ring.taken.seen;
    // Whoever saw it has freed the lock since, so what was put by then is to be seen from here.
    if seen.load(Relaxed) > from.count {
        return Ok(true);
    }
    let put = count_of(ring.put.count.load(Acquire));
    seen.store(put, Relaxed);
    if put < from.count { Err(Missed::Corrupt) } else { Ok(put > from.count) }
}

/// Does something while nobody else has a side's lock, and says what came of it; nothing while somebody has. `visit` is
/// told how far the side has come, and whether whoever had the lock before died with it and may have left something begun.
pub(crate) fn visit<W: World, R>(
    world: &W,
    side: &Side<'_, W::Word>,
    own: Held,
    visit: impl FnOnce(Position, bool) -> R,
) -> Option<R> {
    let taken = lock::try_take(world, side.lock, own).ok()?;
    let _hold = Hold { world, lock: side.lock, own };
    Some(visit(side.position(), taken == Taken::FromDead))
}

/// Throws away what somebody has begun who died with a side's lock, if that is so: for who lacks just that, and so would
/// never come to take the lock.
pub(crate) fn inherit<W: World>(world: &W, side: &Side<'_, W::Word>, own: Held, inherit: impl FnOnce(Position)) {
    visit(world, side, own, |from, is_heir| {
        if is_heir {
            inherit(from);
        }
    });
}

/// False if there is no item, for whoever takes; without a look at what producers write, where that was seen before.
#[inline]
pub(crate) fn may_take<W: Word>(ring: &Ring<'_, W>) -> bool {
    let taken = count_of(ring.taken.count.load(Relaxed));
    ring.taken.seen[0].load(Relaxed) > taken || count_of(ring.put.count.load(Acquire)) != taken
}

/// How many items there are, as it was when it was asked.
#[inline]
pub(crate) fn len<W: Word>(ring: &Ring<'_, W>) -> u64 {
    // In this order, so that it is never less than none: what is taken was put before.
    let taken = count_of(ring.taken.count.load(Acquire));
    count_of(ring.put.count.load(Acquire)).saturating_sub(taken)
}

/// How many bytes they count for, when nobody puts or takes.
pub(crate) fn bytes<W: Word>(ring: &Ring<'_, W>) -> u64 {
    ring.put.position().bytes.wrapping_sub(ring.taken.position().bytes)
}

/// Tells those who wait for a count's change of it, of which `word` is what it was made. Gives the marks of those who want to
/// hear of it, too: it is the caller's to tell them.
#[inline]
pub(crate) fn tell<W: World>(world: &W, count: &W::Word, word: u64) -> u64 {
    if word & MARKS == 0 { 0 } else { tell_marked(world, count, word) }
}

#[cold]
fn tell_marked<W: World>(world: &W, count: &W::Word, word: u64) -> u64 {
    world.at("ring: not told");
    let calls = clear(count, word & (CALLERS | TASKS));
    if word & WAITERS != 0 && world.wake(count, 1) == 0 {
        world.at("ring: nobody woken");
        // Who has not slept by now finds another word than it has marked, and who has slept meanwhile is woken.
        if clear(count, WAITERS) != 0 {
            world.at("ring: mark cleared");
            world.wake(count, u32::MAX >> 1);
        }
    }
    calls
}

/// Takes marks away, and says which were there.
fn clear<W: Word>(count: &W, marks: u64) -> u64 {
    loop {
        let seen = count.load(Relaxed);
        if seen & marks == 0 || count.exchange(seen, seen & !marks, AcqRel, Relaxed).is_ok() {
            return seen & marks;
        }
    }
}

/// Leaves a mark for whoever changes a count next, unless it says something else by now than `seen`.
pub(crate) fn mark<W: Word>(count: &W, seen: u64, marks: u64) {
    let _ = count.exchange(seen, seen | marks, AcqRel, Relaxed);
}

/// Asks by a mark for a bell with a count's next change. Who asks looks again after this, before it polls.
pub(crate) fn arm<W: Word>(count: &W, asked: u64) {
    for _ in 0..MARKS_MAX {
        let seen = count.load(Acquire);
        if seen & asked != 0 {
            return;
        }
        mark(count, seen, asked);
    }
}

/// Whether a bell that lies there may be taken away, for who has the takers' lock. Not while there is an item, of which it may
/// be to tell somebody who has not looked yet. Who polls for the next one would hear of it no more, so its producer is asked
/// for another bell: one that comes after this, and is not taken away in its place.
pub(crate) fn may_silence<W: Word>(ring: &Ring<'_, W>) -> bool {
    arm(ring.put.count, CALLERS);
    len(ring) == 0
}

/// How time passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paused {
    /// Hardly any has.
    Spun,
    /// The thread may have slept.
    Slept,
    /// Nobody wants to wait any longer.
    Over,
}

/// Lets some time pass while a count says `seen`, which was looked at before the look that was in vain.
#[inline]
pub(crate) fn pause<W: World>(world: &W, count: &W::Word, seen: u64, marks: u64) -> Paused {
    if world.spin() { Paused::Spun } else { pause_asleep(world, count, seen, marks) }
}

#[cold]
fn pause_asleep<W: World>(world: &W, count: &W::Word, seen: u64, marks: u64) -> Paused {
    if world.is_over() {
        return Paused::Over;
    }
    if seen & marks != marks {
        // Another look comes after this: what is waited for may have come without a change of the count.
        mark(count, seen, marks);
        return Paused::Spun;
    }
    world.at("ring: marked");
    world.park(count, low(seen));
    world.at("ring: woken");
    Paused::Slept
}

/// Lets some time pass for who has found no room while `taken` said `seen`; `slept_with` is what it keeps from one to the
/// next, nothing at first.
pub(crate) fn pause_for_room<W: World>(
    world: &W,
    ring: &Ring<'_, W::Word>,
    room: Room,
    seen: u64,
    slept_with: &mut u64,
) -> Paused {
    let count = ring.taken.count;
    let marks = if len(ring) >= room.items { WAITERS } else { WAITERS | CALLERS };
    if *slept_with == WAITERS && marks != WAITERS {
        // It was woken alone, for the room of one item, and needs more. Another may not.
        wake_all(world, count);
        *slept_with = 0;
    }
    let paused = pause(world, count, seen, marks);
    if paused == Paused::Slept {
        *slept_with = marks;
    }
    paused
}

/// Wakes all that sleep on a count, for what its word does not say.
pub(crate) fn wake_all<W: World>(world: &W, count: &W::Word) {
    let _ = clear(count, WAITERS);
    world.wake(count, u32::MAX >> 1);
}

#[cfg(test)]
mod races;
