//! Queues, pipes, listeners and waiting on many things: messages between processes, which no death of a process holds up.
//!
//! Layer 4. Uses `procession-sys`, `procession-wire`, `procession-shm`, `procession-sync` and `procession-launch`. Used by
//! pools and managers.
//!
//! **Invariant:** a peer that dies, lies or stops half-way costs an error, never a hang.
//! **Invariant:** nobody waits while it holds a lock that others need to go on.
//! **Invariant:** what is put can be taken as soon as `put` returns, whatever becomes of who has put it.
//! **Invariant:** no thread is started, and no message waits for one; but with the feature `async`, one for all tasks that wait.

#![doc(test(attr(deny(warnings))))]

mod error;

mod protocol; // What may become of a channel's words. Read this first.
mod store; // Where bodies are.
mod tickets; // Where descriptors are.

mod channel; // One direction of messages: all three.
mod ends; // Who is there.

mod accounts; // What was taken and is not done.
mod builder;
mod handle; // What the queues below have in common.
mod items; // What goes in and out of a queue.
mod joinable;
mod lent;
mod queue;
mod sides;
mod simple;
mod users;

mod duplex; // Two directions, and who is at the other end.
mod values; // Values as messages.

mod stream; // Frames over stream sockets.

mod conduit; // Streams and pipes to whomever.
#[doc(hidden)]
pub mod upgrade; // A stream becomes a pipe.

mod bytes;
mod connection;
mod pipe;
mod simplex;

mod address; // Strangers: where they are,
mod attempt;
mod client;
mod handshake; // Whether they know the key. Pure.
mod listener;
mod peer; // who they are,
mod settings; // and what is asked of them.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod hostile; // What a peer may do to them.

pub mod wait; // Waiting on many things at once.

#[cfg(feature = "async")]
pub mod asynchronous; // Waiting in a task instead of a thread.

pub use crate::accounts::{TAKEN_MAX, TAKERS_MAX};
pub use crate::address::{ADDRESS_BYTES_MAX, Address, AddressError, ToAddress};
#[cfg(feature = "async")]
pub use crate::asynchronous::wait_ready_async;
pub use crate::builder::{QUEUE_BYTES, QUEUE_BYTES_MAX, QUEUE_BYTES_MIN, QUEUE_ITEMS_MAX, QueueBuilder};
pub use crate::bytes::BytesConnection;
pub use crate::client::{CONNECT_TIMEOUT, Client, ClientBuilder};
pub use crate::conduit::MESSAGE_BYTES;
pub use crate::connection::Connection;
pub use crate::error::{
    AcceptError, ConnectError, GetError, ListenError, PutError, QueueError, RecvError, SendError, UnfinishedError,
    WaitError,
};
pub use crate::handshake::{AuthFailure, HANDSHAKE_FRAME_MAX};
pub use crate::joinable::JoinableQueue;
pub use crate::lent::{Lent, Loan};
pub use crate::listener::{BACKLOG, HANDSHAKES_MAX, Listener};
pub use crate::peer::Peer;
pub use crate::pipe::{PIPE_BYTES, pipe, pipe_bytes, pipe_simplex};
pub use crate::queue::Queue;
pub use crate::settings::HANDSHAKE_TIMEOUT;
pub use crate::sides::{Consumer, Producer};
pub use crate::simple::SimpleQueue;
pub use crate::simplex::{Receiver, Sender};
#[doc(hidden)]
pub use crate::store::Usage;
pub use crate::wait::{Waitable, try_wait_ready, wait_ready, wait_ready_timeout};
pub use procession_sys::TCP_SILENCE_MAX;
