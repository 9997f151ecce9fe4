//! What can go wrong with a call, and why a server does not carry one out.
//!
//! Relies on nothing of this crate but names.

use std::time::Duration;

use procession_wire::{DecodeError, EncodeError};
use serde::{Deserialize, Serialize};

use crate::identity::ObjectId;

/// Why a call through a proxy has no result. The proxy stays usable but for [`CallError::Disconnected`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server has ended, was killed, or cannot be reached any more: what it had is lost. Start it again, and make new objects.
    #[error("{method} was not answered: the server at {server} is gone ({reason})")]
    Disconnected {
        /// The method.
        method: &'static str,
        /// Its address.
        server: String,
        /// How that was noticed.
        reason: String,
    },
    /// No answer came in the time that calls of this client have. Whether the method runs, or has run, is not known.
    #[error("{method} was not answered by the server at {server} within {after:?}")]
    TimedOut {
        /// The method.
        method: &'static str,
        /// Its address.
        server: String,
        /// The client's `call_timeout`.
        after: Duration,
    },
    /// An argument cannot be sent.
    #[error("the arguments of {method} cannot be sent: {error}")]
    Arguments {
        /// The method.
        method: &'static str,
        /// Why.
        error: EncodeError,
    },
    /// What came back is not what the method returns.
    #[error("the result of {method} cannot be read: {error}")]
    Result {
        /// The method.
        method: &'static str,
        /// Why.
        error: DecodeError,
    },
    /// The server did not do it.
    #[error("{method} was refused by the server at {server}: {refusal}")]
    Refused {
        /// The method.
        method: &'static str,
        /// Its address.
        server: String,
        /// Why.
        refusal: Refusal,
    },
}

/// Why a server does not carry out a call, as it tells its clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The object is not there: all that referred to it were dropped, or it was another server's.
    #[error("it has no object {object}: whoever had it has let it go, or it was of a server that has ended")]
    NoObject {
        /// Its name.
        object: ObjectId,
    },
    /// Nothing is registered under that name.
    #[error("nothing is registered as {name:?}")]
    NoName {
        /// The name.
        name: String,
    },
    /// The object has no such method, or one with other arguments or another result.
    #[error(
        "an object of type {object} has no method {method} of that form: are client and server built from the same sources?"
    )]
    NoMethod {
        /// The object's type.
        object: String,
        /// The method, by its name or the hash of its signature.
        method: String,
    },
    /// The arguments could not be read in the server.
    #[error("the arguments cannot be read there: {reason}")]
    Arguments {
        /// Why.
        reason: String,
    },
    /// The method has run, and its result cannot be sent.
    #[error("it ran, and its result cannot be sent: {reason}")]
    Result {
        /// Why.
        reason: String,
    },
    /// The constructor refused.
    #[error("it cannot be made: {reason}")]
    Construct {
        /// What it said.
        reason: String,
    },
    /// The method panicked. If it could have changed the object, that is poisoned now.
    #[error("it panicked{}: {message}", at(location.as_deref()))]
    Panicked {
        /// What it said.
        message: String,
        /// File and line.
        location: Option<String>,
    },
    /// A method of the object has panicked while it could change it.
    #[error(
        "a method has panicked in the middle of changing the object; look at it, and call `clear_poison` on its proxy"
    )]
    Poisoned,
    /// A limit of the server was reached.
    #[error("the server's limit of {limit} {of} is reached")]
    Limit {
        /// Of what.
        of: String,
        /// How many there may be.
        limit: u64,
    },
    /// The server is about to end.
    #[error("the server is shutting down")]
    ShuttingDown,
}

fn at(location: Option<&str>) -> String {
    location.map(|location| format!(" at {location}")).unwrap_or_default()
}
