//! Which values are the same, and the hash that same values share.
//!
//! Numbers are compared as numbers, whatever they are made of: each has one canonical form. What holds values in no order is
//! looked up in an index of the other's. Recursion ends at [`DATA_DEPTH_MAX`].

#![expect(clippy::mutable_key_type, reason = "what a proxy changes is never which object it is of")]

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use crate::data::items::{Items, Map, Set};
use crate::data::number::Number;
use crate::data::{DATA_DEPTH_MAX, Data};

/// A value as a key: the same as any value that Python takes for the same key.
///
/// Unlike values, keys are always equal to themselves: of those that are not numbers (NaN), which equal nothing, the same bits
/// are one key.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
/// use procession_manager::data::Key;
///
/// let mut seen = HashMap::from([(Key(1.into()), "integer")]);
/// assert_eq!(seen.insert(Key(1.0.into()), "float"), Some("integer"));
/// assert_eq!(seen.insert(Key("1".into()), "text"), None);
/// assert_eq!(Key(f64::NAN.into()), Key(f64::NAN.into()));
/// ```
#[derive(Clone, Debug)]
pub struct Key(pub Data);

impl From<Data> for Key {
    fn from(data: Data) -> Self {
        Self(data)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0, Rule::Keys)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        same(self, other, Rule::Values)
    }
}

impl Hash for Data {
    fn hash<H: Hasher>(&self, state: &mut H) {
        feed(self, state, DATA_DEPTH_MAX);
    }
}

impl PartialEq for Items {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        same_maps(self, other, Rule::Values, DATA_DEPTH_MAX)
    }
}

impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        same_sets(self, other, DATA_DEPTH_MAX)
    }
}

/// Whether what is no number can be the same as itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Values,
    Keys,
}

/// Fewer than this many are compared each with each, which is quicker than an index.
const INDEXED_MIN: usize = 9;

pub(super) fn same(one: &Data, other: &Data, rule: Rule) -> bool {
    same_at(one, other, rule, DATA_DEPTH_MAX)
}

pub(super) fn same_at(one: &Data, other: &Data, rule: Rule, depth: usize) -> bool {
    match (one, other) {
        (Data::Null, Data::Null) => true,
        (Data::Text(one), Data::Text(other)) => one == other,
        (Data::Integer(one), Data::Integer(other)) => one == other,
        (Data::Bytes(one), Data::Bytes(other)) => one == other,
        (Data::Surrogates(one), Data::Surrogates(other)) => one == other,
        (Data::Opaque(one), Data::Opaque(other)) => one == other,
        (Data::Object(one), Data::Object(other)) => one == other,
        (Data::List(one), Data::List(other)) | (Data::Tuple(one), Data::Tuple(other)) => {
            let mut pairs = one.iter().zip(other);
            depth > 0 && one.len() == other.len() && pairs.all(|(one, other)| same_at(one, other, rule, depth - 1))
        }
        (Data::Map(one), Data::Map(other)) => depth > 0 && same_maps(one, other, rule, depth - 1),
        (Data::Set(one), Data::Set(other)) => depth > 0 && same_sets(one, other, depth - 1),
        _ => Number::of(one).zip(Number::of(other)).is_some_and(|(one, other)| one.is(&other, rule)),
    }
}

fn same_maps(one: &Map, other: &Map, rule: Rule, depth: usize) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if are_few(one.keys()) {
        let value =
            |key| other.iter().find(|(other, _)| same_at(other, key, Rule::Keys, depth)).map(|(_, value)| value);
        return one.iter().all(|(key, wanted)| value(key).is_some_and(|value| same_at(value, wanted, rule, depth)));
    }
    let index: HashMap<Indexed<'_>, &Data> =
        other.iter().map(|(key, value)| (Indexed::new(key, depth), value)).collect();
    let value = |key| index.get(&Indexed::new(key, depth));
    one.iter().all(|(key, wanted)| value(key).is_some_and(|value| same_at(value, wanted, rule, depth)))
}

fn same_sets(one: &Set, other: &Set, depth: usize) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if are_few(one.iter()) {
        return one.iter().all(|item| other.iter().any(|other| same_at(other, item, Rule::Keys, depth)));
    }
    let index: HashSet<Indexed<'_>> = other.iter().map(|item| Indexed::new(item, depth)).collect();
    one.iter().all(|item| index.contains(&Indexed::new(item, depth)))
}

/// Whether these can be compared each with each: there are few, and none of them holds others.
///
/// With containers in containers, the comparisons would be as many as all pairs of values in the two, and a peer chooses those.
fn are_few<'d>(mut keys: impl ExactSizeIterator<Item = &'d Data>) -> bool {
    keys.len() < INDEXED_MIN && keys.all(|key| key.as_container().is_none())
}

/// For each key the place of the first one that is the same.
pub(super) fn firsts<'d>(keys: impl Iterator<Item = &'d Data>) -> Vec<usize> {
    let mut index = HashMap::with_capacity(keys.size_hint().0);
    keys.enumerate().map(|(at, key)| *index.entry(Indexed::new(key, DATA_DEPTH_MAX)).or_insert(at)).collect()
}

/// The place of the first key that is there for the second time.
pub(super) fn repeated<'d>(keys: impl ExactSizeIterator<Item = &'d Data> + Clone) -> Option<usize> {
    if keys.len() < 2 {
        return None;
    }
    if are_few(keys.clone()) {
        let seen_before = |(at, key): &(usize, &Data)| keys.clone().take(*at).any(|other| same(other, key, Rule::Keys));
        return keys.clone().enumerate().find(seen_before).map(|(at, _)| at);
    }
    let mut seen = HashSet::with_capacity(keys.len());
    keys.enumerate().find(|(_, key)| !seen.insert(Indexed::new(key, DATA_DEPTH_MAX))).map(|(at, _)| at)
}

/// A key in an index, which is hashed once, and is compared with others only if their hashes are the same.
struct Indexed<'d> {
    hash: u64,
    data: &'d Data,
    depth: usize,
}

impl<'d> Indexed<'d> {
    fn new(data: &'d Data, depth: usize) -> Self {
        Self { hash: one_hash(data, depth), data, depth }
    }
}

impl Hash for Indexed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Indexed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && same_at(self.data, other.data, Rule::Keys, self.depth)
    }
}

impl Eq for Indexed<'_> {}

/// What keeps a peer from making keys that all have one hash.
static SEEDS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn one_hash(data: &Data, depth: usize) -> u64 {
    let mut hasher = SEEDS.build_hasher();
    feed(data, &mut hasher, depth);
    hasher.finish()
}

/// Gives a hasher what all values that are the same have in common.
fn feed<H: Hasher>(data: &Data, state: &mut H, depth: usize) {
    if let Some(number) = Number::of(data) {
        return number.hash(state);
    }
    if depth == 0 && data.as_container().is_some() {
        return state.write_u8(u8::MAX);
    }
    let inner = depth.saturating_sub(1);
    match data {
        Data::Bytes(bytes) => (b'b', bytes).hash(state),
        Data::Text(text) => (b't', text).hash(state),
        Data::Surrogates(text) => (b's', text).hash(state),
        Data::Opaque(opaque) => (b'o', opaque).hash(state),
        Data::Object(proxy) => (b'p', proxy.object()).hash(state),
        Data::List(items) | Data::Tuple(items) => {
            (if matches!(data, Data::List(_)) { b'l' } else { b'(' }, items.len()).hash(state);
            items.iter().for_each(|item| feed(item, state, inner));
        }
        // The sum is the same in any order.
        Data::Set(items) => {
            let sum = items.iter().fold(0_u64, |sum, item| sum.wrapping_add(one_hash(item, inner)));
            (b'{', items.len(), sum).hash(state);
        }
        Data::Map(pairs) => {
            let sum = pairs.iter().fold(0_u64, |sum, pair| sum.wrapping_add(pair_hash(pair, inner)));
            (b'm', pairs.len(), sum).hash(state);
        }
        _ => state.write_u8(b'n'),
    }
}

fn pair_hash((key, value): &(Data, Data), depth: usize) -> u64 {
    let mut hasher = SEEDS.build_hasher();
    feed(key, &mut hasher, depth);
    feed(value, &mut hasher, depth);
    hasher.finish()
}
