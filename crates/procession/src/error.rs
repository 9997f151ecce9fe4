//! One error for `main` and for whoever does not branch on errors.

use procession_launch::{ControlError, JoinError, StartError};
use procession_wire::{DecodeError, EncodeError};

/// A result with this project's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of any of the crates, and of the system.
///
/// Every call has a narrower error of its own; `?` turns each into this one.
#[derive(Debug, thiserror::Error)]
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
    /// A value could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A value could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What the system said to something that is not ours.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
