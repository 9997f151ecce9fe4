//! The worker's side of a desk: it takes orders, one after the other, and reports.
//!
//! Relies on `words.rs`. The pool is trusted: it has started this process. Still, nothing that it may have written makes
//! this side read or write beyond the desk.

use std::io;
use std::sync::Arc;

use procession_sys::{Access, Bell, PacketSocket, SharedMap, fail_point};

use super::link::{Link, Parcel};
use super::stream::STREAM_BYTES;
use super::tray::{IN_TRAY, Received, Table, Taking};
use super::waiting::Kernel;
use super::words::{Next, Short, Size};
use super::{
    Bells, DESK_BYTES, DeskWords, INITIALIZER, Listener, ORDER_BYTES_MAX, ORDERS, REPORTS, SHORT_ORDER, SHORT_REPORT,
    Seq, WorkerKit, kind_of, order_room, words_of,
};

/// When more than this is unread, the pool is called,
const UNREAD_BYTES_MAX: u64 = STREAM_BYTES / 2;

/// and called again after so many bytes: to look whether it listens takes longer than to write an item.
const CALL_STEP: u64 = 4 << 10;

/// What a worker is to do.
#[derive(Debug)]
pub(crate) struct Order {
    /// Its number.
    pub(crate) seq: Seq,
    /// What it says.
    pub(crate) bytes: Vec<u8>,
    /// What was too large for that, or carries descriptors.
    pub(crate) parcel: Option<Received>,
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Seat {
    map: Arc<SharedMap>,
    link: Link,
    table: Table,
    bells: Bells,
    /// The order that comes next.
    next: Seq,
    /// The order that is reported on.
    current: Seq,
    /// Where the next order begins in its stream.
    order_at: u64,
    /// Where that report begins.
    began: u64,
    /// As far as reports were written.
    written: u64,
    /// As far as the pool is known to have read them.
    read: u64,
    /// As far as reports are written without a look at the pool: there is room, and it need not be called.
    clear: u64,
    /// Frames sent.
    frames: u64,
}

impl Seat {
    /// Takes the seat: from here on it reports on [`INITIALIZER`], until [`Seat::ready`].
    pub(crate) fn open(kit: WorkerKit) -> io::Result<Self> {
        let map = Arc::new(SharedMap::map(&kit.memory, DESK_BYTES, Access::ReadWrite)?);
        let link = Link::new(PacketSocket::try_from_fd(kit.link.into_owned()?)?);
        let background = Bell::from(kit.background.into_owned()?);
        let bells = Bells { background, driver: Bell::from(kit.driver.into_owned()?) };
        let seat = Self {
            map,
            link,
            table: Table::default(),
            bells,
            next: INITIALIZER + 1,
            current: INITIALIZER,
            order_at: 0,
            began: 0,
            written: 0,
            read: 0,
            clear: UNREAD_BYTES_MAX,
            frames: 0,
        };
        seat.words().begin(INITIALIZER);
        Ok(seat)
    }

    #[inline]
    fn words(&self) -> DeskWords<'_> {
        words_of(&self.map)
    }

    /// Ends the report on the initializer, and says whether orders are taken from now on.
    pub(crate) fn ready(&mut self, is_ready: bool) {
        self.words().be_ready(if is_ready { 1 } else { 2 });
        self.finish(INITIALIZER);
    }

    /// The next order, which has begun then; `None` when there is none left and the pool wants this worker to end. The thread
    /// spins for a moment if it may, and sleeps then.
    pub(crate) fn next_order(&mut self) -> io::Result<Option<Order>> {
        loop {
            let kernel = Kernel::new(&self.map).with_link(&self.link);
            match self.words().await_next(&kernel, self.next, self.table.is_kept()) {
                Some(Next::Offered) => {
                    let size = self.size()?;
                    // Another worker can do what is not begun here.
                    if size.has_parcel && !self.has_link() {
                        return Err(io::Error::new(io::ErrorKind::NotConnected, "the link of this worker was closed"));
                    }
                    // Else it was revoked at the last moment.
                    if self.words().begin(self.next) {
                        return self.take(size).map(Some);
                    }
                }
                Some(Next::Revoked) => self.skip()?,
                Some(Next::Nothing) => self.table.let_go(),
                None => return Ok(None),
            }
        }
    }

    /// What the next order is, which stands in its stream.
    fn size(&self) -> io::Result<Size> {
        let size = self.words().size(self.next);
        if size.bytes > ORDER_BYTES_MAX as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the desk of this worker was overwritten"));
        }
        Ok(size)
    }

    /// Whether its link is there: what ran here may have closed descriptors that it did not own.
    pub(crate) fn has_link(&self) -> bool {
        self.link.is_open()
    }

    /// Reads the order that has just begun.
    fn take(&mut self, size: Size) -> io::Result<Order> {
        fail_point!("desk: begun");
        let seq = self.next;
        let bytes = self.read_order(size.bytes as usize)?;
        let parcel = if size.has_parcel {
            let end = self.order_at + order_room(size);
            self.receive(seq, Some(Taking { desk: Arc::clone(&self.map), end }))?
        } else {
            None
        };
        fail_point!("desk: taken");
        self.pass(size);
        if !size.has_parcel {
            self.words().free_orders(self.order_at); // Of one with a parcel that is said when the parcel was taken.
        }
        (self.current, self.began) = (seq, self.written);
        Ok(Order { seq, bytes, parcel })
    }

    /// The bytes of the next order.
    #[inline]
    fn read_order(&self, len: usize) -> io::Result<Vec<u8>> {
        if len <= SHORT_ORDER {
            let short = self.words().read_order(self.next, len);
            return Ok(bytemuck::cast_slice(&short)[..len].to_vec());
        }
        Ok(ORDERS.read_vec(&self.map, self.order_at, len)?)
    }

    /// Passes an order that was revoked.
    fn skip(&mut self) -> io::Result<()> {
        let size = self.size()?;
        if size.has_parcel {
            self.receive(self.next, None)?;
        }
        fail_point!("desk: skipped");
        self.pass(size);
        self.words().free_orders(self.order_at);
        Ok(())
    }

    /// Goes on to the order after the next one.
    #[inline]
    fn pass(&mut self, size: Size) {
        self.order_at += order_room(size);
        self.next += 1;
    }

    /// What belongs to an order, which was sent before that was offered; nothing of one that is not to be taken.
    fn receive(&mut self, seq: Seq, taking: Option<Taking>) -> io::Result<Option<Received>> {
        let frame = self.link.receive()?;
        if frame.kind & !IN_TRAY != kind_of(seq) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "another order's frame came over the link"));
        }
        self.table.receive(frame, taking)
    }

    /// Adds to the report on the current order; the pool can read it as soon as this returns. Waits for room.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written + bytes.len() as u64 > self.clear {
            return self.append_slowly(bytes);
        }
        self.write(bytes)
    }

    /// The same for a short item: so many of these bytes. The others are copied along, to where nothing is yet.
    #[inline]
    pub(crate) fn append_short<const ROOM: usize>(&mut self, item: &[u8; ROOM], len: usize) -> io::Result<()> {
        if self.written + ROOM as u64 > self.clear || !REPORTS.write_whole(&self.map, self.written, item)? {
            return self.append(&item[..len]);
        }
        fail_point!("desk: written");
        self.written += len as u64;
        self.words().publish(self.written);
        Ok(())
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        REPORTS.write(&self.map, self.written, bytes)?;
        fail_point!("desk: written");
        self.written += bytes.len() as u64;
        self.words().publish(self.written);
        Ok(())
    }

    /// Adds as much as there is room for, has the pool read it, and so on.
    #[cold]
    fn append_slowly(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.await_room();
            let room = STREAM_BYTES - (self.written - self.read);
            let (part, rest) = bytes.split_at(bytes.len().min(room as usize)); // At most the stream's length.
            self.write(part)?;
            self.clear = self.read + UNREAD_BYTES_MAX;
            if self.written > self.clear {
                self.call();
                self.clear = (self.written + CALL_STEP).min(self.read + STREAM_BYTES);
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Waits until there is room for some bytes.
    fn await_room(&mut self) {
        let kernel = Kernel::new(&self.map);
        loop {
            let read = self.words().reports_read();
            // The pool reads no more than there is.
            if read >= self.read && read <= self.written {
                self.read = read;
            }
            if self.written - self.read < STREAM_BYTES {
                return;
            }
            self.words().await_room(&kernel, read);
        }
    }

    /// Sends a frame that belongs to the report on the current order. Waits for room on the link, while the pool can read
    /// what was sent before.
    pub(crate) fn send_parcel(&mut self, seq: Seq, parcel: Parcel<'_>) -> io::Result<()> {
        debug_assert_eq!(seq, self.current, "one order after the other");
        self.link.send(kind_of(seq), parcel, || self.call())?;
        fail_point!("desk: sent");
        self.frames += 1;
        self.words().publish_frames(self.frames);
        Ok(())
    }

    /// Ends the report on the current order.
    #[inline]
    pub(crate) fn finish(&mut self, seq: Seq) {
        debug_assert_eq!(seq, self.current, "one order after the other");
        fail_point!("desk: to finish");
        let len = self.written - self.began;
        if len <= SHORT_REPORT as u64 {
            self.write_short(seq, len as usize);
        }
        self.words().finish(seq, self.written, self.frames);
        fail_point!("desk: finished");
        self.call();
    }

    /// Writes a short report into its line as well. That costs nothing while it grows, which a long one would pay for.
    #[inline]
    fn write_short(&self, seq: Seq, len: usize) {
        let mut short = Short::default();
        let into: &mut [u8] = bytemuck::cast_slice_mut(&mut short);
        // A desk's mapping is as long as a desk.
        let _ = REPORTS.read(&self.map, self.began, &mut into[..len]);
        self.words().write_report(seq, &short, len);
    }

    /// Rings the bell that the pool listens to.
    #[inline]
    fn call(&self) {
        if let Some(bell) = self.words().bell() {
            self.bells.of(if bell == Listener::Driver as u64 { Listener::Driver } else { Listener::Background }).ring();
        }
    }
}
