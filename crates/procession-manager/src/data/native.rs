//! The form in which values travel between our own programs, and what they are to serde.
//!
//! To formats that are not for people, such as [`procession_wire`]'s, a value is one byte string: a mark, then every value
//! before what it holds, each with a tag. Bytes are read without recursion and refused unless they are just what is written here:
//! no deeper than [`DATA_DEPTH_MAX`](super::DATA_DEPTH_MAX), and with no more values announced than there are bytes left, so
//! that the memory for them is a fixed multiple of the message. To formats for people a value is what it looks like, with names of
//! newtypes that [`to_data`](super::to_data) knows; [`from_data`](super::from_data) hands over the bytes.

use std::fmt;
use std::marker::PhantomData;

use procession_wire::decode_slice;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeTuple, Serializer};

use crate::data::error::{DataError, DataErrorKind};
use crate::data::items::Map;
use crate::data::walk::{Builder, Container, Unbuilt, Walk};
use crate::data::{DATA_DEPTH_MAX, Data, Opaque};
use crate::identity::ObjectId;

/// By this name a value asks for itself.
pub(super) const NAME: &str = "procession_manager::Data";
/// By these names it tells what serde has no form for.
pub(super) const SET: &str = "procession_manager::Set";
pub(super) const BIG_INTEGER: &str = "procession_manager::BigInteger";
pub(super) const SURROGATES: &str = "procession_manager::SurrogateText";
pub(super) const OPAQUE: &str = "procession_manager::Opaque";
pub(super) const OBJECT: &str = "procession_manager::Object";

/// What a value's bytes begin with. Serde may hand them over as if they were bytes that somebody sent, behind `untagged` or
/// `flatten`; with this, and as all that follows must fit, they are known.
const MARK: [u8; 4] = [0xda, 0x7a, 0xf1, 0x01];

/// The tags of values.
mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INTEGER: u8 = 3;
    pub(super) const BIG_INTEGER: u8 = 4;
    pub(super) const FLOAT: u8 = 5;
    pub(super) const BYTES: u8 = 6;
    pub(super) const TEXT: u8 = 7;
    pub(super) const SURROGATES: u8 = 8;
    pub(super) const OPAQUE: u8 = 9;
    pub(super) const LIST: u8 = 10;
    pub(super) const TUPLE: u8 = 11;
    pub(super) const MAP: u8 = 12;
    pub(super) const SET: u8 = 13;
    pub(super) const OBJECT: u8 = 14;
}

/// Whether a newtype of this name is one of the above.
pub(super) fn is_own(name: &str) -> bool {
    [SET, BIG_INTEGER, SURROGATES, OPAQUE, OBJECT].contains(&name)
}

/// The value's bytes.
pub(super) fn to_bytes(data: &Data) -> Result<Vec<u8>, DataError> {
    let mut bytes = MARK.to_vec();
    let mut walk = Walk::new(data);
    while let Some(value) = walk.next() {
        if walk.depth() > DATA_DEPTH_MAX {
            return Err(DataError::new(DataErrorKind::TooDeep));
        }
        write(value, &mut bytes)?;
    }
    Ok(bytes)
}

/// Writes a value without those that it holds.
fn write(value: &Data, to: &mut Vec<u8>) -> Result<(), DataError> {
    match value {
        Data::Null => to.push(tag::NULL),
        Data::Bool(false) => to.push(tag::FALSE),
        Data::Bool(true) => to.push(tag::TRUE),
        Data::Integer(value) => {
            to.push(tag::INTEGER);
            // Small ones of either sign are short.
            write_count((value << 1 ^ value >> 63) as u64, to);
        }
        Data::BigInteger(value) => write_run(tag::BIG_INTEGER, value.as_le_bytes(), to),
        Data::Float(value) => {
            to.push(tag::FLOAT);
            to.extend(value.to_le_bytes());
        }
        Data::Bytes(value) => write_run(tag::BYTES, value, to),
        Data::Text(value) => write_run(tag::TEXT, value.as_bytes(), to),
        Data::Surrogates(value) => write_run(tag::SURROGATES, value.as_bytes(), to),
        Data::Opaque(value) => {
            write_run(tag::OPAQUE, value.codec.as_bytes(), to);
            write_count(value.bytes.len() as u64, to);
            to.extend_from_slice(&value.bytes);
        }
        Data::List(items) => write_head(tag::LIST, items.len(), to),
        Data::Tuple(items) => write_head(tag::TUPLE, items.len(), to),
        Data::Map(pairs) => write_head(tag::MAP, pairs.len(), to),
        Data::Set(items) => write_head(tag::SET, items.len(), to),
        Data::Object(proxy) => {
            let reference = procession_wire::encode(&**proxy).map_err(serde::ser::Error::custom)?;
            write_run(tag::OBJECT, reference.bytes(), to);
        }
    }
    Ok(())
}

fn write_head(tag: u8, count: usize, to: &mut Vec<u8>) {
    to.push(tag);
    write_count(count as u64, to);
}

fn write_run(tag: u8, bytes: &[u8], to: &mut Vec<u8>) {
    write_head(tag, bytes.len(), to);
    to.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_count(mut count: u64, to: &mut Vec<u8>) {
    while count >= 0x80 {
        to.push(count as u8 | 0x80);
        count >>= 7;
    }
    to.push(count as u8);
}

/// The value of such bytes.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<Data, DataError> {
    let rest = bytes.strip_prefix(&MARK).ok_or_else(|| malformed("the bytes are not those of a value"))?;
    let mut reader = Reader { rest, awaited: 1 };
    let mut builder = Builder::of_foreign();
    loop {
        let made = match reader.value()? {
            Read::Leaf(value) => builder.leaf(value),
            Read::Container(container, count) => builder.container(container, count),
        };
        match made {
            Ok(None) => {}
            Ok(Some(whole)) if reader.rest.is_empty() => return Ok(whole),
            Ok(Some(_)) => return Err(malformed("bytes follow the value")),
            Err(Unbuilt::TooDeep) => return Err(DataError::new(DataErrorKind::TooDeep)),
            Err(Unbuilt::Repeated(key)) => return Err(DataError::repeated(&key)),
        }
    }
}

#[cold]
fn malformed(reason: &'static str) -> DataError {
    DataError::new(DataErrorKind::Malformed { reason })
}

/// What is left of a value's bytes.
struct Reader<'b> {
    rest: &'b [u8],
    /// How many values were announced and have not come, of which each takes a byte at least.
    awaited: usize,
}

enum Read {
    Leaf(Data),
    Container(Container, usize),
}

impl<'b> Reader<'b> {
    fn value(&mut self) -> Result<Read, DataError> {
        self.awaited = self.awaited.saturating_sub(1);
        Ok(Read::Leaf(match self.take(1)? {
            [tag::NULL] => Data::Null,
            [tag::FALSE] => Data::Bool(false),
            [tag::TRUE] => Data::Bool(true),
            [tag::INTEGER] => {
                let folded = self.count()?;
                Data::Integer((folded >> 1) as i64 ^ -((folded & 1) as i64))
            }
            [tag::BIG_INTEGER] => self.big_integer()?,
            [tag::FLOAT] => {
                Data::Float(f64::from_le_bytes(self.take(size_of::<f64>())?.try_into().unwrap_or_default()))
            }
            [tag::BYTES] => self.run()?.into(),
            [tag::TEXT] => self.text()?.into(),
            [tag::SURROGATES] => match Data::text(self.run()?) {
                Some(text @ Data::Surrogates(_)) => text,
                _ => return Err(malformed("a text is not one with lone surrogates")),
            },
            [tag::OPAQUE] => {
                let (codec, bytes) = (self.text()?.into(), self.run()?.into());
                Data::Opaque(Box::new(Opaque { codec, bytes }))
            }
            [tag::OBJECT] => {
                let proxy = decode_slice(self.run()?, Vec::new()).map_err(de::Error::custom)?;
                Data::Object(Box::new(proxy))
            }
            [tag::LIST] => return self.container(Container::List, 1),
            [tag::TUPLE] => return self.container(Container::Tuple, 1),
            [tag::MAP] => return self.container(Container::Map, 2),
            [tag::SET] => return self.container(Container::Set, 1),
            _ => return Err(malformed("there is no such kind of value")),
        }))
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], DataError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| malformed("the value ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn count(&mut self) -> Result<u64, DataError> {
        let mut count = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = u64::from(self.take(1)?[0]);
            let bits = byte & 0x7f;
            if bits << shift >> shift != bits || byte == 0 && shift > 0 {
                break;
            }
            count |= bits << shift;
            if byte < 0x80 {
                return Ok(count);
            }
        }
        Err(malformed("a count is not in its only form"))
    }

    fn run(&mut self) -> Result<&'b [u8], DataError> {
        let count = self.count()?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn text(&mut self) -> Result<&'b str, DataError> {
        std::str::from_utf8(self.run()?).map_err(|_| malformed("a text is not UTF-8"))
    }

    fn big_integer(&mut self) -> Result<Data, DataError> {
        let bytes = self.run()?;
        match Data::integer(bytes) {
            Data::BigInteger(big) if big.as_le_bytes() == bytes => Ok(Data::BigInteger(big)),
            _ => Err(malformed("an integer is not in its shortest form")),
        }
    }

    /// A container, each of whose items, or pairs, is so many values.
    fn container(&mut self, container: Container, values: usize) -> Result<Read, DataError> {
        let count = usize::try_from(self.count()?).unwrap_or(usize::MAX);
        let awaited = count.saturating_mul(values).saturating_add(self.awaited);
        if awaited > self.rest.len() {
            return Err(malformed("more values are announced than can follow"));
        }
        self.awaited = awaited;
        Ok(Read::Container(container, count))
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            let bytes = to_bytes(self).map_err(|error| serde::ser::Error::custom(error.kind()))?;
            return serializer.serialize_bytes(&bytes);
        }
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::BigInteger(value) => match (value.to_i128(), value.to_u128()) {
                (Some(value), _) => serializer.serialize_i128(value),
                (_, Some(value)) => serializer.serialize_u128(value),
                _ => serializer.serialize_newtype_struct(BIG_INTEGER, &Run(value.as_le_bytes())),
            },
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Surrogates(value) => serializer.serialize_newtype_struct(SURROGATES, &Run(value.as_bytes())),
            Self::List(items) => serializer.collect_seq(items),
            Self::Tuple(items) => {
                let mut tuple = serializer.serialize_tuple(items.len())?;
                items.iter().try_for_each(|item| tuple.serialize_element(item))?;
                tuple.end()
            }
            Self::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                pairs.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
            Self::Set(items) => serializer.serialize_newtype_struct(SET, &**items),
            Self::Opaque(value) => serializer.serialize_newtype_struct(OPAQUE, &(&value.codec, Run(&value.bytes))),
            Self::Object(proxy) => proxy.serialize(serializer),
        }
    }
}

/// Bytes, as serde has them.
struct Run<'b>(&'b [u8]);

impl Serialize for Run<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, Whole)
    }
}

/// Receives a value's bytes, from [`from_data`](super::from_data) or a format that is not for people.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a value")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Data, E> {
        from_bytes(bytes).map_err(|error| E::custom(error.kind()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(Any);
        }
        deserializer.deserialize_bytes(Self)
    }
}

/// Receives what a format for people has.
struct Any;

/// What becomes a value as it is.
macro_rules! visits {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(
            fn $method<E: de::Error>(self, value: $type) -> Result<Data, E> {
                Ok(Data::from(value))
            }
        )*
    };
}

impl<'de> Visitor<'de> for Any {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    visits! {
        visit_bool: bool,
        visit_i64: i64,
        visit_i128: i128,
        visit_u64: u64,
        visit_u128: u128,
        visit_f64: f64,
        visit_str: &str,
        visit_string: String,
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Data, E> {
        Ok(from_bytes(bytes).unwrap_or_else(|_| bytes.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Data>()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Data, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = entries.next_entry::<Data, Data>()? {
            pairs.push(pair);
        }
        Map::of_unique(pairs).map(Data::Map).map_err(|key| de::Error::custom(DataError::repeated(&key).kind()))
    }
}

/// Writes a reference that the value takes from its scope.
pub(crate) fn write_object<S: Serializer>(object: ObjectId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_newtype_struct(OBJECT, &Run(&object.to_bytes()))
}

/// Reads a reference that the value has put in its scope; in any other format, what else stands for it.
pub(crate) fn read_object<'de, D, T>(deserializer: D) -> Result<Referred<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_newtype_struct(OBJECT, ReferredVisitor(PhantomData))
}

/// What stands for a reference.
pub(crate) enum Referred<T> {
    /// The name of one that is in the scope.
    Object(ObjectId),
    /// Another form of it.
    Other(T),
}

struct ReferredVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ReferredVisitor<T> {
    type Value = Referred<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a proxy")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Referred<T>, E> {
        let bytes = bytes.try_into().map_err(|_| E::custom("the name of an object has another length"))?;
        Ok(Referred::Object(ObjectId::from_bytes(bytes)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Referred<T>, D::Error> {
        T::deserialize(deserializer).map(Referred::Other)
    }
}

/// Reads a newtype of this name.
pub(super) fn read_newtype<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    name: &'static str,
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_newtype_struct(name, Newtype(PhantomData))
}

struct Newtype<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Newtype<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a newtype")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}
