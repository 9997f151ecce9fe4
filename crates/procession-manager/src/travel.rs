//! How a reference goes from process to process by any other way than a call: in a child's arguments, through a queue.
//!
//! Relies on the server, which is told first, and holds the object until whoever receives the reference has connected. Keys do
//! not travel with it: a process knows those that it connected with, and those that its parent knew when it was started.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use procession_boot::{bequeath, bequest};
use procession_ipc::Address;
use procession_launch::{AuthKey, current_process};
use serde::{Deserialize, Serialize};

use crate::error::ManagerError;
use crate::identity::ObjectId;
use crate::remote::{Place, Remote};

/// A reference on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Traveling {
    pub(crate) server: ObjectId,
    pub(crate) address: Address,
    pub(crate) object: ObjectId,
    pub(crate) ticket: Ticket,
}

/// What the server knows it by: who has sent it, and which of his it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) client: u64,
    pub(crate) number: u64,
}

/// The servers that this process is a client of.
static REMOTES: Mutex<Option<HashMap<ObjectId, Weak<Remote>>>> = Mutex::new(None);

/// Notes a server that this process is a client of, and its key for children.
pub(crate) fn note(remote: &Arc<Remote>) {
    let mut remotes = REMOTES.lock();
    let remotes = remotes.get_or_insert_default();
    remotes.retain(|_, remote| remote.strong_count() > 0);
    remotes.insert(remote.server, Arc::downgrade(remote));
    let key = remote.key().map(AuthKey::as_bytes).unwrap_or_default();
    if key != current_process().authkey().as_bytes() && !bequeath(&name_of(remote.server), key) {
        tracing::warn!(server = %remote.address(), "children will not know a manager's key, as there are too many");
    }
}

/// The server that a reference is of: the one that is known, or one that is connected to now.
pub(crate) fn remote_of(traveling: &Traveling) -> Result<Arc<Remote>, ManagerError> {
    let known = REMOTES.lock().as_ref().and_then(|remotes| remotes.get(&traveling.server)?.upgrade());
    if let Some(remote) = known {
        return Ok(remote);
    }
    let key = match bequest(&name_of(traveling.server)) {
        Some(key) => AuthKey::new(key).ok(),
        None => Some(current_process().authkey()),
    };
    let place = Place { address: traveling.address.clone(), key, call_timeout: None };
    let remote = Remote::connect(place)?;
    if remote.server != traveling.server {
        let reason = "another server is there than the one that the proxy is of".to_owned();
        return Err(ManagerError::NoManager { address: traveling.address.to_string(), reason });
    }
    Ok(remote)
}

fn name_of(server: ObjectId) -> String {
    format!("manager/{server}")
}
