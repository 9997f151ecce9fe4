//! Records: what stands in a segment for each message.
//!
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

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::store::Block;

pub(super) const WORD: u64 = size_of::<u64>() as u64;

/// Where a record's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Inline = 1,
    Block = 2,
    File = 3,
    /// There is none; the next record is in the next segment.
    Skip = 7,
}

/// The first word of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) place: Place,
    pub(super) inline_bytes: u32,
    pub(super) is_raw: bool,
    pub(super) descriptors: u16,
    pub(super) has_ticket: bool,
}

impl Header {
    pub(super) const SKIP: Self =
        Self { place: Place::Skip, inline_bytes: 0, is_raw: false, descriptors: 0, has_ticket: false };

    #[inline]
    pub(super) fn word(self) -> u64 {
        u64::from(self.inline_bytes)
            | (self.place as u64) << 32
            | u64::from(self.is_raw) << 35
            | u64::from(self.descriptors) << 36
            | u64::from(self.has_ticket) << 52
    }

    #[inline]
    pub(super) fn of(word: u64) -> Option<Self> {
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
    #[inline(always)]
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
    pub(super) fn cost(self) -> u64 {
        Self { has_ticket: false, ..self }.bytes()
    }

    /// Bytes of the whole record. Of a header that is written out where this is called, most of it is known.
    #[inline(always)]
    pub(super) fn bytes(self) -> u64 {
        self.words() * WORD + u64::from(self.inline_bytes).next_multiple_of(WORD)
    }
}
/// What is put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) body: Stored<'a>,
    pub(super) is_raw: bool,
    pub(super) descriptors: &'a [BorrowedFd<'a>],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Stored<'a> {
    Inline(&'a [u8], usize),
    Block(Block, u64),
    File(BorrowedFd<'a>, u64),
}

impl Record<'_> {
    /// Its first word; it has a ticket in any case if that is wanted.
    pub(super) fn header(&self, has_ticket: bool) -> Header {
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
    pub(super) fn cost(&self) -> u64 {
        match self.body {
            Stored::Inline(..) => self.header(false).cost(),
            Stored::Block(_, bytes) | Stored::File(_, bytes) => bytes,
        }
    }
}

/// Where a body is by its record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Where {
    Inline(usize),
    Block(u64, u64),
    File(u64),
}

/// What was found in a record.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) body: Where,
    pub(super) is_raw: bool,
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) is_had: bool,
}
