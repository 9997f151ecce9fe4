//! Every type, function and macro of everyday use: `use procession::prelude::*`.
//!
//! It leaves out what would shadow the names of a program of its own: `Result` and `Error` are
//! [`procession::Result`](crate::Result) and [`procession::Error`](crate::Error), and the handle of a task is
//! [`procession::Future`](crate::Future).

pub use std::time::Duration;

#[cfg(feature = "async")]
pub use procession_ipc::wait_ready_async;
pub use procession_ipc::{
    AcceptError, Address, BytesConnection, Client, ConnectError, Connection, Consumer, GetError, JoinableQueue,
    ListenError, Listener, Producer, PutError, Queue, QueueError, Receiver, RecvError, SendError, Sender, SimpleQueue,
    UnfinishedError, WaitError, Waitable, pipe, pipe_bytes, pipe_simplex, try_wait_ready, wait_ready,
    wait_ready_timeout,
};
pub use procession_launch::{
    Builder, Child, Context, ControlError, CurrentProcess, ExitStatus, JoinError, LogError, ParentProcess, Process,
    Resource, StartError, StartMethod, Stdio, active_children, cpu_count, current_process, get_start_method, log_level,
    log_to_file, log_to_stderr, parent_process, register_after_fork, set_start_method,
};
pub use procession_manager::{
    ArrayProxy, BarrierProxy, BaseManager, CallError, ConditionProxy, DictProxy, EventProxy, Hosted,
    JoinableQueueProxy, ListProxy, LockProxy, ManagerError, NamespaceProxy, Proxy, QueueProxy, RLockProxy, Refusal,
    SemaphoreProxy, SetProxy, Shared, SharedMemoryManager, SyncManager, ValueProxy, managed, shared,
};
pub use procession_pool::{
    AsyncResult, Executor, ExecutorExt, Pool, PoolError, ProcessPoolExecutor, ReturnWhen, SubmitError, TaskError,
    ThreadPool, ThreadPoolExecutor, TimeoutError, as_completed, as_completed_timeout, wait_futures,
    wait_futures_timeout,
};
pub use procession_shm::{
    FrozenArray, Shareable, ShareableItem, ShareableList, SharedArray, SharedMemory, SharedPart, ShmError,
};
pub use procession_sync::{
    Array, Barrier, BarrierError, BoundedSemaphore, Condition, Event, Guarded, Lock, LockError, LockWord, RLock,
    RawArray, RawValue, Records, RwLock, Semaphore, Value, field,
};
pub use procession_wire::{Described, Descriptor, Fault};
pub use tracing::level_filters::LevelFilter;
