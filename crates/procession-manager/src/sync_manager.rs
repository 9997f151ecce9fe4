//! The manager of everyday objects: dictionaries, queues and locks.
//!
//! Relies on [`BaseManager`] for all but what it makes.

use std::hash::Hash;
use std::ops::Deref;

use procession_ipc::ToAddress;
use procession_wire::bulk::Number;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::builder::ManagerBuilder;
use crate::error::{CallError, ManagerError};
use crate::managed;
use crate::manager::BaseManager;
use crate::stock::{
    ArrayProxy, BarrierProxy, ConditionProxy, DictProxy, EventProxy, JoinableQueueProxy, ListProxy, LockProxy,
    NamespaceProxy, QueueProxy, RLockProxy, SemaphoreProxy, SetProxy, ValueProxy,
};

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
        BaseManager::builder().name("SyncManager")
    }

    /// Starts a server in a process of its own.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn start() -> Result<Self, ManagerError> {
        Self::builder().start().map(Self)
    }

    /// Connects to the server of another program's `SyncManager`, or of any manager.
    ///
    /// # Errors
    /// [`ManagerError::Connect`], [`ManagerError::NoManager`], [`ManagerError::TooManyClients`].
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
        self.0.make(managed::dict())
    }

    /// Makes a list.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn list<T: Serialize + DeserializeOwned + 'static>(&self) -> Result<ListProxy<T>, CallError> {
        self.0.make(managed::list())
    }

    /// Makes a set.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set<T>(&self) -> Result<SetProxy<T>, CallError>
    where
        T: Eq + Hash + Serialize + DeserializeOwned + 'static,
    {
        self.0.make(managed::set())
    }

    /// Makes a value.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn value<T: Serialize + DeserializeOwned + 'static>(&self, value: T) -> Result<ValueProxy<T>, CallError> {
        self.0.make(managed::value(value))
    }

    /// Makes an array of these numbers, as long as it is now for ever.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Python
    /// `SyncManager.Array(typecode, sequence)`.
    pub fn array<T: Number>(&self, values: impl IntoIterator<Item = T>) -> Result<ArrayProxy<T>, CallError> {
        self.0.make(managed::array(values))
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn namespace(&self) -> Result<NamespaceProxy, CallError> {
        self.0.make(managed::namespace())
    }

    /// Makes a queue that takes any number of items.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn queue<T: Serialize + DeserializeOwned + 'static>(&self) -> Result<QueueProxy<T>, CallError> {
        self.0.make(managed::queue())
    }

    /// Makes a queue of so many items at most, 1 at least.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn bounded_queue<T>(&self, items: usize) -> Result<QueueProxy<T>, CallError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.0.make(managed::bounded_queue(items))
    }

    /// Makes a queue whose items are to be done as well as taken.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn joinable_queue<T>(&self) -> Result<JoinableQueueProxy<T>, CallError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.0.make(managed::joinable_queue())
    }

    /// Makes a lock.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn lock(&self) -> Result<LockProxy, CallError> {
        self.0.make(managed::lock())
    }

    /// Makes a lock that the thread which holds it may take again.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn rlock(&self) -> Result<RLockProxy, CallError> {
        self.0.make(managed::rlock())
    }

    /// Makes a semaphore with so many permits.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn semaphore(&self, permits: u32) -> Result<SemaphoreProxy, CallError> {
        self.0.make(managed::semaphore(permits))
    }

    /// Makes a semaphore that never has more permits than these.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn bounded_semaphore(&self, permits: u32) -> Result<SemaphoreProxy, CallError> {
        self.0.make(managed::bounded_semaphore(permits))
    }

    /// Makes a condition with a lock of its own.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn condition(&self) -> Result<ConditionProxy, CallError> {
        self.0.make(managed::condition())
    }

    /// Makes an event that is not set.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn event(&self) -> Result<EventProxy, CallError> {
        self.0.make(managed::event())
    }

    /// Makes a barrier for so many parties.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Construct`](crate::Refusal::Construct) for none, with [`Limit`](crate::Refusal::Limit) for more than
    /// [`WAITING_MAX`](crate::WAITING_MAX).
    pub fn barrier(&self, parties: usize) -> Result<BarrierProxy, CallError> {
        self.0.make(managed::barrier(parties))
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
