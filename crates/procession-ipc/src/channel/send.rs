//! Sending: a message becomes a record.
//!
//! Relies on `protocol/ring.rs` for the order of things.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

use procession_shm::arena::Owner;
use procession_sync::protocol::World;
use procession_sync::protocol::lock::Held;
use procession_sys::{Deadline, PacketSocket, fail_point, is_too_many_in_flight, thread_id};

use super::record::{Header, Place, Record, Stored};
use super::{
    Body, Channel, INLINE_BYTES_MAX, Lease, ORPHANS, Outgoing, PUT_LOCK, Passing, TAKEN_COUNT, TICKET, Unsent, patient,
};
use crate::protocol::ring::{self, End, Missed, Paused, Position};
use crate::store::{BLOCK_BYTES_MAX, NoBlock, SEGMENT_BYTES};
use crate::tickets;

/// What cannot be done when the kernel holds as many descriptors for this user as one of its processes may have open.
const IN_FLIGHT: &str =
    "have more descriptors under way than this user may have (receive some, or raise the limit of open files)";
impl Channel {
    /// A block for a body of so many bytes.
    pub(crate) fn lease(&self, bytes: u64) -> Result<Lease, Unsent> {
        let own = self.own().map_err(|error| Unsent::System("use the queue", error))?;
        let claim = || self.store.claim(bytes, own, |owner| self.slot.is_alive(owner));
        let block = match claim() {
            Err(NoBlock::Full) => {
                self.inherit_taking(own);
                self.inherit_putting(own);
                claim()
            }
            claimed => claimed,
        };
        fail_point!("channel: block claimed");
        Ok(Lease { channel: self.clone(), block: block.map_err(no_block)?, own, is_held: true })
    }

    /// Sends a message, as soon as there is room for it. `gone` is asked now and then whether that is worth waiting for.
    #[inline]
    pub(crate) fn send(
        &self,
        link: &PacketSocket,
        outgoing: Outgoing<'_>,
        deadline: Deadline,
        gone: impl Fn() -> Option<Unsent>,
    ) -> Result<(), Unsent> {
        if let Body::Encoded(bytes, len) = outgoing.body
            && len <= INLINE_BYTES_MAX
            && outgoing.descriptors.is_empty()
            && self.put_quickly(link, bytes, len)
        {
            return Ok(());
        }
        self.send_patiently(link, outgoing, deadline, gone)
    }

    /// Puts what stands in a record, if nobody is in the way and nothing else is to be done; otherwise does nothing.
    #[inline]
    fn put_quickly(&self, link: &PacketSocket, bytes: &[u8], len: usize) -> bool {
        let Ok(name) = self.slot.own_name() else { return false };
        let ring = self.ring();
        let header =
            Header { place: Place::Inline, inline_bytes: len as u32, is_raw: false, descriptors: 0, has_ticket: false };
        let write = |from: Position| {
            let at = from.at;
            let offset = at % SEGMENT_BYTES;
            let is_room = offset > 0 && SEGMENT_BYTES - offset >= header.bytes();
            if !is_room || self.words()[ORPHANS].load(Relaxed) != 0 {
                return Err(());
            }
            let place = self.store.place(self.store.segment(at / SEGMENT_BYTES).ok_or(())?) + offset as usize;
            self.store.map().store(place, header.word()).map_err(drop)?;
            self.store.map().write(place + size_of::<u64>(), bytes).map_err(drop)?;
            Ok(End { at: at.wrapping_add(header.bytes()), bytes: header.bytes() })
        };
        // Nobody is its predecessor that has died: `Passing` waits for the living and the dead alike.
        let own = Held::by(name, thread_id());
        let put = ring::put(&Passing, &ring, own, self.room, header.bytes(), |_| (), write);
        let Ok(word) = put else { return false };
        if ring::tell(&Passing, ring.put.count, word) != 0 {
            tickets::ring_bell(link);
        }
        true
    }

    #[cold]
    #[inline(never)]
    fn send_patiently(
        &self,
        link: &PacketSocket,
        outgoing: Outgoing<'_>,
        deadline: Deadline,
        gone: impl Fn() -> Option<Unsent>,
    ) -> Result<(), Unsent> {
        self.when_there_is_room(deadline, gone, || self.send_now(link, outgoing, deadline))
    }

    /// A block for a body of so many bytes, as soon as there is one.
    pub(crate) fn lend(
        &self,
        bytes: u64,
        deadline: Deadline,
        gone: impl Fn() -> Option<Unsent>,
    ) -> Result<Lease, Unsent> {
        self.when_there_is_room(deadline, gone, || self.lease(bytes))
    }

    /// Tries something until it is done, or `deadline` has passed, or `gone` says that there will never be room.
    fn when_there_is_room<R>(
        &self,
        deadline: Deadline,
        gone: impl Fn() -> Option<Unsent>,
        attempt: impl Fn() -> Result<R, Unsent>,
    ) -> Result<R, Unsent> {
        let world = self.world(TAKEN_COUNT, deadline);
        let ring = self.ring();
        let mut slept_with = 0;
        loop {
            let seen = ring.taken.count.load(Acquire);
            match attempt() {
                Err(Unsent::Full) => {}
                // That was a wait already.
                Err(Unsent::Held) if !world.is_over() => {
                    gone().map_or(Ok(()), Err)?;
                    continue;
                }
                done => return done,
            }
            match ring::pause_for_room(&world, &ring, self.room, seen, &mut slept_with) {
                // The other half of `tell_of_room`: the mark is there before the next look for a block.
                Paused::Spun => fence(SeqCst),
                // Who has just taken something is there.
                Paused::Slept if ring::count_of(ring.taken.count.load(Relaxed)) != ring::count_of(seen) => {}
                Paused::Slept => gone().map_or(Ok(()), Err)?,
                Paused::Over => return Err(gone().unwrap_or(Unsent::Full)),
            }
        }
    }

    /// The same without waiting for room.
    #[inline]
    fn send_now(&self, link: &PacketSocket, outgoing: Outgoing<'_>, deadline: Deadline) -> Result<(), Unsent> {
        let (bytes, is_raw) = match outgoing.body {
            Body::Leased(lease, bytes) => {
                return self.put(link, Stored::Block(lease.block, bytes), true, outgoing, deadline);
            }
            Body::Encoded(bytes, len) if len <= INLINE_BYTES_MAX => {
                return self.put(link, Stored::Inline(bytes, len), false, outgoing, deadline);
            }
            Body::Encoded(bytes, len) => (&bytes[..len], false),
            Body::Raw(bytes) => (bytes, true),
        };
        let len = bytes.len() as u64;
        // Or those who wait for room would wake each other by the blocks that they have in vain.
        if !ring::may_put(&self.ring(), self.room, len) {
            return Err(Unsent::Full);
        }
        if len <= BLOCK_BYTES_MAX {
            let lease = self.lease(len)?;
            self.store.map().write(lease.place(), bytes).map_err(|_| Unsent::Corrupt("a block is outside"))?;
            fail_point!("channel: body written");
            self.put(link, Stored::Block(lease.block, len), is_raw, outgoing, deadline)?;
            lease.leave();
            return Ok(());
        }
        let file = procession_sys::sealed_file("procession-message", &[bytes]);
        let file = file.map_err(|error| Unsent::System("make a memory file", error))?;
        self.put(link, Stored::File(file.as_fd(), len), is_raw, outgoing, deadline)
    }

    fn put(
        &self,
        link: &PacketSocket,
        body: Stored<'_>,
        is_raw: bool,
        outgoing: Outgoing<'_>,
        deadline: Deadline,
    ) -> Result<(), Unsent> {
        let record = &Record { body, is_raw, descriptors: outgoing.descriptors };
        let ring = self.ring();
        let name = self.own().map_err(|error| Unsent::System("use the queue", error))?;
        let own = Held::by(name, thread_id());
        let world = self.world(PUT_LOCK, patient(deadline));
        let put = ring::put(
            &world,
            &ring,
            own,
            self.room,
            record.cost(),
            |from| self.forget_begun(from),
            |from| self.write(from, name, link, record),
        );
        let word = put.map_err(|missed| match missed {
            Missed::Nothing => Unsent::Full,
            Missed::Held => Unsent::Held,
            Missed::HeldBySelf => Unsent::System("put in a signal handler", io::ErrorKind::Deadlock.into()),
            Missed::Corrupt => Unsent::Corrupt("counts"),
            Missed::Failed(unsent) => unsent,
        })?;
        if ring::tell(&world, ring.put.count, word) != 0 {
            tickets::ring_bell(link);
        }
        Ok(())
    }

    /// Writes a record, having the lock.
    #[inline]
    fn write(&self, from: Position, own: Owner, link: &PacketSocket, record: &Record<'_>) -> Result<End, Unsent> {
        let orphans = &self.words()[ORPHANS];
        let header = record.header(orphans.load(Relaxed) != 0);
        let (mut place, at) = self.room_for(from.at, header.bytes(), own)?;
        let mut push = |word: u64| {
            let stored = self.store.map().store(place, word);
            place += size_of::<u64>();
            stored.map_err(|_| Unsent::Corrupt("a segment is outside"))
        };
        push(header.word())?;
        let ticket = if header.has_ticket { self.next_ticket() } else { 0 };
        if header.has_ticket {
            push(ticket)?;
        }
        match record.body {
            Stored::Inline(bytes, _) => {
                self.store.map().write(place, bytes).map_err(|_| Unsent::Corrupt("a segment is outside"))?;
            }
            Stored::Block(block, bytes) => {
                push(block.word())?;
                push(bytes)?;
                if !self.store.enqueue(block, own, from.count) {
                    return Err(Unsent::Corrupt("a block is another's"));
                }
                fail_point!("channel: block queued");
            }
            Stored::File(_, bytes) => push(bytes)?,
        }
        if header.descriptors > 0 {
            self.send_descriptors(link, ticket, record).inspect_err(|_| {
                if let Stored::Block(block, _) = record.body {
                    self.store.dequeue(block, from.count, own);
                }
            })?;
            fail_point!("channel: descriptors sent");
        }
        if header.has_ticket {
            orphans.store(0, Relaxed);
        }
        Ok(End { at: at.wrapping_add(header.bytes()), bytes: record.cost() })
    }

    /// Where a record of so many bytes is to stand, in the mapping and in the store's order.
    #[inline]
    fn room_for(&self, at: u64, bytes: u64, own: Owner) -> Result<(usize, u64), Unsent> {
        let (segment, offset) = (at / SEGMENT_BYTES, at % SEGMENT_BYTES);
        if offset > 0 {
            let block = self.store.segment(segment).ok_or(Unsent::Corrupt("a segment is missing"))?;
            let place = self.store.place(block) + offset as usize;
            if SEGMENT_BYTES - offset >= bytes {
                return Ok((place, at));
            }
            self.store.map().store(place, Header::SKIP.word()).map_err(|_| Unsent::Corrupt("a position is crooked"))?;
        }
        let segment = at.div_ceil(SEGMENT_BYTES);
        let block = match self.store.begin(segment) {
            Err(NoBlock::Full) => {
                self.inherit_taking(own);
                self.store.begin(segment)
            }
            begun => begun,
        };
        Ok((self.store.place(block.map_err(no_block)?), segment.wrapping_mul(SEGMENT_BYTES)))
    }

    fn next_ticket(&self) -> u64 {
        let last = &self.words()[TICKET];
        let ticket = last.load(Relaxed).wrapping_add(1);
        last.store(ticket, Relaxed);
        ticket
    }

    fn send_descriptors(&self, link: &PacketSocket, ticket: u64, record: &Record<'_>) -> Result<(), Unsent> {
        let file = match record.body {
            Stored::File(file, _) => Some(file),
            _ => None,
        };
        let all: Vec<BorrowedFd<'_>> = file.into_iter().chain(record.descriptors.iter().copied()).collect();
        tickets::send(link, ticket, &all).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Unsent::Full,
            io::ErrorKind::BrokenPipe => Unsent::Disconnected,
            _ if is_too_many_in_flight(&error) => Unsent::System(IN_FLIGHT, error),
            _ => Unsent::System("send the descriptors", error),
        })
    }
}

fn no_block(error: NoBlock) -> Unsent {
    match error {
        NoBlock::Full => Unsent::Full,
        NoBlock::System(error) => Unsent::System("have memory", error),
    }
}
