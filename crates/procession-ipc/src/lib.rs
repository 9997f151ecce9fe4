//! Queues, pipes and waiting on many things: messages between processes, which no death of a process holds up.
//!
//! Layer 4. Uses `procession-sys`, `procession-wire`, `procession-shm`, `procession-sync` and `procession-launch`. Used by
//! pools and managers.
//!
//! **Invariant:** a peer that dies, lies or stops half-way costs an error, never a hang.
//! **Invariant:** nobody waits while it holds a lock that others need to go on.
//! **Invariant:** what is put can be taken as soon as `put` returns, whatever becomes of who has put it.
//! **Invariant:** no thread is started, and no message waits for one.

#![doc(test(attr(deny(warnings))))]

mod error;

mod protocol; // What may become of a channel's words. Read this first.
mod store; // Where bodies are.
mod tickets; // Where descriptors are.

mod channel; // One direction of messages: all three.
mod ends; // Who is there.
mod queue;

mod stream; // Frames over stream sockets.

mod bytes;

pub mod wait; // Waiting on many things at once.

pub use crate::bytes::BytesConnection;
pub use crate::error::{GetError, PutError, RecvError, SendError, WaitError};
pub use crate::queue::{QUEUE_BYTES, Queue};
pub use crate::wait::{Waitable, try_wait_ready, wait_ready, wait_ready_timeout};
