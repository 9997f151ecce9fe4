//! Numbers as numbers, whatever types they have: each has one canonical form.
//!
//! Integers of any size and floats are compared exactly, as in Python; nothing is rounded. Relies on [`integer`].

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::data::Data;
use crate::data::equal::Rule;
use crate::data::integer::{self, is_negative};

/// A number, of which each has one form: an integer if it is one.
pub(super) enum Number<'d> {
    Small(i64),
    Big(&'d [u8]),
    /// An integer that was a float.
    Made(Data),
    Fraction(f64),
}

impl<'d> Number<'d> {
    pub(super) fn of(data: &'d Data) -> Option<Self> {
        match data {
            Data::Bool(value) => Some(Self::Small(i64::from(*value))),
            Data::Integer(value) => Some(Self::Small(*value)),
            Data::BigInteger(value) => Some(Self::Big(value.as_le_bytes())),
            Data::Float(value) => Some(match integer::of_float(*value) {
                Some(Data::Integer(value)) => Self::Small(value),
                Some(big) => Self::Made(big),
                None => Self::Fraction(*value),
            }),
            _ => None,
        }
    }

    /// Whether it is the same number.
    pub(super) fn is(&self, other: &Self, rule: Rule) -> bool {
        match (self, other) {
            (Self::Small(one), Self::Small(other)) => one == other,
            (Self::Fraction(one), Self::Fraction(other)) => {
                one == other || rule == Rule::Keys && one.to_bits() == other.to_bits()
            }
            _ => self.big().zip(other.big()).is_some_and(|(one, other)| one == other),
        }
    }

    /// Which one is greater; `None` if one of them is not a number.
    pub(super) fn cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Small(one), Self::Small(other)) => Some(one.cmp(other)),
            (Self::Fraction(one), Self::Fraction(other)) => one.partial_cmp(other),
            (Self::Small(one), Self::Fraction(other)) => small_to_fraction(*one, *other),
            (Self::Fraction(one), Self::Small(other)) => small_to_fraction(*other, *one).map(Ordering::reverse),
            (_, Self::Fraction(other)) if other.is_nan() || other.is_infinite() => 0.0.partial_cmp(other),
            (Self::Fraction(one), _) if one.is_nan() || one.is_infinite() => one.partial_cmp(&0.0),
            // What is left is an integer beyond all fractions and all small integers, or two of them.
            _ => match (self.big(), other.big()) {
                (Some(one), Some(other)) => Some(cmp_bytes(one, other)),
                (Some(one), None) => Some(if is_negative(one) { Ordering::Less } else { Ordering::Greater }),
                (None, Some(other)) => Some(if is_negative(other) { Ordering::Greater } else { Ordering::Less }),
                (None, None) => None,
            },
        }
    }

    fn big(&self) -> Option<&[u8]> {
        match self {
            Self::Big(bytes) => Some(bytes),
            Self::Made(Data::BigInteger(made)) => Some(made.as_le_bytes()),
            _ => None,
        }
    }

    /// Gives a hasher the number, whatever type it has.
    pub(super) fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Small(value) => (b'i', value).hash(state),
            Self::Fraction(value) => (b'f', value.to_bits()).hash(state),
            Self::Big(_) | Self::Made(_) => (b'I', self.big()).hash(state),
        }
    }
}

/// A fraction lies between two small integers, or beyond all.
fn small_to_fraction(small: i64, fraction: f64) -> Option<Ordering> {
    if fraction.is_nan() || fraction.is_infinite() {
        return 0.0.partial_cmp(&fraction);
    }
    Some(if small <= fraction.floor() as i64 { Ordering::Less } else { Ordering::Greater })
}

/// Compares integers in their shortest form.
fn cmp_bytes(one: &[u8], other: &[u8]) -> Ordering {
    let (one_below, other_below) = (is_negative(one), is_negative(other));
    if one_below != other_below {
        return other_below.cmp(&one_below);
    }
    // The longer one is further from zero; of one length, the bytes count as they are.
    let by_length = one.len().cmp(&other.len());
    let by_length = if one_below { by_length.reverse() } else { by_length };
    by_length.then_with(|| one.iter().rev().cmp(other.iter().rev()))
}
