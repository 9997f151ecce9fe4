//! What a child's log consists of: packets, each one record, and the limits that both sides keep.
//!
//! A packet socket keeps them apart and in order. A callsite is described once, under a number; what follows refers to
//! the number. A child that keeps to the limits is never refused; the parent checks them all the same.

use std::fmt;

use serde::{Deserialize, Serialize};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// The most fields of a record or a span in the parent, its process's number and name among them. If a child's has
/// more, the last ones stand in one field, `fields.more`: `name=value name=value`.
///
/// It is what `tracing`'s own macros long took, so what subscribers are made for.
pub const FIELDS_MAX: usize = 32;

/// How many bytes a record may have on its way. The texts of a larger one are cut, and end with [`CUT_MARK`]. A fraction
/// of what a socket's buffer holds, so that a child seldom waits for its parent.
pub const RECORD_BYTES_MAX: usize = 32 * 1024;

/// What a text ends with that was cut.
pub const CUT_MARK: &str = "… (cut)";

/// How many distinct callsites of children a process tells apart. Each takes some hundred bytes for ever, as a
/// program's own do; the records of further ones arrive as text under a target of ours.
pub const CALLSITES_MAX: usize = 16 * 1024;

/// How many bytes each of a callsite's texts may have (target, name, file, module).
pub const CALLSITE_TEXT_MAX: usize = 512;

/// How many bytes the name of a field may have.
pub const FIELD_NAME_MAX: usize = 64;

/// How many spans of one child may be open. What is opened beyond them is left out; records in it stand in the next
/// span around.
pub const SPANS_MAX: usize = 64 * 1024;

/// How many causes of an error are kept.
pub(super) const CAUSES_MAX: usize = 16;

/// What a record's values take beside its texts: the marks of cut texts, the numbers, the names of nothing.
const RECORD_OVERHEAD: usize = 4 * 1024;

/// How many bytes the texts of a record may have together.
pub(super) const RECORD_TEXTS_MAX: usize = RECORD_BYTES_MAX - RECORD_OVERHEAD;

/// The fields that say whose a record is.
pub(super) const PID: &str = "process.pid";
pub(super) const NAME: &str = "process.name";

/// The field for what has no field of its own.
pub(super) const MORE: &str = "fields.more";

/// One packet of a child's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Packet {
    /// From here on the number stands for this callsite.
    Callsite(u32, Described),
    Span {
        id: u64,
        parent: Option<u64>,
        callsite: u32,
        values: Values,
    },
    Event {
        parent: Option<u64>,
        callsite: u32,
        values: Values,
    },
    Record(u64, Values),
    Follows(u64, u64),
    Enter(u64),
    Exit(u64),
    Close(u64),
}

/// Values by the numbers of their fields.
pub(super) type Values = Vec<(u8, Value)>;

/// A callsite, as it is described.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) is_span: bool,
    /// From 1, ERROR, to 5, TRACE.
    pub(super) level: u8,
    pub(super) name: String,
    pub(super) target: String,
    pub(super) module: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) fields: Vec<String>,
}

impl Described {
    /// True when it keeps to the limits.
    pub(super) fn is_fair(&self) -> bool {
        let texts = [Some(&self.name), Some(&self.target), self.module.as_ref(), self.file.as_ref()];
        level_of(self.level).is_some()
            && texts.into_iter().flatten().all(|text| text.len() <= CALLSITE_TEXT_MAX)
            && self.fields.len() <= fields_max(self.says_whose())
            && self.fields.iter().all(|name| name.len() <= FIELD_NAME_MAX)
    }

    /// True when its fields say whose it is: the child passes on what it got from its own child.
    pub(super) fn says_whose(&self) -> bool {
        says_whose(self.fields.iter().map(String::as_str))
    }
}

/// True when these fields say whose a record is.
pub(super) fn says_whose<'a>(mut fields: impl Iterator<Item = &'a str>) -> bool {
    let mut found = (false, false);
    fields.any(|name| {
        found = (found.0 || name == PID, found.1 || name == NAME);
        found == (true, true)
    })
}

/// How many fields a callsite may be described with: room is left for those that the parent adds.
pub(super) fn fields_max(says_whose: bool) -> usize {
    if says_whose { FIELDS_MAX } else { FIELDS_MAX - 2 }
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Value {
    Bool(bool),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Str(String),
    /// What its `Debug` wrote.
    Debug(String),
    /// The messages of an error and its causes.
    Error(String, Vec<String>),
}

impl Value {
    /// Its texts.
    pub(super) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let (first, rest) = match self {
            Self::Str(text) | Self::Debug(text) => (Some(text), None),
            Self::Error(text, causes) => (Some(text), Some(causes)),
            _ => (None, None),
        };
        first.into_iter().chain(rest.into_iter().flatten())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::I64(value) => write!(f, "{value}"),
            Self::U64(value) => write!(f, "{value}"),
            Self::I128(value) => write!(f, "{value}"),
            Self::U128(value) => write!(f, "{value}"),
            Self::F64(value) => write!(f, "{value}"),
            Self::Str(text) => write!(f, "{text:?}"),
            Self::Debug(text) | Self::Error(text, _) => f.write_str(text),
        }
    }
}

/// A text that keeps to a limit, and says so when it was cut.
#[derive(Debug)]
pub(super) struct Bounded {
    text: String,
    bytes_max: usize,
    cut: bool,
}

impl Bounded {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { text: String::new(), bytes_max, cut: false }
    }

    /// What was written, with a mark if it is not all.
    pub(super) fn finish(mut self) -> String {
        if self.cut {
            self.text.push_str(CUT_MARK);
        }
        self.text
    }
}

impl fmt::Write for Bounded {
    /// Never fails, since who writes may not expect it to; what is too much is thrown away.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = if self.cut { "" } else { begin(text, self.bytes_max - self.text.len()) };
        self.text.push_str(kept);
        self.cut |= kept.len() < text.len();
        Ok(())
    }
}

/// The beginning of a text, whole characters of at most so many bytes.
pub(super) fn begin(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Cuts a text to so many bytes and a mark.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str(CUT_MARK);
    }
}

/// A level as it is sent: from 1, ERROR, to 5, TRACE.
pub(super) fn number_of(level: Level) -> u8 {
    number_of_filter(LevelFilter::from_level(level))
}

/// The reverse of [`number_of`].
pub(super) fn level_of(number: u8) -> Option<Level> {
    filter_of(number)?.into_level()
}

/// Every filter, each at its number.
const FILTERS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// A filter as it is sent: 0, OFF, or as a level.
pub(super) fn number_of_filter(filter: LevelFilter) -> u8 {
    FILTERS.iter().position(|&known| known == filter).unwrap_or(0) as u8
}

/// The reverse of [`number_of_filter`].
pub(super) fn filter_of(number: u8) -> Option<LevelFilter> {
    FILTERS.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn levels_are_numbered_from_one() {
        for (number, level) in
            [(1, Level::ERROR), (2, Level::WARN), (3, Level::INFO), (4, Level::DEBUG), (5, Level::TRACE)]
        {
            assert_eq!((number_of(level), level_of(number)), (number, Some(level)));
        }
        assert_eq!((level_of(0), level_of(6)), (None, None));
        assert_eq!((filter_of(0), number_of_filter(LevelFilter::OFF)), (Some(LevelFilter::OFF), 0));
    }

    #[test]
    fn a_text_is_cut_at_a_character_and_says_so() {
        let mut text = Bounded::new(5);
        write!(text, "aböö").unwrap();
        write!(text, "c").unwrap();
        assert_eq!(text.finish(), format!("abö{CUT_MARK}"));
        let mut text = Bounded::new(5);
        write!(text, "abö").unwrap();
        write!(text, "c").unwrap();
        assert_eq!(text.finish(), "aböc");
        let mut text = "öö".to_owned();
        cut(&mut text, 3);
        assert_eq!(text, format!("ö{CUT_MARK}"));
    }

    #[test]
    fn two_fields_say_whose_it_is() {
        assert!(says_whose(["a", NAME, PID].into_iter()));
        assert!(!says_whose(["a", PID, PID].into_iter()));
        assert_eq!((fields_max(true), fields_max(false)), (32, 30));
    }
}
