//! What a server knows of its objects and clients, as it tells those who ask.
//!
//! Relies on nothing but names.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::ObjectId;

/// How many objects, or clients, a server tells of at once: those with most calls.
pub const INFOS_MAX: usize = 65_536;

/// An object of a server, as [`BaseManager::objects`](crate::BaseManager::objects) tells of it.
///
/// Its `Display` is a line for people.
///
/// # Python
/// A line of `BaseManager._debug_info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its name: what [`RawProxy::object`](crate::RawProxy::object) says.
    pub id: ObjectId,
    /// Its type's.
    pub type_name: String,
    /// How many refer to it: clients, each once; values of other objects; names; what is on its way.
    pub references: u64,
    /// How often a method of it was called.
    pub calls: u64,
    /// How long its methods ran, all together. Those that run now do not count yet, and waiting does not. Of the objects that
    /// every manager has, some calls are timed and stand for others when there were many.
    pub busy: Duration,
    /// How many calls wait: until others are done with it, or for an item, room or a lock.
    pub waiting: u64,
    /// Whether a method has panicked in the middle of changing it.
    pub is_poisoned: bool,
}

impl fmt::Display for ObjectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, type_name, references, calls, busy, waiting, is_poisoned } = self;
        let poison = if *is_poisoned { ", poisoned" } else { "" };
        write!(f, "{id} {type_name}: {references} references, {calls} calls in {busy:?}, {waiting} waiting{poison}")
    }
}

/// A client of a server, as [`BaseManager::clients`](crate::BaseManager::clients) tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The how manieth that connected.
    pub number: u64,
    /// Its process's number, as it says itself; on its machine.
    pub pid: u32,
    /// Its process's name, as it says itself.
    pub name: String,
    /// To how many objects it refers.
    pub references: u64,
    /// How often it has called: objects, and the server.
    pub calls: u64,
}
