//! A value in a server, which is changed as a whole.
//!
//! Relies on the functions that clients name to compare and change it.

use procession_launch::Captureless;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::functions::{changed_next, equal_next, name_alter, name_equal, name_work, worked_next};
use super::{Stored, check_told, methods, proxy};
use crate::data::Data;
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::identity::ObjectId;
use crate::server::{Given, Site, Taken};
use crate::value::{Form, Values};

methods! { "value":
    Get = "get" Shared,
    Set = "set" Exclusive,
    Replace = "replace" Exclusive,
    Update = "update" Exclusive,
    With = "with" Exclusive,
    CompareExchange = "compare_exchange" Exclusive,
}

/// The value.
#[derive(Debug)]
pub(crate) struct Value {
    value: Stored,
    values: Values,
}

impl Value {
    /// One of a native value; what converts it is told apart.
    pub(super) fn make(given: Given, conversions: Given) -> Result<Self, Refusal> {
        Ok(Self { value: Stored::keep(given)?, values: Values::named(conversions.read()?) })
    }

    /// One of data, the only argument.
    pub(super) fn untyped(given: Given, server: ObjectId) -> Result<Self, Refusal> {
        let (value,): (Data,) = given.read()?;
        let value = Taken::of(Site { server, form: Form::Data }, &value)?;
        Ok(Self { value: Stored::keep(value.into())?, values: Values::Data })
    }

    /// A value that was sent.
    fn accept(&self, ask: &mut Ask) -> Result<Stored, Refusal> {
        ask.accept(self.values).and_then(Stored::keep)
    }

    fn replace(&mut self, ask: &mut Ask) -> Answer {
        let new = self.accept(ask)?;
        check_told(ask, self.values.form(), || vec![self.value.copy(self.values)])?;
        Ok(vec![std::mem::replace(&mut self.value, new).take(self.values)])
    }

    fn update(&mut self, ask: &mut Ask) -> Answer {
        let new = changed_next(ask, self.values, Some(&self.value))?;
        let told = new.copy(self.values);
        self.value = new;
        Ok(vec![told])
    }

    fn with(&mut self, ask: &mut Ask) -> Answer {
        let (new, told) = worked_next(ask, self.values, &self.value)?;
        self.value = new;
        Ok(vec![told])
    }

    /// Nothing if it was exchanged, or else what it is.
    fn compare_exchange(&mut self, ask: &mut Ask) -> Answer {
        let is_equal = equal_next(ask, self.values)?;
        let current = self.accept(ask)?;
        let new = self.accept(ask)?;
        if !is_equal(&self.value, &current)? {
            return Ok(vec![self.value.copy(self.values)]);
        }
        self.value = new;
        Ok(Vec::new())
    }
}

impl Object for Value {
    type Kind = Kind;

    const KEEPS_CALLERS: bool = false;

    fn form(&self) -> Form {
        self.values.form()
    }

    fn read(&self, _: Method, _: &mut Ask) -> Step {
        Step::Done(Ok(vec![self.value.copy(self.values)]))
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Set => self.accept(ask).map(|new| {
                self.value = new;
                Vec::new()
            }),
            Method::Replace => self.replace(ask),
            Method::Update => self.update(ask),
            Method::With => self.with(ask),
            Method::CompareExchange => self.compare_exchange(ask),
            Method::Get => return self.read(method, ask),
        })
    }
}

proxy! {
    /// A value in a manager's server, of any type.
    ///
    /// # Python
    /// The proxy of `SyncManager.Value`; what is changed by several at once is changed by [`ValueProxy::update`], so that no
    /// change is lost.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let counter = manager.value(0_i64)?;
    /// assert_eq!(counter.update(|n| n + 1)?, 1);
    /// assert_eq!(counter.compare_exchange(&0, 5)?, Err(1)); // It was no 0 any more.
    /// assert_eq!(counter.compare_exchange(&1, 5)?, Ok(()));
    /// assert_eq!(counter.get()?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ValueProxy<T>
}

impl<T: Serialize + DeserializeOwned + 'static> ValueProxy<T> {
    /// What it is.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn get(&self) -> Result<T, CallError> {
        self.raw.one(Method::Get.name(), Vec::new())
    }

    /// Makes it another one.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set(&self, value: T) -> Result<(), CallError> {
        let method = Method::Set.name();
        self.raw.call_packed(method, vec![self.raw.pack(method, &value)?]).map(drop)
    }

    /// Makes it another one, and gives what it was.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn replace(&self, value: T) -> Result<T, CallError> {
        let method = Method::Replace.name();
        self.raw.one(method, vec![self.raw.pack(method, &value)?])
    }

    /// Makes it what a function makes of it, and gives that. The function runs in the server; it is as that of
    /// [`DictProxy::update`](crate::DictProxy::update).
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Panicked`](crate::Refusal::Panicked) or [`NoFunction`](crate::Refusal::NoFunction).
    pub fn update<F: Fn(T) -> T + Captureless>(&self, function: F) -> Result<T, CallError> {
        let method = Method::Update.name();
        let function = self.raw.pack(method, &name_alter(method, function)?)?;
        self.raw.one(method, vec![function])
    }

    /// Has a function change it in its place, with something that it is given, and returns what the function does. It runs in
    /// the server, where nothing else happens to the value meanwhile, and is as that of
    /// [`DictProxy::with`](crate::DictProxy::with).
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Panicked`](crate::Refusal::Panicked) or [`NoFunction`](crate::Refusal::NoFunction).
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let names = manager.value(vec!["Ada".to_string()])?;
    /// let count = names.with(
    ///     |names, name: String| {
    ///         names.push(name);
    ///         names.len()
    ///     },
    ///     "Grace".to_string(),
    /// )?;
    /// assert_eq!((count, names.get()?[1].as_str()), (2, "Grace"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with<A, R, F>(&self, function: F, arguments: A) -> Result<R, CallError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        F: Fn(&mut T, A) -> R + Captureless,
    {
        let method = Method::With.name();
        let function = self.raw.pack(method, &name_work(method, function)?)?;
        self.raw.one(method, vec![function, self.raw.pack(method, &arguments)?])
    }

    /// Makes it another one if it is what is expected; what it is otherwise.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`NoFunction`](crate::Refusal::NoFunction) from a server that runs another program.
    pub fn compare_exchange(&self, current: &T, new: T) -> Result<Result<(), T>, CallError>
    where
        T: PartialEq,
    {
        let method = Method::CompareExchange.name();
        let equal = self.raw.pack_function(method, || name_equal::<T>(method))?;
        let arguments = vec![equal, self.raw.pack(method, current)?, self.raw.pack(method, &new)?];
        Ok(self.raw.option(method, arguments)?.map_or(Ok(()), Err))
    }
}
