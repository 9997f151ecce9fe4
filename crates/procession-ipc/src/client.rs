//! Clients: the end that connects.
//!
//! Relies on `attempt.rs` for the hand-shake, for whose steps this waits.

use std::fmt;
use std::io;
use std::time::Duration;

use procession_sys::{Deadline, SocketAddress, StreamSocket, poll_one};

use crate::attempt::{Attempt, Progress, Role};
use crate::conduit::Conduit;
use crate::handshake::{Agreed, AuthFailure};
use crate::peer::Peer;
use crate::settings::{self, Settings, Unready};
use crate::{Address, BytesConnection, ConnectError, Connection, ToAddress};

/// How long finding the listener may take unless another time is set: the time after which a TCP connection to a host that
/// does not answer is given up here.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects to a [`Listener`](crate::Listener).
///
/// # Python
/// `multiprocessing.connection.Client`.
///
/// # Examples
/// ```
/// use procession_ipc::{Client, ConnectError, Listener};
///
/// let listener = Listener::bind("127.0.0.1:0")?.authkey(b"secret");
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || {
///     let wrong = Client::connect_bytes(&address, b"guess");
///     assert!(matches!(wrong, Err(ConnectError::AuthFailed { .. })));
///     Client::connect_bytes(&address, b"secret")?.recv().map_err(Box::<dyn std::error::Error + Send + Sync>::from)
/// });
/// assert!(listener.accept_bytes().is_err()); // Who that was stands in the error.
/// listener.accept_bytes()?.send(b"welcome")?;
/// assert_eq!(client.join().unwrap().unwrap(), b"welcome");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Client;

/// What a client asks of its listener; made by [`Client::builder`].
#[derive(Clone)]
pub struct ClientBuilder {
    pub(crate) settings: Settings,
    pub(crate) address: Address,
    pub(crate) timeout: Duration,
}

impl Client {
    /// Connects to a listener that knows the same key. The connection sends `S` and receives `R`; the listener accepts it the
    /// other way round.
    ///
    /// # Errors
    /// [`ConnectError::AuthFailed`] when the listener does not prove that it knows the key, is late, or closes the
    /// connection, as it does when our proof is wrong; [`ConnectError::System`] when nobody listens there, and what else the
    /// system says; [`ConnectError::Timeout`]; [`ConnectError::Address`] for what is no address; and for an empty key
    /// with a TCP address [`ConnectError::KeyMissing`].
    pub fn connect<S, R>(address: impl ToAddress, authkey: impl AsRef<[u8]>) -> Result<Connection<S, R>, ConnectError> {
        Self::builder(address)?.authkey(authkey).connect()
    }

    /// As [`Client::connect`], for messages of bytes.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_bytes(address: impl ToAddress, authkey: impl AsRef<[u8]>) -> Result<BytesConnection, ConnectError> {
        Self::builder(address)?.authkey(authkey).connect_bytes()
    }

    /// A connection with settings of its own.
    ///
    /// # Errors
    /// [`ConnectError::Address`] for what is no address.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{Client, ConnectError};
    /// use std::time::Duration;
    ///
    /// let client = Client::builder("@nobody-is-here")?.timeout(Duration::from_millis(100)).message_bytes_max(1 << 20);
    /// assert!(matches!(client.connect_bytes(), Err(ConnectError::System { .. })));
    /// # Ok::<(), ConnectError>(())
    /// ```
    pub fn builder(address: impl ToAddress) -> Result<ClientBuilder, ConnectError> {
        Ok(ClientBuilder { settings: Settings::default(), address: address.to_address()?, timeout: CONNECT_TIMEOUT })
    }
}

impl ClientBuilder {
    settings::verbs!();

    /// How long finding the listener may take, [`CONNECT_TIMEOUT`] otherwise; the hand-shake has a time of its own. Looking
    /// up a host's name is the system's business, and takes the time that it takes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects, to send `S` and receive `R`.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect<S, R>(&self) -> Result<Connection<S, R>, ConnectError> {
        self.shake_hands(true).and_then(|agreed| self.of_values(agreed))
    }

    /// Connects, for messages of bytes.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_bytes(&self) -> Result<BytesConnection, ConnectError> {
        self.shake_hands(false).map(|(conduit, _)| BytesConnection::over(conduit))
    }

    fn shake_hands(&self, values: bool) -> Result<(Conduit, Agreed), ConnectError> {
        self.check()?;
        let (socket, address) = self.find()?;
        let mut attempt = self.begin(socket, address, values)?;
        let deadline = attempt.deadline;
        loop {
            let interest = match attempt.advance() {
                Ok(Progress::Over(agreed)) => return Ok((attempt.into_conduit(&self.settings), agreed)),
                Ok(Progress::Needs(interest)) => interest,
                Err(failure) => return Err(self.auth_failed(failure)),
            };
            match poll_one(attempt.socket_fd(), interest, deadline) {
                Ok(true) => {}
                Ok(false) => return Err(self.auth_failed(AuthFailure::Timeout)),
                Err(error) => return Err(self.system("wait for the listener", error)),
            }
        }
    }

    /// Whether there is what is needed.
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        self.settings.check(&self.address).map_err(|unready| match unready {
            Unready::KeyMissing => ConnectError::KeyMissing { address: self.address.clone() },
            Unready::Key(error) => ConnectError::Key(error),
        })
    }

    /// A hand-shake that nothing has been said in.
    pub(crate) fn begin(
        &self,
        socket: StreamSocket,
        address: SocketAddress,
        values: bool,
    ) -> Result<Attempt, ConnectError> {
        let peer = Peer::of(&socket, address);
        self.settings.check_user(&peer).map_err(|failure| self.auth_failed(failure))?;
        let deadline = Deadline::after(self.settings.timeout);
        Attempt::new(Role::Dialing { values }, socket, peer, &self.settings, deadline)
            .map_err(|error| self.system("begin a hand-shake", error))
    }

    /// A connection of values, if that was agreed.
    pub(crate) fn of_values<S, R>(&self, agreed: (Conduit, Agreed)) -> Result<Connection<S, R>, ConnectError> {
        match agreed {
            (_, Agreed::Cpython) => Err(self.auth_failed(AuthFailure::CpythonUntyped)),
            (conduit, Agreed::Ours { .. }) => Ok(Connection::over(conduit)),
        }
    }

    /// A socket that is connected to the first of the addresses at which somebody listens.
    fn find(&self) -> Result<(StreamSocket, SocketAddress), ConnectError> {
        let deadline = Deadline::after(self.timeout);
        let addresses = self.address.resolve().map_err(|error| self.system("look up the host", error))?;
        let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            match StreamSocket::connect(&address, deadline) {
                Ok(socket) => return Ok((socket, address)),
                Err(error) => refused = error,
            }
        }
        Err(self.refused(refused))
    }

    /// What the last of the addresses said.
    #[cold]
    pub(crate) fn refused(&self, refused: io::Error) -> ConnectError {
        match refused.kind() {
            io::ErrorKind::TimedOut => ConnectError::Timeout { address: self.address.clone() },
            _ => self.system("connect", refused),
        }
    }

    #[cold]
    pub(crate) fn auth_failed(&self, reason: AuthFailure) -> ConnectError {
        ConnectError::AuthFailed { address: self.address.clone(), reason }
    }

    #[cold]
    pub(crate) fn system(&self, doing: &'static str, error: io::Error) -> ConnectError {
        ConnectError::System { address: self.address.clone(), doing, error }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("address", &self.address)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
