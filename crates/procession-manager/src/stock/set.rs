//! A set in a server: values of which each is in it once, in the order in which they were inserted.
//!
//! Relies on [`Table`], of which it uses the keys.

use std::collections::HashSet;
use std::hash::Hash;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batches::Batches;
use super::table::{Batch, Table};
use super::{Stored, check_told, count, methods, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Given, Taken};
use crate::value::Form;

methods! { "set":
    Insert = "insert" Exclusive,
    Remove = "remove" Exclusive,
    Contains = "contains" Shared,
    Len = "len" Shared,
    Clear = "clear" Exclusive,
    Pop = "pop" Exclusive,
    Batch = "batch" Shared,
}

/// The set.
#[derive(Debug)]
pub(crate) struct Set(Table);

impl Set {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        Table::make(given).map(Self)
    }

    /// One whose values are data.
    pub(super) fn untyped() -> Self {
        Self(Table::untyped())
    }

    fn insert(&mut self, ask: &mut Ask) -> Answer {
        let key = self.0.key(ask)?;
        let is_new = self.0.get(&key)?.is_none();
        if is_new {
            self.0.insert(key, Stored::keep(Given::default())?)?;
        }
        ask.value(&is_new)
    }

    fn contains(&self, ask: &mut Ask) -> Answer {
        let key = self.0.key(ask)?;
        ask.value(&self.0.get(&key)?.is_some())
    }

    fn remove(&mut self, ask: &mut Ask) -> Answer {
        let key = self.0.key(ask)?;
        ask.value(&self.0.remove(&key)?.is_some())
    }

    fn pop(&mut self, ask: &Ask) -> Answer {
        let told = || self.0.last().map(|(key, _)| self.0.told(key)).into_iter().collect();
        check_told(ask, self.0.values.form(), told)?;
        Ok(self.0.pop()?.map(|(key, _)| self.0.told(&key)).into_iter().collect())
    }

    fn batch(&self, ask: &mut Ask) -> Answer {
        let Batch { items, last } = self.0.batch(ask.read()?);
        let mut results: Vec<Taken> = items.into_iter().map(|(key, _)| self.0.told(key)).collect();
        results.push(Taken::of(ask.site, &last)?);
        Ok(results)
    }
}

impl Object for Set {
    type Kind = Kind;

    const KEEPS_CALLERS: bool = false;

    fn form(&self) -> Form {
        self.0.values.form()
    }

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Contains => self.contains(ask),
            Method::Len => ask.value(&(self.0.len() as u64)),
            _ => self.batch(ask),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Insert => self.insert(ask),
            Method::Remove => self.remove(ask),
            Method::Pop => self.pop(ask),
            Method::Clear => {
                self.0.clear();
                Ok(Vec::new())
            }
            Method::Contains | Method::Len | Method::Batch => return self.read(method, ask),
        })
    }
}

proxy! {
    /// A set in a manager's server, whose values are as different as their type says.
    ///
    /// # Python
    /// The proxy of `SyncManager.set`, since 3.14. Unions and the like are those of [`SetProxy::to_set`].
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let seen = manager.set::<String>()?;
    /// assert!(seen.insert("a".into())? && !seen.insert("a".into())?);
    /// assert!(seen.contains(&"a".into())?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    SetProxy<T>
}

impl<T: Serialize + DeserializeOwned + 'static> SetProxy<T> {
    /// Puts a value in; false if it is in it already.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Python
    /// `set.add`.
    pub fn insert(&self, value: T) -> Result<bool, CallError> {
        let method = Method::Insert.name();
        self.raw.one(method, vec![self.raw.pack(method, &value)?])
    }

    /// Takes a value out; false if it is not in it.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Python
    /// `set.discard`.
    pub fn remove(&self, value: &T) -> Result<bool, CallError> {
        let method = Method::Remove.name();
        self.raw.one(method, vec![self.raw.pack(method, value)?])
    }

    /// True if a value is in it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn contains(&self, value: &T) -> Result<bool, CallError> {
        let method = Method::Contains.name();
        self.raw.one(method, vec![self.raw.pack(method, value)?])
    }

    /// How many values it has.
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

    /// Takes all values out.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn clear(&self) -> Result<(), CallError> {
        self.raw.call_packed(Method::Clear.name(), Vec::new()).map(drop)
    }

    /// Takes out the value that was inserted last.
    ///
    /// # Errors
    /// [`CallError`]; after [`CallError::Output`] the value, which is no `T`, is out as well.
    pub fn pop(&self) -> Result<Option<T>, CallError> {
        self.raw.option(Method::Pop.name(), Vec::new())
    }

    /// All values, in the order in which they were inserted, asked for in batches of
    /// [`ITEMS_A_BATCH`](crate::ITEMS_A_BATCH).
    #[must_use]
    pub fn iter(&self) -> SetIter<T> {
        SetIter { batches: Batches::new(&self.raw, Method::Batch.name(), None), of: PhantomData }
    }

    /// All values.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn to_set(&self) -> Result<HashSet<T>, CallError>
    where
        T: Eq + Hash,
    {
        self.iter().collect()
    }
}

/// The values of a set. After an error there is nothing more.
#[derive(Debug)]
pub struct SetIter<T> {
    batches: Batches<Option<u64>>,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + 'static> Iterator for SetIter<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}
