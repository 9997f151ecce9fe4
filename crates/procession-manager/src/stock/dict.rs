//! A dictionary in a server: keys with a value each, in the order in which they were inserted.
//!
//! Relies on [`Table`]. Values stay as they came.

use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;

use procession_launch::Captureless;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batches::Batches;
use super::functions::{changed_next, made_next, name_change, name_make, name_work, worked_next};
use super::table::{Batch, Key, Table};
use super::{Stored, check_told, count, methods, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Given, Taken};
use crate::value::{Form, Values};

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
    SetDefault = "get_or_insert" Exclusive,
    SetDefaultWith = "get_or_insert_with" Exclusive,
    With = "with" Exclusive,
    Extend = "extend" Exclusive,
}

/// The dictionary.
#[derive(Debug)]
pub(crate) struct Dict(Table);

impl Dict {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        Table::make(given).map(Self)
    }

    /// One whose keys and values are data.
    pub(super) fn untyped() -> Self {
        Self(Table::untyped())
    }

    fn copy(&self, value: &Stored) -> Taken {
        value.copy(self.0.values)
    }

    fn find(&self, ask: &mut Ask) -> Result<Option<&Stored>, Refusal> {
        let key = self.0.key(ask)?;
        self.0.get(&key)
    }

    fn insert(&mut self, ask: &mut Ask) -> Answer {
        let key = self.0.key(ask)?;
        let value = Stored::keep(ask.accept(self.0.values)?)?;
        self.check_told(ask, &key)?;
        let old = self.0.insert(key, value)?;
        Ok(old.map(|value| value.take(self.0.values)).into_iter().collect())
    }

    /// All of them, or none.
    fn extend(&mut self, ask: &mut Ask) -> Answer {
        let mut items = Vec::with_capacity(ask.arguments.len() / 2);
        while ask.arguments.len() > 0 {
            items.push((self.0.key(ask)?, Stored::keep(ask.accept(self.0.values)?)?));
        }
        self.0.extend(items).map(|()| Vec::new())
    }

    fn remove(&mut self, ask: &mut Ask) -> Answer {
        let key = self.0.key(ask)?;
        self.check_told(ask, &key)?;
        Ok(self.0.remove(&key)?.map(|value| value.take(self.0.values)).into_iter().collect())
    }

    /// Refuses to give a key's value to somebody who could not be told it.
    fn check_told(&self, ask: &Ask, key: &Key) -> Result<(), Refusal> {
        if ask.site.form == self.0.values.form() {
            return Ok(());
        }
        let value = self.0.get(key)?;
        check_told(ask, self.0.values.form(), || value.map(|value| self.copy(value)).into_iter().collect())
    }

    fn pop_item(&mut self, ask: &Ask) -> Answer {
        let told = |(key, value): (&[u8], &Stored)| vec![self.0.told(key), self.copy(value)];
        check_told(ask, self.0.values.form(), || self.0.last().map(told).unwrap_or_default())?;
        let popped = self.0.pop()?;
        Ok(popped.map(|(key, value)| vec![self.0.told(&key), value.take(self.0.values)]).unwrap_or_default())
    }

    /// Some items after the place that is asked for; last where they end.
    fn batch(&self, ask: &mut Ask) -> Answer {
        let Batch { items, last } = self.0.batch(ask.read()?);
        let told = |(key, value): (&[u8], &Stored)| [self.0.told(key), self.copy(value)];
        let mut results: Vec<Taken> = items.into_iter().flat_map(told).collect();
        results.push(Taken::of(ask.site, &last)?);
        Ok(results)
    }

    fn update(&mut self, ask: &mut Ask) -> Answer {
        let key = self.0.key(ask)?;
        let new = changed_next(ask, self.0.values, self.0.get(&key)?)?;
        let told = self.copy(&new);
        self.0.insert(key, new)?;
        Ok(vec![told])
    }

    /// The value of a key; if it has none, one that is made now.
    fn set_default(&mut self, ask: &mut Ask, make: fn(&mut Ask, Values) -> Result<Stored, Refusal>) -> Answer {
        let key = self.0.key(ask)?;
        if let Some(value) = self.0.get(&key)? {
            return Ok(vec![self.copy(value)]);
        }
        let value = make(ask, self.0.values)?;
        let told = self.copy(&value);
        self.0.insert(key, value)?;
        Ok(vec![told])
    }

    fn with(&mut self, ask: &mut Ask) -> Answer {
        let key = self.0.key(ask)?;
        let Some(value) = self.0.get(&key)? else { return Ok(Vec::new()) };
        let (new, told) = worked_next(ask, self.0.values, value)?;
        self.0.insert(key, new)?;
        Ok(vec![told])
    }
}

impl Object for Dict {
    type Kind = Kind;

    const KEEPS_CALLERS: bool = false;

    fn form(&self) -> Form {
        self.0.values.form()
    }

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Get => self.find(ask).map(|found| found.map(|value| self.copy(value)).into_iter().collect()),
            Method::Contains => self.find(ask).map(|found| found.is_some()).and_then(|found| ask.value(&found)),
            Method::Len => ask.value(&(self.0.len() as u64)),
            _ => self.batch(ask),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Insert => self.insert(ask),
            Method::Remove => self.remove(ask),
            Method::PopItem => self.pop_item(ask),
            Method::Update => self.update(ask),
            Method::SetDefault => self.set_default(ask, |ask, values| Stored::keep(ask.accept(values)?)),
            Method::SetDefaultWith => self.set_default(ask, made_next),
            Method::With => self.with(ask),
            Method::Extend => self.extend(ask),
            Method::Clear => {
                self.0.clear();
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

    /// Sets the values of all these keys, in one call and at once: nobody sees some of them set and others not.
    ///
    /// # Errors
    /// [`CallError`]; none of them is set then, but with those that do not tell whether the call has run.
    ///
    /// # Python
    /// `dict.update` with a mapping.
    pub fn extend(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<(), CallError> {
        let method = Method::Extend.name();
        let mut arguments = Vec::new();
        for (key, value) in items {
            arguments.extend([self.raw.pack(method, &key)?, self.raw.pack(method, &value)?]);
        }
        self.raw.call_packed(method, arguments).map(drop)
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
    /// [`CallError`]; after [`CallError::Output`] the value, which is no `V`, is out as well.
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
        self.raw.ask::<u64>(Method::Len.name()).map(count)
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
    /// [`CallError`]; after [`CallError::Output`] both are out as well.
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
        let function = name_change(method, function)?;
        let arguments = vec![self.raw.pack(method, &key)?, self.raw.pack(method, &function)?];
        self.raw.call_packed(method, arguments)?.pop().unwrap_or_default().result(method)
    }

    /// A key's value; if it has none, this one from now on.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Python
    /// `dict.setdefault`.
    pub fn get_or_insert(&self, key: K, value: V) -> Result<V, CallError> {
        let method = Method::SetDefault.name();
        let arguments = vec![self.raw.pack(method, &key)?, self.raw.pack(method, &value)?];
        self.raw.call_packed(method, arguments)?.pop().unwrap_or_default().result(method)
    }

    /// A key's value; if it has none, what a function makes, from now on. The function runs in the server, and only then; it is as
    /// that of [`update`](Self::update).
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::Panicked`] or [`Refusal::NoFunction`].
    pub fn get_or_insert_with<F: Fn() -> V + Captureless>(&self, key: K, function: F) -> Result<V, CallError> {
        let method = Method::SetDefaultWith.name();
        let function = self.raw.pack(method, &name_make(method, function)?)?;
        self.raw.one(method, vec![self.raw.pack(method, &key)?, function])
    }

    /// Has a function change a key's value in its place, with something that it is given, and returns what the function does;
    /// nothing if the key has no value. The function runs in the server, where nothing else happens to the dictionary meanwhile.
    ///
    /// It is a function of this program, or a closure without captures, and the server has to run the same program; several
    /// arguments are a tuple. If it panics the value stays as it was.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::Panicked`] or [`Refusal::NoFunction`].
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// fn withdraw(balance: &mut u64, amount: u64) -> bool {
    ///     let is_there = *balance >= amount;
    ///     *balance -= if is_there { amount } else { 0 };
    ///     is_there
    /// }
    ///
    /// let manager = SyncManager::start()?;
    /// let accounts = manager.dict::<String, u64>()?;
    /// let ada = "Ada".to_string();
    /// accounts.insert(ada.clone(), 100)?;
    /// assert_eq!(accounts.with(&ada, withdraw, 70)?, Some(true));
    /// assert_eq!(accounts.with(&ada, withdraw, 70)?, Some(false));
    /// assert_eq!(accounts.with(&"Grace".to_string(), withdraw, 1)?, None);
    /// assert_eq!(accounts.get(&ada)?, Some(30));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with<A, R, F>(&self, key: &K, function: F, arguments: A) -> Result<Option<R>, CallError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        F: Fn(&mut V, A) -> R + Captureless,
    {
        let method = Method::With.name();
        let function = self.raw.pack(method, &name_work(method, function)?)?;
        let arguments = self.raw.pack(method, &arguments)?;
        self.raw.option(method, vec![self.raw.pack(method, key)?, function, arguments])
    }

    /// All items, in the order in which they were inserted, asked for in batches of [`ITEMS_A_BATCH`](crate::ITEMS_A_BATCH).
    ///
    /// What is inserted meanwhile comes at the end; what is taken out before its batch is asked for does not come.
    #[must_use]
    pub fn iter(&self) -> DictIter<K, V> {
        DictIter { batches: Batches::new(&self.raw, Method::Batch.name(), None), of: PhantomData }
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

/// The items of a dictionary, in order. After an error there is nothing more.
#[derive(Debug)]
pub struct DictIter<K, V> {
    batches: Batches<Option<u64>>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Iterator for DictIter<K, V>
where
    K: DeserializeOwned + 'static,
    V: DeserializeOwned + 'static,
{
    type Item = Result<(K, V), CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next_pair()
    }
}
