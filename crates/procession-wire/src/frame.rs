//! How a message lies in the packets of a socket that keeps packets apart (`SOCK_SEQPACKET`).
//!
//! This module plans the packets of a frame and puts arrived packets together; whoever owns the socket sends
//! and receives them. Relies on `procession-sys` for the kernel's limit alone; it does no IO.
//!
//! # Layout
//!
//! A frame is one packet, or several if it carries more than [`PACKET_DESCRIPTORS_MAX`] descriptors. Each
//! packet begins with a header of [`HEADER_BYTES`] bytes; integers are little endian:
//!
//! | offset | bytes | what |
//! |---:|---:|---|
//! | 0 | 4 | [`MAGIC`] |
//! | 4 | 1 | [`VERSION`] |
//! | 5 | 1 | kind; its meaning is the user's |
//! | 6 | 1 | flags: 1 = the body is a memory file, 2 = the packet continues a frame |
//! | 7 | 1 | zero |
//! | 8 | 4 | descriptors in the whole frame, the memory file included |
//! | 12 | 4 | descriptors in this packet |
//! | 16 | 8 | bytes of the body |
//!
//! A body of up to [`BODY_INLINE_MAX`] bytes follows the first header. A larger one is in a sealed memory
//! file, the first descriptor of the frame; so no sender waits until the receiver has read a large body.
//!
//! # Examples
//!
//! ```
//! use procession_wire::frame::{Assembler, Body, BodyPlace, plan};
//!
//! let body = b"hello";
//! let mut assembler = Assembler::new();
//! for packet in plan(7, body.len(), BodyPlace::of(body.len()), 0)? {
//!     let sent = [packet.header.as_slice(), &body[packet.body]].concat();
//!     if let Some(frame) = assembler.push(&sent, Vec::new())? {
//!         assert_eq!(frame.kind, 7);
//!         assert!(matches!(frame.body, Body::Inline(bytes) if bytes == body));
//!     }
//! }
//! # Ok::<(), procession_wire::frame::FrameError>(())
//! ```

use crate::DESCRIPTORS_MAX;
use std::{mem, ops::Range, os::fd::OwnedFd};

/// What every packet begins with.
pub const MAGIC: [u8; 4] = *b"PRCN";

/// The version of this layout.
pub const VERSION: u8 = 1;

/// The bytes of a packet's header.
pub const HEADER_BYTES: usize = 24;

/// The largest body that stands in the packet itself.
///
/// A socket's buffer holds some 200 KiB by default, so a few frames of this size never make the sender wait;
/// beyond it a memory file costs less than the copies through the socket.
pub const BODY_INLINE_MAX: usize = 64 * 1024;

/// The largest packet: what a receiver's buffer must hold.
pub const PACKET_BYTES_MAX: usize = HEADER_BYTES + BODY_INLINE_MAX;

/// How many descriptors one packet may carry: the kernel's own limit (`SCM_MAX_FD`).
pub const PACKET_DESCRIPTORS_MAX: usize = procession_sys::PACKET_DESCRIPTORS_MAX;

/// The largest body: what a process could map at most (47 bits of address).
pub const BODY_BYTES_MAX: u64 = 1 << 47;

/// How many descriptors one frame may carry: a message's, and the memory file.
pub const FRAME_DESCRIPTORS_MAX: usize = DESCRIPTORS_MAX + 1;

const _: () = assert!(BODY_BYTES_MAX <= isize::MAX as u64 && DESCRIPTORS_MAX < u32::MAX as usize);

/// Where a frame's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPlace {
    /// In the first packet.
    Inline,
    /// In a sealed memory file, the first descriptor of the frame.
    MemoryFile,
}

impl BodyPlace {
    /// Where a body of this size must be.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::frame::{BODY_INLINE_MAX, BodyPlace};
    ///
    /// assert_eq!(BodyPlace::of(BODY_INLINE_MAX), BodyPlace::Inline);
    /// assert_eq!(BodyPlace::of(BODY_INLINE_MAX + 1), BodyPlace::MemoryFile);
    /// ```
    #[must_use]
    pub fn of(body_bytes: usize) -> Self {
        if body_bytes <= BODY_INLINE_MAX { BodyPlace::Inline } else { BodyPlace::MemoryFile }
    }
}

/// One packet to send: the header, then this part of the body, with these descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The header's bytes.
    pub header: [u8; HEADER_BYTES],
    /// The part of the body that follows the header; empty if the body is in a memory file.
    pub body: Range<usize>,
    /// Whether the body's memory file goes before the other descriptors of this packet.
    pub carries_memory_file: bool,
    /// Which of the message's descriptors go with this packet.
    pub descriptors: Range<usize>,
}

/// The packets of one frame, in the order in which they are sent.
#[derive(Debug, Clone)]
pub struct Packets {
    kind: u8,
    place: BodyPlace,
    body_bytes: usize,
    /// In the whole frame, with the memory file.
    descriptors: usize,
    planned: usize,
    first: bool,
}

/// Plans the packets of a frame.
///
/// `body_bytes` is the size of the body wherever it is; `descriptor_count` does not count its memory file.
///
/// # Errors
///
/// The body or the descriptors exceed a limit.
///
/// # Examples
///
/// ```
/// use procession_wire::frame::{BodyPlace, plan};
///
/// let packets: Vec<_> = plan(1, 1 << 20, BodyPlace::MemoryFile, 300)?.collect();
/// assert_eq!(packets.len(), 2);
/// assert!(packets[0].carries_memory_file);
/// assert_eq!((packets[0].descriptors.clone(), packets[1].descriptors.clone()), (0..252, 252..300));
/// # Ok::<(), procession_wire::frame::FrameError>(())
/// ```
pub fn plan(kind: u8, body_bytes: usize, place: BodyPlace, descriptor_count: usize) -> Result<Packets, FrameError> {
    if place == BodyPlace::Inline && body_bytes > BODY_INLINE_MAX || body_bytes as u64 > BODY_BYTES_MAX {
        return Err(FrameError::BodyTooLarge { bytes: body_bytes as u64 });
    }
    if descriptor_count > DESCRIPTORS_MAX {
        return Err(FrameError::TooManyDescriptors { count: descriptor_count });
    }
    let descriptors = descriptor_count + usize::from(place == BodyPlace::MemoryFile);
    Ok(Packets { kind, place, body_bytes, descriptors, planned: 0, first: true })
}

impl Packets {
    fn left(&self) -> usize {
        self.descriptors - self.planned
    }
}

impl Iterator for Packets {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        if !self.first && self.left() == 0 {
            return None;
        }
        let first = mem::replace(&mut self.first, false);
        let in_file = self.place == BodyPlace::MemoryFile;
        let here = self.left().min(PACKET_DESCRIPTORS_MAX);
        let header = Header {
            kind: self.kind,
            in_file,
            continues: !first,
            descriptors: self.descriptors as u32, // At most FRAME_DESCRIPTORS_MAX.
            descriptors_here: here as u32,
            body_bytes: self.body_bytes as u64,
        };
        // Positions among the message's own descriptors, which come after the memory file.
        let files = usize::from(in_file);
        let start = self.planned.saturating_sub(files);
        self.planned += here;
        let body = if first && !in_file { 0..self.body_bytes } else { 0..0 };
        Some(Packet {
            header: header.to_bytes(),
            body,
            carries_memory_file: first && in_file,
            descriptors: start..self.planned - files,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.left().div_ceil(PACKET_DESCRIPTORS_MAX).max(usize::from(self.first));
        (left, Some(left))
    }
}

impl ExactSizeIterator for Packets {}

/// Whether a packet is the first one of a frame. One that comes within another frame tells that nobody goes on with that:
/// its sender had to give up, or has died and somebody else sends.
///
/// # Examples
///
/// ```
/// use procession_wire::frame::{BodyPlace, begins_frame, plan};
///
/// let packets: Vec<_> = plan(1, 0, BodyPlace::Inline, 300)?.collect();
/// assert_eq!([0, 1].map(|at| begins_frame(&packets[at].header)), [true, false]);
/// # Ok::<(), procession_wire::frame::FrameError>(())
/// ```
#[must_use]
pub fn begins_frame(packet: &[u8]) -> bool {
    Header::split(packet).is_ok_and(|(header, _)| !header.continues)
}

/// A frame that arrived whole.
#[derive(Debug)]
pub struct Frame {
    /// What the sender gave as its kind.
    pub kind: u8,
    /// The message's bytes.
    pub body: Body,
    /// The message's descriptors.
    pub descriptors: Vec<OwnedFd>,
}

/// The body of a frame that arrived.
#[derive(Debug)]
pub enum Body {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// A file with the bytes. Whoever maps it must check first that it is sealed against shrinking and as
    /// long as `len` says, for this module does not ask the kernel.
    MemoryFile {
        /// The file.
        file: OwnedFd,
        /// The length that the sender gave.
        len: u64,
    },
}

/// Puts the packets of one connection together, in the order in which they arrive.
///
/// What was received is checked before it is kept. After an error the descriptors are closed, and every
/// further packet is refused: the connection has lost its place. If the sender dies between two packets of a
/// frame, [`Assembler::finish`] tells.
///
/// # Examples
///
/// ```
/// use procession_wire::frame::{Assembler, FrameError};
///
/// let mut assembler = Assembler::new();
/// assert_eq!(assembler.push(b"GET / HTTP/1.1\r\nHost: localhost", Vec::new()).unwrap_err(), FrameError::BadMagic);
/// assert_eq!(assembler.push(b"", Vec::new()).unwrap_err(), FrameError::Failed);
/// ```
#[derive(Debug, Default)]
pub struct Assembler {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Between,
    Within(Partial),
    Failed,
}

/// A frame some of whose packets have arrived.
#[derive(Debug)]
struct Partial {
    header: Header,
    inline: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Assembler {
    /// An assembler that waits for the first packet of a frame.
    #[must_use]
    pub fn new() -> Self {
        Assembler::default()
    }

    /// Takes one packet as it was received; gives the frame if it is whole.
    ///
    /// # Errors
    ///
    /// The packet is not what [`plan`] makes. Its descriptors and those of the frame so far are closed.
    pub fn push(&mut self, packet: &[u8], descriptors: Vec<OwnedFd>) -> Result<Option<Frame>, FrameError> {
        let state = mem::replace(&mut self.state, State::Failed);
        let partial = match state {
            State::Failed => return Err(FrameError::Failed),
            State::Between => Partial::begin(packet, descriptors)?,
            State::Within(partial) => partial.go_on(packet, descriptors)?,
        };
        if !partial.is_whole() {
            self.state = State::Within(partial);
            return Ok(None);
        }
        self.state = State::Between;
        Ok(Some(partial.into_frame()))
    }

    /// Ends the connection.
    ///
    /// # Errors
    ///
    /// It ended in the middle of a frame, or an earlier packet was refused.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procession_wire::frame::Assembler::new().finish().is_ok());
    /// ```
    pub fn finish(self) -> Result<(), FrameError> {
        match self.state {
            State::Between => Ok(()),
            State::Within(_) => Err(FrameError::Unfinished),
            State::Failed => Err(FrameError::Failed),
        }
    }
}

impl Partial {
    fn begin(packet: &[u8], descriptors: Vec<OwnedFd>) -> Result<Self, FrameError> {
        let (header, body) = Header::split(packet)?;
        if header.continues {
            return Err(FrameError::OutOfOrder);
        }
        header.check_descriptors(descriptors.len(), header.descriptors)?;
        let inline = if header.in_file { 0 } else { header.body_bytes };
        if body.len() as u64 != inline {
            return Err(FrameError::WrongLength { declared: inline, received: body.len() });
        }
        Ok(Partial { header, inline: body.to_vec(), descriptors })
    }

    fn go_on(mut self, packet: &[u8], descriptors: Vec<OwnedFd>) -> Result<Self, FrameError> {
        let (header, body) = Header::split(packet)?;
        let expected = Header { continues: true, descriptors_here: header.descriptors_here, ..self.header };
        if header != expected {
            return Err(FrameError::OutOfOrder);
        }
        let left = header.descriptors - self.descriptors.len() as u32; // Never more than were declared.
        header.check_descriptors(descriptors.len(), left)?;
        if !body.is_empty() {
            return Err(FrameError::WrongLength { declared: 0, received: body.len() });
        }
        self.descriptors.extend(descriptors);
        Ok(self)
    }

    fn is_whole(&self) -> bool {
        self.descriptors.len() == self.header.descriptors as usize
    }

    fn into_frame(self) -> Frame {
        let Partial { header, inline, descriptors } = self;
        let mut descriptors = descriptors.into_iter();
        let file = if header.in_file { descriptors.next() } else { None };
        let body = match file {
            Some(file) => Body::MemoryFile { file, len: header.body_bytes },
            None => Body::Inline(inline),
        };
        Frame { kind: header.kind, body, descriptors: descriptors.collect() }
    }
}

/// Why a packet cannot be planned or is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body exceeds [`BODY_INLINE_MAX`] in a packet, or [`BODY_BYTES_MAX`] anywhere.
    #[error("a body of {bytes} bytes does not fit; put bodies above {BODY_INLINE_MAX} bytes into a memory file")]
    BodyTooLarge {
        /// Its size.
        bytes: u64,
    },

    /// The frame carries more descriptors than [`DESCRIPTORS_MAX`].
    #[error("{count} descriptors are more than the {DESCRIPTORS_MAX} of one frame; send several messages")]
    TooManyDescriptors {
        /// How many there are.
        count: usize,
    },

    /// The packet is shorter than a header.
    #[error("a packet of {received} bytes is shorter than a header; the peer does not speak this protocol")]
    TooShort {
        /// Its size.
        received: usize,
    },

    /// The packet does not begin with [`MAGIC`].
    #[error("a packet does not begin as ours do; the peer does not speak this protocol")]
    BadMagic,

    /// The packet has another [`VERSION`].
    #[error("a packet has version {found} instead of {VERSION}; use the same release on both sides")]
    BadVersion {
        /// Its version.
        found: u8,
    },

    /// The header says what no sender says.
    #[error("the header of a packet contradicts itself; the peer does not keep to this protocol")]
    BadHeader,

    /// The body is not as long as the header says.
    #[error(
        "a packet declares {declared} bytes of body and holds {received}; receive into a buffer of the largest packet"
    )]
    WrongLength {
        /// What the header says.
        declared: u64,
        /// What came.
        received: usize,
    },

    /// Other descriptors came than the header says.
    #[error(
        "a packet declares {declared} descriptors and carries {received}; make room for the most that a packet may carry"
    )]
    WrongDescriptors {
        /// What the header says.
        declared: u32,
        /// What came.
        received: usize,
    },

    /// A frame began before the last one was whole, or went on without having begun.
    #[error("a packet does not belong to the frame that is being received; let one thread at a time send")]
    OutOfOrder,

    /// The connection ended between two packets of a frame.
    #[error("the connection ended in the middle of a frame; the sender died while sending")]
    Unfinished,

    /// An earlier packet was refused.
    #[error("an earlier packet of this connection was refused; close the connection")]
    Failed,
}

const FLAG_IN_FILE: u8 = 1;
const FLAG_CONTINUES: u8 = 2;

/// A packet's header; the module's documentation has its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: u8,
    in_file: bool,
    continues: bool,
    descriptors: u32,
    descriptors_here: u32,
    body_bytes: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let flags = (u8::from(self.in_file) * FLAG_IN_FILE) | (u8::from(self.continues) * FLAG_CONTINUES);
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&[VERSION, self.kind, flags, 0]);
        bytes[8..12].copy_from_slice(&self.descriptors.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.descriptors_here.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes
    }

    /// Parts a packet into header and body, and checks what the header says by itself.
    fn split(packet: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let Some((bytes, body)) = packet.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::TooShort { received: packet.len() });
        };
        let [m0, m1, m2, m3, version, kind, flags, zero, d0, d1, d2, d3, h0, h1, h2, h3, length @ ..] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::BadMagic);
        }
        if version != VERSION {
            return Err(FrameError::BadVersion { found: version });
        }
        if flags & !(FLAG_IN_FILE | FLAG_CONTINUES) != 0 || zero != 0 {
            return Err(FrameError::BadHeader);
        }
        let header = Header {
            kind,
            in_file: flags & FLAG_IN_FILE != 0,
            continues: flags & FLAG_CONTINUES != 0,
            descriptors: u32::from_le_bytes([d0, d1, d2, d3]),
            descriptors_here: u32::from_le_bytes([h0, h1, h2, h3]),
            body_bytes: u64::from_le_bytes(length),
        };
        header.check_limits()?;
        Ok((header, body))
    }

    fn check_limits(&self) -> Result<(), FrameError> {
        let files = usize::from(self.in_file);
        let body_max = if self.in_file { BODY_BYTES_MAX } else { BODY_INLINE_MAX as u64 };
        if self.body_bytes > body_max {
            return Err(FrameError::BodyTooLarge { bytes: self.body_bytes });
        }
        let count = self.descriptors as usize;
        if count > DESCRIPTORS_MAX + files {
            return Err(FrameError::TooManyDescriptors { count });
        }
        if count < files {
            return Err(FrameError::BadHeader);
        }
        Ok(())
    }

    /// Compares the descriptors that came with a packet with those that had to, of `left` in the frame.
    fn check_descriptors(&self, received: usize, left: u32) -> Result<(), FrameError> {
        if self.descriptors_here as usize != received {
            return Err(FrameError::WrongDescriptors { declared: self.descriptors_here, received });
        }
        // Each packet is filled before the next begins, so a frame never takes more packets than it needs.
        if self.descriptors_here != left.min(PACKET_DESCRIPTORS_MAX as u32) {
            return Err(FrameError::BadHeader);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_lies_as_the_table_says() {
        let packet = plan(7, 0x0102, BodyPlace::Inline, 300).unwrap().nth(1).unwrap();
        let mut expected = b"PRCN\x01\x07\x02\x00".to_vec();
        expected.extend_from_slice(&300_u32.to_le_bytes());
        expected.extend_from_slice(&47_u32.to_le_bytes());
        expected.extend_from_slice(&0x0102_u64.to_le_bytes());
        assert_eq!(packet.header.as_slice(), expected);
    }

    #[test]
    fn a_plan_keeps_the_limits() {
        let refused = |bytes, place, count| plan(0, bytes, place, count).unwrap_err();
        let too_large = FrameError::BodyTooLarge { bytes: BODY_INLINE_MAX as u64 + 1 };
        assert_eq!(refused(BODY_INLINE_MAX + 1, BodyPlace::Inline, 0), too_large);
        let too_many = FrameError::TooManyDescriptors { count: DESCRIPTORS_MAX + 1 };
        assert_eq!(refused(0, BodyPlace::Inline, DESCRIPTORS_MAX + 1), too_many);
        assert!(plan(0, 0, BodyPlace::MemoryFile, DESCRIPTORS_MAX).is_ok());
        let beyond = BODY_BYTES_MAX as usize + 1;
        assert!(plan(0, beyond, BodyPlace::MemoryFile, 0).is_err());
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        let honest =
            Header { kind: 0, in_file: false, continues: false, descriptors: 0, descriptors_here: 0, body_bytes: 0 };
        let refused = |header: Header| Assembler::new().push(&header.to_bytes(), Vec::new()).unwrap_err();
        let large = BODY_INLINE_MAX as u64 + 1;
        assert_eq!(refused(Header { body_bytes: large, ..honest }), FrameError::BodyTooLarge { bytes: large });
        let many = DESCRIPTORS_MAX as u32 + 1;
        let too_many = FrameError::TooManyDescriptors { count: DESCRIPTORS_MAX + 1 };
        assert_eq!(refused(Header { descriptors: many, ..honest }), too_many);
        assert_eq!(refused(Header { in_file: true, ..honest }), FrameError::BadHeader);
        assert_eq!(refused(Header { continues: true, ..honest }), FrameError::OutOfOrder);
        assert_eq!(refused(Header { descriptors: 1, ..honest }), FrameError::BadHeader);
        let short = FrameError::WrongLength { declared: 1, received: 0 };
        assert_eq!(refused(Header { body_bytes: 1, ..honest }), short);
        let empty = FrameError::WrongDescriptors { declared: 1, received: 0 };
        assert_eq!(refused(Header { descriptors: 1, descriptors_here: 1, ..honest }), empty);
        assert!(Assembler::new().push(&honest.to_bytes(), Vec::new()).unwrap().is_some());
    }
}
