//! A list in a server: values in order.
//!
//! Relies on the functions that clients name to compare, order and change values; they stay as they came otherwise.

use std::marker::PhantomData;

use procession_launch::Captureless;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batches::{Batches, Size};
use super::functions::{
    changed_next, equal_next, name_alter, name_equal, name_order, name_work, order_next, worked_next,
};
use super::{Stored, check_told, count, methods, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::{Given, Taken};
use crate::value::{Form, Values};

methods! { "list":
    Get = "get" Shared,
    Set = "set" Exclusive,
    Push = "push" Exclusive,
    Pop = "pop" Exclusive,
    Insert = "insert" Exclusive,
    Remove = "remove" Exclusive,
    Len = "len" Shared,
    Clear = "clear" Exclusive,
    Extend = "extend" Exclusive,
    Reverse = "reverse" Exclusive,
    Truncate = "truncate" Exclusive,
    Sort = "sort" Exclusive,
    Positions = "positions" Shared,
    Update = "update" Exclusive,
    With = "with" Exclusive,
    RemoveItem = "remove_item" Exclusive,
    Batch = "batch" Shared,
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct List {
    items: Vec<Stored>,
    values: Values,
}

impl List {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        Ok(Self { items: Vec::new(), values: Values::named(given.read()?) })
    }

    /// One whose values are data.
    pub(super) fn untyped() -> Self {
        Self { items: Vec::new(), values: Values::Data }
    }

    /// A value that was sent.
    fn accept(&self, ask: &mut Ask) -> Result<Stored, Refusal> {
        ask.accept(self.values).and_then(Stored::keep)
    }

    fn place(&self, ask: &mut Ask) -> Result<usize, Refusal> {
        let index: u64 = ask.read()?;
        let place = usize::try_from(index).ok().filter(|&place| place < self.items.len());
        place.ok_or(Refusal::OutOfRange { index, len: self.items.len() as u64 })
    }

    fn get(&self, ask: &mut Ask) -> Answer {
        let index: u64 = ask.read()?;
        let found = usize::try_from(index).ok().and_then(|place| self.items.get(place));
        Ok(found.map(|value| value.copy(self.values)).into_iter().collect())
    }

    fn set(&mut self, ask: &mut Ask) -> Answer {
        let place = self.place(ask)?;
        let new = self.accept(ask)?;
        self.check_told(ask, place)?;
        Ok(vec![std::mem::replace(&mut self.items[place], new).take(self.values)])
    }

    fn insert(&mut self, ask: &mut Ask) -> Answer {
        let (index, len): (u64, usize) = (ask.read()?, self.items.len());
        let place = usize::try_from(index).ok().filter(|&place| place <= len);
        let place = place.ok_or(Refusal::OutOfRange { index, len: len as u64 })?;
        let value = self.accept(ask)?;
        self.items.insert(place, value);
        Ok(Vec::new())
    }

    /// Refuses to give a value to somebody who could not be told it.
    fn check_told(&self, ask: &Ask, place: usize) -> Result<(), Refusal> {
        check_told(ask, self.values.form(), || vec![self.items[place].copy(self.values)])
    }

    fn take_out(&mut self, ask: &Ask, place: usize) -> Answer {
        self.check_told(ask, place)?;
        Ok(vec![self.items.remove(place).take(self.values)])
    }

    fn pop(&mut self, ask: &Ask) -> Answer {
        self.items.len().checked_sub(1).map_or(DONE, |last| self.take_out(ask, last))
    }

    /// Takes all of them, or none.
    fn extend(&mut self, ask: &mut Ask) -> Answer {
        let count = ask.arguments.len();
        let values: Vec<Stored> = (0..count).map(|_| self.accept(ask)).collect::<Result<_, _>>()?;
        self.items.extend(values);
        Ok(Vec::new())
    }

    fn sort(&mut self, ask: &mut Ask) -> Answer {
        let order = order_next(ask, self.values, &self.items)?;
        let mut before: Vec<Option<Stored>> = std::mem::take(&mut self.items).into_iter().map(Some).collect();
        self.items = order.into_iter().filter_map(|place| before.get_mut(place).and_then(Option::take)).collect();
        Ok(Vec::new())
    }

    /// Where values are that are equal to one, so many of them at most.
    fn positions(&self, ask: &mut Ask) -> Answer {
        let most: u64 = ask.read()?;
        let is_equal = equal_next(ask, self.values)?;
        let wanted = self.accept(ask)?;
        let mut places = Vec::new();
        for (place, value) in self.items.iter().enumerate() {
            if places.len() as u64 >= most {
                break;
            }
            if is_equal(value, &wanted)? {
                places.push(place as u64);
            }
        }
        ask.value(&places)
    }

    fn update(&mut self, ask: &mut Ask) -> Answer {
        let place = self.place(ask)?;
        let new = changed_next(ask, self.values, Some(&self.items[place]))?;
        let told = new.copy(self.values);
        self.items[place] = new;
        Ok(vec![told])
    }

    fn with(&mut self, ask: &mut Ask) -> Answer {
        let place = self.place(ask)?;
        let (new, told) = worked_next(ask, self.values, &self.items[place])?;
        self.items[place] = new;
        Ok(vec![told])
    }

    /// Takes out the first value that is equal to one; whether there was one.
    fn remove_item(&mut self, ask: &mut Ask) -> Answer {
        let is_equal = equal_next(ask, self.values)?;
        let wanted = self.accept(ask)?;
        for (place, value) in self.items.iter().enumerate() {
            if is_equal(value, &wanted)? {
                self.items.remove(place);
                return ask.value(&true);
            }
        }
        ask.value(&false)
    }

    /// Some values from a place on; last where they end.
    fn batch(&self, ask: &mut Ask) -> Answer {
        let from: u64 = ask.read()?;
        let rest = self.items.iter().skip(usize::try_from(from).unwrap_or(usize::MAX));
        let mut size = Size::default();
        let batch = rest.take_while(|value| size.add(value.bytes().len(), value.descriptors()));
        let mut results: Vec<Taken> = batch.map(|value| value.copy(self.values)).collect();
        let end = from + results.len() as u64;
        results.push(Taken::of(ask.site, &end)?);
        Ok(results)
    }
}

/// Nothing to tell.
const DONE: Answer = Ok(Vec::new());

impl Object for List {
    type Kind = Kind;

    const KEEPS_CALLERS: bool = false;

    fn form(&self) -> Form {
        self.values.form()
    }

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Get => self.get(ask),
            Method::Len => ask.value(&(self.items.len() as u64)),
            Method::Positions => self.positions(ask),
            _ => self.batch(ask),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Set => self.set(ask),
            Method::Insert => self.insert(ask),
            Method::Remove => self.place(ask).and_then(|place| self.take_out(ask, place)),
            Method::Pop => self.pop(ask),
            Method::Sort => self.sort(ask),
            Method::Update => self.update(ask),
            Method::With => self.with(ask),
            Method::RemoveItem => self.remove_item(ask),
            Method::Push => self.accept(ask).map(|value| {
                self.items.push(value);
                Vec::new()
            }),
            Method::Extend => self.extend(ask),
            Method::Truncate => ask.read::<u64>().map(|len| {
                self.items.truncate(usize::try_from(len).unwrap_or(usize::MAX));
                Vec::new()
            }),
            Method::Reverse => {
                self.items.reverse();
                DONE
            }
            Method::Clear => {
                self.items.clear();
                DONE
            }
            Method::Get | Method::Len | Method::Positions | Method::Batch => return self.read(method, ask),
        })
    }
}

proxy! {
    /// A list in a manager's server.
    ///
    /// What is taken out is a copy: changing it changes nothing in the server. [`ListProxy::update`] does, at once; or put
    /// proxies of other objects in.
    ///
    /// # Python
    /// The proxy of `SyncManager.list`. A slice of it is one of [`ListProxy::to_vec`].
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let list = manager.list::<i64>()?;
    /// list.push(3)?;
    /// list.extend([1, 2])?;
    /// list.sort()?;
    /// assert_eq!(list.update(0, |n| n * 10)?, 10); // Runs in the server.
    /// assert_eq!(list.to_vec()?, [10, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ListProxy<T>
}

impl<T: Serialize + DeserializeOwned + 'static> ListProxy<T> {
    /// The value at a place; none beyond the end.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn get(&self, index: usize) -> Result<Option<T>, CallError> {
        let method = Method::Get.name();
        self.raw.option(method, vec![self.raw.pack(method, &(index as u64))?])
    }

    /// Puts a value in the place of another one, and gives that.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`].
    pub fn set(&self, index: usize, value: T) -> Result<T, CallError> {
        let method = Method::Set.name();
        self.raw.one(method, vec![self.raw.pack(method, &(index as u64))?, self.raw.pack(method, &value)?])
    }

    /// Puts a value at the end.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Python
    /// `list.append`.
    pub fn push(&self, value: T) -> Result<(), CallError> {
        let method = Method::Push.name();
        self.raw.call_packed(method, vec![self.raw.pack(method, &value)?]).map(drop)
    }

    /// Takes the last value.
    ///
    /// # Errors
    /// [`CallError`]; after [`CallError::Output`] the value, which is no `T`, is out as well.
    pub fn pop(&self) -> Result<Option<T>, CallError> {
        self.raw.option(Method::Pop.name(), Vec::new())
    }

    /// Puts a value before the one at a place, or at the end.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`].
    pub fn insert(&self, index: usize, value: T) -> Result<(), CallError> {
        let method = Method::Insert.name();
        let arguments = vec![self.raw.pack(method, &(index as u64))?, self.raw.pack(method, &value)?];
        self.raw.call_packed(method, arguments).map(drop)
    }

    /// Takes the value at a place.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`]; after [`CallError::Output`] the value, which is no `T`, is out as well.
    ///
    /// # Python
    /// `list.pop(index)`.
    pub fn remove(&self, index: usize) -> Result<T, CallError> {
        let method = Method::Remove.name();
        self.raw.one(method, vec![self.raw.pack(method, &(index as u64))?])
    }

    /// Takes out the first value that is equal to this one; false if there is none.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NoFunction`] from a server that runs another program.
    ///
    /// # Python
    /// `list.remove(value)`.
    pub fn remove_item(&self, value: &T) -> Result<bool, CallError>
    where
        T: PartialEq,
    {
        let method = Method::RemoveItem.name();
        let equal = self.raw.pack_function(method, || name_equal::<T>(method))?;
        self.raw.one(method, vec![equal, self.raw.pack(method, value)?])
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

    /// Puts values at the end, all of them with one call.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        let method = Method::Extend.name();
        let values = values.into_iter().map(|value| self.raw.pack(method, &value));
        self.raw.call_packed(method, values.collect::<Result<_, _>>()?).map(drop)
    }

    /// Takes out what is beyond a length.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn truncate(&self, len: usize) -> Result<(), CallError> {
        let method = Method::Truncate.name();
        self.raw.call_packed(method, vec![self.raw.pack(method, &(len as u64))?]).map(drop)
    }

    /// Turns the order around.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn reverse(&self) -> Result<(), CallError> {
        self.raw.call_packed(Method::Reverse.name(), Vec::new()).map(drop)
    }

    /// Puts the values in order; equal ones stay in theirs.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NoFunction`] from a server that runs another program.
    pub fn sort(&self) -> Result<(), CallError>
    where
        T: Ord,
    {
        let method = Method::Sort.name();
        self.raw.call_packed(method, vec![self.raw.pack_function(method, || name_order::<T>(method))?]).map(drop)
    }

    /// True if a value is in it.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NoFunction`] from a server that runs another program.
    pub fn contains(&self, value: &T) -> Result<bool, CallError>
    where
        T: PartialEq,
    {
        self.positions(value, 1).map(|places| !places.is_empty())
    }

    /// Where a value is first.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NoFunction`] from a server that runs another program.
    ///
    /// # Python
    /// `list.index`.
    pub fn position(&self, value: &T) -> Result<Option<usize>, CallError>
    where
        T: PartialEq,
    {
        self.positions(value, 1).map(|places| places.first().copied().map(count))
    }

    /// How often a value is in it.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NoFunction`] from a server that runs another program.
    pub fn count(&self, value: &T) -> Result<usize, CallError>
    where
        T: PartialEq,
    {
        self.positions(value, u64::MAX).map(|places| places.len())
    }

    fn positions(&self, value: &T, most: u64) -> Result<Vec<u64>, CallError>
    where
        T: PartialEq,
    {
        let method = Method::Positions.name();
        let equal = self.raw.pack_function(method, || name_equal::<T>(method))?;
        self.raw.one(method, vec![self.raw.pack(method, &most)?, equal, self.raw.pack(method, value)?])
    }

    /// Puts in the place of a value what a function makes of it, and gives that. The function runs in the server, where
    /// nothing else happens to the list meanwhile. It is as that of [`DictProxy::update`](crate::DictProxy::update).
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`], [`Refusal::Panicked`] or [`Refusal::NoFunction`].
    pub fn update<F: Fn(T) -> T + Captureless>(&self, index: usize, function: F) -> Result<T, CallError> {
        let method = Method::Update.name();
        let function = self.raw.pack(method, &name_alter(method, function)?)?;
        self.raw.one(method, vec![self.raw.pack(method, &(index as u64))?, function])
    }

    /// Has a function change a value in its place, with something that it is given, and returns what the function does. It runs
    /// in the server, and is as that of [`DictProxy::with`](crate::DictProxy::with).
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`], [`Refusal::Panicked`] or [`Refusal::NoFunction`].
    pub fn with<A, R, F>(&self, index: usize, function: F, arguments: A) -> Result<R, CallError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        F: Fn(&mut T, A) -> R + Captureless,
    {
        let method = Method::With.name();
        let function = self.raw.pack(method, &name_work(method, function)?)?;
        let index = self.raw.pack(method, &(index as u64))?;
        self.raw.one(method, vec![index, function, self.raw.pack(method, &arguments)?])
    }

    /// All values in order, asked for in batches of [`ITEMS_A_BATCH`](crate::ITEMS_A_BATCH), by their places: who
    /// inserts or removes before them meanwhile has some come twice, or not at all.
    #[must_use]
    pub fn iter(&self) -> ListIter<T> {
        ListIter { batches: Batches::new(&self.raw, Method::Batch.name(), 0), of: PhantomData }
    }

    /// All values.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn to_vec(&self) -> Result<Vec<T>, CallError> {
        self.iter().collect()
    }
}

/// The values of a list, in order. After an error there is nothing more.
#[derive(Debug)]
pub struct ListIter<T> {
    batches: Batches<u64>,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + 'static> Iterator for ListIter<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}
