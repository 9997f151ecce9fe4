//! Objects that live in a server process, and typed proxies that call them from anywhere.
//!
//! Layer 6. Uses `procession-sys`, `procession-wire`, `procession-boot`, `procession-launch`, `procession-shm`
//! and `procession-ipc`.
//!
//! **Invariant:** knows objects and requests, not how other programs write them down: that is a codec's.
//! **Invariant:** nothing that a peer sends can have code run that the server's own image has not registered for just that.
//! **Invariant:** a client that dies gives back all that it had; a server that dies is an error at each of its proxies, at once.

#![doc(test(attr(deny(warnings))))]

extern crate self as procession_manager; // What `#[shared]` writes calls this crate by its name, also in here.

pub mod data; // Values without a type.
#[doc(hidden)] // Called by what `#[shared]` writes, and not meant for anybody else.
pub mod derived;
mod error;
mod identity; // What objects and servers are called.
mod info; // What a server tells of them,
mod limits; // and how much it takes.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing; // For the fuzz target.

mod frame; // What clients and servers say to each other. Pure.
mod scope; // What one value refers to,
mod value; // and how it is written.

mod hosted;
mod shared; // Users' types as objects,

mod stock; // Those that every manager has.

mod codec; // What programs that are not ours say.
mod host; // Which calls of an object run when.
mod server;

mod kin; // Who is forked from it meanwhile.
mod patience; // How long the slow are waited for.
mod shortage; // What is done without descriptors.
mod spread; // How their tables are looked up.

mod link; // A process's connection to a server.
mod names; // What it knows by name there,
mod pending; // Calls on it.
mod remote; // and what it refers to.

mod proxy; // Each reference,
mod travel; // also on its way.

pub mod managed; // What is to be made.

mod birth; // A server's process before it serves,
mod builder; // how that is started,
mod manager; // asked and ended.
mod shared_memory_manager;
mod sync_manager;

pub use crate::builder::ManagerBuilder;
pub use crate::codec::{Codec, CodecListener, Objects, Question, Reply, Session};
pub use crate::data::{Data, from_data, to_data};
pub use crate::error::{CallError, ManagerError, Refusal};
pub use crate::frame::REFERENCES_MAX;
pub use crate::host::CALLS_WAITING_MAX;
pub use crate::hosted::Hosted;
pub use crate::identity::{CalledObject, NoObjectId, ObjectId};
pub use crate::info::{ClientInfo, INFOS_MAX, ObjectInfo};
pub use crate::limits::{
    BYTES_MAX, CLIENT_REFERENCES_MAX, CLIENTS_MAX, HELD_DESCRIPTORS_MAX, Limits, OBJECTS_MAX, REQUEST_BYTES_MAX,
};
pub use crate::link::{BYTES_AHEAD_MAX, CALLS_AHEAD_MAX};
pub use crate::managed::{IntoObject, Managed};
pub use crate::manager::{BaseManager, ManagerServer, SHUTDOWN_TIMEOUT, START_TIMEOUT};
pub use crate::pending::Pending;
pub use crate::proxy::{MethodName, Proxy, RawProxy};
pub use crate::server::{
    GUESTS_MAX, NAMES_MAX, QUESTIONS_AHEAD_MAX, REPLY_TIME_MAX, THREADS_MAX, TICKET_TIME, TICKETS_MAX,
    UNREAD_BYTES_MAX, UNREAD_TIME_MAX,
};
pub use crate::shared::{Answer, Call, Construct, METHODS_MAX, Method, Run, Shared};
pub use crate::shared_memory_manager::SharedMemoryManager;
pub use crate::stock::{
    ArrayIter, ArrayProxy, BarrierProxy, ConditionProxy, ConditionProxyGuard, DictIter, DictProxy, EventProxy,
    ITEMS_A_BATCH, JoinableQueueProxy, ListIter, ListProxy, LockProxy, LockProxyGuard, NamespaceProxy, QueueProxy,
    RLOCK_LEVELS_MAX, RLockProxy, RLockProxyGuard, SemaphoreProxy, SemaphoreProxyPermit, SetIter, SetProxy, ValueProxy,
    WAITING_MAX,
};
pub use crate::sync_manager::SyncManager;
pub use procession_macros::shared;
