//! Listeners and clients: how tasks come to connections.
//!
//! Relies on `listener.rs` and `client.rs`, of which every step can be made without waiting, and on `wait.rs` for the wait.

use std::io;

use procession_sys::{Connecting, Deadline, Interest, SocketAddress, StreamSocket};

use super::WAIT;
use crate::asynchronous::wait::{wait_ready_async, when_ready};
use crate::attempt::Progress;
use crate::conduit::Conduit;
use crate::handshake::{Agreed, AuthFailure};
use crate::{
    AcceptError, BytesConnection, Client, ClientBuilder, ConnectError, Connection, Listener, ToAddress, WaitError,
};

impl Listener {
    /// As [`Listener::accept`] in a task: waits for a connection. Hand-shakes go on while a task waits here.
    ///
    /// # Errors
    /// As [`Listener::accept`].
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{Client, Listener};
    ///
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(async {
    ///     let listener = Listener::bind("127.0.0.1:0")?.authkey(b"secret");
    ///     let address = listener.address().clone();
    ///     let client = tokio::spawn(async {
    ///         let connection = Client::connect_async::<u64, String>(address, b"secret").await.unwrap();
    ///         connection.send_async(&7).await.unwrap();
    ///         connection.recv_async().await.unwrap()
    ///     });
    ///     let connection = listener.accept_async::<String, u64>().await?;
    ///     let number = connection.recv_async().await?;
    ///     connection.send_async(&number.to_string()).await?;
    ///     assert_eq!(client.await?, "7");
    ///     # Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn accept_async<S, R>(&self) -> Result<Connection<S, R>, AcceptError> {
        loop {
            match self.try_accept() {
                Err(AcceptError::WouldBlock) => self.wait_async().await?,
                done => return done,
            }
        }
    }

    /// As [`Listener::accept_bytes`] in a task: waits for a connection.
    ///
    /// # Errors
    /// As [`Listener::accept_bytes`].
    pub async fn accept_bytes_async(&self) -> Result<BytesConnection, AcceptError> {
        loop {
            match self.try_accept_bytes() {
                Err(AcceptError::WouldBlock) => self.wait_async().await?,
                done => return done,
            }
        }
    }

    async fn wait_async(&self) -> Result<(), AcceptError> {
        match wait_ready_async([self as _]).await {
            Ok(_) => Ok(()),
            Err(WaitError::System { error, .. } | WaitError::Thing { error, .. }) => {
                Err(AcceptError::System { doing: WAIT, error })
            }
            Err(error) => Err(AcceptError::System { doing: WAIT, error: io::Error::other(error) }),
        }
    }
}

impl Client {
    /// As [`Client::connect`] in a task.
    ///
    /// Only looking up a host's name is done on the thread: give a number if that may take long.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_async<S, R>(
        address: impl ToAddress,
        authkey: impl AsRef<[u8]>,
    ) -> Result<Connection<S, R>, ConnectError> {
        let client = Self::builder(address)?.authkey(authkey);
        client.connect_async().await
    }

    /// As [`Client::connect_bytes`] in a task; see [`Client::connect_async`].
    ///
    /// # Errors
    /// As [`Client::connect_bytes`].
    pub async fn connect_bytes_async(
        address: impl ToAddress,
        authkey: impl AsRef<[u8]>,
    ) -> Result<BytesConnection, ConnectError> {
        let client = Self::builder(address)?.authkey(authkey);
        client.connect_bytes_async().await
    }
}

impl ClientBuilder {
    /// As [`ClientBuilder::connect`] in a task; see [`Client::connect_async`].
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect_async<S, R>(&self) -> Result<Connection<S, R>, ConnectError> {
        self.shake_hands_async(true).await.and_then(|agreed| self.of_values(agreed))
    }

    /// As [`ClientBuilder::connect_bytes`] in a task; see [`Client::connect_async`].
    ///
    /// # Errors
    /// As [`ClientBuilder::connect_bytes`].
    pub async fn connect_bytes_async(&self) -> Result<BytesConnection, ConnectError> {
        self.shake_hands_async(false).await.map(|(conduit, _)| BytesConnection::over(conduit))
    }

    async fn shake_hands_async(&self, values: bool) -> Result<(Conduit, Agreed), ConnectError> {
        self.check()?;
        let (socket, address) = self.find_async().await?;
        let mut attempt = self.begin(socket, address, values)?;
        let outcome = when_ready(&mut attempt, |attempt| match attempt.advance() {
            Ok(Progress::Needs(_)) if attempt.deadline.has_passed() => Ok(Err(AuthFailure::Timeout)),
            Ok(Progress::Needs(interest)) => Err(interest),
            Ok(Progress::Over(agreed)) => Ok(Ok(agreed)),
            Err(failure) => Ok(Err(failure)),
        });
        let agreed = outcome.await.map_err(|error| self.system(WAIT, error))?;
        let agreed = agreed.map_err(|failure| self.auth_failed(failure))?;
        Ok((attempt.into_conduit(&self.settings), agreed))
    }

    /// As `find`.
    async fn find_async(&self) -> Result<(StreamSocket, SocketAddress), ConnectError> {
        let deadline = Deadline::after(self.timeout);
        let addresses = self.address.resolve().map_err(|error| self.system("look up the host", error))?;
        let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            match connect(&address, deadline).await {
                Ok(socket) => return Ok((socket, address)),
                Err(error) => refused = error,
            }
        }
        Err(self.refused(refused))
    }
}

async fn connect(address: &SocketAddress, deadline: Deadline) -> io::Result<StreamSocket> {
    let mut connecting = Connecting::to(address)?;
    let connected = when_ready(&mut connecting, |connecting| match connecting.advance() {
        Ok(false) if deadline.has_passed() => Ok(Err(io::ErrorKind::TimedOut.into())),
        Ok(false) => Err(Interest::Write),
        Ok(true) => Ok(Ok(())),
        Err(error) => Ok(Err(error)),
    });
    connected.await??;
    connecting.finish()
}
