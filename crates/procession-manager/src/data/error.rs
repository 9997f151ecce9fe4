//! Why a value of a type and a value without one could not be made of each other.
//!
//! An error names the type that was asked for, the place in the value, and what was found there. Relies on thiserror.

use std::fmt::{self, Display};

use serde::de::Expected;
use serde::{de, ser};

use crate::data::show::shortened;
use crate::data::{DATA_DEPTH_MAX, Data};

/// Why [`to_data`](crate::to_data) or [`from_data`](crate::from_data) did not work.
///
/// # Examples
///
/// ```
/// use procession_manager::{Data, from_data};
///
/// let data = Data::list([Data::from(1), Data::from("two")]);
/// let error = from_data::<Vec<u8>>(data).unwrap_err();
/// assert_eq!(error.path(), "[1]");
/// assert!(error.to_string().ends_with(r#"at [1]: found the text "two" where u8 is asked for"#));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataError(Box<Failure>);

/// Why a value of a type and a value without one could not be made of each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataErrorKind {
    /// The value is of another kind than the type asks for.
    #[error("found {found} where {expected} is asked for")]
    Unexpected {
        /// What is there, shortened.
        found: String,
        /// What the type asks for.
        expected: String,
    },
    /// The number is not one of those that the type has.
    #[error("{number} is no {expected}; use a wider type")]
    OutOfRange {
        /// The number, shortened.
        number: String,
        /// The type of number.
        expected: &'static str,
    },
    /// A sequence is longer or shorter than the type.
    #[error("found {found} values where {expected} is asked for")]
    Length {
        /// How many there are.
        found: usize,
        /// What the type asks for.
        expected: String,
    },
    /// A map lacks a field of the struct.
    #[error("the field `{field}` is missing; send it, or mark it with `#[serde(default)]`")]
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// A map has a key that is no field of the struct, which has `#[serde(deny_unknown_fields)]`.
    #[error("there is no field `{field}`, only {}", names(expected))]
    UnknownField {
        /// The key, shortened.
        field: String,
        /// The fields that there are.
        expected: &'static [&'static str],
    },
    /// A text, or the key of a map, names no variant of the enum.
    #[error("there is no variant `{variant}`, only {}", names(expected))]
    UnknownVariant {
        /// The name, shortened.
        variant: String,
        /// The variants that there are.
        expected: &'static [&'static str],
    },
    /// Two keys of a map, or two members of a set, are the same; all types of numbers are compared as numbers.
    #[error("{key} is there twice, and a map or a set has each key once")]
    RepeatedKey {
        /// The key, shortened.
        key: String,
    },
    /// The value nests deeper than [`DATA_DEPTH_MAX`].
    #[error("the value nests deeper than {DATA_DEPTH_MAX} levels; keep the nodes in a `Vec` and link them by index")]
    TooDeep,
    /// An option inside an option, or one of `()`.
    #[error(
        "`Some(None)` and `Some(())` cannot be told from `None`; use an enum of your own instead of the inner option"
    )]
    AmbiguousOption,
    /// The bytes are not those of a value.
    #[error("{reason}; no honest sender can have written it")]
    Malformed {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The type's own implementation failed.
    #[error("{0}")]
    Custom(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    kind: DataErrorKind,
    /// The type's name, and whether it was to be read.
    about: Option<(&'static str, bool)>,
    /// Where, from inside to outside.
    steps: Vec<Step>,
}

/// One step from a value to one that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    Index(usize),
    Key(String),
}

impl DataError {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &DataErrorKind {
        &self.0.kind
    }

    /// Where: `jobs[3].name`; empty for the value itself. In a map's key, it is where the key's value would be.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.steps.iter().rev() {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Index(at) => path.push_str(&format!("[{at}]")),
                Step::Key(key) => path.extend(["[", key, "]"]),
            }
        }
        path
    }

    #[cold]
    pub(super) fn new(kind: DataErrorKind) -> Self {
        Self(Box::new(Failure { kind, about: None, steps: Vec::new() }))
    }

    #[cold]
    pub(super) fn unexpected(found: &Data, expected: &dyn Expected) -> Self {
        let (found, expected) = (found_as(found), shortened(format_args!("{expected}")));
        Self::new(DataErrorKind::Unexpected { found, expected })
    }

    #[cold]
    pub(super) fn repeated(key: &Data) -> Self {
        Self::new(DataErrorKind::RepeatedKey { key: key.to_string() })
    }

    #[cold]
    pub(super) fn inside(mut self, step: Step) -> Self {
        self.0.steps.push(step);
        self
    }

    /// The same error, about reading or making a value of the type of this name.
    #[cold]
    pub(super) fn about(mut self, type_name: &'static str, is_read: bool) -> Self {
        self.0.about = Some((type_name, is_read));
        self
    }
}

impl Step {
    /// The step to the value of a key.
    pub(super) fn of_key(key: &Data) -> Self {
        match key.as_str() {
            Some(name) if name.starts_with(is_of_name) && name.chars().all(is_of_name) => {
                Self::Field(shortened(format_args!("{name}")))
            }
            _ => Self::Key(key.to_string()),
        }
    }
}

impl Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.about {
            Some((name, true)) => write!(f, "cannot read `{name}` from data")?,
            Some((name, false)) => write!(f, "cannot make data of `{name}`")?,
            None => f.write_str("bad data")?,
        }
        if !self.0.steps.is_empty() {
            write!(f, " at {}", self.path())?;
        }
        write!(f, ": {}", self.0.kind)
    }
}

impl std::error::Error for DataError {}

impl ser::Error for DataError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(DataErrorKind::Custom(message.to_string()))
    }
}

impl de::Error for DataError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(DataErrorKind::Custom(message.to_string()))
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (found, expected) = (shortened(format_args!("{found}")), shortened(format_args!("{expected}")));
        Self::new(DataErrorKind::Unexpected { found, expected })
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        de::Error::invalid_type(found, expected)
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        Self::new(DataErrorKind::Length { found, expected: shortened(format_args!("{expected}")) })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(DataErrorKind::UnknownVariant { variant: shortened(format_args!("{variant}")), expected })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(DataErrorKind::UnknownField { field: shortened(format_args!("{field}")), expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(DataErrorKind::MissingField { field })
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::repeated(&field.into())
    }
}

fn found_as(data: &Data) -> String {
    match data {
        Data::Null | Data::Bool(_) | Data::Opaque(_) | Data::Object(_) => data.to_string(),
        Data::Surrogates(_) => format!("the text {data}, which is not Unicode,"),
        _ => format!("the {} {data}", data.kind()),
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn names(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
