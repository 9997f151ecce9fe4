//! Process-based parallelism: what Python's `multiprocessing` is to Python, without the hangs.
//!
//! Layer 8. Brings together the crates that do the work; each of them can be depended on alone.
//!
//! **Invariant:** holds no logic: names, the prelude, one error type.
//!
//! # Examples
//! ```
//! use procession::prelude::*;
//!
//! fn area(width: u64, height: u64) -> u64 {
//!     width * height
//! }
//!
//! fn main() -> procession::Result<()> {
//!     let child = Process::start(area, (6, 7))?; // Runs in another process.
//!     assert_eq!(child.join()?, 42);
//!     Ok(())
//! }
//! ```

#![doc(test(attr(deny(warnings))))]

mod error;
pub mod prelude;

#[cfg(doctest)]
mod book; // Every page of the book, compiled.

pub use crate::error::{Error, Result};

#[doc(no_inline)]
pub use procession_ipc as ipc;
#[doc(no_inline)]
pub use procession_ipc::{
    AcceptError, Address, AddressError, AuthFailure, BytesConnection, Client, ClientBuilder, ConnectError, Connection,
    Consumer, GetError, JoinableQueue, Lent, ListenError, Listener, Loan, Peer, Producer, PutError, Queue,
    QueueBuilder, QueueError, Receiver, RecvError, SendError, Sender, SimpleQueue, UnfinishedError, WaitError,
    Waitable, pipe, pipe_bytes, pipe_simplex, try_wait_ready, wait_ready, wait_ready_timeout,
};
#[cfg(feature = "async")]
#[doc(no_inline)]
pub use procession_ipc::{asynchronous, wait_ready_async};
#[doc(no_inline)]
pub use procession_launch::{
    AUTH_KEY_BYTES, AUTH_KEY_BYTES_MAX, Arguments, AuthKey, AuthKeyError, Builder, Captureless, Child, Context,
    ControlError, CurrentProcess, ExitHook, ExitStatus, Forked, JoinError, ParentProcess, Passable, PreloadResult,
    Process, Resource, StartError, StartMethod, Stdio, Target, active_children, at_exit, at_exit_with_priority,
    cpu_count, current_process, exit, get_start_method, join_at_exit, parent_process, register_after_fork, set_authkey,
    set_start_method,
};
#[doc(no_inline)]
pub use procession_manager as manager; // Written code finds what it calls under this path.
#[doc(no_inline)]
pub use procession_manager::{
    BarrierProxy, BaseManager, CallError, ClientInfo, ConditionProxy, ConditionProxyGuard, Data, DictProxy, EventProxy,
    Hosted, JoinableQueueProxy, Limits, ListProxy, LockProxy, LockProxyGuard, ManagerBuilder, ManagerError,
    ManagerServer, NamespaceProxy, ObjectInfo, Pending, Proxy, QueueProxy, RLockProxy, RLockProxyGuard, Refusal,
    SemaphoreProxy, SemaphoreProxyPermit, SetProxy, Shared, SyncManager, ValueProxy, shared,
};
#[doc(no_inline)]
pub use procession_pool::{
    AsCompleted, AsCompletedTimeout, AsyncResult, CHUNK_BYTES_MAX, CHUNK_ITEMS_MAX, CHUNK_TIME, Executor, ExecutorExt,
    Future, Imap, ImapUnordered, Intake, InvalidState, Mapper, PREFETCH_MAX, Pool, PoolBuilder, PoolError,
    ProcessPoolExecutor, ProcessPoolExecutorBuilder, Promise, RETIRE_GRACE, RawCall, RawReply, ReturnWhen,
    START_TIMEOUT, SubmitError, THREADS_DEFAULT_MAX, Task, TaskBuilder, TaskError, Text, ThreadPool, ThreadPoolBuilder,
    ThreadPoolExecutor, TimeoutError, WINDOW_CHUNKS, WINDOW_CHUNKS_MAX, WORKERS_MAX, as_completed,
    as_completed_timeout, wait_futures, wait_futures_timeout,
};
#[doc(no_inline)]
pub use procession_shm as shm; // Derived code finds what it calls under this path.
#[doc(no_inline)]
pub use procession_shm::{
    FrozenArray, Shareable, ShareableItem, ShareableList, SharedArray, SharedElement, SharedIter, SharedIterMut,
    SharedMemory, SharedPart, SharedParts, SharedTryIter, ShmError,
};
#[doc(no_inline)]
pub use procession_sync as sync;
#[doc(no_inline)]
pub use procession_sync::{
    Array, ArrayGuard, Barrier, BarrierBuilder, BarrierError, BarrierTurn, BaseLock, BoundedSemaphore, Condition,
    Event, Guard, Guarded, Holder, Lock, LockError, LockGuard, LockWord, Number, Permit, RLock, RLockGuard, RawArray,
    RawValue, RecordGuard, Records, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, Value, ValueGuard, field,
};
#[doc(no_inline)]
pub use procession_wire::{DecodeError, Described, Descriptor, EncodeError, Fault, bulk, fd};
