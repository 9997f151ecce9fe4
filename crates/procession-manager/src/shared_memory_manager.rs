//! The manager of memory that processes share under names, which end with it.
//!
//! Relies on `procession-shm`: the server's process creates the names, and so they are its own; they are removed when it ends,
//! however that is.

use std::ops::Deref;

use procession_ipc::ToAddress;
use procession_shm::{ShareableItem, ShareableList, SharedMemory, ShmError};

use crate::builder::ManagerBuilder;
use crate::error::{CallError, ManagerError};
use crate::manager::BaseManager;
use crate::shared;

/// The name that clients find [`Segments`] by.
const NAME: &str = "procession/segments";

/// What the server does for its clients.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Segments;

#[shared]
impl Segments {
    /// Makes a segment of so many bytes; its name, or why there is none.
    pub(crate) fn memory(&self, bytes: u64) -> Result<String, String> {
        let bytes = usize::try_from(bytes).map_err(|error| error.to_string())?;
        named(SharedMemory::create_with_new_name(bytes).as_ref().map(SharedMemory::name))
    }

    /// Makes a list; its name, or why there is none.
    pub(crate) fn list(&self, items: Vec<ShareableItem>) -> Result<String, String> {
        named(ShareableList::create_with_new_name(items).as_ref().map(ShareableList::name))
    }
}

fn named(created: Result<Option<&str>, &ShmError>) -> Result<String, String> {
    let name = created.map_err(ToString::to_string)?;
    name.map(str::to_owned).ok_or_else(|| "it has no name".to_owned())
}

/// A manager whose server owns segments with names: who has the manager makes them, any program of this machine finds them
/// by their names, and all names are removed when the server ends.
///
/// Memory that only processes of one family use needs no manager: a [`SharedMemory`] without a name is passed on as it is, and is
/// gone with its last holder.
///
/// # Crashes
/// The names go when the server ends: by [`shutdown`](Self::shutdown), when this is dropped, when the process that started it ends
/// in any way, and when the server itself is killed. They are gone when `shutdown` is back, and within a second otherwise, or where
/// the server was forked. Whoever has a segment open keeps its memory.
///
/// # Python
/// `multiprocessing.managers.SharedMemoryManager`.
///
/// # Examples
/// ```
/// use procession_manager::SharedMemoryManager;
///
/// let manager = SharedMemoryManager::start()?;
/// let memory = manager.shared_memory(1 << 16)?;
/// memory.write(0, b"for all")?;
/// let settings = manager.shareable_list(["Ada".into(), 36.into()])?;
/// println!("open {} and {}", memory.name().unwrap(), settings.name().unwrap()); // In Python, too.
/// manager.shutdown()?; // Now nobody finds them any more.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SharedMemoryManager {
    manager: BaseManager,
    segments: SegmentsProxy,
}

impl SharedMemoryManager {
    /// Starts a server in a process of its own.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn start() -> Result<Self, ManagerError> {
        Self::start_as(BaseManager::builder().name("SharedMemoryManager"))
    }

    /// Starts one with an address, a key and more.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn start_as(builder: ManagerBuilder) -> Result<Self, ManagerError> {
        Self::of(builder.register_object(NAME, Segments).start()?)
    }

    /// Connects to the server of another program's, on this machine.
    ///
    /// # Errors
    /// [`ManagerError::Connect`], [`ManagerError::NoManager`]; [`ManagerError::Call`] if it is a manager of another kind.
    pub fn connect(address: impl ToAddress, authkey: impl AsRef<[u8]>) -> Result<Self, ManagerError> {
        Self::of(BaseManager::connect(address, authkey)?)
    }

    fn of(manager: BaseManager) -> Result<Self, ManagerError> {
        let segments = manager.get(NAME)?;
        Ok(Self { manager, segments })
    }

    /// A new segment of so many bytes, which are zeros; its name is [`SharedMemory::name`].
    ///
    /// # Errors
    /// [`ManagerError::Segment`] for what the server could not make, [`ManagerError::Open`] if it is not found, as on another machine.
    ///
    /// # Python
    /// `SharedMemoryManager.SharedMemory(size)`.
    pub fn shared_memory(&self, bytes: usize) -> Result<SharedMemory, ManagerError> {
        let name = self.made(self.segments.memory(bytes as u64)?)?;
        SharedMemory::open(&name).map_err(|error| ManagerError::Open { name, error })
    }

    /// A new list of these items; its name is [`ShareableList::name`].
    ///
    /// # Errors
    /// As [`shared_memory`](Self::shared_memory).
    ///
    /// # Python
    /// `SharedMemoryManager.ShareableList(sequence)`.
    pub fn shareable_list(
        &self,
        items: impl IntoIterator<Item = ShareableItem>,
    ) -> Result<ShareableList, ManagerError> {
        let name = self.made(self.segments.list(items.into_iter().collect())?)?;
        ShareableList::open(&name).map_err(|error| ManagerError::Open { name, error })
    }

    fn made(&self, made: Result<String, String>) -> Result<String, ManagerError> {
        made.map_err(|reason| ManagerError::Segment { server: self.manager.address().to_string(), reason })
    }

    /// Ends the server, as [`BaseManager::shutdown`] does. No name of it is left then.
    ///
    /// # Errors
    /// As that.
    pub fn shutdown(self) -> Result<(), CallError> {
        self.manager.shutdown()
    }
}

impl Deref for SharedMemoryManager {
    type Target = BaseManager;

    fn deref(&self) -> &BaseManager {
        &self.manager
    }
}
