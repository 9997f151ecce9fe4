//! Which of two values comes first, where Python has an answer.
//!
//! Recursion ends at [`DATA_DEPTH_MAX`]. Relies on [`equal`](super::equal).

use std::cmp::Ordering;

use crate::data::equal::{self, Rule};
use crate::data::number::Number;
use crate::data::{DATA_DEPTH_MAX, Data};

/// Numbers are ordered among each other, and so are texts, bytes, lists and tuples. Two values of different kinds are not, nor
/// are maps and sets, unless they are equal.
///
/// # Python
/// `<`, which raises `TypeError` where this is `None`; `<` of sets, which tells whether one is in the other, is not provided.
///
/// # Examples
///
/// ```
/// use procession_manager::Data;
///
/// assert!(Data::from(1) < Data::from(1.5));
/// assert!(Data::list([1, 2]) < Data::list([1, 2, 0]));
/// assert_eq!(Data::from("a").partial_cmp(&Data::from(1)), None);
/// ```
impl PartialOrd for Data {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        compare(self, other, DATA_DEPTH_MAX)
    }
}

fn compare(one: &Data, other: &Data, depth: usize) -> Option<Ordering> {
    // The bytes of texts are in the order of their characters, also where those are surrogates.
    if let (Some(one), Some(other)) = (text(one), text(other)) {
        return Some(one.cmp(other));
    }
    if let (Some(one), Some(other)) = (Number::of(one), Number::of(other)) {
        return one.cmp(&other);
    }
    match (one, other) {
        (Data::Bytes(one), Data::Bytes(other)) => Some(one.cmp(other)),
        (Data::List(one), Data::List(other)) | (Data::Tuple(one), Data::Tuple(other)) => {
            let inner = depth.checked_sub(1)?;
            for (one, other) in one.iter().zip(other) {
                match compare(one, other, inner) {
                    Some(Ordering::Equal) => {}
                    decided => return decided,
                }
            }
            Some(one.len().cmp(&other.len()))
        }
        _ => equal::same_at(one, other, Rule::Values, depth).then_some(Ordering::Equal),
    }
}

fn text(data: &Data) -> Option<&[u8]> {
    match data {
        Data::Text(text) => Some(text.as_bytes()),
        Data::Surrogates(text) => Some(text.as_bytes()),
        _ => None,
    }
}
