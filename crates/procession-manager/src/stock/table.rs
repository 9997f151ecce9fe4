//! Keys with a value each, in the order in which they were inserted: what dictionaries and sets are made of.
//!
//! Relies on functions of the keys' type, which the server's own image has and the creator names: two keys are the same when
//! their type says so, however they are written. If one of these functions panics nothing changes, and the caller is told.

use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use procession_boot::{BootError, Entry as Function, FunctionId, function_id, resolve};
use procession_launch::calls::catch_call;
use procession_wire::decode_slice;
use serde::de::DeserializeOwned;

use super::Stored;
use super::batches::Size;
use super::functions::{Equal, equal};
use crate::data;
use crate::error::Refusal;
use crate::host::Ask;
use crate::server::{Given, Taken};
use crate::spread::Spreading;
use crate::value::Values;

/// What a type of keys can do with their bytes.
#[derive(Clone, Copy)]
struct Keys {
    hash: fn(&[u8], &RandomState) -> Option<u64>,
    equal: Equal,
}

/// The function that tells what `K` can do.
struct KeysOf<K>(PhantomData<K>);

impl<K: Eq + Hash + DeserializeOwned + 'static> Function for KeysOf<K> {
    type Input = ();
    type Output = Keys;

    fn enter((): ()) -> Keys {
        Keys { hash: hash::<K>, equal: equal::<K> }
    }
}

fn hash<K: Hash + DeserializeOwned + 'static>(bytes: &[u8], state: &RandomState) -> Option<u64> {
    let key: K = decode_slice(bytes, Vec::new()).ok()?;
    Some(state.hash_one(key))
}

/// What a table is made of: what keys can do, and how keys and values are converted.
pub(crate) type Makers = (FunctionId, Option<FunctionId>, Option<FunctionId>);

/// What makes a table with keys of this type.
pub(crate) fn keys_of<K: Eq + Hash + DeserializeOwned + 'static>() -> Result<FunctionId, BootError> {
    function_id::<KeysOf<K>>()
}

/// Keys that are data.
const DATA: Keys = Keys {
    hash: |bytes, state| Some(state.hash_one(data_key(bytes)?)),
    equal: |one, other| data_key(one).zip(data_key(other)).is_some_and(|(one, other)| one == other),
};

fn data_key(bytes: &[u8]) -> Option<data::Key> {
    decode_slice(bytes, Vec::new()).ok().map(data::Key)
}

/// A key, and how it is compared.
pub(super) struct Key {
    bytes: Arc<[u8]>,
    hash: u64,
    equal: Equal,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// This may panic: so does what looks for a key among others.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (self.bytes == other.bytes || (self.equal)(&self.bytes, &other.bytes))
    }
}

impl Eq for Key {}

/// A key as it came, and its value.
type Item = (Arc<[u8]>, Stored);

/// The table.
pub(super) struct Table {
    keys: Keys,
    key_values: Values,
    /// What the values are.
    pub(super) values: Values,
    state: RandomState,
    /// Where each key is.
    places: HashMap<Key, u64, Spreading>,
    /// The items, by when they were inserted.
    items: BTreeMap<u64, Item>,
    next: u64,
}

/// Some items in a row.
pub(super) struct Batch<'a> {
    pub(super) items: Vec<(&'a [u8], &'a Stored)>,
    /// Where the last one is, which the next batch begins after.
    pub(super) last: Option<u64>,
}

impl Table {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        let no_function = |error: BootError| Refusal::NoFunction { reason: error.to_string() };
        let (keys, of_keys, of_values): Makers = given.read()?;
        let keys = resolve::<(), Keys>(keys).map_err(no_function)?(());
        Ok(Self::new(keys, Values::named(of_keys), Values::named(of_values)))
    }

    /// One whose keys and values are data.
    pub(super) fn untyped() -> Self {
        Self::new(DATA, Values::Data, Values::Data)
    }

    fn new(keys: Keys, key_values: Values, values: Values) -> Self {
        let (places, items, state) = (HashMap::default(), BTreeMap::new(), RandomState::new());
        Self { keys, key_values, values, state, places, items, next: 0 }
    }

    /// A key that was sent.
    pub(super) fn key(&self, ask: &mut Ask) -> Result<Key, Refusal> {
        let (packed, references) = ask.accept(self.key_values)?.into_packed();
        if !packed.descriptors.is_empty() || !references.is_empty() {
            return Err(Refusal::Arguments { reason: "a key cannot hold descriptors or proxies".into() });
        }
        self.key_of(packed.bytes.into())
    }

    /// A key for somebody.
    pub(super) fn told(&self, key: &[u8]) -> Taken {
        Stored::plain(key).take(self.key_values)
    }

    fn key_of(&self, bytes: Arc<[u8]>) -> Result<Key, Refusal> {
        let hash = catch_call(|| (self.keys.hash)(&bytes, &self.state))?;
        let hash = hash.ok_or_else(|| Refusal::Arguments { reason: "the key cannot be read".into() })?;
        Ok(Key { bytes, hash, equal: self.keys.equal })
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<&Stored>, Refusal> {
        let place = catch_call(|| self.places.get(key))?;
        Ok(place.and_then(|place| self.items.get(place)).map(|(_, value)| value))
    }

    /// Gives back what the key had.
    pub(super) fn insert(&mut self, key: Key, value: Stored) -> Result<Option<Stored>, Refusal> {
        Ok(self.put(key, value)?.1)
    }

    /// Where the key's value is now, and what it had.
    fn put(&mut self, key: Key, mut value: Stored) -> Result<(u64, Option<Stored>), Refusal> {
        let bytes = Arc::clone(&key.bytes);
        value.charge.add(bytes.len());
        let place = match catch_call(|| self.places.entry(key))? {
            Place::Occupied(place) => *place.get(),
            Place::Vacant(place) => *place.insert(self.next),
        };
        if let Some((_, old)) = self.items.get_mut(&place) {
            return Ok((place, Some(std::mem::replace(old, value))));
        }
        self.items.insert(place, (bytes, value));
        self.next += 1;
        Ok((place, None))
    }

    /// Inserts all of them, or none.
    pub(super) fn extend(&mut self, items: Vec<(Key, Stored)>) -> Result<(), Refusal> {
        let (before, mut replaced) = (self.next, Vec::new());
        for (key, value) in items {
            match self.put(key, value) {
                Ok((place, old)) => replaced.extend(old.map(|old| (place, old))),
                Err(refusal) => {
                    self.put_back(replaced, before);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// Takes back what was inserted since a place was the next one, and gives others their values back. No key is compared.
    fn put_back(&mut self, replaced: Vec<(u64, Stored)>, before: u64) {
        drop(self.items.split_off(&before));
        self.places.retain(|_, place| *place < before);
        self.next = before;
        for (place, old) in replaced.into_iter().rev() {
            self.items.entry(place).and_modify(|(_, value)| *value = old);
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> Result<Option<Stored>, Refusal> {
        let place = catch_call(|| self.places.remove(key))?;
        Ok(place.and_then(|place| self.items.remove(&place)).map(|(_, value)| value))
    }

    /// What was inserted last.
    pub(super) fn last(&self) -> Option<(&[u8], &Stored)> {
        self.items.last_key_value().map(|(_, (key, value))| (&**key, value))
    }

    /// Takes that out.
    pub(super) fn pop(&mut self) -> Result<Option<Item>, Refusal> {
        let Some((_, (bytes, _))) = self.items.last_key_value() else { return Ok(None) };
        let key = self.key_of(Arc::clone(bytes))?;
        catch_call(|| self.places.remove(&key))?;
        Ok(self.items.pop_last().map(|(_, item)| item))
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.items.clear();
    }

    /// Some items after a place.
    pub(super) fn batch(&self, after: Option<u64>) -> Batch<'_> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let (mut batch, mut size) = (Batch { items: Vec::new(), last: after }, Size::default());
        for (&place, (key, value)) in self.items.range(range) {
            if !size.add(key.len() + value.bytes().len(), value.descriptors()) {
                break;
            }
            batch.items.push((key, value));
            batch.last = Some(place);
        }
        batch
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.items.len()).finish_non_exhaustive()
    }
}
