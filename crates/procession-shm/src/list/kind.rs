//! The kinds of items, and how Python marks them.
//!
//! Relies on the format strings of Python's `struct` module, of which a list uses five, and on the four numbers by which
//! it says what the unpacked bytes become. Each item has one of either.

use std::fmt;
use std::io::Write;

use super::item::ShareableItem;

/// Bytes of a format, padded with zeros.
pub(super) const FORMAT_BYTES: usize = 8;

/// Bytes of an item that is no text and no bytes.
const WORD: usize = 8;

/// What an item is marked as. Text and bytes have the length that the mark tells, which is the slot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Float,
    Bool,
    None,
    Text(usize),
    Bytes(usize),
}

/// The number for what is as unpacked: int, float, bool.
const AS_UNPACKED: u8 = 0;
const IS_TEXT: u8 = 1;
const IS_BYTES: u8 = 2;
const IS_NONE: u8 = 3;

impl Kind {
    /// The kind of an item that stands in a slot.
    pub(super) fn of(item: &ShareableItem, slot: usize) -> Self {
        match item {
            ShareableItem::Int(_) => Self::Int,
            ShareableItem::Float(_) => Self::Float,
            ShareableItem::Bool(_) => Self::Bool,
            ShareableItem::None => Self::None,
            ShareableItem::Str(_) => Self::Text(slot),
            ShareableItem::Bytes(_) => Self::Bytes(slot),
        }
    }

    /// The kind that a mark means, if it is one that is ever written.
    pub(super) fn parse(format: [u8; FORMAT_BYTES], code: u8) -> Option<Self> {
        let end = format.iter().rposition(|&byte| byte != 0)? + 1;
        match (&format[..end], code) {
            (b"q", AS_UNPACKED) => Some(Self::Int),
            (b"d", AS_UNPACKED) => Some(Self::Float),
            (b"xxxxxxx?", AS_UNPACKED) => Some(Self::Bool),
            (b"xxxxxx?x", IS_NONE) => Some(Self::None),
            ([digits @ .., b's'], IS_TEXT) => number(digits).map(Self::Text),
            ([digits @ .., b's'], IS_BYTES) => number(digits).map(Self::Bytes),
            _ => None,
        }
    }

    /// How Python marks it.
    pub(super) fn format(self) -> [u8; FORMAT_BYTES] {
        let mut format = [0; FORMAT_BYTES];
        // Slots are too short for a number that would be cut here.
        let _ = write!(&mut format[..], "{self}");
        format
    }

    /// What Python makes of the unpacked bytes.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Int | Self::Float | Self::Bool => AS_UNPACKED,
            Self::Text(_) => IS_TEXT,
            Self::Bytes(_) => IS_BYTES,
            Self::None => IS_NONE,
        }
    }

    /// How many bytes of its slot an item of this kind takes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Int | Self::Float | Self::Bool | Self::None => WORD,
            Self::Text(bytes) | Self::Bytes(bytes) => bytes,
        }
    }
}

/// A number in digits, of which a format has room for seven.
fn number(digits: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int => f.write_str("q"),
            Self::Float => f.write_str("d"),
            Self::Bool => f.write_str("xxxxxxx?"),
            Self::None => f.write_str("xxxxxx?x"),
            Self::Text(bytes) | Self::Bytes(bytes) => write!(f, "{bytes}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        for kind in [Kind::Int, Kind::Float, Kind::Bool, Kind::None, Kind::Text(8), Kind::Bytes(9_999_992)] {
            assert_eq!(Kind::parse(kind.format(), kind.code()), Some(kind));
        }
    }

    #[test]
    fn no_other_mark_means_anything() {
        let marks: [(&[u8; 8], u8); 9] = [
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"q\0\0\0\0\0\0\0", 1),
            (b"\0q\0\0\0\0\0\0", 0),
            (b"s\0\0\0\0\0\0\0", 1),
            (b"+8s\0\0\0\0\0", 1),
            (b"-8s\0\0\0\0\0", 2),
            (b"8s\0\0\0\0\0\0", 0),
            (b"8s\0\0\0\0\0\0", 4),
            (b"\xffs\0\0\0\0\0\0", 1),
        ];
        for (format, code) in marks {
            assert_eq!(Kind::parse(*format, code), None, "{format:?} {code}");
        }
    }
}
