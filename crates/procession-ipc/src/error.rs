//! What can go wrong with messages.

mod strangers;

use std::fmt;
use std::io;

use procession_shm::arena::ArenaError;
use procession_wire::{DecodeError, EncodeError};

pub use crate::error::strangers::{AcceptError, ConnectError, ListenError};

use crate::builder::{QUEUE_BYTES_MAX, QUEUE_BYTES_MIN, QUEUE_ITEMS_MAX};

/// Why a queue, or another handle of one, was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A bound of no items, or of more than any queue can hold.
    #[error(
        "a queue cannot be bounded to {items} items: 1 to {QUEUE_ITEMS_MAX} are possible, and `unbounded` is without"
    )]
    Items {
        /// The bound that was asked for.
        items: u64,
    },
    /// A bound of fewer or more bytes than is possible.
    #[error("a queue cannot be bounded to {bytes} bytes: {QUEUE_BYTES_MIN} to {QUEUE_BYTES_MAX} are possible")]
    Bytes {
        /// The bound that was asked for.
        bytes: u64,
    },
    /// This process has closed the queue.
    #[error("the queue was closed in this process: make other handles of it before `close`")]
    Closed,
    /// The shared memory for its counts.
    #[error("cannot make a queue: {0}")]
    Arena(#[from] ArenaError),
    /// The system refused.
    #[error("cannot {doing}: {error}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// What is wrong with the tasks of a [`JoinableQueue`](crate::JoinableQueue).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnfinishedError {
    /// More items were said to be done than were taken.
    #[error("`task_done` was called more often than items were taken")]
    TooOften,
    /// A process has ended before it had said of the items that it took that they are done. They count as finished from
    /// now on, and nobody else is told.
    #[error("process {pid} has ended with {items} items that it took and did not call `task_done` for: put them again")]
    Lost {
        /// The process.
        pid: u32,
        /// How many items.
        items: u64,
    },
    /// Some items are not done.
    #[error("{unfinished} items of the queue are not done yet")]
    WouldBlock {
        /// How many.
        unfinished: u64,
    },
    /// Some items were not done for as long as was waited.
    #[error("{unfinished} items of the queue were not done for as long as was waited")]
    Timeout {
        /// How many.
        unfinished: u64,
    },
    /// Nobody else is left who could take the items or say that they are done.
    #[error("{unfinished} items of the queue are not done, and every other process that had it is gone")]
    Disconnected {
        /// How many.
        unfinished: u64,
    },
    /// This process is not known to the queue's memory.
    #[error("cannot use the queue's memory: {0}")]
    Arena(#[from] ArenaError),
}

/// Why an item was not put. It comes back, except where memory is gone for good.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// The queue holds as many items, or bytes, as it may; for as long as was waited.
    #[error("the queue is full: take items, drop those that are lent, wait longer, or make it with more room")]
    Full(T),
    /// Another process is just putting an item and does not go on, because it is stopped or gets no time. Whether there is
    /// room is not known.
    #[error("another process is just putting an item and does not go on: it may be stopped; try again when it runs")]
    Busy(T),
    /// This process has closed the queue.
    #[error("the queue was closed in this process: put before `close`, or clone the handle earlier")]
    Closed(T),
    /// Nobody is left who could take it.
    #[error("every consumer of the queue is gone: nobody would ever take the item")]
    Disconnected(T),
    /// The item cannot be made a message.
    #[error("the item cannot be put: {error}")]
    Encode {
        /// The item.
        item: T,
        /// What it holds that cannot travel.
        #[source]
        error: EncodeError,
    },
    /// The system refused.
    #[error("the item was not put: cannot {doing}: {error}")]
    System {
        /// The item.
        item: T,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A peer has written into the queue's memory what no peer of ours writes.
    #[error("the queue's memory is corrupt ({reason}): drop it, and do not trust those who share it")]
    Corrupt {
        /// The item.
        item: T,
        /// What was found.
        reason: &'static str,
    },
}

/// Why no item was had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is none.
    #[error("the queue is empty")]
    Empty,
    /// There was none for as long as was waited.
    #[error("the queue was empty for as long as was waited")]
    Timeout,
    /// Another process is just taking an item and does not go on, because it is stopped or gets no time. Whether there is one
    /// for this process is not known.
    #[error("another process is just taking an item and does not go on: it may be stopped; try again when it runs")]
    Busy,
    /// This process has closed the queue.
    #[error("the queue was closed in this process")]
    Closed,
    /// There is none, and nobody is left who could put one.
    #[error("the queue is empty, and every producer is gone")]
    Disconnected,
    /// The item is no `T`; it is gone.
    #[error("an item was taken that cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The system refused; the item is still there.
    #[error("no item was taken: cannot {doing}: {error}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A peer has written into the queue's memory what no peer of ours writes.
    #[error("the queue's memory is corrupt ({reason}): drop it, and do not trust those who share it")]
    Corrupt {
        /// What was found.
        reason: &'static str,
    },
}

/// Why a message was not sent. Nothing of it was, except where an error says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The peer has not received what was sent before, and there is no room for more.
    #[error("the connection is full of messages that the peer has not received: wait for it")]
    WouldBlock,
    /// The same, for as long as was waited.
    #[error("the connection was full of messages that the peer has not received for as long as was waited")]
    Timeout,
    /// Another process is just sending from this end and does not go on, because it is stopped or gets no time.
    #[error(
        "another process is just sending from this end and does not go on: it may be stopped; try again when it runs"
    )]
    Busy,
    /// This process has closed the connection.
    #[error("the connection was closed in this process")]
    Closed,
    /// A message was begun and could not be finished in time, or the system refused its rest. As the peer cannot tell where
    /// the next would begin, none can be sent any more, and the peer is told that the stream ends in here.
    #[error(
        "{sent} of a message's {bytes} bytes were sent: give up the connection, and allow large messages more time"
    )]
    Torn {
        /// How many bytes were sent, the header among them.
        sent: u64,
        /// How many it has with its header.
        bytes: u64,
    },
    /// The peer is gone.
    #[error("the peer is gone: nobody holds the other end of the connection any more")]
    Disconnected,
    /// The message is longer than the connection allows. Nothing was sent, and the connection goes on.
    #[error(
        "a message of {bytes} bytes, where the connection allows {bytes_max}: send it in parts, or allow more by \
         `message_bytes_max` at both ends"
    )]
    TooLarge {
        /// How long it is.
        bytes: u64,
        /// What the connection allows.
        bytes_max: u64,
    },
    /// The value holds descriptors, as files, queues, locks and connections do, and the connection is a stream of bytes,
    /// which carries none.
    #[error(
        "the value holds {descriptors} of files, queues, locks or connections, which no stream of bytes carries: connect \
         through a Unix socket with this library at both ends, without `stream_only`, and while both have some \
         descriptors left"
    )]
    Descriptors {
        /// How many.
        descriptors: usize,
    },
    /// The value cannot be made a message.
    #[error("the value cannot be sent: {0}")]
    Encode(#[from] EncodeError),
    /// The system refused.
    #[error("the message was not sent: cannot {doing}: {error}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A peer has written into the connection's memory what no peer of ours writes.
    #[error("the connection's memory is corrupt ({reason}): drop it, and do not trust the peer")]
    Corrupt {
        /// What was found.
        reason: &'static str,
    },
}

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// There is none.
    #[error("no message has come")]
    WouldBlock,
    /// There was none for as long as was waited. One that had begun to come goes on with the next call.
    #[error("no message has come for as long as was waited")]
    Timeout,
    /// Another process is just receiving from this end and does not go on, because it is stopped or gets no time.
    #[error(
        "another process is just receiving from this end and does not go on: it may be stopped; try again when it runs"
    )]
    Busy,
    /// This process has closed the connection.
    #[error("the connection was closed in this process")]
    Closed,
    /// All messages have been received, and the peer is gone: the end of the stream.
    #[error("the peer is gone, and all that it sent was received")]
    Disconnected,
    /// The peer went away in the middle of a message.
    #[error("the peer is gone in the middle of a message: {had} of {bytes} bytes came")]
    Truncated {
        /// How many bytes of the message came.
        had: u64,
        /// How many it has by its header; zero if the header itself is cut off.
        bytes: u64,
    },
    /// The message is longer than the buffer that it was to go to. It is in here, whole.
    #[error("the buffer is too short for a message of {} bytes, which this error holds", message.len())]
    BufferTooShort {
        /// The message.
        message: Vec<u8>,
    },
    /// The message is longer than the caller allows. The connection receives no more.
    #[error(
        "a message of {bytes} bytes, where {bytes_max} are allowed: the connection cannot be received from any more"
    )]
    TooLarge {
        /// How long it is by its header.
        bytes: u64,
        /// What the caller allows.
        bytes_max: u64,
    },
    /// The message is no value of the type; it is gone.
    #[error("a message was received that cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The system refused; the message is still there.
    #[error("no message was received: cannot {doing}: {error}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A peer has written what no peer of ours writes.
    #[error("what the peer wrote is corrupt ({reason}): drop the connection, and do not trust the peer")]
    Corrupt {
        /// What was found.
        reason: &'static str,
    },
}

/// Why nobody can say which things are ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The list is empty, and no time was given after which the wait ends.
    #[error("nothing to wait for: the list is empty, so the wait would never end; give it a timeout, or end the loop")]
    Nothing,
    /// There are more things than descriptors that this process may have open.
    #[error(
        "cannot wait for {things} things at once: this process may have no more than {things_max} files open; \
         raise RLIMIT_NOFILE, or wait for fewer"
    )]
    TooMany {
        /// How many were given.
        things: usize,
        /// The process's limit of open files, which is also that of things to wait for.
        things_max: u64,
    },
    /// One of the things cannot be asked.
    #[error("cannot tell whether thing {position} of those to wait for is ready: {error}")]
    Thing {
        /// Its position in the list.
        position: usize,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The system refused.
    #[error("cannot wait for {things} things: {error}")]
    System {
        /// How many were given.
        things: usize,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl SendError {
    /// Refuses what is too long.
    pub(crate) fn admit(bytes: u64, bytes_max: u64) -> Result<(), Self> {
        if bytes > bytes_max { Err(Self::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }
}

impl<T> PutError<T> {
    /// The item that was not put.
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item) | Self::Busy(item) | Self::Closed(item) | Self::Disconnected(item) => item,
            Self::Encode { item, .. } | Self::System { item, .. } | Self::Corrupt { item, .. } => item,
        }
    }

    /// The same about something else, such as nothing: `error.map(drop)`.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> PutError<U> {
        match self {
            Self::Full(item) => PutError::Full(change(item)),
            Self::Busy(item) => PutError::Busy(change(item)),
            Self::Closed(item) => PutError::Closed(change(item)),
            Self::Disconnected(item) => PutError::Disconnected(change(item)),
            Self::Encode { item, error } => PutError::Encode { item: change(item), error },
            Self::System { item, doing, error } => PutError::System { item: change(item), doing, error },
            Self::Corrupt { item, reason } => PutError::Corrupt { item: change(item), reason },
        }
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Busy(_) => f.write_str("Busy(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Disconnected(_) => f.write_str("Disconnected(..)"),
            Self::Encode { error, .. } => f.debug_struct("Encode").field("error", error).finish_non_exhaustive(),
            Self::System { doing, error, .. } => {
                f.debug_struct("System").field("doing", doing).field("error", error).finish_non_exhaustive()
            }
            Self::Corrupt { reason, .. } => f.debug_struct("Corrupt").field("reason", reason).finish_non_exhaustive(),
        }
    }
}
