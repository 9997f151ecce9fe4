//! An object as the server knows it: its name, what it is, and how much it is used.
//!
//! Relies on nothing but that it lives as long as anybody refers to it: clients, values of other objects, the registry.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::{Caller, Given, Reply, Server, Site, bury};
use crate::host::{Hosting, Usage};
use crate::identity::ObjectId;
use crate::info::ObjectInfo;
use crate::proxy::MethodName;
use crate::travel::Traveling;

/// An object.
pub(crate) struct Entry {
    id: ObjectId,
    server_id: ObjectId,
    server: Weak<Server>,
    /// When it is told of the time next.
    wake: Mutex<Option<Instant>>,
    /// Taken at its end.
    host: Option<Arc<dyn Hosting>>,
}

impl Entry {
    pub(super) fn new(id: ObjectId, server: &Arc<Server>, host: Arc<dyn Hosting>) -> Self {
        Self { id, server_id: server.id, server: Arc::downgrade(server), wake: Mutex::default(), host: Some(host) }
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    pub(crate) fn server(&self) -> ObjectId {
        self.server_id
    }

    pub(super) fn type_name(&self) -> &str {
        self.host().type_name()
    }

    /// Its methods' names, and what calls know them by.
    pub(super) fn methods(&self) -> Vec<(&'static str, u64)> {
        self.host().methods()
    }

    fn host(&self) -> &dyn Hosting {
        match &self.host {
            Some(host) => &**host,
            None => unreachable!("it has not ended while somebody has it"),
        }
    }

    /// Whether its type is a user's.
    pub(super) fn is_users(&self) -> bool {
        self.host().is_users()
    }

    /// What is known of it.
    pub(super) fn info(self: &Arc<Self>) -> ObjectInfo {
        let Usage { calls, busy, waiting, is_poisoned } = self.host().usage();
        let type_name = self.host().type_name().to_owned();
        // Whoever asks has one more.
        let references = Arc::strong_count(self).saturating_sub(1) as u64;
        ObjectInfo { id: self.id, type_name, references, calls, busy, waiting, is_poisoned }
    }

    pub(crate) fn call(self: &Arc<Self>, method: u64, arguments: Vec<Given>, caller: Caller) {
        let wake = self.host().call(method, arguments, caller);
        self.wake_at(wake);
    }

    /// Whether this thread is in the middle of one of its methods.
    pub(crate) fn is_within(&self) -> bool {
        self.host().is_within()
    }

    /// A client has the answer to a call, or does not want it any more.
    pub(crate) fn settle(self: &Arc<Self>, call: (u64, u64), is_received: bool) {
        let wake = self.host().settle(call, is_received);
        self.wake_at(wake);
    }

    /// What a call was given cannot be told to its client, or read there.
    pub(crate) fn undelivered(self: &Arc<Self>, call: (u64, u64)) {
        let wake = self.host().undelivered(call);
        self.wake_at(wake);
    }

    /// A client is gone.
    pub(super) fn part(self: &Arc<Self>, client: u64) {
        let wake = self.host().part(client);
        self.wake_at(wake);
    }

    /// A time has come that it wanted to be told of.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        *self.wake.lock() = None;
        let wake = self.host().tick(now);
        self.wake_at(wake);
    }

    /// Is told when that time comes, unless it is told earlier anyway, and says then when to be told next.
    fn wake_at(&self, wake: Option<Instant>) {
        let Some((wake, server)) = wake.zip(self.server.upgrade()) else { return };
        let mut next = self.wake.lock();
        if next.is_none_or(|next| wake < next) {
            server.wake_at(self.id, wake, next.replace(wake));
        }
    }

    /// A reference that is about to be sent to somebody.
    pub(crate) fn send_off(self: &Arc<Self>) -> Result<Traveling, String> {
        let server = self.server.upgrade().ok_or("its server has ended")?;
        let ticket = server.tickets.issue_own(self);
        Ok(Traveling { server: server.id, address: server.listener.address().clone(), object: self.id, ticket })
    }

    /// A call from within the server's own process, for which this thread `waits` or not: what it is called, and where its
    /// answer comes.
    pub(crate) fn call_here(
        self: &Arc<Self>,
        method: MethodName,
        arguments: Vec<Given>,
        waits: bool,
    ) -> ((u64, u64), Arc<Reply>) {
        let (caller, reply) = Caller::here(Site::of(self.server_id, self.id));
        let call = caller.call();
        self.call(method.signature, arguments, if waits { caller.waiting() } else { caller });
        (call, reply)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(server) = self.server.upgrade() {
            server.forget(self.id, *self.wake.get_mut());
        }
        self.host.take().into_iter().for_each(bury);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("id", &self.id).field("type", &self.host().type_name()).finish_non_exhaustive()
    }
}
