//! The desk: what a pool and one worker share. Orders go there, reports come back, and no lock is between them.
//!
//! Relies on `words.rs` for who may do what when, on `stream.rs` for bytes, and on `link.rs` for what is too large, or carries
//! descriptors. The pool trusts nothing that it finds: the worker may have written anything.
//!
//! The memory is one file that can become neither shorter nor, by anybody's doing, any less than it is:
//!
//! | from | what |
//! |---|---|
//! | 0 | the words |
//! | [`ORDERS_AT`] | the stream of orders |
//! | [`REPORTS_AT`] | the stream of reports |
//!
//! Orders are numbered from one on. A worker first runs its initializer, which counts as order zero and is offered by the
//! memory's being new. It reports on one order after the other, so a report is what comes in the stream between the ends of
//! two of them. What it shows of a report is there whatever becomes of it.

mod error;
mod link;
mod stream;
mod tray; // For large bodies.
mod waiting;
mod words; // What may become of an order. Read this first.

mod seat; // The worker's side.

#[cfg(test)]
pub(crate) mod front; // The pool's side, in all tests.
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

use procession_sys::{
    Access, AccessError, Bell, MemoryFile, PacketSocket, SharedMap, is_too_many_in_flight, memory_file,
};
use procession_wire::Descriptor;
use procession_wire::frame::Frame;
use serde::{Deserialize, Serialize};

pub(crate) use self::error::{Corrupt, NotDrained, NotOffered};
pub(crate) use self::link::Parcel;
pub(crate) use self::seat::{Order, Seat};
#[cfg(test)]
pub(crate) use self::tray::Bytes;
pub(crate) use self::tray::Received;

use self::link::Link;
use self::stream::{STREAM_BYTES, Stream};
use self::tray::Tray;
use self::waiting::Kernel;
use self::words::{LET_GO, MAY_SPIN, Progress, RETIRE, Short, Size, Words};

/// An order's number. No two orders of a desk have the same.
pub(crate) type Seq = u64;

/// The order that a worker's initializer is.
pub(crate) const INITIALIZER: Seq = 0;

/// How many orders may be outstanding: offered, and neither finished and told nor revoked and seen so.
pub(crate) const ORDERS_MAX: usize = 64;

/// The longest order; more goes as a parcel. A few of this size have room beside each other.
pub(crate) const ORDER_BYTES_MAX: usize = 64 << 10;

/// Words apart that share no line: the processor fetches two lines of 64 bytes at once.
const LINE: usize = 16;

type DeskWords<'w> = Words<'w, AtomicU64, LINE>;

const SHORT_ORDER: usize = DeskWords::SHORT_ORDER;
const SHORT_REPORT: usize = DeskWords::SHORT_REPORT;
const WORDS: usize = DeskWords::count(ORDERS_MAX);

const ORDERS_AT: usize = (WORDS * size_of::<u64>()).next_multiple_of(4096);
const REPORTS_AT: usize = ORDERS_AT + STREAM_BYTES as usize;
const DESK_BYTES: usize = REPORTS_AT + STREAM_BYTES as usize;

const ORDERS: Stream = Stream { at: ORDERS_AT };
const REPORTS: Stream = Stream { at: REPORTS_AT };

/// How many bytes of reports are read at once: what a map's chunk of numbers reports is read whole.
const READ_BYTES: usize = 64 << 10;

/// Orders begin at multiples of so many bytes, and none is shorter: so their ends tell them apart.
const ORDER_ALIGN: u64 = 8;

/// The bells by which workers call a pool, the same for all of them.
#[derive(Debug)]
pub(crate) struct Bells {
    background: Bell,
    driver: Bell,
}

/// Which bell a pool listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// That of the thread that drives the pool when nobody else does.
    Background = 1,
    /// That of a thread that waits for a result.
    Driver = 2,
}

impl Bells {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { background: Bell::new()?, driver: Bell::new()? })
    }

    pub(crate) fn of(&self, listener: Listener) -> &Bell {
        match listener {
            Listener::Background => &self.background,
            Listener::Driver => &self.driver,
        }
    }
}

/// What a worker is started with. When it has started, the pool needs it no more, and drops it: with it go all descriptors of
/// the desk but one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerKit {
    memory: Descriptor,
    link: Descriptor,
    background: Descriptor,
    driver: Descriptor,
}

/// Whether a worker takes orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Its initializer has not ended.
    NotYet,
    /// It does.
    Ready,
    /// Its initializer failed, which the report on [`INITIALIZER`] tells about.
    Failed,
}

/// What one look at a desk has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Bytes of reports.
    pub(crate) bytes: u64,
    /// Frames.
    pub(crate) frames: u64,
    /// Reports that have become complete.
    pub(crate) finished: u64,
}

/// The pool's side.
#[derive(Debug)]
pub(crate) struct Desk {
    map: SharedMap,
    link: Link,
    tray: Tray,
    /// What the worker was told to do.
    wishes: u64,
    /// The next order's number.
    next: Seq,
    /// Where the next order begins in its stream.
    order_at: u64,
    /// As far as the worker is known to have taken orders.
    orders_taken: u64,
    /// Where the last orders end.
    ends: [u64; ORDERS_MAX],
    /// Which of them were revoked, a bit for each.
    revoked: u64,
    /// The order whose report is being read.
    reading: Seq,
    /// Where that report begins.
    began: u64,
    /// As far as reports were read.
    read: u64,
    /// Frames that have come.
    frames: u64,
    /// The first order of which it was not told that its report is complete.
    untold: Seq,
    /// Frames that nobody has taken yet.
    parcels: VecDeque<(Seq, Frame)>,
    buffer: Box<[u8]>,
}

const _: () = assert!(ORDERS_MAX == u64::BITS as usize);

impl Desk {
    /// A new one, and what its worker is to have.
    pub(crate) fn new(bells: &Bells) -> io::Result<(Self, WorkerKit)> {
        let file = memory_file("procession-desk", &MemoryFile { bytes: DESK_BYTES as u64, huge_page_bits: None })?;
        let map = SharedMap::map(&file, DESK_BYTES, Access::ReadWrite)?;
        let (ours, theirs) = PacketSocket::pair()?;
        let copy_of = |bell: &Bell| bell.as_fd().try_clone_to_owned().map(Descriptor::from);
        let kit = WorkerKit {
            memory: file.into(),
            link: Descriptor::from(std::os::fd::OwnedFd::from(theirs)),
            background: copy_of(&bells.background)?,
            driver: copy_of(&bells.driver)?,
        };
        let desk = Self {
            map,
            link: Link::new(ours),
            tray: Tray::default(),
            wishes: 0,
            next: INITIALIZER + 1,
            order_at: 0,
            orders_taken: 0,
            ends: [0; ORDERS_MAX],
            revoked: 0,
            reading: INITIALIZER,
            began: 0,
            read: 0,
            frames: 0,
            untold: INITIALIZER,
            parcels: VecDeque::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        };
        Ok((desk, kit))
    }

    #[inline]
    fn words(&self) -> DeskWords<'_> {
        words_of(&self.map)
    }

    fn kernel(&self) -> Kernel<'static> {
        Kernel::new(&self.map)
    }

    /// Offers an order that is made of these parts, which are at most [`ORDER_BYTES_MAX`] bytes. A worker that sleeps does not
    /// see it before [`Desk::wake`]. Never waits.
    pub(crate) fn offer(&mut self, parts: &[&[u8]], parcel: Option<Parcel<'_>>) -> Result<Seq, NotOffered> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if bytes > ORDER_BYTES_MAX {
            return Err(NotOffered::System(io::Error::new(io::ErrorKind::InvalidInput, "an order is too long")));
        }
        let seq = self.next;
        let size = Size { bytes: bytes as u64, has_parcel: parcel.is_some() };
        let end = self.order_at + order_room(size);
        if !self.has_room(end)? {
            return Err(NotOffered::NoRoom);
        }
        if let Some(parcel) = parcel {
            self.send(seq, parcel, end)?;
        }
        if bytes <= SHORT_ORDER {
            self.write_short(seq, parts, bytes);
        } else {
            self.write_order(parts).map_err(|error| NotOffered::System(error.into()))?;
        }
        (self.order_at, self.next) = (end, seq + 1);
        self.ends[place(seq)] = end;
        self.revoked &= !bit(seq);
        self.words().offer(&self.kernel(), seq, size);
        Ok(seq)
    }

    /// Wakes the worker for what it was offered, if it sleeps.
    pub(crate) fn wake(&self) {
        self.words().wake(&self.kernel());
    }

    /// Writes an order into its line.
    #[inline]
    fn write_short(&self, seq: Seq, parts: &[&[u8]], bytes: usize) {
        let mut short = Short::default();
        let room: &mut [u8] = bytemuck::cast_slice_mut(&mut short);
        let mut at = 0;
        for part in parts {
            room[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.words().write_order(seq, &short, bytes);
    }

    /// Writes an order into its stream.
    fn write_order(&self, parts: &[&[u8]]) -> Result<(), AccessError> {
        let mut at = self.order_at;
        for part in parts {
            ORDERS.write(&self.map, at, part)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Whether the next order may have the next number, and end there.
    #[inline]
    fn has_room(&mut self, end: u64) -> Result<bool, Corrupt> {
        let former = self.next.checked_sub(ORDERS_MAX as u64);
        if former.is_some_and(|former| former >= self.untold) {
            self.pass_revoked();
            self.pass_untold();
            if former.is_some_and(|former| former >= self.untold) {
                return Ok(false);
            }
        }
        // Of one that was revoked the worker has to have seen that.
        let passed = former.map_or(0, |former| self.ends[place(former)]);
        if self.fits(end, passed) {
            return Ok(true);
        }
        self.look_at_taken()?;
        Ok(self.fits(end, passed))
    }

    /// Looks how far the worker has taken orders.
    fn look_at_taken(&mut self) -> Result<(), Corrupt> {
        let taken = self.words().orders_taken();
        if taken < self.orders_taken || taken > self.order_at {
            return Err(Corrupt::Position);
        }
        self.orders_taken = taken;
        Ok(())
    }

    #[inline]
    fn fits(&self, end: u64, passed: u64) -> bool {
        end - self.orders_taken <= STREAM_BYTES && self.orders_taken >= passed
    }

    /// Sends what goes with an order, which ends there.
    fn send(&mut self, seq: Seq, parcel: Parcel<'_>, end: u64) -> Result<(), NotOffered> {
        self.look_at_taken()?;
        let sent = if self.tray.take(parcel, self.orders_taken) {
            self.wish(self.wishes & !LET_GO);
            self.tray.try_send(&self.link, kind_of(seq), parcel, end)
        } else {
            self.link.try_send(kind_of(seq), parcel)
        };
        let Err(error) = sent else { return Ok(()) };
        // Descriptors under way are limited, too, and some of them may be before this worker.
        let waits_for_worker = is_too_many_in_flight(&error) && self.reading < self.next;
        Err(match error.kind() {
            io::ErrorKind::WouldBlock => NotOffered::NoRoom,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => NotOffered::Gone,
            _ if waits_for_worker => NotOffered::NoRoom,
            _ => NotOffered::System(error),
        })
    }

    /// Takes an order back, unless the worker has begun it. Its number is told of no more then.
    pub(crate) fn revoke(&mut self, seq: Seq) -> bool {
        let is_outstanding = (self.untold..self.next).contains(&seq) && self.revoked & bit(seq) == 0;
        let is_revoked = is_outstanding && self.words().revoke(seq);
        if is_revoked {
            self.revoked |= bit(seq);
        }
        is_revoked
    }

    /// Whether the worker has begun an order that is outstanding.
    pub(crate) fn has_begun(&self, seq: Seq) -> bool {
        (self.untold..self.next).contains(&seq) && self.words().has_begun(seq)
    }

    /// The order that the worker has begun and not finished, for whom it is gone. Whoever asks has drained the desk before.
    pub(crate) fn running(&self) -> Option<Seq> {
        (self.reading < self.next && self.has_begun(self.reading)).then_some(self.reading)
    }

    /// Whether the worker takes orders.
    pub(crate) fn readiness(&self) -> Readiness {
        match self.words().readiness() {
            0 => Readiness::NotYet,
            1 => Readiness::Ready,
            _ => Readiness::Failed,
        }
    }

    /// Whether another report is complete. To look at this all the time does not slow a worker down that adds to its report;
    /// whoever does has to drain the desk now and then, so that the worker has room.
    #[inline]
    pub(crate) fn has_finished(&mut self) -> bool {
        self.pass_revoked();
        self.reading < self.next && self.words().is_done(self.reading)
    }

    /// Whether [`Desk::drain`] would find something.
    pub(crate) fn has_news(&mut self) -> bool {
        self.pass_revoked();
        if self.reading == self.next {
            return false;
        }
        let progress = self.words().progress(self.reading);
        progress.is_done || progress.end > self.read || progress.frames > self.frames
    }

    /// Has `into` told what has come of reports since, each part with its order's number, and makes room for more. Frames that
    /// belong to them are there for [`Desk::take_parcels`] from then on.
    pub(crate) fn drain(&mut self, into: &mut dyn FnMut(Seq, &[u8])) -> Result<Drained, NotDrained> {
        let mut drained = Drained::default();
        let result = self.drain_some(&mut drained, into);
        if drained.bytes > 0 {
            self.wake();
        }
        result.map(|()| drained)
    }

    fn drain_some(&mut self, drained: &mut Drained, into: &mut dyn FnMut(Seq, &[u8])) -> Result<(), NotDrained> {
        loop {
            self.pass_revoked();
            if self.reading == self.next {
                return Ok(());
            }
            let progress = self.words().progress(self.reading);
            if progress.end > self.read {
                drained.bytes += self.read_to(progress, into)?;
            } else if progress.is_done && progress.end < self.read {
                return Err(Corrupt::Position.into());
            }
            if progress.frames > self.frames {
                drained.frames += self.receive(progress.frames)?;
            }
            if !progress.is_done {
                return Ok(());
            }
            self.reading += 1;
            self.began = self.read;
            drained.finished += 1;
        }
    }

    /// Goes on to the first order that was not revoked.
    #[inline]
    fn pass_revoked(&mut self) {
        while self.reading < self.next && self.revoked & bit(self.reading) != 0 {
            self.reading += 1;
        }
    }

    /// Reads what has come of a report, and frees it.
    fn read_to(&mut self, progress: Progress, into: &mut dyn FnMut(Seq, &[u8])) -> Result<u64, Corrupt> {
        let bytes = progress.end - self.read;
        if bytes > STREAM_BYTES {
            return Err(Corrupt::Position);
        }
        if progress.is_done && bytes <= SHORT_REPORT as u64 && self.read == self.began {
            self.read = progress.end;
            let short = self.words().read_report(self.reading, bytes as usize);
            self.words().free_reports(self.read);
            into(self.reading, &bytemuck::cast_slice(&short)[..bytes as usize]);
            return Ok(bytes);
        }
        while self.read < progress.end {
            let len = (progress.end - self.read).min(READ_BYTES as u64) as usize;
            REPORTS.read(&self.map, self.read, &mut self.buffer[..len]).map_err(|_| Corrupt::Position)?;
            self.read += len as u64;
            words_of(&self.map).free_reports(self.read);
            into(self.reading, &self.buffer[..len]);
        }
        Ok(bytes)
    }

    /// Receives frames of the report that is being read, until so many have come.
    fn receive(&mut self, frames: u64) -> Result<u64, NotDrained> {
        let before = self.frames;
        while self.frames < frames {
            let frame = self.link.try_receive().map_err(unreceived)?;
            if frame.kind != kind_of(self.reading) {
                return Err(Corrupt::Frame.into());
            }
            self.frames += 1;
            self.parcels.push_back((self.reading, frame));
        }
        Ok(self.frames - before)
    }

    /// The next order, in their order, whose report is complete.
    pub(crate) fn finished(&mut self) -> Option<Seq> {
        self.pass_untold();
        let seq = self.untold;
        if seq == self.reading {
            return None;
        }
        self.untold += 1;
        Some(seq)
    }

    /// Goes on to the first order read that was not revoked.
    #[inline]
    fn pass_untold(&mut self) {
        while self.untold < self.reading && self.revoked & bit(self.untold) != 0 {
            self.untold += 1;
        }
    }

    /// The frames that have come so far with the report on an order, in the order in which they were sent.
    pub(crate) fn take_parcels(&mut self, seq: Seq) -> Vec<Frame> {
        let (its, others) = std::mem::take(&mut self.parcels).into_iter().partition(|(of, _)| *of == seq);
        self.parcels = others;
        VecDeque::into_iter(its).map(|(_, frame)| frame).collect()
    }

    /// Has the worker ring a bell when it has finished an order, or needs room. It rings once: whoever wants to hear more
    /// says so again, and looks once more after that, before it sleeps.
    pub(crate) fn listen(&self, listener: Listener) {
        self.words().listen(listener as u64);
    }

    /// Has the worker ring no bell.
    pub(crate) fn stop_listening(&self) {
        self.words().listen(0);
    }

    /// Whether the worker may spin for a while before it sleeps; from its next wait on, so this costs next to nothing.
    pub(crate) fn let_spin(&mut self, may_spin: bool) {
        self.wish(if may_spin { self.wishes | MAY_SPIN } else { self.wishes & !MAY_SPIN });
    }

    /// Tells the worker to end when it has done what it was offered.
    pub(crate) fn retire(&mut self) {
        self.wish(self.wishes | RETIRE);
        self.wake();
    }

    /// Gives the memory back that is kept for large bodies, here and in the worker; for when no more of them come for a while.
    /// False if the worker has not yet begun an order with such a body: then it is worth another try.
    pub(crate) fn give_memory_back(&mut self) -> bool {
        if !self.tray.is_kept() {
            return true;
        }
        let has_let_go = self.look_at_taken().is_ok() && self.tray.let_go(self.orders_taken);
        if has_let_go {
            self.wish(self.wishes | LET_GO);
            self.wake();
        }
        has_let_go
    }

    /// Whether there is such memory.
    pub(crate) fn keeps_memory(&self) -> bool {
        self.tray.is_kept()
    }

    /// Says what the worker is to do when it looks next.
    fn wish(&mut self, wishes: u64) {
        if wishes != self.wishes {
            self.wishes = wishes;
            self.words().wish(wishes);
        }
    }
}

/// Why a frame that was announced did not come.
fn unreceived(error: io::Error) -> NotDrained {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof => Corrupt::Frame.into(),
        _ => NotDrained::System(error),
    }
}

/// The words of a mapping, which is long enough.
#[inline]
fn words_of(map: &SharedMap) -> DeskWords<'_> {
    // A desk's mapping is writable and as long as a desk.
    Words::new(map.atomic_u64s(0, WORDS).unwrap_or(&[]))
}

#[inline]
fn place(seq: Seq) -> usize {
    (seq % ORDERS_MAX as u64) as usize
}

#[inline]
fn bit(seq: Seq) -> u64 {
    1 << place(seq)
}

/// The kind of the frames that belong to an order.
fn kind_of(seq: Seq) -> u8 {
    place(seq) as u8 // Less than 64.
}

/// What an order takes of its stream.
#[inline]
fn order_room(size: Size) -> u64 {
    size.bytes.max(1).next_multiple_of(ORDER_ALIGN)
}
