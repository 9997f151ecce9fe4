//! What this project makes.

use procession_benches::Result;
use procession_ipc::{BytesConnection, Client, Listener};

use crate::part::{End, Meeting};

const KEY: &[u8] = b"what both know, in 32 bytes of it";

/// A listener whose connections go on over memory where they can.
pub(crate) struct Ring(Listener);

/// One whose connections stay with their sockets.
pub(crate) struct Stream(Listener);

impl Meeting for Ring {
    type End = BytesConnection;

    fn listen(address: &str) -> Result<Self> {
        Ok(Self(Listener::bind(address)?.authkey(KEY)))
    }

    fn address(&self) -> Result<String> {
        Ok(self.0.address().to_string())
    }

    fn accept(&self) -> Result<BytesConnection> {
        Ok(self.0.accept_bytes()?)
    }

    fn connect(address: &str) -> Result<BytesConnection> {
        Ok(Client::connect_bytes(address, KEY)?)
    }
}

impl Meeting for Stream {
    type End = BytesConnection;

    fn listen(address: &str) -> Result<Self> {
        Ok(Self(Listener::bind(address)?.authkey(KEY).stream_only()))
    }

    fn address(&self) -> Result<String> {
        Ok(self.0.address().to_string())
    }

    fn accept(&self) -> Result<BytesConnection> {
        Ok(self.0.accept_bytes()?)
    }

    fn connect(address: &str) -> Result<BytesConnection> {
        Ok(Client::builder(address)?.authkey(KEY).stream_only().connect_bytes()?)
    }
}

impl End for BytesConnection {
    fn send(&mut self, message: &[u8]) -> Result {
        Ok(BytesConnection::send(self, message)?)
    }

    fn receive(&mut self, message: &mut [u8]) -> Result {
        let len = self.recv_into(message)?;
        if len == message.len() { Ok(()) } else { Err(format!("{len} bytes have arrived").into()) }
    }
}
