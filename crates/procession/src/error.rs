//! One error for `main` and for whoever does not branch on errors.

use std::fmt;

use procession_ipc::{
    AcceptError, AddressError, ConnectError, GetError, ListenError, PutError, QueueError, RecvError, SendError,
    UnfinishedError, WaitError,
};
use procession_launch::{AuthKeyError, ControlError, JoinError, LogError, StartError};
use procession_manager::{CallError, ManagerError};
use procession_pool::{InvalidState, PoolError, SubmitError, TaskError, TimeoutError};
use procession_shm::{FreezeError, ShmError};
use procession_sync::{BarrierError, LockError};
use procession_wire::{DecodeError, EncodeError, Fault};

/// A result with this project's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of any of the crates, and of the system.
///
/// Every call has a narrower error of its own; `?` turns each into this one.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A process could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A process did not deliver its result.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A process could not be signaled or waited for.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Some bytes cannot be an authentication key.
    #[error(transparent)]
    AuthKey(#[from] AuthKeyError),
    /// Logging could not be set up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Shared memory could not be had or used.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// A lock or a permit was not had, or the lock's last holder died.
    #[error(transparent)]
    Lock(LockError),
    /// The parties of a barrier did not come together.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// A queue could not be made.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// An item was not put.
    #[error(transparent)]
    Put(PutError<()>),
    /// No item was had.
    #[error(transparent)]
    Get(#[from] GetError),
    /// Not all items of a joinable queue are done, or more than all.
    #[error(transparent)]
    Unfinished(#[from] UnfinishedError),
    /// A message was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No message was received.
    #[error(transparent)]
    Recv(#[from] RecvError),
    /// Several things could not be waited for.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// A text is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nobody can listen there.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No connection was accepted.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// A client is not connected.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no manager, or none that can be reached.
    #[error(transparent)]
    Manager(Box<ManagerError>),
    /// A call of a manager's object has no result.
    #[error(transparent)]
    Call(Box<CallError>),
    /// A pool or an executor could not be made, or cannot be joined.
    #[error(transparent)]
    Pool(Box<PoolError>), // The largest by far.
    /// A task was not submitted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A task did not end with a result.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Some futures were not done in time.
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    /// A task was ended twice.
    #[error(transparent)]
    InvalidState(#[from] InvalidState),
    /// A value could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A value could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What a target returned as its error.
    #[error("{0:#}")]
    Fault(Fault),
    /// What the system said to something that is not ours.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl<T> From<FreezeError<T>> for Error {
    /// The array that could not be frozen is dropped.
    fn from(error: FreezeError<T>) -> Self {
        Error::Shm(error.into())
    }
}

impl<G> From<LockError<G>> for Error {
    /// A guard in the error is dropped, so its lock is free again; the news is the error.
    fn from(error: LockError<G>) -> Self {
        Error::Lock(error.map(drop))
    }
}

impl<T> From<PutError<T>> for Error {
    /// The item that was not put is dropped: whoever wants it takes it out of the [`PutError`].
    fn from(error: PutError<T>) -> Self {
        Error::Put(error.map(drop))
    }
}

impl From<ManagerError> for Error {
    fn from(error: ManagerError) -> Self {
        Self::Manager(Box::new(error))
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        Self::Pool(Box::new(error))
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::Fault(fault)
    }
}

impl fmt::Debug for Error {
    /// What `main` prints when it returns one: the message, and what it comes from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  because {error}")?;
            cause = error.source();
        }
        match self {
            Error::Join(JoinError::Panicked { backtrace: Some(backtrace), .. }) if f.alternate() => {
                write!(f, "\n{backtrace}")
            }
            Error::Task(TaskError::Panicked { backtrace: Some(backtrace), .. }) if f.alternate() => {
                write!(f, "\n{backtrace}")
            }
            _ => Ok(()),
        }
    }
}
