//! The manager of everyday objects: dictionaries, queues and locks.
//!
//! Relies on [`BaseManager`] for all but what it makes.

use std::hash::Hash;
use std::ops::Deref;

use procession_ipc::ToAddress;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, ManagerError};
use crate::manager::{BaseManager, ManagerBuilder};
use crate::server::asks;
use crate::stock::{
    BarrierProxy, ConditionProxy, DictProxy, EventProxy, JoinableQueueProxy, ListProxy, LockProxy, Makers,
    NamespaceProxy, QueueProxy, RLockProxy, SemaphoreProxy, SetProxy, Stock, ValueProxy, keys_of, named,
};
use crate::value::conversions_of;

/// A manager that makes dictionaries, queues and locks; and whatever was registered, as it is a [`BaseManager`] otherwise.
///
/// # Python
/// `multiprocessing.managers.SyncManager`, which `multiprocessing.Manager()` starts.
#[derive(Debug)]
pub struct SyncManager(BaseManager);

impl SyncManager {
    /// A manager to be given an address, a key and more before it is started: `SyncManager::from` what `start` gives.
    #[must_use]
    pub fn builder() -> ManagerBuilder {
        BaseManager::builder()
    }

    /// Starts a server in a process of its own.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn start() -> Result<Self, ManagerError> {
        BaseManager::builder().start().map(Self)
    }

    /// Connects to the server of another program's `SyncManager`, or of any manager.
    ///
    /// # Errors
    /// [`ManagerError::Connect`], [`ManagerError::NoManager`].
    pub fn connect(address: impl ToAddress, authkey: impl AsRef<[u8]>) -> Result<Self, ManagerError> {
        BaseManager::connect(address, authkey).map(Self)
    }

    /// Makes a dictionary.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn dict<K, V>(&self) -> Result<DictProxy<K, V>, CallError>
    where
        K: Eq + Hash + Serialize + DeserializeOwned + 'static,
        V: Serialize + DeserializeOwned + 'static,
    {
        let keys = named(asks::MAKE, keys_of::<K>())?;
        let makers: Makers = (keys, conversions_of::<K>(), conversions_of::<V>());
        self.0.make_typed(Stock::Dict, "dict", &makers)
    }

    /// Makes a list.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn list<T: Serialize + DeserializeOwned + 'static>(&self) -> Result<ListProxy<T>, CallError> {
        self.0.make(Stock::List, &conversions_of::<T>())
    }

    /// Makes a set.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set<T>(&self) -> Result<SetProxy<T>, CallError>
    where
        T: Eq + Hash + Serialize + DeserializeOwned + 'static,
    {
        let makers: Makers = (named(asks::MAKE, keys_of::<T>())?, conversions_of::<T>(), None);
        self.0.make_typed(Stock::Set, "set", &makers)
    }

    /// Makes a value.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn value<T: Serialize + DeserializeOwned + 'static>(&self, value: T) -> Result<ValueProxy<T>, CallError> {
        self.0.make_value(&value)
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn namespace(&self) -> Result<NamespaceProxy, CallError> {
        self.0.make(Stock::Namespace, &())
    }

    /// Makes a queue that takes any number of items.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn queue<T: Serialize + DeserializeOwned + 'static>(&self) -> Result<QueueProxy<T>, CallError> {
        self.0.make(Stock::Queue, &(None::<u64>, false, conversions_of::<T>()))
    }

    /// Makes a queue of so many items at most, 1 at least.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn bounded_queue<T>(&self, items: usize) -> Result<QueueProxy<T>, CallError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.0.make(Stock::Queue, &(Some(items.max(1) as u64), false, conversions_of::<T>()))
    }

    /// Makes a queue whose items are to be done as well as taken.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn joinable_queue<T>(&self) -> Result<JoinableQueueProxy<T>, CallError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.0.make(Stock::Queue, &(None::<u64>, true, conversions_of::<T>()))
    }

    /// Makes a lock.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn lock(&self) -> Result<LockProxy, CallError> {
        self.0.make(Stock::Lock, &())
    }

    /// Makes a lock that the thread which holds it may take again.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn rlock(&self) -> Result<RLockProxy, CallError> {
        self.0.make(Stock::RLock, &())
    }

    /// Makes a semaphore with so many permits.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn semaphore(&self, permits: u32) -> Result<SemaphoreProxy, CallError> {
        self.0.make(Stock::Semaphore, &(permits, false))
    }

    /// Makes a semaphore that never has more permits than these.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn bounded_semaphore(&self, permits: u32) -> Result<SemaphoreProxy, CallError> {
        self.0.make(Stock::Semaphore, &(permits, true))
    }

    /// Makes a condition with a lock of its own.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn condition(&self) -> Result<ConditionProxy, CallError> {
        self.0.make(Stock::Condition, &())
    }

    /// Makes an event that is not set.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn event(&self) -> Result<EventProxy, CallError> {
        self.0.make(Stock::Event, &())
    }

    /// Makes a barrier for so many parties.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Construct`](crate::Refusal::Construct) for none, with [`Limit`](crate::Refusal::Limit) for more than
    /// [`WAITING_MAX`](crate::WAITING_MAX).
    pub fn barrier(&self, parties: usize) -> Result<BarrierProxy, CallError> {
        self.0.make(Stock::Barrier, &(parties as u64,))
    }

    /// Ends the server, as [`BaseManager::shutdown`] does.
    ///
    /// # Errors
    /// As that.
    pub fn shutdown(self) -> Result<(), CallError> {
        self.0.shutdown()
    }
}

impl Deref for SyncManager {
    type Target = BaseManager;

    fn deref(&self) -> &BaseManager {
        &self.0
    }
}

impl From<BaseManager> for SyncManager {
    fn from(manager: BaseManager) -> Self {
        Self(manager)
    }
}
