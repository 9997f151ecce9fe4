//! How much a server takes from its clients, as whoever builds it says.
//!
//! Relies on nothing. What is fixed stands where it is used.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// How many clients a server has at most, unless it was built with other [`Limits`].
pub const CLIENTS_MAX: usize = 4096;

/// How many objects a server has at most, unless it was built with other [`Limits`]: each takes half a kibibyte.
pub const OBJECTS_MAX: usize = 4 << 20;

/// How many objects one client may refer to, unless the server was built with other [`Limits`].
pub const CLIENT_REFERENCES_MAX: usize = 1 << 20;

/// How many bytes of values a server holds at most, unless it was built with other [`Limits`].
pub const BYTES_MAX: u64 = 16 << 30;

/// How many descriptors the values have that a server holds, unless it was built with other [`Limits`]; but half of what its
/// process may have open at most.
pub const HELD_DESCRIPTORS_MAX: usize = 65_536;

/// How many bytes one request may have, unless the server was built with other [`Limits`]: what a connection carries.
pub const REQUEST_BYTES_MAX: u64 = procession_ipc::MESSAGE_BYTES;

/// How much a server takes: what is more is [`Refusal::Limit`], and everything else goes on.
///
/// Fields may be added: begin with `..Limits::default()`.
///
/// # Examples
/// ```
/// use procession_manager::{CallError, Limits, Refusal, SyncManager};
///
/// let small = Limits { objects: 2, ..Limits::default() };
/// let manager: SyncManager = SyncManager::builder().limits(small).start()?.into();
/// let lists = (manager.list::<u8>()?, manager.list::<u8>()?);
/// let refused = manager.list::<u8>().unwrap_err();
/// assert!(matches!(refused, CallError::Refused { refusal: Refusal::Limit { limit: 2, .. }, .. }));
/// drop(lists);
/// manager.list::<u8>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Clients at once. One more is [`ManagerError::TooManyClients`](crate::ManagerError::TooManyClients).
    pub clients: usize,
    /// Objects, whoever made them.
    pub objects: usize,
    /// Objects that one client refers to. One that was given twice as many, in what it has taken out of others, is put out.
    pub references: usize,
    /// Bytes of the values, keys and names that containers, queues and values hold, of the names of objects, and of calls that
    /// stand in line for an object, and 64 more for each. When they are reached nothing more goes in, and what is there can be
    /// taken out; a call of more than 256 bytes that would stand in line is refused. What a type of your own holds is its own
    /// affair. Of several servers in one process, which have one memory, the last that was made says how much all may hold.
    pub bytes: u64,
    /// Descriptors in the values that containers, queues and values hold: files, locks, connections. Half of what the server's
    /// process may have open when it begins (`RLIMIT_NOFILE`) is the most, so that there are some for clients. The rest is as with
    /// `bytes`.
    pub descriptors: usize,
    /// Bytes of one request.
    pub request_bytes: u64,
    /// Requests of one client in a second; any number if none. Whoever sends more is slowed down, and nothing is refused.
    pub rate: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: CLIENTS_MAX,
            objects: OBJECTS_MAX,
            references: CLIENT_REFERENCES_MAX,
            bytes: BYTES_MAX,
            descriptors: HELD_DESCRIPTORS_MAX,
            request_bytes: REQUEST_BYTES_MAX,
            rate: None,
        }
    }
}

/// An error if there would be more than a limit.
pub(crate) fn check(of: &str, count: u64, limit: u64) -> Result<(), Refusal> {
    if count <= limit { Ok(()) } else { Err(Refusal::Limit { of: of.to_owned(), limit }) }
}
