//! Pipes: what tasks send and receive.
//!
//! Relies on `duplex.rs`, whose ends all pipes have.

use std::os::fd::AsFd;
use std::sync::Arc;

use procession_sys::{Deadline, Interest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::queue::WAIT;
use crate::asynchronous::{Awaited, Bell, Lines, Way, when};
use crate::duplex::End;
use crate::values;
use crate::wait::Source;
use crate::{Connection, RecvError, SendError};

impl Awaited for End {
    fn lines(&self) -> &Lines {
        &self.lines
    }

    fn bell(&self, _: Way) -> Bell<'_> {
        Bell { position: 0, fd: self.watch().fd, interest: Interest::Read }
    }

    fn arm(&self, way: Way) -> bool {
        match way {
            Way::In => Source::arm(self),
            Way::Out => self.arm_for_room(),
        }
        Awaited::is_ready(self, way)
    }

    fn is_ready(&self, way: Way) -> bool {
        // What somebody who sends needs is known to who tries.
        way == Way::Out || Source::is_ready(self)
    }

    fn settle(&self, _: Way) {
        // What it says is found out by the try that follows.
        let _ = Source::settle(self);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.lines.forget([self.watch().fd.as_fd()]);
    }
}

async fn send<T: Serialize + 'static>(end: &Arc<End>, value: &T) -> Result<(), SendError> {
    let sent = when(end, Way::Out, || match values::send_by(end, value, Deadline::NOW) {
        Err(SendError::WouldBlock | SendError::Busy) => None,
        done => Some(done),
    });
    sent.await.unwrap_or_else(|error| Err(SendError::System { doing: WAIT, error }))
}

async fn receive<T: DeserializeOwned + 'static>(end: &Arc<End>) -> Result<T, RecvError> {
    let received = when(end, Way::In, || match values::receive_by(end, Deadline::NOW) {
        Err(RecvError::WouldBlock | RecvError::Busy) => None,
        done => Some(done),
    });
    received.await.unwrap_or_else(|error| Err(RecvError::System { doing: WAIT, error }))
}

impl<S: Serialize + 'static, R> Connection<S, R> {
    /// Sends a value, as soon as the pipe is not full; a task waits, no thread.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_async(&self, value: &S) -> Result<(), SendError> {
        send(&self.end, value).await
    }
}

impl<S, R: DeserializeOwned + 'static> Connection<S, R> {
    /// Receives a value, as soon as it has come; a task waits, no thread.
    ///
    /// # Errors
    /// As [`Connection::recv`].
    pub async fn recv_async(&self) -> Result<R, RecvError> {
        receive(&self.end).await
    }
}
