//! A serializer around another that refuses what CBOR would lose, and values that nest too deep.
//!
//! Ciborium writes a value of any depth, recursing as it goes, and writes `Some(None)` as it writes `None`.
//! Relies on nothing but serde; the checks travel with the value, because ciborium's serializer is private.

use crate::{DEPTH_MAX, EncodeError, EncodeErrorKind};
use serde::ser::{self, Error, Serialize};
use std::fmt::Display;

/// A value whose every nested value is serialized with the checks.
pub(super) struct Checked<'v, T: ?Sized> {
    value: &'v T,
    /// Whether the value stands in an option, so that it must not be null.
    in_option: bool,
    /// How many levels may still follow below.
    depth: usize,
}

impl<'v, T: ?Sized> Checked<'v, T> {
    pub(super) fn new(value: &'v T) -> Self {
        Checked { value, in_option: false, depth: DEPTH_MAX }
    }
}

impl<T: Serialize + ?Sized> Serialize for Checked<'_, T> {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checker { inner: serializer, in_option: self.in_option, depth: self.depth })
    }
}

/// The error that a message of ciborium's stands for, which can carry nothing but text.
pub(super) fn kind_of(message: String) -> EncodeError {
    let own = [EncodeErrorKind::TooDeep, EncodeErrorKind::AmbiguousOption];
    let kind = own.into_iter().find(|kind| kind.to_string() == message);
    EncodeError::new(kind.unwrap_or(EncodeErrorKind::Custom(message)))
}

/// Serializes one value at one depth.
struct Checker<S> {
    inner: S,
    in_option: bool,
    depth: usize,
}

impl<S: ser::Serializer> Checker<S> {
    /// A value inside this one.
    fn nested<'v, T: ?Sized>(&self, value: &'v T) -> Result<Checked<'v, T>, S::Error> {
        Ok(Checked { value, in_option: false, depth: self.descend()? })
    }

    fn descend(&self) -> Result<usize, S::Error> {
        self.descend_by(1)
    }

    /// A variant with a container in it is written as a map that holds the container: two levels.
    fn descend_variant(&self) -> Result<usize, S::Error> {
        self.descend_by(2)
    }

    fn descend_by(&self, levels: usize) -> Result<usize, S::Error> {
        self.depth.checked_sub(levels).ok_or_else(|| S::Error::custom(EncodeErrorKind::TooDeep))
    }

    /// This value is written as null, which the option around it is already.
    fn null(&self) -> Result<(), S::Error> {
        if self.in_option {
            return Err(S::Error::custom(EncodeErrorKind::AmbiguousOption));
        }
        Ok(())
    }
}

/// Passes on what holds no other values.
macro_rules! pass {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(
            fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
                self.inner.$method(value)
            }
        )*
    };
}

impl<S: ser::Serializer> ser::Serializer for Checker<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Compound<S::SerializeSeq>;
    type SerializeTuple = Compound<S::SerializeTuple>;
    type SerializeTupleStruct = Compound<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<S::SerializeTupleVariant>;
    type SerializeMap = Compound<S::SerializeMap>;
    type SerializeStruct = Compound<S::SerializeStruct>;
    type SerializeStructVariant = Compound<S::SerializeStructVariant>;

    pass! {
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

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = Checked { value, in_option: true, depth: self.descend()? };
        self.inner.serialize_some(&value)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        let value = Checked { in_option: self.in_option, ..self.nested(value)? };
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.nested(value)?;
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let depth = self.descend()?;
        Ok(Compound { inner: self.inner.serialize_seq(len)?, depth })
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let depth = self.descend()?;
        Ok(Compound { inner: self.inner.serialize_tuple(len)?, depth })
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        let depth = self.descend()?;
        Ok(Compound { inner: self.inner.serialize_tuple_struct(name, len)?, depth })
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let depth = self.descend_variant()?;
        Ok(Compound { inner: self.inner.serialize_tuple_variant(name, index, variant, len)?, depth })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let depth = self.descend()?;
        Ok(Compound { inner: self.inner.serialize_map(len)?, depth })
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let depth = self.descend()?;
        Ok(Compound { inner: self.inner.serialize_struct(name, len)?, depth })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let depth = self.descend_variant()?;
        Ok(Compound { inner: self.inner.serialize_struct_variant(name, index, variant, len)?, depth })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A container that is being written, whose items are checked.
struct Compound<C> {
    inner: C,
    /// The depth of the items.
    depth: usize,
}

impl<C> Compound<C> {
    fn item<'v, T: ?Sized>(&self, value: &'v T) -> Checked<'v, T> {
        Checked { value, in_option: false, depth: self.depth }
    }
}

/// The containers whose items have no names.
macro_rules! items {
    ($($container:ident $method:ident),* $(,)?) => {
        $(
            impl<C: ser::$container> ser::$container for Compound<C> {
                type Ok = C::Ok;
                type Error = C::Error;

                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                    let item = self.item(value);
                    self.inner.$method(&item)
                }

                fn end(self) -> Result<C::Ok, C::Error> {
                    self.inner.end()
                }
            }
        )*
    };
}

/// The containers whose items have names.
macro_rules! fields {
    ($($container:ident),* $(,)?) => {
        $(
            impl<C: ser::$container> ser::$container for Compound<C> {
                type Ok = C::Ok;
                type Error = C::Error;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), C::Error> {
                    let item = self.item(value);
                    self.inner.serialize_field(name, &item)
                }

                fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
                    self.inner.skip_field(name)
                }

                fn end(self) -> Result<C::Ok, C::Error> {
                    self.inner.end()
                }
            }
        )*
    };
}

items! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

fields!(SerializeStruct, SerializeStructVariant);

impl<C: ser::SerializeMap> ser::SerializeMap for Compound<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        let item = self.item(key);
        self.inner.serialize_key(&item)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let item = self.item(value);
        self.inner.serialize_value(&item)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
