//! A hundred clients that do not want to shake hands: they delay nobody, and each is told of. Listeners like that, too.
//!
//! Relies on the test kit. The hostile ends are bare sockets; those that are slow have a thread, whose pace a channel keeps.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use procession_ipc::{AcceptError, Address, AuthFailure, Client, ConnectError, HANDSHAKE_FRAME_MAX, Listener, Peer};
use procession_testkit::{open_descriptors, unique_name};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        a_hundred_hostile_clients_delay_nobody,
        whoever_fails_is_told_nothing,
        those_of_a_unix_socket_are_told_of_by_their_process,
        a_dropped_listener_lets_everybody_go,
        a_client_gives_hostile_listeners_up,
    ];
}

const KEY: &[u8] = b"secret";

/// A client is connected within 100 ms, whatever others do. A machine that is busy has ten times that.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// The time for a hand-shake here: the slow ones would need 81 seconds.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The same for those that come to their end by it.
const LATE_MAX: Duration = Duration::from_secs(10);

const PACE: Duration = Duration::from_secs(1);

/// How many there are of each kind.
const EACH: usize = 20;

/// Clients that are not hostile, while all of these are.
const HONEST: u32 = 20;

/// The frame of a challenge: its header, `#CHALLENGE#`, `{sha256}` and forty bytes.
const CHALLENGE_BYTES: usize = 4 + 11 + 8 + 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Silent,
    Slow,
    Garbage,
    Oversized,
    Disconnecting,
}

const KINDS: [Kind; 5] = [Kind::Silent, Kind::Slow, Kind::Garbage, Kind::Oversized, Kind::Disconnecting];

impl Kind {
    /// What it says at once, to a listener or a client. The slow one goes on with its frame's first byte for ever.
    fn says(self) -> Vec<u8> {
        match self {
            Self::Silent | Self::Disconnecting => Vec::new(),
            Self::Slow => vec![0, 0, 0, 77],
            Self::Garbage => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            Self::Oversized => {
                let header = (HANDSHAKE_FRAME_MAX as u32 + 1).to_be_bytes();
                [&header[..], &[b'#'; HANDSHAKE_FRAME_MAX + 1]].concat()
            }
        }
    }

    fn is_told_as(self, reason: AuthFailure) -> bool {
        match self {
            Self::Silent | Self::Slow => reason == AuthFailure::Timeout,
            Self::Garbage | Self::Oversized => matches!(reason, AuthFailure::Malformed(_)),
            Self::Disconnecting => reason == AuthFailure::Disconnected,
        }
    }
}

/// Writes a byte into each socket of each second, until it is dropped.
struct Dripping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Dripping {
    fn into(sockets: Vec<TcpStream>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                // Those that were refused are told so by an error, which does not keep them from going on.
                sockets.iter().for_each(|mut socket| drop(socket.write(b"#")));
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Dripping {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    }
}

/// The hostile clients of one listener.
struct Hostile {
    kinds: HashMap<String, Kind>,
    sockets: Vec<TcpStream>,
    _slow: Dripping,
}

impl Hostile {
    fn connect(address: &Address) -> Self {
        let (mut kinds, mut sockets, mut slow) = (HashMap::new(), Vec::new(), Vec::new());
        for kind in KINDS.repeat(EACH) {
            let mut socket = TcpStream::connect(address.to_string()).unwrap();
            let before = kinds.insert(socket.local_addr().unwrap().to_string(), kind);
            assert_eq!(before, None, "an address is one client's");
            socket.write_all(&kind.says()).unwrap();
            match kind {
                Kind::Slow => slow.push(socket),
                Kind::Disconnecting => drop(socket),
                _ => sockets.push(socket),
            }
        }
        Self { kinds, sockets, _slow: Dripping::into(slow) }
    }

    /// Notes that this one was told of.
    fn told(&mut self, peer: &Peer, reason: AuthFailure) {
        let kind = self.kinds.remove(&peer.to_string()).unwrap_or_else(|| panic!("{peer} is told of twice or is none"));
        assert!(kind.is_told_as(reason), "{kind:?}: {reason}");
    }
}

/// How long each of some clients took to have an answer.
fn honest(address: &Address) -> JoinHandle<Vec<Duration>> {
    let address = address.clone();
    let delay = move |number: u32| {
        let began = Instant::now();
        let connection = Client::connect::<u32, u32>(&address, KEY).unwrap();
        connection.send(&number).unwrap();
        assert_eq!(connection.recv().unwrap(), number + 1);
        began.elapsed()
    };
    thread::spawn(move || (0..HONEST).map(delay).collect())
}

fn a_hundred_hostile_clients_delay_nobody() {
    let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(KEY).handshake_timeout(TIMEOUT);
    // What the first accept opens is open before.
    assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)));
    let open = open_descriptors().len();
    let mut hostile = Hostile::connect(listener.address());
    let began = Instant::now();
    let clients = honest(listener.address());
    let mut accepted = 0;
    while accepted < HONEST || !hostile.kinds.is_empty() {
        match listener.accept::<u32, u32>() {
            Ok(connection) => {
                connection.send(&(connection.recv().unwrap() + 1)).unwrap();
                accepted += 1;
            }
            Err(AcceptError::AuthFailed { peer, reason }) => hostile.told(&peer, reason),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(began.elapsed() > TIMEOUT / 2 && began.elapsed() < LATE_MAX, "{:?}", began.elapsed());
    let mut delays = clients.join().unwrap();
    delays.sort_unstable();
    // A client that says nothing would cost all of its time.
    assert!(delays[delays.len() / 2] < DELAY_MAX && delays[delays.len() - 1] < TIMEOUT, "{delays:?}");

    assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)), "each was told of once");
    drop(hostile);
    assert_eq!(open_descriptors().len(), open, "nothing is left of any of them");
    let clients = honest(listener.address());
    for _ in 0..HONEST {
        let connection = listener.accept::<u32, u32>().unwrap();
        connection.send(&(connection.recv().unwrap() + 1)).unwrap();
    }
    clients.join().unwrap();
}

fn whoever_fails_is_told_nothing() {
    let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(KEY).handshake_timeout(TIMEOUT / 10);
    let mut hostile = Hostile::connect(listener.address());
    while !hostile.kinds.is_empty() {
        match listener.accept_bytes() {
            Err(AcceptError::AuthFailed { peer, reason }) => hostile.told(&peer, reason),
            other => panic!("{other:?}"),
        }
    }
    for socket in &mut hostile.sockets {
        let mut heard = Vec::new();
        // A socket that is closed before all was read resets the connection.
        let _ = socket.read_to_end(&mut heard);
        assert!(heard.len() <= CHALLENGE_BYTES, "{heard:?}");
    }
}

fn those_of_a_unix_socket_are_told_of_by_their_process() {
    let name = unique_name();
    let listener = Listener::bind(format!("@{name}")).unwrap().authkey(KEY).handshake_timeout(TIMEOUT / 10);
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let mut sockets = Vec::new();
    for kind in KINDS {
        let mut socket = UnixStream::connect_addr(&address).unwrap();
        socket.write_all(&kind.says()).unwrap();
        if kind != Kind::Disconnecting {
            sockets.push(socket);
        }
    }
    for _ in KINDS {
        match listener.accept_bytes() {
            Err(error @ AcceptError::AuthFailed { .. }) => {
                let process = format!("process {}", std::process::id());
                assert!(error.to_string().contains(&process), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn a_dropped_listener_lets_everybody_go() {
    let open = open_descriptors().len();
    let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(KEY);
    let mut hostile = Hostile::connect(listener.address());
    // Until all are in the middle of their hand-shakes.
    let quick = hostile.kinds.values().filter(|kind| !matches!(kind, Kind::Silent | Kind::Slow)).count();
    for _ in 0..quick {
        match listener.accept_bytes() {
            Err(AcceptError::AuthFailed { peer, reason }) => hostile.told(&peer, reason),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)));
    drop(listener);
    for socket in &mut hostile.sockets {
        let _ = socket.read_to_end(&mut Vec::new());
    }
    drop(hostile);
    assert_eq!(open_descriptors().len(), open);
}

fn a_client_gives_hostile_listeners_up() {
    let open = open_descriptors().len();
    for kind in KINDS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = thread::spawn(move || {
            let began = Instant::now();
            let client = Client::builder(address).unwrap().authkey(KEY).handshake_timeout(TIMEOUT);
            (client.connect_bytes(), began.elapsed())
        });
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(&kind.says()).unwrap();
        let slow = (kind == Kind::Slow).then(|| Dripping::into(vec![socket.try_clone().unwrap()]));
        let socket = (kind != Kind::Disconnecting).then_some(socket);
        let (refused, took) = client.join().unwrap();
        match refused {
            Err(ConnectError::AuthFailed { reason, .. }) => assert!(kind.is_told_as(reason), "{kind:?}: {reason}"),
            other => panic!("{kind:?}: {other:?}"),
        }
        assert!(took < LATE_MAX, "{kind:?}: {took:?}");
        drop((socket, slow));
    }
    assert_eq!(open_descriptors().len(), open);
}
