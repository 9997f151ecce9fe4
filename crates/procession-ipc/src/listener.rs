//! Listeners: where strangers connect.
//!
//! Relies on `listener/place.rs` for addresses and socket files, on `listener/gate.rs` for hand-shakes, and on
//! `connection.rs` and `bytes.rs` for what comes of them. No thread is started: whoever accepts drives all hand-shakes that
//! are under way.

mod gate;
mod place;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use procession_sys::{Deadline, StreamListener};
use procession_wire::Descriptor;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::conduit::Conduit;
use crate::handshake::{Agreed, AuthFailure};
use crate::listener::gate::{Gate, NoOutcome, Refusal};
use crate::listener::place::SocketFile;
use crate::settings::{self, Settings, Unready};
use crate::wait::{Source, Waitable, Watch};
use crate::{AcceptError, Address, BytesConnection, Connection, ListenError, ToAddress};

pub use crate::listener::gate::HANDSHAKES_MAX;

/// How many connections may wait to be accepted unless another number is set: as many as the kernel allows by default
/// (`/proc/sys/net/core/somaxconn`), which is also its limit for all.
pub const BACKLOG: u32 = 4096;

/// A place where other programs connect, by TCP or on this machine, and prove that they know the same key.
///
/// What is accepted is a [`Connection`] of values, or a [`BytesConnection`] of bytes. A client that is silent, slow or
/// hostile delays nobody: every `accept` goes on with all hand-shakes that are under way, at most [`HANDSHAKES_MAX`], and
/// each that fails, or takes longer than [`HANDSHAKE_TIMEOUT`](crate::HANDSHAKE_TIMEOUT), is an [`AcceptError::AuthFailed`]
/// of one `accept`; the listener goes on. A client that fails is told nothing.
///
/// Any number of threads may accept at once. No thread is started, so hand-shakes rest while nobody accepts or waits for
/// the listener ([`wait_ready`](crate::wait_ready) takes it). A process has three descriptors for a listener, and one for
/// each hand-shake that is under way.
///
/// # Crashes and fork
/// When the process dies, its clients' connections end; when its machine vanishes, they end after
/// [`TCP_SILENCE_MAX`](crate::TCP_SILENCE_MAX). A socket file is left behind then; the next listener at that path
/// takes it over. A listener may be an argument or a message, and a forked child has it, too: all who have it accept, each
/// connection is accepted by one of them, and the file goes with the one that made it. Hand-shakes are their process's own;
/// a child that was forked in the middle of some, and neither uses nor drops the listener, keeps their sockets open.
///
/// # Python
/// `multiprocessing.connection.Listener`, where a silent client blocks `accept` for ever.
///
/// Source: listen(2), unix(7), epoll(7).
///
/// # Examples
/// ```
/// use procession_ipc::{Client, Listener};
///
/// let listener = Listener::bind("127.0.0.1:0")?.authkey(b"secret");
/// let address = listener.address().clone(); // With the port that the system has chosen.
/// let client = std::thread::spawn(move || {
///     let connection = Client::connect::<u64, String>(address, b"secret").unwrap();
///     connection.send(&7).unwrap();
///     connection.recv().unwrap()
/// });
/// let connection = listener.accept::<String, u64>()?;
/// assert_eq!(connection.recv()?, 7);
/// connection.send(&"seven".to_owned())?;
/// assert_eq!(client.join().unwrap(), "seven");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener {
    settings: Settings,
    socket: StreamListener,
    address: Address,
    gates: Gates,
    file: Mutex<Option<SocketFile>>,
}

/// The gates of the process that made the listener, and of those that were forked from it.
#[derive(Default)]
struct Gates {
    first: OnceLock<Box<OwnGate>>,
}

struct OwnGate {
    owner: u32,
    gate: Gate,
    next: Gates,
}

impl Gates {
    /// This process's.
    fn own(&self, socket: &StreamListener) -> io::Result<&Gate> {
        let owner = procession_sys::pid();
        let mut gates = self;
        loop {
            match gates.first.get() {
                Some(own) if own.owner == owner => return Ok(&own.gate),
                Some(parents) => {
                    // Its copies would keep open what the parent closes.
                    parents.gate.abandon();
                    gates = &parents.next;
                }
                None => {
                    // Of two threads one loses its, and finds the other's.
                    let own = OwnGate { owner, gate: Gate::new(socket)?, next: Self::default() };
                    let _ = gates.first.set(Box::new(own));
                }
            }
        }
    }
}

impl Listener {
    /// Listens at an address: `host:port`, where port 0 has the system choose one, `/path`, or `@name`.
    ///
    /// A port can be taken again as soon as its last listener is gone. A socket file is taken over only when nobody is
    /// behind it. It is removed with the listener.
    ///
    /// # Errors
    /// [`ListenError::Address`] for a text that is no address; [`ListenError::System`] when the address is in use
    /// (`EADDRINUSE`) or cannot be had.
    ///
    /// # Python
    /// `Listener(address)`, which fails where a file of a dead listener is left.
    pub fn bind(address: impl ToAddress) -> Result<Self, ListenError> {
        let address = address.to_address()?;
        let bound = place::bind(&address, BACKLOG);
        Self::over(bound, || address.clone())
    }

    /// Listens at a Unix path of its own, in a new directory that other users cannot look into; [`Listener::address`] tells
    /// it.
    ///
    /// The directory is made in `XDG_RUNTIME_DIR`, or else in the directory for temporary files. It goes with the listener; what
    /// a killed process has left there is removed by whoever makes the next one.
    ///
    /// # Errors
    /// [`ListenError::System`].
    ///
    /// # Python
    /// `Listener()`.
    ///
    /// # Examples
    /// ```
    /// use procession_ipc::{Client, Listener};
    ///
    /// let listener = Listener::temporary()?;
    /// let address = listener.address().clone();
    /// let client = std::thread::spawn(move || {
    ///     Client::builder(address).unwrap().connect::<(), u8>().unwrap().recv().unwrap()
    /// });
    /// listener.accept::<u8, ()>()?.send(&5)?;
    /// assert_eq!(client.join().unwrap(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn temporary() -> Result<Self, ListenError> {
        let nowhere = || "./socket".parse().unwrap_or_else(|_| unreachable!("a path is an address"));
        Self::over(place::bind_private(BACKLOG), nowhere)
    }

    fn over(
        bound: io::Result<(StreamListener, Option<SocketFile>)>,
        asked: impl Fn() -> Address,
    ) -> Result<Self, ListenError> {
        let failed = |error| ListenError::System { address: asked(), error };
        let (socket, file) = bound.map_err(failed)?;
        // A port that was 0 is known now.
        let address = socket.address().map_err(failed)?;
        let address = Address::of(address).unwrap_or_else(&asked);
        let file = Mutex::new(file);
        Ok(Self { settings: Settings::default(), socket, address, gates: Gates::default(), file })
    }

    /// How many connections may wait to be accepted, [`BACKLOG`] otherwise; more than the system allows are cut to that.
    ///
    /// # Errors
    /// [`ListenError::System`].
    ///
    /// # Python
    /// `backlog=`, 1 by default.
    pub fn backlog(self, connections: u32) -> Result<Self, ListenError> {
        match self.socket.set_backlog(connections) {
            Ok(()) => Ok(self),
            Err(error) => Err(ListenError::System { address: self.address, error }),
        }
    }

    settings::verbs!();

    /// Where it listens. Of a TCP address, in numbers, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts a connection that sends `S` and receives `R`. Waits for it.
    ///
    /// The client connects with the types the other way round. Nothing compares them: a message of another type is an error
    /// when it is received, or is read as something else.
    ///
    /// # Errors
    /// [`AcceptError::AuthFailed`] for a client that did not prove its key, was late or is none of ours: call again, the
    /// listener goes on. [`AcceptError::KeyMissing`] at a TCP address without a key; [`AcceptError::Closed`];
    /// [`AcceptError::System`], such as when no descriptor is left (`EMFILE`): who waits goes on to wait, and the listener
    /// takes nobody in for the next 100 ms.
    ///
    /// # Python
    /// `Listener.accept`.
    pub fn accept<S, R>(&self) -> Result<Connection<S, R>, AcceptError> {
        self.accept_until(Deadline::NEVER)
    }

    /// As [`Listener::accept`], if one is ready: has connected, and proves its key without a wait.
    ///
    /// # Errors
    /// [`AcceptError::WouldBlock`]. Otherwise as [`Listener::accept`].
    pub fn try_accept<S, R>(&self) -> Result<Connection<S, R>, AcceptError> {
        self.accept_until(Deadline::NOW).map_err(at_once)
    }

    /// As [`Listener::accept`], for so long at most.
    ///
    /// # Errors
    /// [`AcceptError::Timeout`]. Otherwise as [`Listener::accept`].
    pub fn accept_timeout<S, R>(&self, timeout: Duration) -> Result<Connection<S, R>, AcceptError> {
        self.accept_until(Deadline::after(timeout))
    }

    /// Accepts a connection for messages of bytes. Waits for it.
    ///
    /// # Errors
    /// As [`Listener::accept`].
    ///
    /// # Python
    /// `Listener.accept`, for `send_bytes` and `recv_bytes`. CPython's own clients are accepted after
    /// [`Listener::allow_cpython`].
    pub fn accept_bytes(&self) -> Result<BytesConnection, AcceptError> {
        self.accept_bytes_until(Deadline::NEVER)
    }

    /// As [`Listener::accept_bytes`], if one is ready.
    ///
    /// # Errors
    /// As [`Listener::try_accept`].
    pub fn try_accept_bytes(&self) -> Result<BytesConnection, AcceptError> {
        self.accept_bytes_until(Deadline::NOW).map_err(at_once)
    }

    /// As [`Listener::accept_bytes`], for so long at most.
    ///
    /// # Errors
    /// As [`Listener::accept_timeout`].
    pub fn accept_bytes_timeout(&self, timeout: Duration) -> Result<BytesConnection, AcceptError> {
        self.accept_bytes_until(Deadline::after(timeout))
    }

    /// Closes the listener in this process: what waits to be accepted is refused, calls in which other threads wait end
    /// with `Closed`, and the socket file is removed. Closing it again does nothing; dropping it closes it, too.
    ///
    /// # Python
    /// `Listener.close`.
    pub fn close(&self) {
        if let Ok(gate) = self.gates.own(&self.socket)
            && gate.close()
        {
            // Without a descriptor to put in its place it is closed with the listener.
            let _ = self.socket.close();
            self.file.lock().take();
        }
    }

    fn accept_until<S, R>(&self, deadline: Deadline) -> Result<Connection<S, R>, AcceptError> {
        self.next(deadline, |agreed| match agreed {
            Agreed::Cpython => Err(AuthFailure::CpythonUntyped),
            Agreed::Ours { values: false, .. } => Err(AuthFailure::BytesOnly),
            Agreed::Ours { .. } => Ok(()),
        })
        .map(Connection::over)
    }

    fn accept_bytes_until(&self, deadline: Deadline) -> Result<BytesConnection, AcceptError> {
        self.next(deadline, |agreed| match agreed {
            Agreed::Ours { values: true, .. } => Err(AuthFailure::ValuesOnly),
            _ => Ok(()),
        })
        .map(BytesConnection::over)
    }

    /// The next connection, if it is of the right kind.
    fn next(
        &self,
        deadline: Deadline,
        check: impl FnOnce(Agreed) -> Result<(), AuthFailure>,
    ) -> Result<Conduit, AcceptError> {
        self.settings.check(&self.address).map_err(|unready| self.unready(unready))?;
        let gate = self.gates.own(&self.socket).map_err(|error| AcceptError::System { doing: "prepare", error })?;
        match gate.next(&self.socket, &self.settings, deadline) {
            Ok(Ok((attempt, agreed))) => match check(agreed) {
                Ok(()) => Ok(attempt.into_conduit(&self.settings)),
                Err(reason) => Err(AcceptError::AuthFailed { peer: attempt.peer, reason }),
            },
            Ok(Err(Refusal::Failed(peer, reason))) => Err(AcceptError::AuthFailed { peer, reason }),
            Ok(Err(Refusal::System(doing, error))) => Err(AcceptError::System { doing, error }),
            Err(NoOutcome::Timeout) => Err(AcceptError::Timeout),
            Err(NoOutcome::Closed) => Err(AcceptError::Closed),
        }
    }

    fn unready(&self, unready: Unready) -> AcceptError {
        match unready {
            Unready::KeyMissing => AcceptError::KeyMissing { address: self.address.clone() },
            Unready::Key(error) => AcceptError::Key(error),
        }
    }
}

fn at_once(error: AcceptError) -> AcceptError {
    match error {
        AcceptError::Timeout => AcceptError::WouldBlock,
        other => other,
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// For arguments and messages: the receiver accepts at the same address, beside this process. Keys are not sent: if this
/// listener has one, the receiver's accepts nobody before it is given one by [`Listener::authkey`]. The socket file goes with
/// the listener that made it. An error after [`Listener::close`].
impl Serialize for Listener {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = || self.gates.own(&self.socket).map_err(ser::Error::custom);
        if own()?.is_closed() {
            return Err(ser::Error::custom("the listener was closed in this process: send it on before `close`"));
        }
        let socket = self.socket.as_fd().try_clone_to_owned().map_err(ser::Error::custom)?;
        (Descriptor::from(socket), &self.address, &self.settings).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (socket, address, settings) = <(Descriptor, Address, Settings)>::deserialize(deserializer)?;
        let socket = socket.into_owned().and_then(StreamListener::try_from).map_err(de::Error::custom)?;
        Ok(Self { settings, socket, address, gates: Gates::default(), file: Mutex::default() })
    }
}

/// Ready when the next `accept` does not wait: a connection is there, or a hand-shake has failed.
impl Waitable for Listener {
    fn watch(&self) -> Watch<'_> {
        match self.gates.own(&self.socket) {
            Ok(gate) => Watch { fd: gate.set().as_fd(), source: Some(self) },
            // Then every connection that comes is worth a look, which says what is wrong.
            Err(_) => Watch { fd: self.socket.as_fd(), source: None },
        }
    }
}

impl Source for Listener {
    fn is_ready(&self) -> bool {
        self.gates.own(&self.socket).map_or(true, Gate::is_ready)
    }

    fn arm(&self) {}

    fn settle(&self) -> io::Result<bool> {
        self.gates.own(&self.socket)?.settle(&self.socket, &self.settings);
        Ok(self.is_ready())
    }
}
