//! An array in a server: numbers of one type, as many as it was made with.
//!
//! Relies on numbers to travel as their memory: the server keeps the bytes and how many of them a number has, and needs to
//! know no more of the type than its name, which every call says.

use std::any::type_name;
use std::ops::{Bound, Range, RangeBounds};

use procession_launch::Captureless;
use procession_launch::calls::{Caller as CallerOf, catch_call, name_call};
use procession_wire::bulk::{self, Number};
use procession_wire::{decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::functions::named_next;
use super::{BATCH_BYTES, Charge, count, methods, named, proxy};
use crate::error::{CallError, Refusal};
use crate::host::{Answer, Ask, Object, Step};
use crate::server::Given;

methods! { "array":
    Read = "read" Shared,
    Write = "write" Exclusive,
    Fill = "fill" Exclusive,
    Update = "update" Exclusive,
    Len = "len" Shared,
}

/// What an array is made of.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct ArrayOf<T: Number> {
    type_name: String,
    width: u64,
    #[serde(with = "procession_wire::bulk")]
    values: Vec<T>,
}

impl<T: Number> ArrayOf<T> {
    pub(crate) fn new(values: Vec<T>) -> Self {
        Self { type_name: type_name::<T>().to_owned(), width: size_of::<T>() as u64, values }
    }
}

/// The array.
#[derive(Debug)]
pub(crate) struct Array {
    type_name: String,
    /// The bytes of a number, 1 at least.
    width: usize,
    /// A whole number of numbers.
    bytes: Vec<u8>,
    /// What they take.
    _charge: Charge,
}

impl Array {
    pub(super) fn make(given: Given) -> Result<Self, Refusal> {
        let ArrayOf { type_name, width, values: bytes } = given.read::<ArrayOf<u8>>()?;
        let width = usize::try_from(width).ok().filter(|&width| width > 0 && bytes.len().is_multiple_of(width));
        let width = width.ok_or_else(|| Refusal::Arguments { reason: "it is no whole number of numbers".into() })?;
        let charge = Charge::checked(bytes.len())?;
        Ok(Self { type_name, width, bytes, _charge: charge })
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// Looks whether the caller has the type that it was made with.
    fn check_type(&self, ask: &mut Ask) -> Result<(), Refusal> {
        let (own, other) = (&self.type_name, ask.read::<String>()?);
        if *own == other {
            return Ok(());
        }
        Err(Refusal::Arguments { reason: format!("it is an array of {own}, and the proxy is for one of {other}") })
    }

    /// The bytes of so many numbers from a place on.
    fn range(&self, from: u64, numbers: u64) -> Result<Range<usize>, Refusal> {
        let end = from.checked_add(numbers).filter(|&end| end <= self.len() as u64);
        let last = from.saturating_add(numbers.saturating_sub(1));
        end.ok_or(Refusal::OutOfRange { index: last, len: self.len() as u64 })?;
        let at = |place: u64| place as usize * self.width; // Within the array.
        Ok(at(from)..at(from) + at(numbers))
    }

    fn read_some(&self, ask: &mut Ask) -> Answer {
        let (from, numbers): (u64, u64) = (ask.read()?, ask.read()?);
        ask.value(&self.bytes[self.range(from, numbers)?].to_vec())
    }

    fn write_some(&mut self, ask: &mut Ask) -> Answer {
        let (from, values): (u64, Vec<u8>) = (ask.read()?, ask.read()?);
        if !values.len().is_multiple_of(self.width) {
            return Err(Refusal::Arguments { reason: "they are no whole number of numbers".into() });
        }
        let range = self.range(from, (values.len() / self.width) as u64)?;
        self.bytes[range].copy_from_slice(&values);
        Ok(Vec::new())
    }

    fn fill(&mut self, ask: &mut Ask) -> Answer {
        let value: Vec<u8> = ask.read()?;
        if value.len() != self.width {
            return Err(Refusal::Arguments { reason: "it is not one number".into() });
        }
        self.bytes.chunks_exact_mut(self.width).for_each(|number| number.copy_from_slice(&value));
        Ok(Vec::new())
    }

    fn update(&mut self, ask: &mut Ask) -> Answer {
        let range = self.range(ask.read()?, 1)?;
        let function = named_next::<Vec<u8>, Result<Vec<u8>, Refusal>>(ask)?;
        let number = self.bytes[range.clone()].to_vec();
        let new = catch_call(|| function(number)).map_err(Refusal::from)??;
        if new.len() != self.width {
            return Err(Refusal::Arguments { reason: "the function is for numbers of another type".into() });
        }
        self.bytes[range].copy_from_slice(&new);
        ask.value(&new)
    }
}

impl Object for Array {
    type Kind = Kind;

    const KEEPS_CALLERS: bool = false;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(self.check_type(ask).and_then(|()| match method {
            Method::Read => self.read_some(ask),
            _ => ask.value(&(self.len() as u64)),
        }))
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(self.check_type(ask).and_then(|()| match method {
            Method::Write => self.write_some(ask),
            Method::Fill => self.fill(ask),
            Method::Update => self.update(ask),
            Method::Read => self.read_some(ask),
            Method::Len => ask.value(&(self.len() as u64)),
        }))
    }
}

/// Changes a number, which comes and goes as its memory.
struct Alters;

impl<T, F> CallerOf<F, (T,)> for Alters
where
    T: Number + Serialize + DeserializeOwned,
    F: Fn(T) -> T + Captureless,
{
    type Input = Vec<u8>;
    type Output = Result<Vec<u8>, Refusal>;

    fn call(function: F, number: Vec<u8>) -> Self::Output {
        let wrong = || Refusal::Arguments { reason: "the function is for numbers of another type".into() };
        let numbers = encode(&number).ok().and_then(|message| decode::<Vec<T>>(message).ok());
        let [number] = numbers.ok_or_else(wrong)?[..] else { return Err(wrong()) };
        bulk::raw(&vec![function(number)]).map(<[u8]>::to_vec).ok_or_else(wrong)
    }
}

proxy! {
    /// An array of numbers in a manager's server, as long as it was made.
    ///
    /// Its numbers travel as they are in memory, many with one call. For what is used by one machine's processes only, a
    /// `SharedArray` or an `Array` costs no call at all.
    ///
    /// # Python
    /// The proxy of `SyncManager.Array`.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let array = manager.array([0.0_f64; 6])?;
    /// array.set(1, 2.5)?;
    /// array.set_slice(3, vec![1.0, 2.0, 3.0])?;
    /// assert_eq!(array.update(1, |number| number * 2.0)?, 5.0); // Runs in the server.
    /// assert_eq!(array.slice(1..4)?, [5.0, 0.0, 1.0]);
    /// assert_eq!(array.to_vec()?, [0.0, 5.0, 0.0, 1.0, 2.0, 3.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ArrayProxy<T>
}

impl<T: Number + Serialize + DeserializeOwned> ArrayProxy<T> {
    /// Calls a method with the type and what else there is.
    fn call(&self, method: Method, arguments: Vec<Given>) -> Result<Given, CallError> {
        let mut all = vec![self.raw.pack(method.name(), &type_name::<T>().to_owned())?];
        all.extend(arguments);
        Ok(self.raw.call_packed(method.name(), all)?.pop().unwrap_or_default())
    }

    fn pack<A: Serialize + 'static>(&self, method: Method, value: &A) -> Result<Given, CallError> {
        self.raw.pack(method.name(), value)
    }

    fn read(&self, from: usize, numbers: usize) -> Result<Vec<T>, CallError> {
        let method = Method::Read;
        let place = [self.pack(method, &(from as u64))?, self.pack(method, &(numbers as u64))?];
        self.call(method, place.into())?.result(method.name())
    }

    /// How many numbers it has.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn len(&self) -> Result<usize, CallError> {
        self.call(Method::Len, Vec::new())?.result::<u64>(Method::Len.name()).map(count)
    }

    /// True if it has none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_empty(&self) -> Result<bool, CallError> {
        self.len().map(|len| len == 0)
    }

    /// The number at a place.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`].
    pub fn get(&self, index: usize) -> Result<T, CallError> {
        let numbers = self.read(index, 1)?;
        let missing = || self.out_of_range(index, numbers.len());
        numbers.first().copied().ok_or_else(missing)
    }

    fn out_of_range(&self, index: usize, len: usize) -> CallError {
        let refusal = Refusal::OutOfRange { index: index as u64, len: len as u64 };
        let refused = CallError::refused(Method::Read.name().name, self.raw.server_address(), refusal);
        refused.about(|| self.raw.called())
    }

    /// Puts a number at a place.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`].
    pub fn set(&self, index: usize, value: T) -> Result<(), CallError> {
        self.set_slice(index, vec![value])
    }

    /// The numbers of a range, with one call.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`].
    ///
    /// # Python
    /// `array[begin:end]`, which leaves out what there is not.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, CallError> {
        let begin = match range.start_bound() {
            Bound::Included(&begin) => begin,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len()?,
        };
        self.read(begin, end.saturating_sub(begin))
    }

    /// Puts numbers in the places of as many others from one on, with one call.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`]; nothing is changed then.
    ///
    /// # Python
    /// `array[begin:end] = values`, which also makes it shorter or longer.
    pub fn set_slice(&self, begin: usize, values: Vec<T>) -> Result<(), CallError> {
        let method = Method::Write;
        let arguments = vec![self.pack(method, &(begin as u64))?, self.pack(method, &values)?];
        self.call(method, arguments).map(drop)
    }

    /// Puts one number everywhere.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn fill(&self, value: T) -> Result<(), CallError> {
        self.call(Method::Fill, vec![self.pack(Method::Fill, &vec![value])?]).map(drop)
    }

    /// Puts in the place of a number what a function makes of it, and gives that. The function runs in the server, where
    /// nothing else happens to the array meanwhile. It is as that of [`DictProxy::update`](crate::DictProxy::update).
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::OutOfRange`], [`Refusal::Panicked`] or [`Refusal::NoFunction`].
    pub fn update<F: Fn(T) -> T + Captureless>(&self, index: usize, function: F) -> Result<T, CallError> {
        let method = Method::Update;
        let function = self.pack(method, &named(method.name(), name_call::<Alters, F, (T,)>(function))?)?;
        let numbers: Vec<T> =
            self.call(method, vec![self.pack(method, &(index as u64))?, function])?.result(method.name())?;
        numbers.first().copied().ok_or_else(|| self.out_of_range(index, 0))
    }

    /// All numbers, with one call: as they are at one moment.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn to_vec(&self) -> Result<Vec<T>, CallError> {
        self.slice(..)
    }

    /// All numbers in order, asked for a mebibyte at a time.
    #[must_use]
    pub fn iter(&self) -> ArrayIter<T> {
        ArrayIter { array: self.clone(), at: 0, len: None, batch: Vec::new().into_iter(), is_over: false }
    }
}

/// The numbers of an array, in order.
#[derive(Debug)]
pub struct ArrayIter<T> {
    array: ArrayProxy<T>,
    /// How many were asked for.
    at: usize,
    /// Of how many, which never changes.
    len: Option<usize>,
    batch: std::vec::IntoIter<T>,
    is_over: bool,
}

impl<T: Number + Serialize + DeserializeOwned> ArrayIter<T> {
    fn fetch(&mut self) -> Result<(), CallError> {
        let len = match self.len {
            Some(len) => len,
            None => *self.len.insert(self.array.len()?),
        };
        let numbers = (len - self.at).min(BATCH_BYTES / size_of::<T>());
        self.batch = if numbers == 0 { Vec::new() } else { self.array.read(self.at, numbers)? }.into_iter();
        self.at += numbers;
        Ok(())
    }
}

/// After an error there is nothing more.
impl<T: Number + Serialize + DeserializeOwned> Iterator for ArrayIter<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.len() == 0 && !self.is_over {
            let fetched = self.fetch();
            self.is_over = fetched.is_err() || self.batch.len() == 0;
            if let Err(error) = fetched {
                return Some(Err(error));
            }
        }
        self.batch.next().map(Ok)
    }
}
