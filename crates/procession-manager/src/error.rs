//! What can go wrong with a call, and why a server does not carry one out.
//!
//! Relies on nothing of this crate but names.

use std::time::Duration;

use procession_ipc::{AddressError, ConnectError, ListenError, SendError};
use procession_launch::StartError;
use procession_launch::calls::CaughtPanic;
use procession_shm::ShmError;
use procession_wire::{DecodeError, EncodeError};
use serde::{Deserialize, Serialize};

use crate::identity::{CalledObject, ObjectId};
use crate::link::{BYTES_AHEAD_MAX, CALLS_AHEAD_MAX};

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
    /// The call, which nobody was to wait for, was not sent: [`CALLS_AHEAD_MAX`](crate::CALLS_AHEAD_MAX) or
    /// [`BYTES_AHEAD_MAX`](crate::BYTES_AHEAD_MAX) of this process were on their way to the server as long as calls of this client
    /// may take.
    #[error(
        "{method} was not sent to the server at {server}, as {} calls, or {} bytes, were on their way there for {after:?} of which \
         nobody has taken the results: take some, or drop those that wait",
        CALLS_AHEAD_MAX,
        BYTES_AHEAD_MAX
    )]
    Crowded {
        /// The method.
        method: &'static str,
        /// Its address.
        server: String,
        /// The client's `call_timeout`.
        after: Duration,
    },
    /// The call was made by the process that this one was forked from, which has its answer. Nothing is wrong with the server.
    #[error(
        "{method} was called by the process that this one was forked from, which has the answer of the server at {server}: \
         call it again here"
    )]
    Forked {
        /// The method.
        method: &'static str,
        /// The server's address.
        server: String,
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
    Output {
        /// The method.
        method: &'static str,
        /// Why.
        error: DecodeError,
    },
    /// The call could not be sent; the connection is as before.
    #[error("{method} could not be sent to the server at {server}: {error}")]
    Unsent {
        /// The method.
        method: &'static str,
        /// The server's address.
        server: String,
        /// Why.
        error: SendError,
    },
    /// The server did not do it.
    #[error("{method}{} was refused by the server at {server}: {refusal}", of(object.as_deref()))]
    Refused {
        /// The method.
        method: &'static str,
        /// The object that has it. None if the server itself was asked, as by `get`, or if nobody was.
        object: Option<Box<CalledObject>>,
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
    #[error(
        "nothing is registered as {name:?}: have the server's builder `register` that type, or `register_object` that object, or \
         `publish` it"
    )]
    NoName {
        /// The name.
        name: String,
    },
    /// Something else has that name already.
    #[error("another object is named {name:?} already")]
    NameTaken {
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
        /// The method.
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
    Output {
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
        "a method has panicked in the middle of changing the object: make another one, or call `clear_poison` on its proxy \
         (trait `Proxy`) if its other methods cope with what is left"
    )]
    Poisoned,
    /// It could not be done without a wait, and the caller did not want to wait.
    #[error(
        "it would have to wait, and was not to: try again when others have changed the object, or use the method that waits"
    )]
    WouldBlock,
    /// It could not be done in the time that the caller had.
    #[error(
        "the object did not become ready for it in the time that was given: allow more, or see by the manager's `objects` \
         how many wait for it"
    )]
    TimedOut,
    /// There is no such place.
    #[error("it has no place {index}: it has {len} values")]
    OutOfRange {
        /// The place.
        index: u64,
        /// How many values it has.
        len: u64,
    },
    /// What was to be given back is not held, or not any more.
    #[error(
        "this client does not hold what it would give back, or not any more: give back what it took itself, of this object, \
         and once"
    )]
    NotHeld,
    /// The barrier broke: a party died, gave up or had no more time, or somebody broke it or began it anew.
    #[error(
        "the barrier is broken: a party died or came too late, or it was aborted or reset; mend what the parties do \
         together, and then `reset` it"
    )]
    Broken,
    /// A function was named that the server's program does not have in that form: the server runs another program than its client.
    #[error("the server runs another program, which has no such function: {reason}")]
    NoFunction {
        /// Which.
        reason: String,
    },
    /// The object of that name is of another kind than the proxy that was asked for.
    #[error("{name:?} is a {object} there, and no {wanted}: ask for it as what it is")]
    OtherKind {
        /// The name.
        name: String,
        /// What the object is.
        object: String,
        /// What it was asked for as.
        wanted: String,
    },
    /// A limit of the server was reached.
    #[error("the server's limit of {limit} {of} is reached")]
    Limit {
        /// Of what.
        of: String,
        /// How many there may be.
        limit: u64,
    },
    /// A method of the object has called it, and would wait for itself.
    #[error(
        "a method of the object has called it, and would wait for itself for ever: call it on `self`, or by the method that \
         ends in `_later`, which is done when that one has returned, and is not to be waited for there"
    )]
    WaitsForItself,
}

impl CallError {
    /// That of a refusal. A server knows what it has no method for by a number only, and its client by its name.
    pub(crate) fn refused(method: &'static str, server: String, refusal: Refusal) -> Self {
        let refusal = match refusal {
            Refusal::NoMethod { object, .. } => {
                let own = method.rsplit(['.', ':']).next().unwrap_or(method);
                Refusal::NoMethod { object, method: own.to_owned() }
            }
            other => other,
        };
        Self::Refused { method, object: None, server, refusal }
    }

    /// The same with the object that was called, if it is a refusal.
    pub(crate) fn about(mut self, called: impl FnOnce() -> Option<CalledObject>) -> Self {
        if let Self::Refused { object, .. } = &mut self {
            *object = called().map(Box::new);
        }
        self
    }
}

impl From<CaughtPanic> for Refusal {
    fn from(CaughtPanic { message, location, .. }: CaughtPanic) -> Self {
        Self::Panicked { message, location }
    }
}

fn of(object: Option<&CalledObject>) -> String {
    object.map(|object| format!(" of {object}")).unwrap_or_default()
}

fn at(location: Option<&str>) -> String {
    location.map(|location| format!(" at {location}")).unwrap_or_default()
}

/// Why there is no manager, or none that can be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// What was given is no address.
    #[error(transparent)]
    Address {
        /// Why.
        #[from]
        error: AddressError,
    },
    /// To connect, an address is needed.
    #[error("a manager can only connect to an address: give one by `address`")]
    NoAddress,
    /// The server cannot listen.
    #[error("the server of manager {name:?} cannot listen: {error}")]
    Listen {
        /// The manager's name.
        name: String,
        /// Why.
        error: ListenError,
    },
    /// The server's process cannot be started.
    #[error("the server of manager {name:?} cannot be started: {error}")]
    Start {
        /// The manager's name.
        name: String,
        /// Why.
        #[source]
        error: Box<StartError>,
    },
    /// The server's process has ended before it served.
    #[error("the server of manager {name:?} has ended before it served: {reason}")]
    Ended {
        /// The manager's name.
        name: String,
        /// What became of it.
        reason: String,
    },
    /// The server did not serve in time, and was killed: its initializer takes too long, or waits for something.
    #[error(
        "the server of manager {name:?} (process {pid}) did not serve within {after:?}, and was killed: its initializer takes \
         too long; have it do less, or give it more time with `start_timeout`"
    )]
    StartTimeout {
        /// The manager's name.
        name: String,
        /// The number of the server's process.
        pid: u32,
        /// How long it was given.
        after: Duration,
    },
    /// The initializer has failed or panicked in the server's process, which has ended then.
    #[error("the initializer of manager {name:?} failed{}: {message}", at(location.as_deref()))]
    Initializer {
        /// The manager's name.
        name: String,
        /// What it said.
        message: String,
        /// File and line, if it panicked.
        location: Option<String>,
    },
    /// Nobody listens there, or does not know the key.
    #[error("cannot connect to the manager at {address}: {error}")]
    Connect {
        /// The address.
        address: String,
        /// Why.
        error: ConnectError,
    },
    /// The manager has as many clients as its [`Limits::clients`](crate::Limits::clients) allow.
    #[error(
        "the manager at {address} has {limit} clients, as many as it takes (`Limits::clients`): let one of them end, or build \
         the server with more"
    )]
    TooManyClients {
        /// The address.
        address: String,
        /// How many it takes.
        limit: u64,
    },
    /// Who listens there is no manager, or one of another version.
    #[error("at {address} is no manager that this program can talk to: {reason}")]
    NoManager {
        /// The address.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The system refused.
    #[error("the server of manager {name:?} cannot {step}: {error}")]
    System {
        /// The manager's name.
        name: String,
        /// What it was to do.
        step: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// What is registered cannot be sent to the server's process.
    #[error("what is registered as {registered:?} cannot be sent to the server of manager {name:?}: {reason}")]
    Registration {
        /// The manager's name.
        name: String,
        /// Under which name.
        registered: String,
        /// Why.
        reason: String,
    },
    /// Something else has been registered under that name already.
    #[error("{registered:?} is the name of {by} in manager {name:?} already: register each under a name of its own")]
    NameTaken {
        /// The manager's name.
        name: String,
        /// The name that is taken.
        registered: String,
        /// What has it.
        by: &'static str,
    },
    /// The server of a `SharedMemoryManager` cannot make a segment.
    #[error("the manager at {server} cannot make a segment of shared memory: {reason}")]
    Segment {
        /// Its address.
        server: String,
        /// Why.
        reason: String,
    },
    /// A segment that the server has made is not to be opened here: the server runs on another machine, or has ended.
    #[error("the manager's segment {name:?} cannot be opened, as by a client on another machine: {error}")]
    Open {
        /// The segment's name.
        name: String,
        /// Why.
        error: ShmError,
    },
    /// The server cannot listen for programs that are not ours.
    #[error("the server of manager {name:?} cannot listen for other programs: {reason}")]
    Codec {
        /// The manager's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The server did not answer as it has to.
    #[error(transparent)]
    Call(#[from] CallError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_is_not_there_is_named_as_it_was_called() {
        let refusal = Refusal::NoMethod { object: "Stack<i64>".to_owned(), method: "00c0ffee00c0ffee".to_owned() };
        let said = CallError::refused("Stack<i64>.push", "/a".to_owned(), refusal).to_string();
        assert!(said.contains("has no method push of") && !said.contains("c0ffee"), "{said}");
    }

    #[test]
    fn a_refusal_names_the_method_and_what_to_do() {
        let said = |refusal| CallError::refused("lock.acquire", "/a".to_owned(), refusal).to_string();
        for (refusal, remedy) in [
            (Refusal::WouldBlock, "try again"),
            (Refusal::TimedOut, "allow more"),
            (Refusal::NotHeld, "give back what"),
        ] {
            let said = said(refusal);
            assert!(said.contains("lock.acquire") && said.contains(remedy), "{said}");
        }
    }
}
