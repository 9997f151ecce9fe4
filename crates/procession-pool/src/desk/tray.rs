//! The tray: memory in which a pool hands large arguments to one worker, again and again.
//!
//! A sealed memory file is new for each body: its pages are found, mapped one by one and given back, which takes several
//! times as long as to copy what is in them. So from the first large body on there is one file that both sides keep mapped.
//! The pool writes it when the worker has nothing there, and the worker copies it out before it says that it has taken the
//! order: so nobody reads what the other may be writing. Numbers are copied at once to where the function finds them.
//! Neither side keeps a descriptor.
//!
//! Relies on the stream of orders to tell that the worker has taken one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use procession_sys::{Access, Mapping, MemoryFile, SharedMap, map_sealed, memory_file, never_shrinks, reserve_file};
use procession_wire::frame::{BODY_INLINE_MAX, Body, Frame};
use procession_wire::{DESCRIPTORS_MAX, Decoder};

use super::link::{Link, Parcel};
use super::words_of;

/// The largest body that goes by a tray; a larger one goes in a file of its own. As much memory each side may keep, so this
/// is what an argument may well be and a worker may well have: 64 MiB, and what stands in front of them.
pub(super) const TRAY_BYTES_MAX: usize = 65 << 20;

/// Trays are multiples of so many bytes.
const TRAY_STEP: usize = 1 << 20;

/// In a frame's kind: its body is in the tray, and the frame says how long it is, and whether the tray's file is its first
/// descriptor.
pub(super) const IN_TRAY: u8 = 0x40;

/// The pool's side.
#[derive(Debug, Default)]
pub(super) struct Tray {
    /// None before there was a large body.
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    map: SharedMap,
    /// Its file, until the worker has it.
    file: Option<OwnedFd>,
    /// Where the order ends that has something there.
    used_until: u64,
}

impl Kept {
    /// One with so much memory, which is set aside now: to lack it later would end this process.
    fn new(bytes: usize) -> io::Result<Self> {
        let file = memory_file("procession-tray", &MemoryFile { bytes: bytes as u64, huge_page_bits: None })?;
        reserve_file(&file, bytes as u64)?;
        let map = SharedMap::map(&file, bytes, Access::ReadWrite)?;
        Ok(Self { map, file: Some(file), used_until: 0 })
    }
}

impl Tray {
    /// Makes the tray ready for a parcel, of an order that ends there; false if the parcel is not to go by it.
    pub(super) fn take(&mut self, parcel: Parcel<'_>, orders_taken: u64) -> bool {
        let bytes = parcel.body.len();
        if !(BODY_INLINE_MAX + 1..=TRAY_BYTES_MAX).contains(&bytes) || parcel.descriptors.len() >= DESCRIPTORS_MAX {
            return false;
        }
        if self.kept.as_ref().is_some_and(|kept| kept.used_until > orders_taken) {
            return false;
        }
        let has = self.kept.as_ref().map_or(0, |kept| kept.map.len());
        if bytes > has {
            // At least the double, so that ever longer bodies do not get a new one each time.
            let wanted = bytes.next_multiple_of(TRAY_STEP).max(2 * has).min(TRAY_BYTES_MAX);
            self.kept = None;
            // Without the memory for that, there may be enough for a file.
            self.kept = Kept::new(wanted).ok();
        }
        self.kept.is_some()
    }

    /// Sends a parcel that [`Tray::take`] was asked for, of an order that ends there; `WouldBlock` if there is no room.
    pub(super) fn try_send(&mut self, link: &Link, kind: u8, parcel: Parcel<'_>, end: u64) -> io::Result<()> {
        let kept = self.kept.as_mut().ok_or(io::ErrorKind::NotFound)?;
        kept.map.write(0, parcel.body)?;
        let mut notice = (parcel.body.len() as u64).to_le_bytes().to_vec();
        notice.push(kept.file.is_some().into());
        let file = kept.file.as_ref().map(AsFd::as_fd);
        let descriptors: Vec<BorrowedFd<'_>> = file.into_iter().chain(parcel.descriptors.iter().copied()).collect();
        link.try_send(kind | IN_TRAY, Parcel { body: &notice, descriptors: &descriptors })?;
        (kept.file, kept.used_until) = (None, end);
        Ok(())
    }

    /// Gives the memory back; false if the worker has not taken yet what is there.
    pub(super) fn let_go(&mut self, orders_taken: u64) -> bool {
        if self.kept.as_ref().is_some_and(|kept| kept.used_until > orders_taken) {
            return false;
        }
        *self = Self::default();
        true
    }

    /// Whether there is one.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }
}

/// A parcel that has arrived.
#[derive(Debug)]
pub(crate) struct Received {
    /// Its bytes.
    pub(crate) body: Bytes,
    /// Its descriptors.
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Received {
    /// What came as a frame of its own, whose memory file is checked if it has one.
    pub(crate) fn from_frame(frame: Frame) -> io::Result<Self> {
        let body = match frame.body {
            Body::Inline(bytes) => Bytes::Own(bytes),
            Body::MemoryFile { file, len } => Bytes::Mapped(map_sealed(&file, len)?),
        };
        Ok(Self { body, descriptors: frame.descriptors })
    }

    /// What `lent` makes of the memory where the body lies in the tray, or `own` of its bytes, which are somewhere else.
    pub(crate) fn read<R>(&self, lent: impl FnOnce(&SharedMap, usize) -> R, own: impl FnOnce(&[u8]) -> R) -> R {
        let read = match &self.body {
            Bytes::Lent(body) => body.read(lent),
            _ => None,
        };
        read.unwrap_or_else(|| own(self.body.as_ref()))
    }

    /// What reads it.
    pub(crate) fn into_decoder(self) -> Decoder {
        Decoder::new(self.body, self.descriptors)
    }
}

/// The bytes of a parcel.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// In memory of their own.
    Own(Vec<u8>),
    /// In a sealed file.
    Mapped(Mapping),
    /// In the tray.
    Lent(Lent),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
            Self::Lent(lent) => lent.bytes(),
        }
    }
}

/// Where a worker keeps its memory for bodies that came by the tray.
type Home = Arc<Mutex<Vec<u8>>>;

/// A body in the tray. It is copied out into memory that goes back where it is kept when somebody looks at the bytes.
#[derive(Debug)]
pub(crate) struct Lent {
    /// Where it lies, until it was copied out.
    place: Mutex<Option<Place>>,
    len: usize,
    bytes: OnceLock<Vec<u8>>,
    home: Home,
}

/// The tray, and who is told that it may be used again when this is dropped.
#[derive(Debug)]
struct Place {
    tray: Arc<SharedMap>,
    taking: Taking,
}

/// An order that has begun, and whose parcel has not been taken.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) desk: Arc<SharedMap>,
    /// Where the order ends.
    pub(super) end: u64,
}

impl Drop for Taking {
    fn drop(&mut self) {
        words_of(&self.desk).free_orders(self.end);
    }
}

impl Lent {
    /// A value that `read` makes of the memory where the body is, and of how long it is, without another copy; `None` if it
    /// was copied out. The tray may be used again after that.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&SharedMap, usize) -> R) -> Option<R> {
        let Place { tray, taking } = self.place.lock().take()?;
        let read = read(&tray, self.len);
        drop(taking);
        Some(read)
    }

    fn bytes(&self) -> &[u8] {
        let bytes = self.bytes.get_or_init(|| self.read(|tray, len| self.copied(tray, len)).unwrap_or_default());
        bytes.get(..self.len).unwrap_or_default()
    }

    /// None where the tray is shorter, which it is not.
    fn copied(&self, tray: &SharedMap, len: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut *self.home.lock());
        if bytes.len() < len {
            // What is there need not be kept, nor be there at the same time.
            drop(bytes);
            return tray.read_vec(0, len).unwrap_or_default();
        }
        if tray.read(0, &mut bytes[..len]).is_ok() { bytes } else { Vec::new() }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            *self.home.lock() = bytes;
        }
    }
}

/// The worker's side.
#[derive(Debug, Default)]
pub(super) struct Table {
    map: Option<Arc<SharedMap>>,
    home: Home,
}

impl Table {
    /// Takes what a frame tells of. Of an order that was revoked nothing is copied, but the tray's file is kept. The order has
    /// been `taken` when nobody reads the tray for it any more.
    pub(super) fn receive(&mut self, mut frame: Frame, taken: Option<Taking>) -> io::Result<Option<Received>> {
        if frame.kind & IN_TRAY == 0 {
            return taken.map(|_| Received::from_frame(frame)).transpose();
        }
        let (len, is_new) = match &frame.body {
            Body::Inline(notice) => read_notice(notice),
            Body::MemoryFile { .. } => None,
        }
        .ok_or_else(|| invalid("a frame says nothing of the tray"))?;
        if is_new {
            self.map = None;
            let file = (!frame.descriptors.is_empty()).then(|| frame.descriptors.remove(0));
            self.map = Some(Arc::new(map_tray(&file.ok_or_else(|| invalid("a tray came without its file"))?)?));
        }
        let map = self.map.as_ref().ok_or_else(|| invalid("a body came by a tray that is not there"))?;
        let Some(taking) = taken else { return Ok(None) };
        if len > map.len() {
            return Err(invalid("a body is longer than the tray that it came by"));
        }
        let place = Mutex::new(Some(Place { tray: Arc::clone(map), taking }));
        let body = Bytes::Lent(Lent { place, len, bytes: OnceLock::new(), home: Arc::clone(&self.home) });
        Ok(Some(Received { body, descriptors: frame.descriptors }))
    }

    /// Whether there is a tray.
    pub(super) fn is_kept(&self) -> bool {
        self.map.is_some()
    }

    /// Gives the memory back.
    pub(super) fn let_go(&mut self) {
        self.map = None;
        *self.home.lock() = Vec::new();
    }
}

/// How long a body in the tray is, and whether the tray is new.
fn read_notice(notice: &[u8]) -> Option<(usize, bool)> {
    let (len, is_new) = notice.split_first_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok().filter(|&len| len <= TRAY_BYTES_MAX)?;
    Some((len, is_new == [1]))
}

/// Maps a tray, all of it.
fn map_tray(file: &OwnedFd) -> io::Result<SharedMap> {
    if !never_shrinks(file) {
        return Err(invalid("a tray came that may become shorter"));
    }
    let bytes = usize::try_from(procession_sys::file_size(file)?).unwrap_or(usize::MAX);
    SharedMap::map(file, bytes.min(TRAY_BYTES_MAX), Access::ReadOnly)
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
