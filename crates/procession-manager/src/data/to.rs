//! From values of types to values without: a serializer whose output is [`Data`].
//!
//! Relies on [`native`](super::native) for the names by which a `Data` in the value tells what serde has no form for.

use std::any::type_name;

use serde::Serialize;
use serde::ser::{self, Error as _};

use crate::data::error::{DataError, DataErrorKind, Step};
use crate::data::items::{Map, Set};
use crate::data::{DATA_DEPTH_MAX, Data, Opaque, native};
use crate::identity::ObjectId;
use crate::scope;

/// Makes a value without a type of one that has one.
///
/// The [module](crate::data) says what becomes what. A [`Data`], wherever it stands, becomes itself.
///
/// # Errors
/// The type's own; an option in an option; two keys of a map that are the same, as `1` and `1.0` are; the value nests deeper than
/// [`DATA_DEPTH_MAX`], where options and newtypes count as levels too.
///
/// # Examples
///
/// ```
/// use procession_manager::to_data;
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// enum Shape {
///     Empty,
///     Circle { radius: f64 },
///     Square(u32),
/// }
///
/// let shapes = to_data(&[Shape::Empty, Shape::Circle { radius: 1.5 }, Shape::Square(2)].as_slice())?;
/// assert_eq!(shapes.to_string(), r#"["Empty", {"Circle": {"radius": 1.5}}, {"Square": 2}]"#);
/// # Ok::<(), procession_manager::data::DataError>(())
/// ```
pub fn to_data<T: Serialize + ?Sized>(value: &T) -> Result<Data, DataError> {
    scope::convert(|| value.serialize(Serializer::new())).map_err(|error| error.about(type_name::<T>(), false))
}

/// For a field that is to be a set for programs in other languages, which serde takes for any other sequence.
///
/// # Examples
///
/// ```
/// use std::collections::HashSet;
/// use procession_manager::{Data, to_data};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Post {
///     #[serde(with = "procession_manager::data::as_set")]
///     tags: HashSet<String>,
/// }
///
/// let post = to_data(&Post { tags: HashSet::from(["new".into()]) })?;
/// assert_eq!(post["tags"], Data::set(["new"]));
/// # Ok::<(), procession_manager::data::DataError>(())
/// ```
pub mod as_set {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::data::native;

    /// Writes a field as a set.
    ///
    /// # Errors
    /// Those of the serializer; for [`to_data`](crate::to_data), two items are the same.
    pub fn serialize<T: Serialize, S: Serializer>(field: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(native::SET, field)
    }

    /// Reads a field.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        native::read_newtype(native::SET, deserializer)
    }
}

/// Makes one value, at one depth.
#[derive(Clone, Copy)]
struct Serializer {
    /// How many levels may still follow below.
    depth: usize,
    /// Whether the value stands in an option, so that it must not be null.
    in_option: bool,
}

impl Serializer {
    fn new() -> Self {
        Self { depth: DATA_DEPTH_MAX, in_option: false }
    }

    /// What makes the values that this one holds.
    fn nested(self) -> Result<Self, DataError> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| DataError::new(DataErrorKind::TooDeep))?;
        Ok(Self { depth, in_option: false })
    }

    fn null(self) -> Result<Data, DataError> {
        if self.in_option {
            return Err(DataError::new(DataErrorKind::AmbiguousOption));
        }
        Ok(Data::Null)
    }

    fn row(self, is_tuple: bool, len: usize) -> Result<Row, DataError> {
        Ok(Row { nested: self.nested()?, items: Vec::with_capacity(len.min(RESERVED_MAX)), is_tuple, variant: None })
    }

    fn fields(self, len: usize) -> Result<Fields, DataError> {
        let pairs = Vec::with_capacity(len.min(RESERVED_MAX));
        Ok(Fields { nested: self.nested()?, pairs, key: Data::Null, variant: None })
    }
}

/// The most room that is made before values come, whatever the type says.
const RESERVED_MAX: usize = 1 << 16;

/// The map that a variant with content is.
fn variant_map(variant: &'static str, content: Data) -> Data {
    Data::Map(Map::of_known(vec![(variant.into(), content)]))
}

fn in_field(name: &'static str) -> impl FnOnce(DataError) -> DataError {
    move |error| error.inside(Step::Field(name.into()))
}

/// What has no parts.
macro_rules! leaves {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(
            fn $method(self, value: $type) -> Result<Data, DataError> {
                Ok(Data::from(value))
            }
        )*
    };
}

impl ser::Serializer for Serializer {
    type Ok = Data;
    type Error = DataError;
    type SerializeSeq = Row;
    type SerializeTuple = Row;
    type SerializeTupleStruct = Row;
    type SerializeTupleVariant = Row;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    leaves! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
    }

    fn serialize_none(self) -> Result<Data, DataError> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Data, DataError> {
        value.serialize(Self { in_option: true, ..self.nested()? })
    }

    fn serialize_unit(self) -> Result<Data, DataError> {
        self.null()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Data, DataError> {
        self.null()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Data, DataError> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Data, DataError> {
        if native::is_own(name) {
            // One value that holds no other is a tuple to serde.
            let depth = self.depth + usize::from(name == native::OPAQUE);
            return own(name, value.serialize(Self { depth, in_option: false })?);
        }
        value.serialize(Self { in_option: self.in_option, ..self.nested()? })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Data, DataError> {
        let content = value.serialize(self.nested()?).map_err(in_field(variant))?;
        Ok(variant_map(variant, content))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Row, DataError> {
        self.row(false, len.unwrap_or_default())
    }

    fn serialize_tuple(self, len: usize) -> Result<Row, DataError> {
        self.row(true, len)
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Row, DataError> {
        self.row(true, len)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Row, DataError> {
        Ok(Row { variant: Some(variant), ..self.nested()?.row(true, len)? })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Fields, DataError> {
        self.fields(len.unwrap_or_default())
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Fields, DataError> {
        self.fields(len)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fields, DataError> {
        Ok(Fields { variant: Some(variant), ..self.nested()?.fields(len)? })
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

/// What stands behind one of the names that [`Data`] itself is written with, and [`as_set`].
fn own(name: &str, content: Data) -> Result<Data, DataError> {
    let made = match (name, content) {
        (native::SET, Data::List(items) | Data::Tuple(items)) => {
            return Set::of_unique(items.into_vec()).map(Data::Set).map_err(|item| DataError::repeated(&item));
        }
        (native::BIG_INTEGER, Data::Bytes(bytes)) => Some(Data::integer(&bytes)),
        (native::SURROGATES, Data::Bytes(bytes)) => Data::text(bytes),
        (native::OBJECT, Data::Bytes(bytes)) => {
            let object = (*bytes).try_into().ok().map(ObjectId::from_bytes);
            object.and_then(scope::claim).map(|proxy| Data::Object(Box::new(proxy)))
        }
        (native::OPAQUE, Data::Tuple(items)) => match <[Data; 2]>::try_from(items.into_vec()) {
            Ok([Data::Text(codec), Data::Bytes(bytes)]) => Some(Data::Opaque(Box::new(Opaque { codec, bytes }))),
            _ => None,
        },
        _ => None,
    };
    made.ok_or_else(|| DataError::custom(format_args!("the name {name} stands before something else")))
}

/// Makes a list, a tuple, or a variant with a tuple.
struct Row {
    nested: Serializer,
    items: Vec<Data>,
    is_tuple: bool,
    variant: Option<&'static str>,
}

impl Row {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        let at = self.items.len();
        let item = value.serialize(self.nested).map_err(|error| self.placed(error.inside(Step::Index(at))))?;
        self.items.push(item);
        Ok(())
    }

    #[cold]
    fn placed(&self, error: DataError) -> DataError {
        match self.variant {
            Some(variant) => in_field(variant)(error),
            None => error,
        }
    }

    fn finish(self) -> Data {
        let made = if self.is_tuple { Data::Tuple(self.items.into()) } else { Data::List(self.items.into()) };
        match self.variant {
            Some(variant) => variant_map(variant, made),
            None => made,
        }
    }
}

/// The traits by which rows are filled.
macro_rules! rows {
    ($($container:ident $method:ident),* $(,)?) => {
        $(
            impl ser::$container for Row {
                type Ok = Data;
                type Error = DataError;

                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
                    self.item(value)
                }

                fn end(self) -> Result<Data, DataError> {
                    Ok(self.finish())
                }
            }
        )*
    };
}

rows! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

/// Makes a map, of fields or of pairs, or a variant with one.
struct Fields {
    nested: Serializer,
    pairs: Vec<(Data, Data)>,
    /// Whose value comes next.
    key: Data,
    variant: Option<&'static str>,
}

impl Fields {
    fn field<T: Serialize + ?Sized>(&mut self, key: Data, value: &T) -> Result<(), DataError> {
        let made = value.serialize(self.nested).map_err(|error| self.placed(error.inside(Step::of_key(&key))))?;
        self.pairs.push((key, made));
        Ok(())
    }

    #[cold]
    fn placed(&self, error: DataError) -> DataError {
        match self.variant {
            Some(variant) => in_field(variant)(error),
            None => error,
        }
    }

    fn finish(self) -> Result<Data, DataError> {
        let map = Map::of_unique(self.pairs).map_err(|key| DataError::repeated(&key))?;
        Ok(match self.variant {
            Some(variant) => variant_map(variant, Data::Map(map)),
            None => Data::Map(map),
        })
    }
}

impl ser::SerializeMap for Fields {
    type Ok = Data;
    type Error = DataError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), DataError> {
        self.key = key.serialize(self.nested)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        let key = std::mem::take(&mut self.key);
        self.field(key, value)
    }

    fn end(self) -> Result<Data, DataError> {
        self.finish()
    }
}

/// The traits by which structs are filled.
macro_rules! structs {
    ($($container:ident),* $(,)?) => {
        $(
            impl ser::$container for Fields {
                type Ok = Data;
                type Error = DataError;

                fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), DataError> {
                    self.field(name.into(), value)
                }

                fn end(self) -> Result<Data, DataError> {
                    self.finish()
                }
            }
        )*
    };
}

structs!(SerializeStruct, SerializeStructVariant);
