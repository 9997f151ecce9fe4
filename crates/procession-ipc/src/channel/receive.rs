//! Receiving: a record becomes a message.
//!
//! Relies on `protocol/ring.rs` for the order of things.

use std::hint::spin_loop;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use procession_shm::arena::Owner;
use procession_sync::protocol::World;
use procession_sync::protocol::lock::Held;
use procession_sys::{Deadline, PacketSocket, fail_point, thread_id};

use super::record::{Found, Header, Place, Where};
use super::{
    Channel, Content, FLOW, Incoming, LEFT, Lease, PUT_COUNT, Passing, TAKEN_LOCK, TAKEN_TICKET, TAKEN_WITH,
    UNREPAIRED, Unreceived, patient,
};
use crate::protocol::ring::{self, CALLERS, End, Missed, Paused, Position, Ring, TASKS, WAITERS};
use crate::store::SEGMENT_BYTES;
use crate::tickets;

/// For how many pauses a flow is let go on before the first look.
const FLOW_PAUSES: u32 = 40;

/// How often one looks for a message before a wait for it is set up, with a pause before each, since the other may share the
/// core.
const QUICK_LOOKS: u32 = 64;
/// What else takers write down, having the consumers' lock.
pub(crate) trait Notes {
    /// True if that is nothing.
    const IS_NONE: bool = false;

    /// Repairs what whoever died with the lock has left, when so many were taken.
    fn repair(&self, from: Position);

    /// Writes down that a message is going to be taken, before it is; nothing can keep it from being, but the taker's death.
    fn note(&self, from: Position) -> Result<(), Unreceived>;
}

impl Notes for () {
    const IS_NONE: bool = true;

    fn repair(&self, _: Position) {}

    fn note(&self, _: Position) -> Result<(), Unreceived> {
        Ok(())
    }
}
impl Channel {
    /// Takes a message that stands in its record, which is in `buffer` then, and says how long it is: if there is one within
    /// a few looks, nobody is in the way and nothing else is to be done. Otherwise does nothing.
    #[inline]
    pub(crate) fn take_quickly(&self, link: &PacketSocket, buffer: &mut Vec<u8>, deadline: Deadline) -> Option<usize> {
        let ring = self.ring();
        if ring::may_take(&ring) {
            // It has come while the one before it was taken.
            self.note_flow(true);
        } else if !self.look_for_item(&ring, deadline) {
            return None;
        }
        self.take_plain(link, buffer, &ring)
    }

    /// Looks a few times for a message: an answer comes sooner than a wait for it is set up.
    ///
    /// Each look takes the count's line from the producer, who goes the faster the less it is disturbed. So while several
    /// come at a time, some are let come before the first look.
    fn look_for_item(&self, ring: &Ring<'_, AtomicU64>, deadline: Deadline) -> bool {
        if deadline == Deadline::NOW {
            return false;
        }
        if self.words()[FLOW].load(Relaxed) != 0 {
            (0..FLOW_PAUSES).for_each(|_| spin_loop());
            self.note_flow(false);
        }
        (0..QUICK_LOOKS).any(|_| {
            spin_loop();
            ring::may_take(ring)
        })
    }

    /// Notes whether messages come faster than they are taken, as far as the last one showed.
    #[inline]
    fn note_flow(&self, is_flow: bool) {
        let flow = &self.words()[FLOW];
        if (flow.load(Relaxed) != 0) != is_flow {
            flow.store(is_flow.into(), Relaxed);
        }
    }

    #[inline]
    fn take_plain(&self, link: &PacketSocket, buffer: &mut Vec<u8>, ring: &Ring<'_, AtomicU64>) -> Option<usize> {
        let name = self.slot.own_name().ok()?;
        let read = |from: Position| {
            let at = from.at;
            let offset = at % SEGMENT_BYTES;
            let place = self.store.place(self.store.segment(at / SEGMENT_BYTES).ok_or(())?) + offset as usize;
            let header = self.header(place).map_err(drop)?;
            // The last record of a segment has the segment freed.
            let is_plain = header.place == Place::Inline && !header.has_ticket;
            let is_plain = is_plain && self.words()[LEFT].load(Relaxed) == 0;
            if !is_plain || header.bytes() >= SEGMENT_BYTES - offset {
                return Err(());
            }
            let into = whole_words_in(buffer, header.inline_bytes as usize);
            self.store.map().read(place + size_of::<u64>(), into).map_err(drop)?;
            let end = End { at: at.wrapping_add(header.bytes()), bytes: header.bytes() };
            Ok((header.inline_bytes as usize, end))
        };
        let taken = ring::take(&Passing, ring, Held::by(name, thread_id()), |_| (), read, |_, _, _| ());
        let (len, word) = taken.ok()?;
        self.tell_producers(&Passing, link, word);
        Some(len)
    }

    /// Receives a message, as soon as there is one; what stands in its record is in `buffer` then, which grows as needed.
    #[cold]
    #[inline(never)]
    pub(crate) fn receive(
        &self,
        link: &PacketSocket,
        buffer: &mut Vec<u8>,
        deadline: Deadline,
        gone: impl Fn() -> Option<Unreceived>,
    ) -> Result<Incoming, Unreceived> {
        self.receive_noting(link, buffer, deadline, gone, &())
    }

    /// The same, with notes of what is taken.
    pub(crate) fn receive_noting<N: Notes>(
        &self,
        link: &PacketSocket,
        buffer: &mut Vec<u8>,
        deadline: Deadline,
        gone: impl Fn() -> Option<Unreceived>,
        notes: &N,
    ) -> Result<Incoming, Unreceived> {
        let world = self.world(PUT_COUNT, deadline);
        let ring = self.ring();
        let mut looks_again = false;
        loop {
            let seen = ring.put.count.load(Acquire);
            let is_empty = ring::count_of(seen) == ring::count_of(ring.taken.count.load(Relaxed));
            if N::IS_NONE
                && !is_empty
                && let Some(len) = self.take_plain(link, buffer, &ring)
            {
                return Ok(Incoming { content: Content::Inline(len), is_raw: false, descriptors: Vec::new() });
            }
            let received = if is_empty { Err(Unreceived::Empty) } else { self.take(link, buffer, deadline, notes) };
            match received {
                Err(Unreceived::Empty) => {}
                // That was a wait already.
                Err(Unreceived::Held) if !world.is_over() => continue,
                done => return done,
            }
            let paused = ring::pause(&world, ring.put.count, seen, WAITERS);
            // To ask whether anybody is gone takes as long as the rest of being woken.
            if paused == Paused::Spun || paused == Paused::Slept && self.len() > 0 {
                continue;
            }
            match gone() {
                // Who is gone may have put something before.
                Some(_) if self.len() > 0 && !looks_again => looks_again = true,
                Some(gone) if self.len() == 0 => return Err(gone),
                _ if paused == Paused::Over => return Err(Unreceived::Empty),
                _ => {}
            }
        }
    }

    fn take<N: Notes>(
        &self,
        link: &PacketSocket,
        buffer: &mut Vec<u8>,
        deadline: Deadline,
        notes: &N,
    ) -> Result<Incoming, Unreceived> {
        let ring = self.ring();
        let name = self.own().map_err(|error| Unreceived::System("use the queue", error))?;
        let own = Held::by(name, thread_id());
        let world = self.world(TAKEN_LOCK, patient(deadline));
        let repair = |from| self.forget_taken(from);
        let read = |from| {
            if !N::IS_NONE && self.words()[UNREPAIRED].load(Relaxed) != 0 {
                notes.repair(from);
                self.words()[UNREPAIRED].store(0, Relaxed);
            }
            let found = self.read(from, link, buffer)?;
            notes.note(from)?; // The last that may fail.
            Ok(found)
        };
        let settle = |found: &mut Found, from, end| self.settle(found, link, name, from, end);
        let taken = ring::take(&world, &ring, own, repair, read, settle);
        let (found, word) = taken.map_err(|missed| match missed {
            Missed::Nothing => Unreceived::Empty,
            Missed::Held => Unreceived::Held,
            Missed::HeldBySelf => Unreceived::System("get in a signal handler", io::ErrorKind::Deadlock.into()),
            Missed::Corrupt => Unreceived::Corrupt("counts"),
            Missed::Failed(unreceived) => unreceived,
        })?;
        self.tell_producers(&world, link, word);
        self.incoming(found, name)
    }

    /// Tells producers that wait of an item's room.
    #[inline]
    fn tell_producers<W: World<Word = AtomicU64>>(&self, world: &W, link: &PacketSocket, word: u64) {
        let count = self.ring().taken.count;
        let calls = ring::tell(world, count, word);
        if calls & CALLERS != 0 {
            ring::wake_all(world, count);
        }
        if calls & TASKS != 0 {
            tickets::ring_bell(link);
        }
    }

    /// Reads the next record, having the lock.
    #[inline]
    fn read(&self, from: Position, link: &PacketSocket, buffer: &mut Vec<u8>) -> Result<(Found, End), Unreceived> {
        let (mut place, mut at) = self.record_at(from.at)?;
        let mut header = self.header(place)?;
        if header.place == Place::Skip && at % SEGMENT_BYTES > 0 {
            (place, at) = self.record_at((at / SEGMENT_BYTES + 1).wrapping_mul(SEGMENT_BYTES))?;
            header = self.header(place)?;
        }
        if header.place == Place::Skip || header.bytes() > SEGMENT_BYTES - at % SEGMENT_BYTES {
            return Err(Unreceived::Corrupt("a record is longer than its segment"));
        }
        let mut next = || {
            place += size_of::<u64>();
            self.word(place)
        };
        let ticket = if header.has_ticket { next()? } else { 0 };
        let body = match header.place {
            Place::Block => Where::Block(next()?, next()?),
            Place::File => Where::File(next()?),
            Place::Inline | Place::Skip => Where::Inline(header.inline_bytes as usize),
        };
        let body_at = place + size_of::<u64>();
        let descriptors = self.look_at_descriptors(link, header, ticket, from)?;
        if let Where::Inline(len) = body {
            let into = whole_words_in(buffer, len);
            self.store.map().read(body_at, into).map_err(|_| Unreceived::Corrupt("a record is outside"))?;
        }
        let cost = match body {
            Where::Inline(_) => header.cost(),
            Where::Block(_, bytes) | Where::File(bytes) => bytes,
        };
        let found = Found { body, is_raw: header.is_raw, descriptors, is_had: true };
        Ok((found, End { at: at.wrapping_add(header.bytes()), bytes: cost }))
    }

    /// The descriptors of the next record, which stay where they are. Throws away those that are nobody's.
    fn look_at_descriptors(
        &self,
        link: &PacketSocket,
        header: Header,
        ticket: u64,
        from: Position,
    ) -> Result<Vec<OwnedFd>, Unreceived> {
        let words = self.words();
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData => Unreceived::Corrupt("an item's descriptors are missing"),
            _ => Unreceived::System("receive the descriptors", error),
        };
        let left = words[LEFT].load(Relaxed);
        if left != 0 {
            tickets::throw_away(link, left.wrapping_add(1)).map_err(refused)?;
            words[LEFT].store(0, Relaxed);
        }
        if !header.has_ticket {
            return Ok(Vec::new());
        }
        if header.descriptors == 0 {
            tickets::throw_away(link, ticket).map_err(refused)?;
            return Ok(Vec::new());
        }
        let descriptors = tickets::peek(link, ticket, header.descriptors.into()).map_err(refused)?;
        // Whose heir finds as many items taken as this says throws the datagram away.
        words[TAKEN_WITH].store(0, Relaxed);
        words[TAKEN_TICKET].store(ticket, Relaxed);
        words[TAKEN_WITH].store(from.count.wrapping_add(1), Relaxed);
        fail_point!("channel: descriptors seen");
        Ok(descriptors)
    }

    /// Where a position is in the mapping.
    #[inline]
    fn record_at(&self, at: u64) -> Result<(usize, u64), Unreceived> {
        let block = self.store.segment(at / SEGMENT_BYTES).ok_or(Unreceived::Corrupt("a segment is missing"))?;
        Ok((self.store.place(block) + (at % SEGMENT_BYTES) as usize, at))
    }

    #[inline]
    fn word(&self, place: usize) -> Result<u64, Unreceived> {
        let word = self.store.map().atomic_u64(place).map_err(|_| Unreceived::Corrupt("a position is crooked"))?;
        Ok(word.load(Relaxed))
    }

    #[inline]
    fn header(&self, place: usize) -> Result<Header, Unreceived> {
        Header::of(self.word(place)?).ok_or(Unreceived::Corrupt("a record is none"))
    }

    #[inline]
    /// Does what is to be done with what a taken item leaves, still having the lock.
    fn settle(&self, found: &mut Found, link: &PacketSocket, own: Owner, from: Position, end: End) {
        if let Where::Block(word, _) = found.body {
            found.is_had = self.store.block(word).is_some_and(|block| self.store.dequeue(block, from.count, own));
            fail_point!("channel: block had");
        }
        if !found.descriptors.is_empty() {
            tickets::consume(link);
            fail_point!("channel: descriptors taken");
        }
        for segment in from.at / SEGMENT_BYTES..end.at / SEGMENT_BYTES {
            self.store.end(segment);
        }
    }

    /// What was found, in whole; what a peer has forged is found out here.
    fn incoming(&self, found: Found, own: Owner) -> Result<Incoming, Unreceived> {
        let mut descriptors = found.descriptors;
        let content = match found.body {
            Where::Inline(len) => Content::Inline(len),
            Where::Block(word, bytes) => {
                let block = self.store.block(word).filter(|_| found.is_had);
                let block = block.ok_or(Unreceived::Corrupt("an item's block is another's"))?;
                let lease = Lease { channel: self.clone(), block, own, is_held: true };
                if bytes > self.store.block_bytes(block) {
                    return Err(Unreceived::Corrupt("an item is longer than its block"));
                }
                Content::Leased(lease, bytes)
            }
            Where::File(bytes) if !descriptors.is_empty() => Content::File(descriptors.remove(0), bytes),
            Where::File(_) => return Err(Unreceived::Corrupt("an item's file is missing")),
        };
        Ok(Incoming { content, is_raw: found.is_raw, descriptors })
    }
}

/// Memory for so many bytes, filled up to a multiple of eight, at the beginning of a buffer.
#[inline]
fn whole_words_in(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    let len = len.next_multiple_of(size_of::<u64>());
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}
