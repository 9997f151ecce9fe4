//! Values that say themselves what they are: what programs of other images, and of other languages, exchange.
//!
//! [`Data`] is one such value. [`to_data`] and [`from_data`] lead from any serde type to it and back; codecs make it of the
//! bytes of their own world, and back. Relies on serde, and on `proxy.rs` and `scope.rs` for references to objects.
//!
//! # What becomes what
//!
//! | Rust | `Data` | also read from |
//! |---|---|---|
//! | `bool` | `Bool` | |
//! | `i8` to `u128`, `isize`, `usize` | `Integer`, or `BigInteger` if it is no `i64` | |
//! | `f32`, `f64` | `Float` | an integer, if the type has exactly that number |
//! | `String`, `char`, a variant without content | `Text` | |
//! | `()`, a unit struct, `None` | `Null` | `()` from an empty tuple |
//! | `Some(x)` | `x`; an option in an option is refused | |
//! | `Vec`, `HashSet`, any sequence | `List` | a tuple, a set; bytes, as a sequence of `u8` |
//! | a tuple, an array, a tuple struct | `Tuple` | a list, bytes |
//! | `HashMap`, any map; a struct, by its fields' names | `Map` | |
//! | a variant with content | `Map` of one pair: its name, and the content | a variant without content, with `Null` |
//! | what serializes as bytes: `serde_bytes`, `#[serde(with = "procession_wire::bulk")]` | `Bytes` | a list of `u8`, but not for `bulk` |
//! | a field with `#[serde(with = "procession_manager::data::as_set")]` | `Set` | a list, a tuple |
//! | a proxy of a manager's object | `Object` | |
//! | [`Data`] | itself | anything |
//!
//! A `Vec<u8>` is a sequence to serde and therefore a list of integers, which Python shows as one; a field that is to be `bytes`
//! there says so with `bulk` (whose numbers of more than a byte are in the machine's own order). Types with a form for people
//! take it: an IP address is text. Nothing is lost in silence: what has no form is an error that names the place.

mod access; // What is in a value, and values of what Rust has.
mod equal; // Which values are the same.
mod error;
mod from; // Values to types.
mod integer; // Integers of any size.
mod items; // Lists, maps and sets.
mod native; // The bytes in which values travel between our own programs.
mod number; // Numbers of all types, compared.
mod order; // Which value comes first.
mod show; // Values for people.
mod text; // Texts that Unicode does not have.
mod to; // Types to values.
mod walk; // All values in a value, without recursion.

pub use crate::data::equal::Key;
pub use crate::data::error::{DataError, DataErrorKind};
pub use crate::data::from::from_data;
pub use crate::data::integer::BigInteger;
pub use crate::data::items::{Items, Map, Set};
pub(crate) use crate::data::native::{Referred, read_object, write_object};
pub use crate::data::text::SurrogateText;
pub use crate::data::to::{as_set, to_data};
use crate::proxy::RawProxy;

/// How deep lists, tuples, maps and sets may nest in a value.
///
/// What makes values of a peer's bytes refuses more, so that whoever walks a value may recurse: 200 levels take a fraction of a
/// thread's stack. It is more than what `pickle` does with Python's default limit of recursion for most types.
pub const DATA_DEPTH_MAX: usize = 200;

/// How many characters of a value are shown to people: as many as CPython's `debug_info` shows of an object.
pub const DATA_TEXT_MAX: usize = 75;

/// A value that says itself what it is.
///
/// Two values are equal if Python says so of what they stand for: `1`, `1.0` and `true` are equal and have one hash, text and
/// bytes are never equal, nor a list and a tuple, and maps and sets are equal in any order. NaN is not equal to itself; as a key
/// it is, see [`Key`].
///
/// Values may be made deeper than [`DATA_DEPTH_MAX`] by hand, and are dropped and cloned without recursion. What lies deeper is
/// not looked at by `==` (which says that they differ), by the hash, or for people, and cannot be sent.
///
/// # Python
/// What `pickle` makes of plain data.
///
/// # Examples
///
/// ```
/// use procession_manager::Data;
///
/// let job = Data::map([("name", Data::from("resize")), ("sizes", Data::list([64, 256]))]);
/// assert_eq!(job["sizes"][1], 256);
/// assert_eq!(job["name"].as_str(), Some("resize"));
/// assert!(job["owner"].is_null());
/// assert_eq!(job.to_string(), r#"{"name": "resize", "sizes": [64, 256]}"#);
/// ```
#[derive(Default)]
pub enum Data {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// An integer that fits.
    Integer(i64),
    /// Any other integer.
    BigInteger(BigInteger),
    /// A number with a fraction, or one that is no number.
    Float(f64),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// Text.
    Text(Box<str>),
    /// Text that is not Unicode, as names of files can be in Python.
    Surrogates(SurrogateText),
    /// Values in order.
    List(Items),
    /// Values in order, of a fixed number.
    Tuple(Items),
    /// Pairs, in the order in which they were inserted; keys are unique.
    Map(Map),
    /// Values without order; each is in it once.
    Set(Set),
    /// What only its own kind of program understands: kept and given back as it came.
    Opaque(Box<Opaque>),
    /// A reference to an object of a manager, which the value keeps alive.
    Object(Box<RawProxy>),
}

/// A value of some other world, which is passed on unread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opaque {
    /// Whose it is: the codec's name.
    pub codec: Box<str>,
    /// Its form there.
    pub bytes: Box<[u8]>,
}

impl Data {
    /// A list.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// assert_eq!(Data::list(["a", "b"]), Data::from_iter(["a", "b"]));
    /// assert_ne!(Data::list([1, 2]), Data::tuple([1, 2]));
    /// ```
    pub fn list<T: Into<Data>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// A tuple.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// let pair = Data::tuple([Data::from("x"), Data::from(1.5)]);
    /// assert_eq!(pair.to_string(), r#"("x", 1.5)"#);
    /// ```
    pub fn tuple<T: Into<Data>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Tuple(items.into_iter().collect())
    }

    /// A set: of items that are equal as keys, the first is in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// assert_eq!(Data::set([3, 1, 3]), Data::set([1, 3]));
    /// ```
    pub fn set<T: Into<Data>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Set(items.into_iter().collect())
    }

    /// A map: of keys that are equal the first place and the last value are in it, as in Python's `dict`.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// let map = Data::map([(1, "one"), (2, "two")]);
    /// assert_eq!(map.get(2).and_then(Data::as_str), Some("two"));
    /// ```
    pub fn map<K: Into<Data>, V: Into<Data>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(pairs.into_iter().collect())
    }

    /// What kind of value it is, for people: `text`, `integer`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procession_manager::Data::from(1.5).kind(), "float");
    /// ```
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Integer(_) | Self::BigInteger(_) => "integer",
            Self::Float(_) => "float",
            Self::Bytes(_) => "bytes",
            Self::Text(_) | Self::Surrogates(_) => "text",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Map(_) => "map",
            Self::Set(_) => "set",
            Self::Opaque(_) => "opaque",
            Self::Object(_) => "proxy",
        }
    }
}
