//! Values for people: JSON where it has a form, Python's where it has none.
//!
//! Recursion ends at [`DATA_DEPTH_MAX`], and what is cut is not made first. Relies on nothing.

use std::fmt::{self, Write};

use crate::data::{DATA_DEPTH_MAX, DATA_TEXT_MAX, Data, Items, Map, Set};

/// The value for people, cut to [`DATA_TEXT_MAX`] characters.
///
/// `{:?}` gives all of it.
///
/// # Python
/// What `debug_info` shows of an object: `str(obj)[:75]`.
///
/// # Examples
///
/// ```
/// use procession_manager::Data;
///
/// let data = Data::list([Data::from(1.0), Data::Null, Data::from(b"\x00a"), Data::set([2])]);
/// assert_eq!(data.to_string(), r#"[1.0, null, b"\x00a", {2}]"#);
/// assert_eq!(Data::list(0..1000).to_string().chars().count(), 75);
/// ```
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&shortened(format_args!("{self:?}")))
    }
}

/// The whole value for people.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, f, DATA_DEPTH_MAX)
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, ["[", "]"], self.iter(), |item, f| show(item, f, DATA_DEPTH_MAX))
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_map(self, f, DATA_DEPTH_MAX)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_set(self, f, DATA_DEPTH_MAX)
    }
}

/// A text of at most [`DATA_TEXT_MAX`] characters, of which the last says that more were left out.
pub(super) fn shortened(text: fmt::Arguments<'_>) -> String {
    let mut cut = Cut { text: String::new(), left: DATA_TEXT_MAX };
    if cut.write_fmt(text).is_err() {
        cut.text.pop();
        cut.text.push('…');
    }
    cut.text
}

/// Takes so many characters, and refuses all after them.
struct Cut {
    text: String,
    left: usize,
}

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(character);
        }
        Ok(())
    }
}

fn show(data: &Data, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
    let Some(inner) = depth.checked_sub(1).or_else(|| data.as_container().is_none().then_some(0)) else {
        return f.write_str("…");
    };
    match data {
        Data::Null => f.write_str("null"),
        Data::Bool(value) => write!(f, "{value}"),
        Data::Integer(value) => write!(f, "{value}"),
        Data::BigInteger(value) => write!(f, "{value}"),
        Data::Float(value) if value.is_nan() => f.write_str("nan"),
        Data::Float(value) => write!(f, "{value:?}"),
        Data::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
        Data::Text(text) => write!(f, "{:?}", &**text),
        Data::Surrogates(text) => write!(f, "{text:?}"),
        Data::List(items) => row(f, ["[", "]"], items.iter(), |item, f| show(item, f, inner)),
        Data::Tuple(items) => {
            let ends = ["(", if items.len() == 1 { ",)" } else { ")" }];
            row(f, ends, items.iter(), |item, f| show(item, f, inner))
        }
        Data::Map(map) => show_map(map, f, inner),
        Data::Set(set) => show_set(set, f, inner),
        Data::Opaque(opaque) => write!(f, "<{}, {} bytes>", opaque.codec, opaque.bytes.len()),
        Data::Object(proxy) => write!(f, "<object {}>", proxy.object()),
    }
}

fn show_map(map: &Map, f: &mut fmt::Formatter<'_>, inner: usize) -> fmt::Result {
    row(f, ["{", "}"], map.iter(), |(key, value), f| {
        show(key, f, inner)?;
        f.write_str(": ")?;
        show(value, f, inner)
    })
}

fn show_set(set: &Set, f: &mut fmt::Formatter<'_>, inner: usize) -> fmt::Result {
    if set.is_empty() {
        return f.write_str("set()");
    }
    row(f, ["{", "}"], set.iter(), |item, f| show(item, f, inner))
}

fn row<'f, T>(
    f: &mut fmt::Formatter<'f>,
    [begin, end]: [&str; 2],
    items: impl Iterator<Item = T>,
    mut show: impl FnMut(T, &mut fmt::Formatter<'f>) -> fmt::Result,
) -> fmt::Result {
    f.write_str(begin)?;
    for (at, item) in items.enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        show(item, f)?;
    }
    f.write_str(end)
}
