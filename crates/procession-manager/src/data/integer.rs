//! Integers of any size, as the bytes in which Python writes them, and which floats are integers.
//!
//! There is no arithmetic: what is needed is to keep them, to tell whether two are the same, and the number types that Rust has.
//! Relies on nothing.

use std::fmt;

use crate::data::Data;

/// An integer that is no `i64`: two's complement, little-endian, as short as it can be, hence nine bytes or more.
///
/// [`Data::integer`] makes it.
///
/// # Python
/// An `int`; `int.from_bytes(bytes, "little", signed=True)`.
///
/// # Examples
///
/// ```
/// use procession_manager::Data;
///
/// let Data::BigInteger(big) = Data::from(u64::MAX) else { unreachable!() };
/// assert_eq!(big.as_le_bytes(), [255, 255, 255, 255, 255, 255, 255, 255, 0]);
/// assert_eq!(big.to_string(), "18446744073709551615");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BigInteger(Box<[u8]>);

/// The bytes of what Rust has at most.
const WIDE_BYTES: usize = 16;

/// More bytes than the largest float has as an integer.
const FLOAT_BYTES_MAX: usize = 129;

impl BigInteger {
    /// Its bytes: two's complement, little-endian, none more than needed.
    #[must_use]
    pub fn as_le_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        is_negative(&self.0)
    }

    pub(super) fn to_i128(&self) -> Option<i128> {
        (self.0.len() <= WIDE_BYTES).then(|| i128::from_le_bytes(widened(&self.0)))
    }

    pub(super) fn to_u128(&self) -> Option<u128> {
        if self.is_negative() {
            return None;
        }
        let (last, rest) = self.0.split_last()?;
        let bytes = if *last == 0 { rest } else { &self.0 };
        (bytes.len() <= WIDE_BYTES).then(|| {
            let mut wide = [0; WIDE_BYTES];
            wide[..bytes.len()].copy_from_slice(bytes);
            u128::from_le_bytes(wide)
        })
    }

    /// The float that is exactly this number.
    pub(super) fn to_f64(&self) -> Option<f64> {
        if self.0.len() > FLOAT_BYTES_MAX {
            return None;
        }
        // A float's bits are few, and so are those of what stands before any of its bytes: each step is exact, or the end shows it.
        let magnitude = self.magnitude().iter().rev().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
        let float = if self.is_negative() { -magnitude } else { magnitude };
        matches!(of_float(float), Some(Data::BigInteger(back)) if back == *self).then_some(float)
    }

    /// The bytes of the number without its sign.
    fn magnitude(&self) -> Vec<u8> {
        let mut bytes = self.0.to_vec();
        if self.is_negative() {
            negate(&mut bytes);
        }
        bytes
    }
}

/// In decimal up to 128 bits, and in hexadecimal beyond, which takes no time to make.
impl fmt::Display for BigInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.to_i128() {
            return write!(f, "{number}");
        }
        if let Some(number) = self.to_u128() {
            return write!(f, "{number}");
        }
        f.write_str(if self.is_negative() { "-0x" } else { "0x" })?;
        let magnitude = self.magnitude();
        let mut bytes = magnitude.iter().rev().skip_while(|byte| **byte == 0);
        // Never none: what is so long is not zero.
        write!(f, "{:x}", bytes.next().unwrap_or(&0))?;
        bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BigInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Data {
    /// The integer of these bytes: two's complement, little-endian; of no bytes it is 0.
    ///
    /// # Python
    /// `int.from_bytes(bytes, "little", signed=True)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// assert_eq!(Data::integer(&[44, 1, 0, 0]), 300);
    /// assert_eq!(Data::integer(&[255; 20]), -1);
    /// assert_eq!(Data::integer(&u128::MAX.to_le_bytes()), -1);
    /// ```
    #[must_use]
    pub fn integer(bytes: &[u8]) -> Self {
        let bytes = shortest(bytes);
        if bytes.len() > size_of::<i64>() {
            return Self::BigInteger(BigInteger(bytes.into()));
        }
        Self::Integer(i64::from_le_bytes(widened(bytes)))
    }
}

impl From<i128> for Data {
    fn from(number: i128) -> Self {
        Self::integer(&number.to_le_bytes())
    }
}

impl From<u128> for Data {
    fn from(number: u128) -> Self {
        let mut bytes = [0; WIDE_BYTES + 1];
        bytes[..WIDE_BYTES].copy_from_slice(&number.to_le_bytes());
        Self::integer(&bytes)
    }
}

/// The integer that a float is exactly.
pub(super) fn of_float(float: f64) -> Option<Data> {
    const SMALL_END: f64 = 9_223_372_036_854_775_808.0;
    if !float.is_finite() || float.trunc() != float {
        return None;
    }
    if (-SMALL_END..SMALL_END).contains(&float) {
        return Some(Data::Integer(float as i64));
    }
    // So large a float is its 53 bits, shifted.
    let bits = float.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as usize - 1075;
    let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    let mut bytes = vec![0; exponent / 8];
    bytes.extend_from_slice(&(u128::from(mantissa) << (exponent % 8)).to_le_bytes());
    if float < 0.0 {
        negate(&mut bytes);
    }
    Some(Data::integer(&bytes))
}

pub(super) fn is_negative(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|last| *last >= 0x80)
}

/// The same number without the bytes that only repeat its sign.
fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && *last == if is_negative(rest) { 0xff } else { 0 }
    {
        bytes = rest;
    }
    bytes
}

/// The same number in `N` bytes, which are enough for it.
fn widened<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut wide = [if is_negative(bytes) { 0xff } else { 0 }; N];
    wide.iter_mut().zip(bytes).for_each(|(wide, byte)| *wide = *byte);
    wide
}

/// Changes the sign of what is not the least number of its length.
fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes {
        let (negated, overflowed) = (!*byte).overflowing_add(u8::from(carry));
        (*byte, carry) = (negated, overflowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_form_is_the_only_one() {
        for number in [0_i128, 1, -1, 127, 128, -128, -129, i64::MAX.into(), i64::MIN.into()] {
            assert!(matches!(Data::from(number), Data::Integer(small) if i128::from(small) == number), "{number}");
        }
        for number in [i128::from(i64::MAX) + 1, i128::from(i64::MIN) - 1, i128::MAX, i128::MIN, 1 << 64, -1 << 64] {
            let Data::BigInteger(big) = Data::from(number) else { panic!("{number} is small") };
            assert_eq!(big.to_i128(), Some(number));
            assert_eq!(big.to_string(), number.to_string());
            let longer = [number.to_le_bytes(), [if number < 0 { 0xff } else { 0 }; 16]].concat();
            assert!(matches!(Data::integer(&longer), Data::BigInteger(same) if same == big));
        }
        let Data::BigInteger(most) = Data::from(u128::MAX) else { panic!() };
        assert_eq!((most.to_u128(), most.to_i128()), (Some(u128::MAX), None));
    }

    #[test]
    fn floats_are_integers_exactly() {
        for float in [2_f64.powi(63), -2_f64.powi(63), 2_f64.powi(64), 1e300, -1e300, f64::MAX, f64::MIN, 1.5e20] {
            match of_float(float) {
                Some(Data::BigInteger(big)) => assert_eq!(big.to_f64(), Some(float)),
                Some(Data::Integer(small)) => assert_eq!(small as f64, float),
                _ => panic!("{float} is no integer"),
            }
        }
        let Data::BigInteger(odd) = Data::from((1_i128 << 100) + 1) else { panic!() };
        assert_eq!(odd.to_f64(), None);
        assert!(of_float(0.5).is_none() && of_float(f64::NAN).is_none() && of_float(f64::INFINITY).is_none());
    }

    #[test]
    fn what_is_too_long_for_decimal_is_shown_in_hexadecimal() {
        let mut bytes = vec![0; 40];
        bytes[39] = 1;
        assert_eq!(
            Data::integer(&bytes).to_string(),
            format!("0x1{}", "00".repeat(39)).chars().take(74).chain(['…']).collect::<String>()
        );
        let Data::BigInteger(low) = Data::integer(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]) else {
            panic!()
        };
        assert_eq!(low.to_string(), format!("-0x80{}", "00".repeat(17)));
    }
}
