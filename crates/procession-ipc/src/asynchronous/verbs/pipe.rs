//! Pipes, and connections of values: what tasks send and receive.
//!
//! Relies on `duplex.rs`, whose ends all pipes have, and on `conduit.rs` for connections of strangers.

use std::sync::Arc;

use procession_sys::{Deadline, Interest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{WAIT, conduit};
use crate::asynchronous::{Awaited, Bell, Lines, Way, when};
use crate::connection::Transport;
use crate::duplex::End;
use crate::values;
use crate::wait::Source;
use crate::{Connection, Receiver, RecvError, SendError, Sender};

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
        self.lines.forget([self.watch().fd]);
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
    /// As [`Connection::send`] in a task: waits while the pipe is full.
    ///
    /// Of a stream socket's message a part may have gone when the future is dropped; see
    /// [`BytesConnection::send_async`](crate::BytesConnection::send_async).
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_async(&self, value: &S) -> Result<(), SendError> {
        match &self.transport {
            Transport::Pipe(end) => send(end, value).await,
            Transport::Conduit(conduit) => conduit::send_value(conduit, value).await,
        }
    }
}

impl<S, R: DeserializeOwned + 'static> Connection<S, R> {
    /// As [`Connection::recv`] in a task: waits for a value.
    ///
    /// # Errors
    /// As [`Connection::recv`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{RecvError, pipe};
    ///
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(async {
    ///     let (ours, theirs) = pipe::<u32, String>()?;
    ///     let echo = async {
    ///         while let Ok(number) = theirs.recv_async().await {
    ///             theirs.send_async(&number.to_string()).await?;
    ///         }
    ///         Ok::<(), procession_ipc::SendError>(())
    ///     };
    ///     let ask = async {
    ///         ours.send_async(&7).await.unwrap();
    ///         assert_eq!(ours.recv_async().await.unwrap(), "7");
    ///         ours.close();
    ///     };
    ///     futures_lite::future::zip(ask, echo).await.1?;
    ///     assert!(matches!(theirs.recv_async().await, Err(RecvError::Disconnected)));
    ///     # Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn recv_async(&self) -> Result<R, RecvError> {
        match &self.transport {
            Transport::Pipe(end) => receive(end).await,
            Transport::Conduit(conduit) => conduit::receive_value(conduit).await,
        }
    }
}

impl<T: Serialize + 'static> Sender<T> {
    /// As [`Sender::send`] in a task: waits while the pipe is full.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_async(&self, value: &T) -> Result<(), SendError> {
        send(&self.end, value).await
    }
}

impl<T: DeserializeOwned + 'static> Receiver<T> {
    /// As [`Receiver::recv`] in a task: waits for a value.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        receive(&self.end).await
    }
}
