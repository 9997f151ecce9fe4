//! An object as the server knows it: its name, what it is, and how much it is used.
//!
//! Relies on nothing but that it lives as long as anybody refers to it: clients, values of other objects, the registry.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::{Caller, Given, Reply, Server};
use crate::host::Hosting;
use crate::identity::ObjectId;
use crate::proxy::MethodName;
use crate::travel::Traveling;

/// An object.
pub(crate) struct Entry {
    id: ObjectId,
    server_id: ObjectId,
    server: Weak<Server>,
    host: Arc<dyn Hosting>,
}

impl Entry {
    pub(super) fn new(id: ObjectId, server: &Arc<Server>, host: Arc<dyn Hosting>) -> Self {
        Self { id, server_id: server.id, server: Arc::downgrade(server), host }
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    pub(crate) fn server(&self) -> ObjectId {
        self.server_id
    }

    pub(crate) fn call(self: &Arc<Self>, method: u64, arguments: Vec<Given>, caller: Caller) {
        let wake = self.host.call(method, arguments, caller);
        self.wake_at(wake);
    }

    /// A client has the answer to a call, or does not want it any more.
    pub(super) fn settle(self: &Arc<Self>, call: (u64, u64), is_received: bool) {
        let wake = self.host.settle(call, is_received);
        self.wake_at(wake);
    }

    /// A client is gone.
    pub(super) fn part(self: &Arc<Self>, client: u64) {
        let wake = self.host.part(client);
        self.wake_at(wake);
    }

    /// A time has come that it wanted to be told of.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        let wake = self.host.tick(now);
        self.wake_at(wake);
    }

    fn wake_at(self: &Arc<Self>, wake: Option<Instant>) {
        if let Some((wake, server)) = wake.zip(self.server.upgrade()) {
            server.wake_at(wake, self);
        }
    }

    /// A reference that is about to be sent to somebody.
    pub(crate) fn send_off(self: &Arc<Self>) -> Result<Traveling, String> {
        let server = self.server.upgrade().ok_or("its server has ended")?;
        let ticket = server.tickets.issue_own(self);
        Ok(Traveling { server: server.id, address: server.listener.address().clone(), object: self.id, ticket })
    }

    /// A call from within the server's own process, and where its answer comes.
    pub(crate) fn call_here(self: &Arc<Self>, method: MethodName, arguments: Vec<Given>) -> Arc<Reply> {
        let (caller, reply) = Caller::here(self.server_id);
        self.call(method.signature, arguments, caller);
        reply
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(server) = self.server.upgrade() {
            server.forget(self.id);
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("id", &self.id).field("type", &self.host.type_name()).finish_non_exhaustive()
    }
}
