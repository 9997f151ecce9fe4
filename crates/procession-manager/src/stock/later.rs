//! Methods that return before their call is carried out, of the proxies for which many calls at once are worth it.
//!
//! Relies on [`Pending`] for the results. Each of these sends what the method without `_later` sends.

use procession_launch::Captureless;
use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::functions::{name_alter, name_change};
use super::{DictProxy, EventProxy, JoinableQueueProxy, ListProxy, NamespaceProxy, QueueProxy, SetProxy, ValueProxy};
use super::{dict, event, list, namespace, patience, queue, set, value};
use crate::error::CallError;
use crate::pending::Pending;
use crate::proxy::{Proxy, nothing, one, option};

impl<K, V> DictProxy<K, V>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// [`insert`](Self::insert), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn insert_later(&self, key: K, value: V) -> Result<Pending<Option<V>>, CallError> {
        let (raw, method) = (self.as_raw(), dict::Method::Insert.name());
        raw.send_later(method, vec![raw.pack(method, &key)?, raw.pack(method, &value)?], option)
    }

    /// [`get`](Self::get), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn get_later(&self, key: &K) -> Result<Pending<Option<V>>, CallError> {
        let (raw, method) = (self.as_raw(), dict::Method::Get.name());
        raw.send_later(method, vec![raw.pack(method, key)?], option)
    }

    /// [`remove`](Self::remove), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn remove_later(&self, key: &K) -> Result<Pending<Option<V>>, CallError> {
        let (raw, method) = (self.as_raw(), dict::Method::Remove.name());
        raw.send_later(method, vec![raw.pack(method, key)?], option)
    }

    /// [`contains_key`](Self::contains_key), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn contains_key_later(&self, key: &K) -> Result<Pending<bool>, CallError> {
        let (raw, method) = (self.as_raw(), dict::Method::Contains.name());
        raw.send_later(method, vec![raw.pack(method, key)?], one)
    }

    /// [`get_or_insert`](Self::get_or_insert), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn get_or_insert_later(&self, key: K, value: V) -> Result<Pending<V>, CallError> {
        let (raw, method) = (self.as_raw(), dict::Method::SetDefault.name());
        raw.send_later(method, vec![raw.pack(method, &key)?, raw.pack(method, &value)?], one)
    }

    /// [`update`](Self::update), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn update_later<F>(&self, key: K, function: F) -> Result<Pending<V>, CallError>
    where
        F: Fn(Option<V>) -> V + Captureless,
    {
        let (raw, method) = (self.as_raw(), dict::Method::Update.name());
        let function = name_change(method, function)?;
        raw.send_later(method, vec![raw.pack(method, &key)?, raw.pack(method, &function)?], one)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> ListProxy<T> {
    /// [`get`](Self::get), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn get_later(&self, index: usize) -> Result<Pending<Option<T>>, CallError> {
        let (raw, method) = (self.as_raw(), list::Method::Get.name());
        raw.send_later(method, vec![raw.pack(method, &(index as u64))?], option)
    }

    /// [`set`](Self::set), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn set_later(&self, index: usize, value: T) -> Result<Pending<T>, CallError> {
        let (raw, method) = (self.as_raw(), list::Method::Set.name());
        raw.send_later(method, vec![raw.pack(method, &(index as u64))?, raw.pack(method, &value)?], one)
    }

    /// [`push`](Self::push), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn push_later(&self, value: T) -> Result<Pending<()>, CallError> {
        let (raw, method) = (self.as_raw(), list::Method::Push.name());
        raw.send_later(method, vec![raw.pack(method, &value)?], nothing)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> SetProxy<T> {
    /// [`insert`](Self::insert), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn insert_later(&self, value: T) -> Result<Pending<bool>, CallError> {
        let (raw, method) = (self.as_raw(), set::Method::Insert.name());
        raw.send_later(method, vec![raw.pack(method, &value)?], one)
    }

    /// [`remove`](Self::remove), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn remove_later(&self, value: &T) -> Result<Pending<bool>, CallError> {
        let (raw, method) = (self.as_raw(), set::Method::Remove.name());
        raw.send_later(method, vec![raw.pack(method, value)?], one)
    }

    /// [`contains`](Self::contains), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn contains_later(&self, value: &T) -> Result<Pending<bool>, CallError> {
        let (raw, method) = (self.as_raw(), set::Method::Contains.name());
        raw.send_later(method, vec![raw.pack(method, value)?], one)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> ValueProxy<T> {
    /// [`get`](Self::get), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn get_later(&self) -> Result<Pending<T>, CallError> {
        let (raw, method) = (self.as_raw(), value::Method::Get.name());
        raw.send_later(method, Vec::new(), one)
    }

    /// [`set`](Self::set), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn set_later(&self, value: T) -> Result<Pending<()>, CallError> {
        let (raw, method) = (self.as_raw(), value::Method::Set.name());
        raw.send_later(method, vec![raw.pack(method, &value)?], nothing)
    }

    /// [`update`](Self::update), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn update_later<F: Fn(T) -> T + Captureless>(&self, function: F) -> Result<Pending<T>, CallError> {
        let (raw, method) = (self.as_raw(), value::Method::Update.name());
        let function = name_alter(method, function)?;
        raw.send_later(method, vec![raw.pack(method, &function)?], one)
    }
}

impl NamespaceProxy {
    /// [`get`](Self::get), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn get_later<T: DeserializeOwned + 'static>(&self, name: &str) -> Result<Pending<Option<T>>, CallError> {
        let (raw, method) = (self.as_raw(), namespace::Method::Get.name());
        raw.send_later(method, vec![raw.pack(method, &name.to_owned())?], namespace::found)
    }

    /// [`set`](Self::set), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn set_later<T>(&self, name: &str, value: T) -> Result<Pending<()>, CallError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.as_raw().send_later(namespace::Method::Set.name(), self.pack_set(name, &value)?, nothing)
    }
}

impl EventProxy {
    /// [`set`](Self::set), without a wait for what becomes of it.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn set_later(&self) -> Result<Pending<()>, CallError> {
        let (raw, method) = (self.as_raw(), event::Method::Set.name());
        raw.send_later(method, Vec::new(), nothing)
    }
}

/// What both queues do.
macro_rules! verbs {
    ($name:ident) => {
        impl<T: Serialize + DeserializeOwned + 'static> $name<T> {
            /// [`put`](Self::put), without a wait for what becomes of it: also one that waits for room stays on its way, and is
            /// one of [`CALLS_AHEAD_MAX`](crate::CALLS_AHEAD_MAX) as long.
            ///
            /// # Errors
            /// [`CallError`], when it could not be sent.
            pub fn put_later(&self, item: &T) -> Result<Pending<()>, CallError> {
                let (raw, method) = (self.as_raw(), queue::Method::Put.name());
                let patience = raw.pack(method, &patience(Deadline::NEVER))?;
                raw.send_later(method, vec![patience, raw.pack(method, item)?], nothing)
            }

            /// [`get`](Self::get), without a wait for what becomes of it: several are items that are fetched ahead. Dropping
            /// the result gives it up, and puts an item that it has back where it stood.
            ///
            /// One that waits for an item is one of [`CALLS_AHEAD_MAX`](crate::CALLS_AHEAD_MAX): with so many, what this process calls
            /// next without a wait, of whatever object, waits for one of them to be answered.
            ///
            /// # Errors
            /// [`CallError`], when it could not be sent.
            pub fn get_later(&self) -> Result<Pending<T>, CallError> {
                let (raw, method) = (self.as_raw(), queue::Method::Get.name());
                let patience = raw.pack(method, &patience(Deadline::NEVER))?;
                raw.send_later(method, vec![patience], one).map(Pending::taking)
            }
        }
    };
}

verbs!(QueueProxy);
verbs!(JoinableQueueProxy);
