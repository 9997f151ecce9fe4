//! One direction of messages: a ring, the store of its bodies, and a socket for descriptors.
//!
//! Relies on `protocol/ring.rs` for what the words mean, on `store.rs` for where bodies are, and on packet sockets for
//! descriptors and for whether the other side is there. Knows no types: a body is bytes.
//!
//! # Records
//! A record stands in one segment, at a multiple of eight bytes. What does not fit the rest of a segment stands in the next
//! one, and a record without content says so. Words are the machine's own.
//!
//! | word | what |
//! |---|---|
//! | 0 | bits 0–31: bytes of a body that follows; 32–34: [`Place`]; 35: raw; 36–51: descriptors; 52: has a ticket |
//! | next, if it has a ticket | that of the datagram that its descriptors come in; older ones are nobody's |
//! | next, of a block | the block; then the bytes of the body |
//! | next, of a file | the bytes of the body, which is in the first descriptor |
//! | then | the body, filled up to a multiple of eight |

mod watch;

use std::hint::spin_loop;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::time::Duration;

use procession_shm::arena::{ArenaError, Owner, Slot};
use procession_sync::protocol::lock::Held;
use procession_sync::protocol::{Kernel, World};
use procession_sys::{Deadline, PacketSocket, fail_point, futex_wake, is_too_many_in_flight, lower_half, thread_id};

use crate::protocol::ring::{self, CALLERS, End, Missed, Paused, Position, Ring, Room, Side, WAITERS};
use crate::store::{BLOCK_BYTES_MAX, Block, NoBlock, SEGMENT_BYTES, Store, Usage};
use crate::tickets;

/// Words of a channel in its slot.
pub(crate) const CHANNEL_WORDS: usize = 32;

// What the one side writes is apart from what the other does, and what waiters look at from what only the lock's holder does.
const PUT_LOCK: usize = 0;
pub(crate) const PUT_POSITIONS: usize = 1;
const PUT_SEEN: usize = 5;
const TICKET: usize = 7;
const PUT_COUNT: usize = 8;
/// Not zero when a producer has died that may have sent descriptors for no item.
const ORPHANS: usize = 9;
const TAKEN_LOCK: usize = 16;
pub(crate) const TAKEN_POSITIONS: usize = 17;
const TAKEN_SEEN: usize = 21;
/// Not zero when a consumer has died that has left this ticket's datagram, and older ones.
const LEFT: usize = 23;
pub(crate) const TAKEN_COUNT: usize = 24;
/// The ticket of the item after which a number of items is taken, and that number; the number is zero in between.
const TAKEN_TICKET: usize = 25;
const TAKEN_WITH: usize = 26;
/// Not zero when a consumer has died that may have noted what it did not take, and no consumer has been there since.
const UNREPAIRED: usize = 27;

/// The longest body that stands in its record; a longer one has a block of its own.
pub(crate) const INLINE_BYTES_MAX: usize = 16 << 10;

/// For how long who does not want to wait waits for another that is just putting or taking: much longer than that takes,
/// unless it is stopped.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// What cannot be done when the kernel holds as many descriptors for this user as one of its processes may have open.
const IN_FLIGHT: &str =
    "have more descriptors under way than this user may have (receive some, or raise the limit of open files)";

/// True if the last message that was waited for came at once.
const FLOW: usize = 28;

/// A message that comes within so many looks was not an answer, but one of a flow.
const FLOW_LOOKS: usize = 64;

/// For how many pauses a flow is let go on before the first look.
const FLOW_PAUSES: u32 = 40;

/// How often one looks for a message before a wait for it is set up.
const QUICK_LOOKS: u32 = 2000;

const WORD: u64 = size_of::<u64>() as u64;

/// Where a record's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Inline = 1,
    Block = 2,
    File = 3,
    /// There is none; the next record is in the next segment.
    Skip = 7,
}

/// The first word of a record.
#[derive(Clone, Copy, Debug)]
struct Header {
    place: Place,
    inline_bytes: u32,
    is_raw: bool,
    descriptors: u16,
    has_ticket: bool,
}

impl Header {
    const SKIP: Self = Self { place: Place::Skip, inline_bytes: 0, is_raw: false, descriptors: 0, has_ticket: false };

    fn word(self) -> u64 {
        u64::from(self.inline_bytes)
            | (self.place as u64) << 32
            | u64::from(self.is_raw) << 35
            | u64::from(self.descriptors) << 36
            | u64::from(self.has_ticket) << 52
    }

    #[inline]
    fn of(word: u64) -> Option<Self> {
        let place = match word >> 32 & 7 {
            1 => Place::Inline,
            2 => Place::Block,
            3 => Place::File,
            7 => Place::Skip,
            _ => return None,
        };
        let descriptors = (word >> 36) as u16; // Sixteen bits of it.
        let has_ticket = word >> 52 & 1 == 1 || descriptors > 0;
        Some(Self { place, inline_bytes: word as u32, is_raw: word >> 35 & 1 == 1, descriptors, has_ticket })
    }

    /// Words before the body.
    #[inline]
    fn words(self) -> u64 {
        let body = match self.place {
            Place::Inline | Place::Skip => 0,
            Place::Block => 2,
            Place::File => 1,
        };
        1 + u64::from(self.has_ticket) + body
    }

    /// The bytes that a record with its body counts for, which its producer says before it knows of a ticket.
    #[inline]
    fn cost(self) -> u64 {
        Self { has_ticket: false, ..self }.bytes()
    }

    /// Bytes of the whole record.
    #[inline]
    fn bytes(self) -> u64 {
        self.words() * WORD + u64::from(self.inline_bytes).next_multiple_of(WORD)
    }
}

/// Why a message was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    Full,
    Closed,
    Disconnected,
    System(&'static str, io::Error),
    Corrupt(&'static str),
}

/// Why none was received.
#[derive(Debug)]
pub(crate) enum Unreceived {
    Empty,
    Closed,
    Disconnected,
    System(&'static str, io::Error),
    Corrupt(&'static str),
}

/// A body where it is when it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    /// What the encoder makes, so many bytes of it: what stands in a record is filled up to a multiple of eight.
    Encoded(&'a [u8], usize),
    /// The memory of numbers, more of it than stands in a record.
    Raw(&'a [u8]),
    /// Written already.
    Leased(&'a Lease, u64),
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) body: Body<'a>,
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
}

/// A body where it is when it was received.
#[derive(Debug)]
pub(crate) enum Content {
    /// In the buffer that was given, at its beginning.
    Inline(usize),
    Leased(Lease, u64),
    File(OwnedFd, u64),
}

/// What was received.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) content: Content,
    pub(crate) is_raw: bool,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// A block that this process holds; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Lease {
    channel: Channel,
    block: Block,
    own: Owner,
    /// False once the block is an item's.
    is_held: bool,
}

impl Lease {
    /// Leaves the block to the item that it was put as.
    pub(crate) fn leave(mut self) {
        self.is_held = false;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.channel.store
    }

    pub(crate) fn place(&self) -> usize {
        self.channel.store.place(self.block)
    }

    /// Where the block begins in this process's memory.
    #[inline]
    pub(crate) fn first(&self) -> *mut u8 {
        self.store().map().as_ptr().wrapping_add(self.place())
    }

    pub(crate) fn block(&self) -> Block {
        self.block
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.store().block_bytes(self.block)
    }

    /// Who holds it: this process, unless it was forked since.
    pub(crate) fn owner(&self) -> Owner {
        self.own
    }

    #[inline]
    pub(crate) fn is_own(&self) -> bool {
        self.channel.slot.is_own_name(self.own)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What a forked child has copied is its parent's.
        fail_point!("channel: block to free");
        if self.is_held && self.channel.slot.own_name().ok() == Some(self.own) {
            self.channel.store.free(self.block, self.own);
            self.channel.tell_of_room();
        }
    }
}

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

/// One direction of messages.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    slot: Slot,
    /// Where its words are in the slot.
    first: usize,
    store: Arc<Store>,
    room: Room,
}

impl Channel {
    /// The channel whose words are the slot's from `first` on, which there must be.
    pub(crate) fn over(slot: Slot, first: usize, store: Arc<Store>) -> Result<Self, ArenaError> {
        if slot.words().len() < first + CHANNEL_WORDS {
            return Err(ArenaError::Foreign { reason: "there is no room for a channel" });
        }
        let limits = store.limits();
        let room = Room { items: limits.items, bytes: limits.bytes };
        Ok(Self { slot, first, store, room })
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn shared_store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    #[inline]
    fn words(&self) -> &[AtomicU64; CHANNEL_WORDS] {
        self.slot.words()[self.first..].first_chunk().expect("as many were there when it was made")
    }

    #[inline]
    fn ring(&self) -> Ring<'_, AtomicU64> {
        let words = self.words();
        let side = |lock: usize, count: usize, positions: usize, seen: usize| Side {
            lock: &words[lock],
            count: &words[count],
            positions: [&words[positions], &words[positions + 1], &words[positions + 2], &words[positions + 3]],
            seen: [&words[seen], &words[seen + 1]],
        };
        Ring {
            put: side(PUT_LOCK, PUT_COUNT, PUT_POSITIONS, PUT_SEEN),
            taken: side(TAKEN_LOCK, TAKEN_COUNT, TAKEN_POSITIONS, TAKEN_SEEN),
        }
    }

    #[inline]
    fn world(&self, word: usize, deadline: Deadline) -> Kernel<'_> {
        Kernel::at(&self.slot, (&raw const self.words()[word]).addr(), deadline)
    }

    #[inline]
    fn own(&self) -> Result<Owner, io::Error> {
        self.slot.own_name().map_err(io::Error::other)
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> u64 {
        ring::len(&self.ring())
    }

    /// How many were ever put.
    pub(crate) fn put_count(&self) -> u64 {
        ring::count_of(self.ring().put.count.load(Acquire))
    }

    /// How many were ever taken.
    pub(crate) fn taken_count(&self) -> u64 {
        ring::count_of(self.ring().taken.count.load(Acquire))
    }

    /// How many it may hold.
    pub(crate) fn room(&self) -> Room {
        self.room
    }

    /// How the store's blocks are used.
    pub(crate) fn usage(&self) -> Usage {
        let bytes = ring::bytes(&self.ring());
        Usage { bytes, ..self.store.usage(|owner| self.slot.is_alive(owner)) }
    }

    // Sending.

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

    /// Frees what a producer had begun that died with the lock.
    fn inherit_putting(&self, own: Owner) {
        let own = Held::by(own, thread_id());
        ring::inherit(&self.world(PUT_LOCK, Deadline::NOW), &self.ring().put, own, |from| self.forget_begun(from));
    }

    /// Frees what a consumer had taken that died with the lock.
    fn inherit_taking(&self, own: Owner) {
        let own = Held::by(own, thread_id());
        ring::inherit(&self.world(TAKEN_LOCK, Deadline::NOW), &self.ring().taken, own, |from| self.forget_taken(from));
    }

    /// What the heir of a producer does.
    #[cold]
    fn forget_begun(&self, from: Position) {
        self.words()[ORPHANS].store(1, Relaxed);
        self.store.forget_begun(from.count, from.at.div_ceil(SEGMENT_BYTES));
    }

    /// What the heir of a consumer does.
    #[cold]
    fn forget_taken(&self, from: Position) {
        self.words()[UNREPAIRED].store(1, Relaxed);
        if from.count != 0 && self.words()[TAKEN_WITH].load(Relaxed) == from.count {
            self.words()[LEFT].store(self.words()[TAKEN_TICKET].load(Relaxed), Relaxed);
        }
        self.store.forget_taken(from.count, from.at / SEGMENT_BYTES);
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
        if ring::tell(&Passing, ring.put.count, word) {
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
        let taken = self.ring().taken.count;
        loop {
            let seen = taken.load(Acquire);
            let marks = match attempt() {
                Err(Unsent::Full) if self.len() >= self.room.items => WAITERS,
                Err(Unsent::Full) => WAITERS | CALLERS,
                done => return done,
            };
            match ring::pause(&world, taken, seen, marks) {
                // The other half of `tell_of_room`: the mark is there before the next look for a block.
                Paused::Spun => fence(SeqCst),
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
            Missed::Nothing | Missed::Held => Unsent::Full,
            Missed::HeldBySelf => Unsent::System("put in a signal handler", io::ErrorKind::Deadlock.into()),
            Missed::Corrupt => Unsent::Corrupt("counts"),
            Missed::Failed(unsent) => unsent,
        })?;
        if ring::tell(&world, ring.put.count, word) {
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
        // What its taker counts for it, with a ticket that nobody knew of before.
        let bytes = if header.place == Place::Inline { header.bytes() } else { record.cost() };
        Ok(End { at: at.wrapping_add(header.bytes()), bytes })
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

    // Receiving.

    /// Takes a message that stands in its record, which is in `buffer` then, and says how long it is: if there is one within
    /// a few looks, nobody is in the way and nothing else is to be done. Otherwise does nothing.
    #[inline]
    pub(crate) fn take_quickly(&self, buffer: &mut Vec<u8>, deadline: Deadline) -> Option<usize> {
        let ring = self.ring();
        if !ring::may_take(&ring) && !self.look_for_item(&ring, deadline) {
            return None;
        }
        self.take_plain(buffer, &ring)
    }

    /// Looks a few times for a message: an answer comes sooner than a wait for it is set up.
    ///
    /// Each look takes the count's line from the producer, who goes the faster the less it is disturbed. So where items
    /// have come one right after the other, some are let come before the first look.
    fn look_for_item(&self, ring: &Ring<'_, AtomicU64>, deadline: Deadline) -> bool {
        if deadline == Deadline::NOW {
            return false;
        }
        let flow = &self.words()[FLOW];
        if flow.load(Relaxed) != 0 {
            (0..FLOW_PAUSES).for_each(|_| spin_loop());
        }
        let looks = (0..QUICK_LOOKS).position(|_| ring::may_take(ring));
        flow.store(u64::from(looks.is_some_and(|looks| looks < FLOW_LOOKS)), Relaxed);
        looks.is_some()
    }

    #[inline]
    fn take_plain(&self, buffer: &mut Vec<u8>, ring: &Ring<'_, AtomicU64>) -> Option<usize> {
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
            let into = room_in(buffer, header.inline_bytes as usize);
            self.store.map().read(place + size_of::<u64>(), into).map_err(drop)?;
            let end = End { at: at.wrapping_add(header.bytes()), bytes: header.bytes() };
            Ok((header.inline_bytes as usize, end))
        };
        let taken = ring::take(&Passing, ring, Held::by(name, thread_id()), |_| (), read, |_, _, _| ());
        let (len, word) = taken.ok()?;
        if ring::tell(&Passing, ring.taken.count, word) {
            ring::wake_all(&Passing, ring.taken.count);
        }
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
                && let Some(len) = self.take_plain(buffer, &ring)
            {
                return Ok(Incoming { content: Content::Inline(len), is_raw: false, descriptors: Vec::new() });
            }
            let received = if is_empty { Err(Unreceived::Empty) } else { self.take(link, buffer, deadline, notes) };
            if !matches!(received, Err(Unreceived::Empty)) {
                return received;
            }
            let paused = ring::pause(&world, ring.put.count, seen, WAITERS);
            if paused == Paused::Spun {
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
            Missed::Nothing | Missed::Held => Unreceived::Empty,
            Missed::HeldBySelf => Unreceived::System("get in a signal handler", io::ErrorKind::Deadlock.into()),
            Missed::Corrupt => Unreceived::Corrupt("counts"),
            Missed::Failed(unreceived) => unreceived,
        })?;
        if ring::tell(&world, ring.taken.count, word) {
            ring::wake_all(&world, ring.taken.count);
        }
        self.incoming(found, name)
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
            let into = room_in(buffer, len);
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

    /// Wakes producers that wait for a block.
    fn tell_of_room(&self) {
        // Who has marked the count looks for a block after that: it or this sees the other.
        fence(SeqCst);
        let count = self.ring().taken.count;
        if count.load(Relaxed) & CALLERS != 0 {
            ring::wake_all(&self.world(TAKEN_COUNT, Deadline::NEVER), count);
        }
    }

    /// Wakes all who wait for anything, after somebody has left.
    pub(crate) fn tell_of_leaving(&self) {
        let ring = self.ring();
        for (count, word) in [(ring.put.count, PUT_COUNT), (ring.taken.count, TAKEN_COUNT)] {
            ring::wake_all(&self.world(word, Deadline::NEVER), count);
        }
    }
}

/// What is put.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    body: Stored<'a>,
    is_raw: bool,
    descriptors: &'a [BorrowedFd<'a>],
}

#[derive(Clone, Copy, Debug)]
enum Stored<'a> {
    Inline(&'a [u8], usize),
    Block(Block, u64),
    File(BorrowedFd<'a>, u64),
}

impl Record<'_> {
    /// Its first word; it has a ticket in any case if that is wanted.
    fn header(&self, has_ticket: bool) -> Header {
        let (place, inline_bytes, files) = match self.body {
            Stored::Inline(_, len) => (Place::Inline, len as u32, 0), // At most INLINE_BYTES_MAX.
            Stored::Block(..) => (Place::Block, 0, 0),
            Stored::File(..) => (Place::File, 0, 1),
        };
        let descriptors = (self.descriptors.len() + files) as u16; // The encoder refuses more.
        let has_ticket = has_ticket || descriptors > 0;
        Header { place, inline_bytes, is_raw: self.is_raw, descriptors, has_ticket }
    }

    /// The bytes that it counts for.
    fn cost(&self) -> u64 {
        match self.body {
            Stored::Inline(..) => self.header(false).cost(),
            Stored::Block(_, bytes) | Stored::File(_, bytes) => bytes,
        }
    }
}

/// Where a body is by its record.
#[derive(Clone, Copy, Debug)]
enum Where {
    Inline(usize),
    Block(u64, u64),
    File(u64),
}

/// What was found in a record.
#[derive(Debug)]
struct Found {
    body: Where,
    is_raw: bool,
    descriptors: Vec<OwnedFd>,
    is_had: bool,
}

fn no_block(error: NoBlock) -> Unsent {
    match error {
        NoBlock::Full => Unsent::Full,
        NoBlock::System(error) => Unsent::System("have memory", error),
    }
}

/// Memory for so many bytes, filled up to a multiple of eight, at the beginning of a buffer.
#[inline]
fn room_in(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    let filled = len.next_multiple_of(size_of::<u64>());
    if buffer.len() < filled {
        buffer.resize(filled, 0);
    }
    &mut buffer[..filled]
}

/// The world of who only passes by: it does not wait, and takes nobody for dead.
struct Passing;

impl World for Passing {
    type Word = AtomicU64;

    fn is_alive(&self, _: Owner) -> bool {
        true
    }

    fn spin(&self) -> bool {
        false
    }

    fn is_over(&self) -> bool {
        true
    }

    fn park(&self, _: &AtomicU64, _: u32) {}

    fn wake(&self, word: &AtomicU64, count: u32) -> usize {
        futex_wake(lower_half(word), count).unwrap_or(0)
    }

    #[inline]
    fn at(&self, place: &'static str) {
        fail_point!(place);
    }
}

/// For how long to wait for the lock.
fn patient(deadline: Deadline) -> Deadline {
    if deadline == Deadline::NEVER { deadline } else { Deadline::after(LOCK_PATIENCE) }
}
