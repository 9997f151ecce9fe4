//! Connections between strangers, and of bytes: what tasks send and receive.
//!
//! Relies on `conduit.rs`, which is a stream or a pipe. A message that a stream takes in parts is gone on with by whoever
//! sends next, so a task that is dropped tears nothing.

use std::sync::Arc;

use procession_sys::{Deadline, Interest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::WAIT;
use crate::asynchronous::{Awaited, Bell, Lines, Way, when};
use crate::conduit::{Carrier, Conduit};
use crate::stream::Gone;
use crate::{BytesConnection, RecvError, SendError};

impl Awaited for Conduit {
    fn lines(&self) -> &Lines {
        match &self.carrier {
            Carrier::Stream(stream) => &stream.lines,
            Carrier::Pipe(end) => end.end().lines(),
        }
    }

    fn bell(&self, way: Way) -> Bell<'_> {
        match &self.carrier {
            Carrier::Stream(stream) => {
                let interest = if way == Way::In { Interest::Read } else { Interest::Write };
                Bell { position: 0, fd: stream.fd(), interest }
            }
            Carrier::Pipe(end) => end.end().bell(way),
        }
    }

    fn arm(&self, way: Way) -> bool {
        match &self.carrier {
            Carrier::Stream(stream) => stream.is_closed(),
            Carrier::Pipe(end) => Awaited::arm(end.end(), way),
        }
    }

    fn is_ready(&self, way: Way) -> bool {
        match &self.carrier {
            // The kernel itself rings for all else.
            Carrier::Stream(stream) => stream.is_closed(),
            Carrier::Pipe(end) => Awaited::is_ready(end.end(), way),
        }
    }

    fn settle(&self, way: Way) {
        if let Carrier::Pipe(end) = &self.carrier {
            Awaited::settle(end.end(), way);
        }
    }
}

impl Conduit {
    fn go_on(&self, number: u64) -> Result<bool, SendError> {
        match &self.carrier {
            Carrier::Stream(stream) => stream.go_on(number),
            Carrier::Pipe(_) => Ok(true),
        }
    }
}

/// Sends what `begin` begins to send.
async fn send(conduit: &Arc<Conduit>, begin: impl Fn() -> Result<Gone, SendError>) -> Result<(), SendError> {
    let mut begun = None;
    let sent = when(conduit, Way::Out, || {
        let number = match begun {
            Some(number) => number,
            None => match begin() {
                Ok(Gone::Whole) => return Some(Ok(())),
                Ok(Gone::Begun(number)) => number,
                Err(SendError::WouldBlock | SendError::Timeout | SendError::Busy) => return None,
                Err(error) => return Some(Err(error)),
            },
        };
        begun = Some(number);
        match conduit.go_on(number) {
            Ok(false) => None,
            done => Some(done.map(drop)),
        }
    });
    sent.await.unwrap_or_else(|error| Err(SendError::System { doing: WAIT, error }))
}

async fn receive<R>(conduit: &Arc<Conduit>, mut attempt: impl FnMut() -> Result<R, RecvError>) -> Result<R, RecvError> {
    let received = when(conduit, Way::In, || match attempt() {
        Err(RecvError::WouldBlock | RecvError::Timeout | RecvError::Busy) => None,
        done => Some(done),
    });
    received.await.unwrap_or_else(|error| Err(RecvError::System { doing: WAIT, error }))
}

pub(super) async fn send_value<T: Serialize + 'static>(conduit: &Arc<Conduit>, value: &T) -> Result<(), SendError> {
    send(conduit, || conduit.begin_value(value, Deadline::NOW)).await
}

pub(super) async fn receive_value<T: DeserializeOwned + 'static>(conduit: &Arc<Conduit>) -> Result<T, RecvError> {
    receive(conduit, || conduit.receive_value(Deadline::NOW)).await
}

impl BytesConnection {
    /// As [`BytesConnection::send`] in a task: waits while the peer's buffers are full.
    ///
    /// Of a stream socket's message a part may have gone when the future is dropped. The rest is kept then, and goes with the
    /// next message that this process sends; until then the peer waits for it.
    ///
    /// # Errors
    /// As [`BytesConnection::send`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::BytesConnection;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (ours, theirs) = (BytesConnection::from(ours), BytesConnection::from(theirs));
    /// futures_lite::future::block_on(async {
    ///     let large = vec![7; 10 << 20]; // More than a socket holds: both have to go on at once.
    ///     let (sent, received) = futures_lite::future::zip(ours.send_async(&large), theirs.recv_async()).await;
    ///     sent?;
    ///     assert_eq!(received?, large);
    ///     # Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_async(&self, message: &[u8]) -> Result<(), SendError> {
        send(&self.conduit, || self.conduit.begin(message)).await
    }

    /// As [`BytesConnection::recv`] in a task: waits for a message. What has come of one is kept for the next call.
    ///
    /// # Errors
    /// As [`BytesConnection::recv`].
    pub async fn recv_async(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_max_async(u64::MAX).await
    }

    /// As [`BytesConnection::recv_max`] in a task: waits for a message of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// As [`BytesConnection::recv_max`].
    pub async fn recv_max_async(&self, bytes_max: u64) -> Result<Vec<u8>, RecvError> {
        receive(&self.conduit, || self.conduit.receive(bytes_max, Deadline::NOW)).await
    }

    /// As [`BytesConnection::recv_into`] in a task: waits for a message, and tells its length.
    ///
    /// # Errors
    /// As [`BytesConnection::recv_into`].
    pub async fn recv_into_async(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        receive(&self.conduit, || self.conduit.receive_into(buffer, Deadline::NOW)).await
    }
}
