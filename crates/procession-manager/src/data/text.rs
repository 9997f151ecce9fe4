//! Texts that Unicode does not have: Python's `str` may hold halves of surrogate pairs, and does for names of files.
//!
//! `os.fsdecode` puts `U+DC80` to `U+DCFF` in place of bytes that are no UTF-8. Such a text must come back as it was, so it is
//! kept, in the form that Python calls `surrogatepass`. Relies on nothing.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::data::Data;

/// A text with at least one lone surrogate, as UTF-8 that encodes them as if they were characters.
///
/// [`Data::text`] makes it. It cannot be read as a `String`; [`to_file_name`](Data::to_file_name) gives the file's name that it
/// most likely is.
///
/// # Python
/// A `str` whose `encode("utf-8", "surrogatepass")` are these bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SurrogateText(Box<[u8]>);

/// How many bytes a surrogate takes.
const SURROGATE_BYTES: usize = 3;

impl SurrogateText {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The text with a replacement character for each surrogate.
impl fmt::Display for SurrogateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        parts(&self.0).try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            _ => f.write_str("\u{fffd}"),
        })
    }
}

/// The text with Python's escape for each surrogate.
impl fmt::Debug for SurrogateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        parts(&self.0).try_for_each(|part| match part {
            Part::Text(text) => write!(f, "{}", text.escape_debug()),
            Part::Surrogate(unit) => write!(f, "\\u{unit:04x}"),
            Part::Neither => Ok(()),
        })?;
        f.write_str("\"")
    }
}

impl Data {
    /// The text of these bytes, which are UTF-8 or what Python's `surrogatepass` makes of a `str`; `None` for any others.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// assert_eq!(Data::text("plain").unwrap(), "plain");
    /// assert_eq!(Data::text(*b"a\xed\xb2\x80").unwrap().to_string(), r#""a\udc80""#);
    /// assert!(Data::text(*b"a\x80").is_none());
    /// ```
    #[must_use]
    pub fn text(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = match String::from_utf8(bytes.into()) {
            Ok(text) => return Some(Self::from(text)),
            Err(error) => error.into_bytes(),
        };
        let is_text = parts(&bytes).all(|part| !matches!(part, Part::Neither));
        is_text.then(|| Self::Surrogates(SurrogateText(bytes.into())))
    }

    /// A file's name as Python has it: bytes of it that are no UTF-8 are surrogates.
    ///
    /// # Python
    /// `os.fsdecode`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::ffi::OsStr;
    /// use std::os::unix::ffi::OsStrExt;
    /// use procession_manager::Data;
    ///
    /// let name = OsStr::from_bytes(b"caf\xe9.txt");
    /// let data = Data::from_file_name(name);
    /// assert_eq!(data.to_string(), r#""caf\udce9.txt""#);
    /// assert_eq!(data.to_file_name().as_deref(), Some(name));
    /// ```
    #[must_use]
    pub fn from_file_name(name: &OsStr) -> Self {
        let mut bytes = Vec::with_capacity(name.len());
        for chunk in name.as_bytes().utf8_chunks() {
            bytes.extend_from_slice(chunk.valid().as_bytes());
            // The byte is in the last eight bits of the surrogate.
            bytes.extend(chunk.invalid().iter().flat_map(|byte| [0xed, 0xb0 | byte >> 6, 0x80 | byte & 0x3f]));
        }
        Self::text(bytes).unwrap_or_default()
    }

    /// The file's name that a text stands for; `None` for other values, and for texts that no file's name becomes.
    ///
    /// # Python
    /// `os.fsencode`.
    #[must_use]
    pub fn to_file_name(&self) -> Option<OsString> {
        let Self::Surrogates(text) = self else {
            return self.as_str().map(OsString::from);
        };
        let mut name = Vec::with_capacity(text.0.len());
        for part in parts(&text.0) {
            match part {
                Part::Text(text) => name.extend_from_slice(text.as_bytes()),
                Part::Surrogate(unit @ 0xdc80..=0xdcff) => name.push((unit & 0xff) as u8),
                _ => return None,
            }
        }
        Some(OsString::from_vec(name))
    }
}

/// What such bytes consist of.
enum Part<'t> {
    Text(&'t str),
    Surrogate(u16),
    /// Bytes that are neither; the last part there is.
    Neither,
}

fn parts(bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((&[0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf], after)) =
            rest.split_first_chunk::<SURROGATE_BYTES>()
        {
            rest = after;
            return Some(Part::Surrogate(0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f)));
        }
        let text = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
        };
        if text.is_empty() {
            rest = &[];
            return Some(Part::Neither);
        }
        rest = &rest[text.len()..];
        Some(Part::Text(text))
    })
}
