//! A dictionary in a server: keys with a value each, in the order in which they were inserted.
//!
//! Relies on functions of the keys' type, which the server's own image has and the creator names: two keys are the same when
//! their type says so, however they are written. Values stay as they came.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use procession_boot::{Entry as Function, FunctionId, function_id, resolve};
use procession_launch::Captureless;
use procession_launch::calls::{Caller as CallerOf, catch_call, name_call};
use procession_wire::{Message, decode_slice};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Stored, methods, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::proxy::RawProxy;
use crate::server::{Given, Taken};

/// How many items an iteration asks the server for at once.
pub const ITEMS_A_BATCH: usize = 1024;

/// How many bytes such a batch has at most, but for its last item.
const BATCH_BYTES: usize = 1 << 20;

methods! { "dict":
    Get = "get" Shared,
    Insert = "insert" Exclusive,
    Remove = "remove" Exclusive,
    Contains = "contains_key" Shared,
    Len = "len" Shared,
    Clear = "clear" Exclusive,
    PopItem = "pop_item" Exclusive,
    Batch = "batch" Shared,
    Update = "update" Exclusive,
}

/// What the type of a dictionary's keys can do with their bytes.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    hash: fn(&[u8], &RandomState) -> Option<u64>,
    equal: fn(&[u8], &[u8]) -> bool,
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

fn equal<K: Eq + DeserializeOwned + 'static>(one: &[u8], other: &[u8]) -> bool {
    let key = |bytes| decode_slice::<K>(bytes, Vec::new()).ok();
    one == other || key(one).zip(key(other)).is_some_and(|(one, other)| one == other)
}

/// Changes a value.
struct Changes;

impl<V, F> CallerOf<F, (Option<V>,)> for Changes
where
    V: Serialize + DeserializeOwned + 'static,
    F: Fn(Option<V>) -> V + Captureless,
{
    type Input = Change;
    type Output = Result<Taken, Refusal>;

    fn call(function: F, Change { value, server }: Change) -> Self::Output {
        let value = value.map(Given::read::<V>).transpose()?;
        Taken::of(server, &function(value))
    }
}

/// What a value is changed from.
pub(crate) struct Change {
    value: Option<Given>,
    server: crate::ObjectId,
}

/// A key, and how it is compared.
struct Key {
    bytes: Arc<[u8]>,
    hash: u64,
    equal: fn(&[u8], &[u8]) -> bool,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (self.equal)(&self.bytes, &other.bytes)
    }
}

impl Eq for Key {}

/// The dictionary.
pub(crate) struct Dict {
    keys: Keys,
    state: RandomState,
    /// Where each key is.
    places: HashMap<Key, u64>,
    /// The items, by when they were inserted.
    items: BTreeMap<u64, (Arc<[u8]>, Stored)>,
    next: u64,
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dict").field("len", &self.items.len()).finish_non_exhaustive()
    }
}

impl Dict {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        let no_function = |error: procession_boot::BootError| Refusal::NoFunction { reason: error.to_string() };
        let keys = resolve::<(), Keys>(given.read::<FunctionId>()?).map_err(no_function)?(());
        let (places, items, state) = (HashMap::new(), BTreeMap::new(), RandomState::new());
        Ok(Self { keys, state, places, items, next: 0 })
    }

    /// A key that was sent.
    fn key(&self, ask: &mut Ask) -> Result<Key, Refusal> {
        let (packed, references) = ask.next().into_packed();
        if !packed.descriptors.is_empty() || !references.is_empty() {
            return Err(Refusal::Arguments { reason: "a key cannot hold descriptors or proxies".into() });
        }
        let hash = catch_call(|| (self.keys.hash)(&packed.bytes, &self.state)).ok().flatten();
        let hash = hash.ok_or_else(|| Refusal::Arguments { reason: "the key cannot be read".into() })?;
        Ok(Key { bytes: packed.bytes.into(), hash, equal: self.keys.equal })
    }

    fn find(&self, ask: &mut Ask) -> Result<Option<&Stored>, Refusal> {
        let key = self.key(ask)?;
        Ok(self.places.get(&key).and_then(|place| self.items.get(place)).map(|(_, value)| value))
    }

    fn insert(&mut self, key: Key, value: Stored) -> Option<Stored> {
        if let Some((_, old)) = self.places.get(&key).and_then(|place| self.items.get_mut(place)) {
            return Some(std::mem::replace(old, value));
        }
        self.items.insert(self.next, (Arc::clone(&key.bytes), value));
        self.places.insert(key, self.next);
        self.next += 1;
        None
    }

    fn remove(&mut self, ask: &mut Ask) -> Answer {
        let key = self.key(ask)?;
        let removed = self.places.remove(&key).and_then(|place| self.items.remove(&place));
        Ok(removed.into_iter().map(|(_, value)| value.take()).collect())
    }

    fn pop_item(&mut self) -> Answer {
        let Some((_, (key, value))) = self.items.pop_last() else { return Ok(Vec::new()) };
        let hash = catch_call(|| (self.keys.hash)(&key, &self.state)).ok().flatten().unwrap_or_default();
        self.places.remove(&Key { bytes: Arc::clone(&key), hash, equal: self.keys.equal });
        Ok(vec![plain(&key), value.take()])
    }

    /// Some items after the place that is asked for; first where the last of them is.
    fn batch(&self, ask: &mut Ask) -> Answer {
        let after: Option<u64> = ask.read()?;
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let (mut last, mut bytes, mut results) = (after, 0, Vec::new());
        for (&place, (key, value)) in self.items.range(range).take(ITEMS_A_BATCH) {
            if bytes > BATCH_BYTES {
                break;
            }
            bytes += key.len() + value.len();
            last = Some(place);
            results.extend([plain(key), value.copy()]);
        }
        results.push(Taken::of(ask.server, &last)?);
        Ok(results)
    }

    fn update(&mut self, ask: &mut Ask) -> Answer {
        let key = self.key(ask)?;
        let no_function = |error: procession_boot::BootError| Refusal::NoFunction { reason: error.to_string() };
        let function = resolve::<Change, Result<Taken, Refusal>>(ask.read::<FunctionId>()?).map_err(no_function)?;
        let old = self.places.get(&key).and_then(|place| self.items.get(place));
        let value = old.map(|(_, value)| given(value.copy()));
        // A panic leaves the item as it was, so it is no reason to poison the others.
        let changed = catch_call(|| function(Change { value, server: ask.server }));
        let changed =
            changed.map_err(|panic| Refusal::Panicked { message: panic.message, location: panic.location })??;
        let new = Stored::new(given(changed));
        let told = new.copy();
        self.insert(key, new);
        Ok(vec![told])
    }
}

fn plain(bytes: &[u8]) -> Taken {
    Taken { message: Message::from_parts(bytes.to_vec(), Vec::new()), references: Vec::new() }
}

fn given(Taken { message, references }: Taken) -> Given {
    Given { message: Some(message), references }
}

impl Object for Dict {
    type Kind = Kind;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Get => self.find(ask).map(|found| found.map(Stored::copy).into_iter().collect()),
            Method::Contains => self.find(ask).map(|found| found.is_some()).and_then(|found| ask.value(&found)),
            Method::Len => ask.value(&(self.items.len() as u64)),
            Method::Batch => self.batch(ask),
            Method::Insert | Method::Remove | Method::Clear | Method::PopItem | Method::Update => {
                unreachable!("they run alone")
            }
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Insert => self.key(ask).map(|key| {
                let value = Stored::new(ask.next());
                self.insert(key, value).map(Stored::take).into_iter().collect()
            }),
            Method::Remove => self.remove(ask),
            Method::PopItem => self.pop_item(),
            Method::Update => self.update(ask),
            Method::Clear => {
                self.places.clear();
                self.items.clear();
                Ok(Vec::new())
            }
            Method::Get | Method::Contains | Method::Len | Method::Batch => return self.read(method, ask),
        })
    }
}

proxy! {
    /// A dictionary in a manager's server.
    ///
    /// Its values are copies: changing one that was taken out changes nothing in the server. [`DictProxy::update`] does, at
    /// once; or put proxies of other objects in.
    ///
    /// # Python
    /// The proxy of `SyncManager.dict`.
    DictProxy<K, V>
}

/// What makes a dictionary with keys of this type.
pub(crate) fn keys_of<K: Eq + Hash + DeserializeOwned + 'static>() -> Result<FunctionId, procession_boot::BootError> {
    function_id::<KeysOf<K>>()
}

impl<K, V> DictProxy<K, V>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Sets a key's value; gives the one that it had.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>, CallError> {
        let method = Method::Insert.name();
        let arguments = vec![self.raw.pack(method, &key)?, self.raw.pack(method, &value)?];
        self.option(Method::Insert, arguments)
    }

    /// A key's value.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn get(&self, key: &K) -> Result<Option<V>, CallError> {
        self.option(Method::Get, vec![self.raw.pack(Method::Get.name(), key)?])
    }

    /// Takes a key and its value out.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn remove(&self, key: &K) -> Result<Option<V>, CallError> {
        self.option(Method::Remove, vec![self.raw.pack(Method::Remove.name(), key)?])
    }

    fn option(&self, method: Method, arguments: Vec<Given>) -> Result<Option<V>, CallError> {
        let mut results = self.raw.call_packed(method.name(), arguments)?;
        results.pop().map(|value| value.result(method.name())).transpose()
    }

    /// True if it has the key.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn contains_key(&self, key: &K) -> Result<bool, CallError> {
        let method = Method::Contains.name();
        let key = self.raw.pack(method, key)?;
        self.raw.call_packed(method, vec![key])?.pop().unwrap_or_default().result(method)
    }

    /// How many keys it has.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn len(&self) -> Result<usize, CallError> {
        let len: u64 = self.raw.ask(Method::Len.name())?;
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// True if it has none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_empty(&self) -> Result<bool, CallError> {
        self.len().map(|len| len == 0)
    }

    /// Takes everything out.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn clear(&self) -> Result<(), CallError> {
        self.raw.call_packed(Method::Clear.name(), Vec::new()).map(drop)
    }

    /// Takes out the key that was inserted last, and its value.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn pop_item(&self) -> Result<Option<(K, V)>, CallError> {
        let method = Method::PopItem.name();
        let mut results = self.raw.call_packed(method, Vec::new())?.into_iter();
        let Some((key, value)) = results.next().zip(results.next()) else { return Ok(None) };
        Ok(Some((key.result(method)?, value.result(method)?)))
    }

    /// Sets a key's value to what a function makes of the one that it has, or of none, and gives the new one. The function
    /// runs in the server, where nothing else happens to the dictionary meanwhile: no update is lost.
    ///
    /// It is a function of this program, or a closure without captures, and the server has to run the same program. If it
    /// panics the item stays as it was.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::Panicked`] or [`Refusal::NoFunction`].
    pub fn update<F>(&self, key: K, function: F) -> Result<V, CallError>
    where
        F: Fn(Option<V>) -> V + Captureless,
    {
        let method = Method::Update.name();
        let server = self.raw.server_address();
        let function = name_call::<Changes, F, (Option<V>,)>(function).map_err(|error| CallError::Refused {
            method: method.name,
            server,
            refusal: Refusal::NoFunction { reason: error.to_string() },
        })?;
        let arguments = vec![self.raw.pack(method, &key)?, self.raw.pack(method, &function)?];
        self.raw.call_packed(method, arguments)?.pop().unwrap_or_default().result(method)
    }

    /// All items, in the order in which they were inserted, asked for in batches of [`ITEMS_A_BATCH`].
    ///
    /// What is inserted meanwhile comes at the end; what is taken out before its batch is asked for does not come.
    #[must_use]
    pub fn iter(&self) -> DictIter<K, V> {
        DictIter { raw: self.raw.clone(), after: None, batch: Vec::new().into_iter(), is_over: false, of: PhantomData }
    }

    /// All items.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn to_map(&self) -> Result<HashMap<K, V>, CallError>
    where
        K: Eq + Hash,
    {
        self.iter().collect()
    }
}

/// The items of a dictionary, in order.
#[derive(Debug)]
pub struct DictIter<K, V> {
    raw: RawProxy,
    after: Option<u64>,
    batch: std::vec::IntoIter<Given>,
    is_over: bool,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> DictIter<K, V> {
    /// Asks for the next batch.
    fn fetch(&mut self) -> Result<(), CallError> {
        let method = Method::Batch.name();
        let after = self.raw.pack(method, &self.after)?;
        let mut results = self.raw.call_packed(method, vec![after])?;
        self.after = results.pop().unwrap_or_default().result(method)?;
        self.is_over = results.is_empty();
        self.batch = results.into_iter();
        Ok(())
    }
}

impl<K, V> Iterator for DictIter<K, V>
where
    K: DeserializeOwned + 'static,
    V: DeserializeOwned + 'static,
{
    type Item = Result<(K, V), CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.len() == 0
            && !self.is_over
            && let Err(error) = self.fetch()
        {
            self.is_over = true;
            return Some(Err(error));
        }
        let (key, value) = self.batch.next().zip(self.batch.next())?;
        let method = Method::Batch.name();
        Some(key.result(method).and_then(|key| Ok((key, value.result(method)?))))
    }
}
