//! What the server does with values whose types it does not know: functions of its own image, which clients name.
//!
//! Relies on the image's table: a name from a client is looked up with the signature that is needed, and everything else is
//! refused. Values that hold descriptors or proxies are equal to nothing, as they cannot be read without them.

use std::cmp::Ordering;
use std::marker::PhantomData;

use procession_boot::{BootError, Entry as Function, FunctionId, function_id, resolve};
use procession_launch::Captureless;
use procession_launch::calls::{Caller as CallerOf, catch_call, name_call};
use procession_wire::decode_slice;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Stored;
use crate::data::Data;
use crate::error::{CallError, Refusal};
use crate::host::Ask;
use crate::proxy::MethodName;
use crate::server::{Given, Site, Taken};
use crate::value::Values;

/// Whether two values are the same, as bytes.
pub(crate) type Equal = fn(&[u8], &[u8]) -> bool;

/// How values are to be ordered, as bytes: where each is to come from.
type Order = fn(&[&[u8]]) -> Option<Vec<usize>>;

/// Tells whether values of `T` are equal.
struct EqualOf<T>(PhantomData<T>);

impl<T: PartialEq + DeserializeOwned + 'static> Function for EqualOf<T> {
    type Input = ();
    type Output = Equal;

    fn enter((): ()) -> Equal {
        equal::<T>
    }
}

pub(crate) fn equal<T: PartialEq + DeserializeOwned + 'static>(one: &[u8], other: &[u8]) -> bool {
    let value = |bytes| decode_slice::<T>(bytes, Vec::new()).ok();
    value(one).zip(value(other)).is_some_and(|(one, other)| one == other)
}

/// Puts values of `T` in order.
struct OrderOf<T>(PhantomData<T>);

impl<T: Ord + DeserializeOwned + 'static> Function for OrderOf<T> {
    type Input = ();
    type Output = Order;

    fn enter((): ()) -> Order {
        |values| {
            let values = values.iter().map(|bytes| decode_slice::<T>(bytes, Vec::new()).ok());
            let values: Vec<T> = values.collect::<Option<_>>()?;
            let mut places: Vec<usize> = (0..values.len()).collect();
            places.sort_by(|&one, &other| values[one].cmp(&values[other]).then(Ordering::Equal));
            Some(places)
        }
    }
}

/// What a value is changed from.
pub(crate) struct Change {
    value: Option<Given>,
    site: Site,
}

/// Changes a value, or makes the first one.
struct Changes;

impl<V, F> CallerOf<F, (Option<V>,)> for Changes
where
    V: Serialize + DeserializeOwned + 'static,
    F: Fn(Option<V>) -> V + Captureless,
{
    type Input = Change;
    type Output = Result<Taken, Refusal>;

    fn call(function: F, Change { value, site }: Change) -> Self::Output {
        let value = value.map(Given::read::<V>).transpose()?;
        Taken::of(site, &function(value))
    }
}

/// Changes a value that is there.
struct Alters;

impl<V, F> CallerOf<F, (V,)> for Alters
where
    V: Serialize + DeserializeOwned + 'static,
    F: Fn(V) -> V + Captureless,
{
    type Input = Change;
    type Output = Result<Taken, Refusal>;

    fn call(function: F, Change { value, site }: Change) -> Self::Output {
        let value = value.unwrap_or_default().read::<V>()?;
        Taken::of(site, &function(value))
    }
}

/// What a function works on.
pub(crate) struct Work {
    value: Given,
    arguments: Given,
    site: Site,
}

/// Changes a value in its place, and tells something of it.
struct Works;

impl<V, A, R, F> CallerOf<F, (V, A)> for Works
where
    V: Serialize + DeserializeOwned + 'static,
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
    F: Fn(V, A) -> (V, R) + Captureless,
{
    type Input = Work;
    type Output = Result<(Taken, Taken), Refusal>;

    fn call(function: F, Work { value, arguments, site }: Work) -> Self::Output {
        let (value, result) = function(value.read()?, arguments.read()?);
        Ok((Taken::of(site, &value)?, Taken::of(site, &result)?))
    }
}

/// Makes a value.
struct Makes;

impl<V, F> CallerOf<F, ()> for Makes
where
    V: Serialize + DeserializeOwned + 'static,
    F: Fn() -> V + Captureless,
{
    type Input = Site;
    type Output = Result<Taken, Refusal>;

    fn call(function: F, site: Site) -> Self::Output {
        Taken::of(site, &function())
    }
}

/// What names a function for the server; an error of the call says that this program has none.
pub(crate) fn named<T>(method: MethodName, id: Result<T, BootError>) -> Result<T, CallError> {
    let refusal = |error: BootError| Refusal::NoFunction { reason: error.to_string() };
    let server = "this program".to_owned();
    id.map_err(|error| CallError::refused(method.name, server, refusal(error)))
}

pub(crate) fn name_equal<T: PartialEq + DeserializeOwned + 'static>(
    method: MethodName,
) -> Result<FunctionId, CallError> {
    named(method, function_id::<EqualOf<T>>())
}

pub(crate) fn name_order<T: Ord + DeserializeOwned + 'static>(method: MethodName) -> Result<FunctionId, CallError> {
    named(method, function_id::<OrderOf<T>>())
}

pub(crate) fn name_change<V, F>(method: MethodName, function: F) -> Result<FunctionId, CallError>
where
    V: Serialize + DeserializeOwned + 'static,
    F: Fn(Option<V>) -> V + Captureless,
{
    named(method, name_call::<Changes, F, (Option<V>,)>(function))
}

pub(crate) fn name_alter<V, F>(method: MethodName, function: F) -> Result<FunctionId, CallError>
where
    V: Serialize + DeserializeOwned + 'static,
    F: Fn(V) -> V + Captureless,
{
    named(method, name_call::<Alters, F, (V,)>(function))
}

/// A function that has the value in its place, as one that takes it and gives it back.
pub(crate) fn name_work<V, A, R, F>(method: MethodName, function: F) -> Result<FunctionId, CallError>
where
    V: Serialize + DeserializeOwned + 'static,
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
    F: Fn(&mut V, A) -> R + Captureless,
{
    let whole = move |mut value: V, arguments: A| {
        let result = function(&mut value, arguments);
        (value, result)
    };
    named(method, name_call::<Works, _, (V, A)>(whole))
}

pub(crate) fn name_make<V, F>(method: MethodName, function: F) -> Result<FunctionId, CallError>
where
    V: Serialize + DeserializeOwned + 'static,
    F: Fn() -> V + Captureless,
{
    named(method, name_call::<Makes, F, ()>(function))
}

/// The function that a client names next, if this image has it in this form.
pub(crate) fn named_next<I: 'static, O: 'static>(ask: &mut Ask) -> Result<fn(I) -> O, Refusal> {
    resolve(ask.read::<FunctionId>()?).map_err(|error| Refusal::NoFunction { reason: error.to_string() })
}

/// The same for one that need not be named: without it, values are data, or become data.
fn optional_next<O: 'static>(ask: &mut Ask) -> Result<Option<O>, Refusal> {
    let Some(id) = ask.read::<Option<FunctionId>>()? else { return Ok(None) };
    let function = resolve::<(), O>(id).map_err(|error| Refusal::NoFunction { reason: error.to_string() })?;
    Ok(Some(function(())))
}

/// How the client's values are compared: the next thing that it says. Equal bytes are equal values.
pub(crate) fn equal_next(
    ask: &mut Ask,
    values: Values,
) -> Result<impl Fn(&Stored, &Stored) -> Result<bool, Refusal> + use<>, Refusal> {
    let equal = optional_next::<Equal>(ask)?;
    Ok(move |one: &Stored, other: &Stored| match equal {
        Some(equal) => {
            let (one, other) = (one.bytes(), other.bytes());
            Ok(one == other || catch_call(|| equal(one, other))?)
        }
        None => {
            let data = |value: &Stored| value.copy(values).into_data().ok();
            Ok(data(one).zip(data(other)).is_some_and(|(one, other)| one == other))
        }
    })
}

/// In which order values are to come, by the function that the client names next.
pub(crate) fn order_next(ask: &mut Ask, of: Values, values: &[Stored]) -> Result<Vec<usize>, Refusal> {
    let Some(order) = optional_next::<Order>(ask)? else { return order_of_data(of, values) };
    let values: Vec<&[u8]> = values.iter().map(Stored::bytes).collect();
    let places = catch_call(|| order(&values)).map_err(Refusal::from)?;
    places.ok_or_else(|| Refusal::Arguments { reason: "an item cannot be read there".into() })
}

/// The same for values that are ordered as data is.
fn order_of_data(of: Values, values: &[Stored]) -> Result<Vec<usize>, Refusal> {
    let values: Vec<Data> = values.iter().map(|value| value.copy(of).into_data()).collect::<Result<_, _>>()?;
    let mut places: Vec<usize> = (0..values.len()).collect();
    let mut are_ordered = true;
    let sorted = catch_call(|| {
        places.sort_by(|&one, &other| {
            let order = values[one].partial_cmp(&values[other]);
            are_ordered &= order.is_some();
            order.unwrap_or(Ordering::Equal)
        });
    });
    if !are_ordered {
        return Err(Refusal::Arguments { reason: "two of the values are of kinds that have no order".into() });
    }
    sorted.map(|()| places).map_err(Refusal::from)
}

/// What a value is changed to, by the function that the client names next. A panic changes nothing.
pub(crate) fn changed_next(ask: &mut Ask, values: Values, value: Option<&Stored>) -> Result<Stored, Refusal> {
    let function = named_next::<Change, Result<Taken, Refusal>>(ask)?;
    let site = Site { form: values.form(), ..ask.site };
    let change = Change { value: value.map(|value| value.copy(values).into()), site };
    let changed = catch_call(|| function(change)).map_err(Refusal::from)??;
    Stored::keep(changed.into())
}

/// What becomes of a value by the function that the client names next and its arguments after that, and what the function
/// tells. A panic changes nothing.
pub(crate) fn worked_next(ask: &mut Ask, values: Values, value: &Stored) -> Result<(Stored, Taken), Refusal> {
    let function = named_next::<Work, Result<(Taken, Taken), Refusal>>(ask)?;
    let site = Site { form: values.form(), ..ask.site };
    let work = Work { value: value.copy(values).into(), arguments: ask.next(), site };
    let (value, result) = catch_call(|| function(work)).map_err(Refusal::from)??;
    Ok((Stored::keep(value.into())?, result))
}

/// A value that the function makes which the client names next.
pub(crate) fn made_next(ask: &mut Ask, values: Values) -> Result<Stored, Refusal> {
    let function = named_next::<Site, Result<Taken, Refusal>>(ask)?;
    let site = Site { form: values.form(), ..ask.site };
    let made = catch_call(|| function(site)).map_err(Refusal::from)??;
    Stored::keep(made.into())
}
