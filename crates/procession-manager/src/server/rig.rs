//! Servers for tests of their parts: what runs in one is what the test calls.
//!
//! Relies on nothing that the parts do not rely on.

use std::sync::Arc;

use procession_ipc::Listener;

use super::{Entry, Given, Registry, Server};
use crate::limits::Limits;
use crate::stock::{self, Stock};

/// What clients of these servers know.
pub(super) const KEY: &[u8] = b"a key for tests";

/// A server that nobody runs.
pub(super) fn server() -> Arc<Server> {
    let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(KEY);
    Server::new("test", listener, Registry::new(Vec::new()).unwrap(), Limits::default()).unwrap()
}

/// A new object of it.
pub(super) fn object(server: &Arc<Server>) -> Arc<Entry> {
    server.host(stock::make(Stock::Lock, Given::default(), Given::default()).unwrap()).unwrap()
}
