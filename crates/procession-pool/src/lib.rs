//! Pools of processes and of threads: a worker that dies costs its own task and nothing else.
//!
//! Layer 5. Uses `procession-sys`, `procession-wire`, `procession-boot`, `procession-shm`, `procession-sync` and
//! `procession-launch`. Used by programs, and by managers.
//!
//! **Invariant:** every worker has channels of its own, and the parent alone hands out tasks; no lock is shared with a worker.
//! **Invariant:** every task ends exactly once, with its result or with an error of its own.
//! **Invariant:** the supervisor is a pure state machine; threads and IO drive it and hold no state of their own.

#![doc(test(attr(deny(warnings))))]

mod call; // What is done, wherever.
mod copy; // And what is not.

mod cell; // Where a task's end is kept. Read this first.
mod error;
mod text; // What errors say, in little room.

mod executor; // What every executor can do,
mod intake; // what it takes when,
mod raw; // also those of others;
mod task; // what it is given,

mod future; // and the handle of that.

mod async_result; // That of a pool;
mod map; // many items at once,
mod verbs; // and the verbs that all pools have.

mod callbacks; // Who is told of an end,
mod inbox; // or waits for several.
mod wait;

mod threads; // Tasks in threads of this process.

mod record; // What that was told and has said.
mod supervisor; // Tasks in other processes: who does what when, without a process or a system call.

mod desk; // What a pool and one worker share;
mod worker; // what that does,

mod engine; // and what is done on this side.

mod builder; // What users make,
mod pool;
mod processes;

pub use crate::async_result::AsyncResult;
pub use crate::builder::{POOL_NAME_BYTES_MAX, PREFETCH_MAX, RETIRE_GRACE, START_TIMEOUT, WORKERS_MAX};
pub use crate::cell::Promise;
pub use crate::error::{InvalidState, PoolError, SubmitError, TaskError, TimeoutError};
pub use crate::executor::{Executor, ExecutorExt};
pub use crate::future::Future;
pub use crate::intake::Intake;
pub use crate::map::{
    CHUNK_BYTES_MAX, CHUNK_ITEMS_MAX, CHUNK_TIME, FILL_TIME_MAX, GIVEN_CHUNK_BYTES_MAX, Imap, ImapUnordered, Mapper,
    WINDOW_CHUNKS, WINDOW_CHUNKS_MAX,
};
pub use crate::pool::{Pool, PoolBuilder};
pub use crate::processes::{ProcessPoolExecutor, ProcessPoolExecutorBuilder};
pub use crate::raw::{RawCall, RawReply};
pub use crate::supervisor::{BACKOFF_MAX, POISON_DEATHS_MAX, PoolCounts, RESTART_BACKOFF_MAX, STORM_DEATHS_MAX};
pub use crate::task::{Task, TaskBuilder};
pub use crate::text::Text;
pub use crate::threads::{THREADS_DEFAULT_MAX, ThreadPool, ThreadPoolBuilder, ThreadPoolExecutor};
pub use crate::wait::{
    AsCompleted, AsCompletedTimeout, ReturnWhen, as_completed, as_completed_timeout, wait_futures, wait_futures_timeout,
};
