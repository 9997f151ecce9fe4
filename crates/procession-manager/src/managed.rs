//! What every manager can make, before it is made: `managed::queue::<Job>()`.
//!
//! Relies on nothing but names: what is written here is what a server's `stock::make` reads.
//!
//! [`BaseManager::make`](crate::BaseManager::make) has one made, and
//! [`ManagerBuilder::register_object`](crate::ManagerBuilder::register_object) has every client of the server find it.
//!
//! # Examples
//! ```
//! use procession_manager::{BaseManager, JoinableQueueProxy, managed};
//!
//! let manager = BaseManager::builder().register_object("get_tasks", managed::joinable_queue::<String>()).start()?;
//! let tasks: JoinableQueueProxy<String> = manager.get("get_tasks")?; // So does every other client.
//! tasks.put(&"sweep".to_string())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use procession_boot::BootError;
use procession_wire::bulk::Number;
use procession_wire::{EncodeError, Fault, Message, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CallError;
use crate::identity::ObjectId;
use crate::proxy::{MethodName, Proxy};
use crate::server::{Given, Registration};
use crate::shared::Shared;
use crate::stock::{
    ArrayOf, ArrayProxy, BarrierProxy, ConditionProxy, DictProxy, EventProxy, JoinableQueueProxy, ListProxy, LockProxy,
    Makers, NamespaceProxy, QueueProxy, RLockProxy, SemaphoreProxy, SetProxy, Stock, ValueProxy, keys_of, named,
};
use crate::value::conversions_of;

/// An object that is to be made in a server; `P` is the proxy that clients have of it.
pub struct Managed<P> {
    stock: Stock,
    /// What it is made of.
    of: Result<Vec<Box<dyn Write>>, BootError>,
    /// What it is called in a server that runs another program, and so has no functions for it.
    untyped: Option<&'static str>,
    proxy: PhantomData<fn() -> P>,
}

/// A part of what an object is made of.
trait Write {
    /// For a server that is connected.
    fn write(&self, server: ObjectId, method: MethodName) -> Result<Given, CallError>;

    /// For one that is not started yet.
    fn write_early(&self) -> Result<Message, EncodeError>;
}

impl<A: Serialize + 'static> Write for A {
    fn write(&self, server: ObjectId, method: MethodName) -> Result<Given, CallError> {
        Given::of(server.into(), method, self)
    }

    fn write_early(&self) -> Result<Message, EncodeError> {
        encode(self)
    }
}

impl<P> Managed<P> {
    fn new<A: Serialize + 'static>(stock: Stock, of: A) -> Self {
        Self { stock, of: Ok(vec![Box::new(of)]), untyped: None, proxy: PhantomData }
    }

    /// One that needs functions of this program.
    pub(crate) fn typed<A: Serialize + 'static>(stock: Stock, of: Result<A, BootError>, untyped: &'static str) -> Self {
        let of = of.map(|of| vec![Box::new(of) as Box<dyn Write>]);
        Self { stock, of, untyped: Some(untyped), proxy: PhantomData }
    }

    pub(crate) fn stock(&self) -> Stock {
        self.stock
    }

    pub(crate) fn untyped(&self) -> Option<&'static str> {
        self.untyped
    }

    /// What the server is asked with.
    pub(crate) fn packed(self, method: MethodName, server: ObjectId) -> Result<Vec<Given>, CallError> {
        named(method, self.of)?.iter().map(|part| part.write(server, method)).collect()
    }
}

impl<P> fmt::Debug for Managed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Managed").field(&self.stock).finish()
    }
}

/// What may be registered as a single object: a value of a shared type with serde, or what this module makes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an object of a manager's server",
    label = "no shared type with serde, and nothing of `managed`",
    note = "have `#[shared]` on its `impl` block, and derive `serde::Serialize` and `serde::Deserialize` for it: the server gets \
            a copy; or describe what is to be made there, as `managed::queue::<T>()` does"
)]
pub trait IntoObject {
    /// The object under its name, on its way.
    ///
    /// # Errors
    /// It cannot be sent.
    #[doc(hidden)]
    fn registered(self, name: String) -> Result<Registered, Fault>;
}

/// An object that is registered, on its way to the server.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registered(pub(crate) Registration);

#[diagnostic::do_not_recommend] // The note above says more than what of it is missing.
impl<T: Shared + Serialize + DeserializeOwned> IntoObject for T {
    fn registered(self, name: String) -> Result<Registered, Fault> {
        Registration::of_object(name, &self).map(Registered)
    }
}

impl<P: Proxy> IntoObject for Managed<P> {
    fn registered(self, name: String) -> Result<Registered, Fault> {
        let of = self.of?.iter().map(|part| part.write_early()).collect::<Result<_, _>>()?;
        Ok(Registered(Registration::of_stock(name, self.stock, of)))
    }
}

/// A dictionary.
#[must_use]
pub fn dict<K, V>() -> Managed<DictProxy<K, V>>
where
    K: Eq + Hash + Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    let makers = keys_of::<K>().map(|keys| -> Makers { (keys, conversions_of::<K>(), conversions_of::<V>()) });
    Managed::typed(Stock::Dict, makers, "dict")
}

/// A list.
#[must_use]
pub fn list<T: Serialize + DeserializeOwned + 'static>() -> Managed<ListProxy<T>> {
    Managed::new(Stock::List, conversions_of::<T>())
}

/// A set.
#[must_use]
pub fn set<T: Eq + Hash + Serialize + DeserializeOwned + 'static>() -> Managed<SetProxy<T>> {
    let makers = keys_of::<T>().map(|keys| -> Makers { (keys, conversions_of::<T>(), None) });
    Managed::typed(Stock::Set, makers, "set")
}

/// A value.
#[must_use]
pub fn value<T: Serialize + DeserializeOwned + 'static>(value: T) -> Managed<ValueProxy<T>> {
    let of: Vec<Box<dyn Write>> = vec![Box::new(value), Box::new(conversions_of::<T>())];
    Managed { stock: Stock::Value, of: Ok(of), untyped: None, proxy: PhantomData }
}

/// An array of these numbers, as long as it is now for ever.
#[must_use]
pub fn array<T: Number>(values: impl IntoIterator<Item = T>) -> Managed<ArrayProxy<T>> {
    Managed::new(Stock::Array, ArrayOf::new(values.into_iter().collect()))
}

/// A namespace.
#[must_use]
pub fn namespace() -> Managed<NamespaceProxy> {
    Managed::new(Stock::Namespace, ())
}

/// A queue that takes any number of items.
#[must_use]
pub fn queue<T: Serialize + DeserializeOwned + 'static>() -> Managed<QueueProxy<T>> {
    Managed::new(Stock::Queue, (None::<u64>, false, conversions_of::<T>()))
}

/// A queue of so many items at most, 1 at least.
#[must_use]
pub fn bounded_queue<T: Serialize + DeserializeOwned + 'static>(items: usize) -> Managed<QueueProxy<T>> {
    Managed::new(Stock::Queue, (Some(items.max(1) as u64), false, conversions_of::<T>()))
}

/// A queue whose items are to be done as well as taken.
#[must_use]
pub fn joinable_queue<T: Serialize + DeserializeOwned + 'static>() -> Managed<JoinableQueueProxy<T>> {
    Managed::new(Stock::Queue, (None::<u64>, true, conversions_of::<T>()))
}

/// A lock.
#[must_use]
pub fn lock() -> Managed<LockProxy> {
    Managed::new(Stock::Lock, ())
}

/// A lock that the thread which holds it may take again.
#[must_use]
pub fn rlock() -> Managed<RLockProxy> {
    Managed::new(Stock::RLock, ())
}

/// A semaphore with so many permits.
#[must_use]
pub fn semaphore(permits: u32) -> Managed<SemaphoreProxy> {
    Managed::new(Stock::Semaphore, (permits, false))
}

/// A semaphore that never has more permits than these.
#[must_use]
pub fn bounded_semaphore(permits: u32) -> Managed<SemaphoreProxy> {
    Managed::new(Stock::Semaphore, (permits, true))
}

/// A condition with a lock of its own.
#[must_use]
pub fn condition() -> Managed<ConditionProxy> {
    Managed::new(Stock::Condition, ())
}

/// An event that is not set.
#[must_use]
pub fn event() -> Managed<EventProxy> {
    Managed::new(Stock::Event, ())
}

/// A barrier for so many parties.
#[must_use]
pub fn barrier(parties: usize) -> Managed<BarrierProxy> {
    Managed::new(Stock::Barrier, (parties as u64,))
}
