//! Listeners and clients with CPython's `multiprocessing.connection` at the other end, in every version that is found.
//!
//! Relies on the test kit, and on `python3`, with `python3.8` to `python3.13` beside it where they are. The state machine's
//! own tests have the same by tables, so nothing hangs on which versions there are.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use procession_ipc::{AcceptError, AuthFailure, BytesConnection, Client, ClientBuilder, ConnectError, Listener};
use procession_testkit::unique_name;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        clients_of_each_version_exchange_messages within 120,
        listeners_of_each_version_exchange_messages within 120,
        without_keys_there_is_no_hand_shake within 120,
        a_client_with_another_key_is_refused_and_told_nothing within 120,
        a_listener_with_another_key_is_refused within 120,
        cpython_is_refused_unless_it_is_allowed within 120,
        md5_is_refused_unless_it_is_allowed_too within 120,
        what_is_typed_is_not_for_cpython within 120,
    ];
}

const KEY: &[u8] = b"secret";

/// A refusal takes a tenth of that at most, most of it for Python to begin.
const SOON: Duration = Duration::from_secs(10);

/// Sizes around that at which CPython writes header and message apart.
const SIZES: [usize; 5] = [0, 1, 16_384, 16_385, 1 << 20];

/// The last version that proves its key with MD5.
const LAST_LEGACY: (u32, u32) = (3, 11);

/// Connects or listens, tells where, and sends back what it receives, the other way round. Leaves with 3 when it is refused.
const ECHO: &str = r"
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener

role, address, key = sys.argv[1:]
key = None if key == 'none' else key[1:].encode()
if address[0] == '@':
    place = '\0' + address[1:]
elif address[0] == '/':
    place = address
else:
    host, port = address.split(':')
    place = host, int(port)

try:
    if role == 'client':
        connection = Client(place, authkey=key)
    else:
        listener = Listener(place, authkey=key)
        port = listener.address
        print('%s:%d' % port if isinstance(port, tuple) else address, flush=True)
        connection = listener.accept()
except (AuthenticationError, EOFError, OSError) as error:
    print(type(error).__name__, flush=True)
    sys.exit(3)

while True:
    try:
        message = connection.recv_bytes()
    except (EOFError, ConnectionResetError):
        break
    connection.send_bytes(message[::-1])
";

/// A Python, by the path of its executable, and its version.
struct Python {
    executable: String,
    version: (u32, u32),
}

/// The Python of that name, if there is one: a name may be there and lead nowhere, as those of version managers do. Those
/// take their time, too, so a name is asked once for what is behind it.
fn find(name: &str) -> Option<Python> {
    let print = "import sys; print(*sys.version_info[:2], sys.executable)";
    let output = Command::new(name).args(["-c", print]).output().ok()?;
    let text = String::from_utf8(output.stdout).expect("text");
    let mut words = text.trim_end().splitn(3, ' ');
    let (major, minor, executable) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    Some(Python { executable: executable.to_owned(), version: (major, minor) })
}

/// The usual one.
fn python() -> Python {
    find("python3").expect("python3")
}

/// Every version that is found under one of its usual names.
fn pythons() -> Vec<Python> {
    let mut found = vec![python()];
    for name in (8..=13).map(|minor| format!("python3.{minor}")) {
        found.extend(find(&name).filter(|python| found.iter().all(|other| other.version != python.version)));
    }
    found
}

impl Python {
    fn is_legacy(&self) -> bool {
        self.version <= LAST_LEGACY
    }

    fn start(&self, role: &str, address: &str, key: Option<&[u8]>) -> Running {
        let key = key.map_or("none".to_owned(), |key| format!("={}", str::from_utf8(key).expect("text")));
        let command = &mut Command::new(&self.executable);
        let child = command.args(["-c", ECHO, role, address, &key]).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("python");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, output }
    }
}

/// A Python that runs the script.
struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// What it says next.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Its exit code, and what else it said.
    fn end(mut self) -> (i32, String) {
        let said = self.line();
        (self.child.wait().expect("it ends").code().expect("a code"), said)
    }
}

fn listener(address: &str) -> Listener {
    Listener::bind(address).unwrap().authkey(KEY).allow_cpython()
}

fn client(address: &str) -> ClientBuilder {
    Client::builder(address).unwrap().authkey(KEY).allow_cpython()
}

/// A place of each kind.
fn places() -> [String; 3] {
    let name = unique_name();
    let directory = std::env::temp_dir();
    ["127.0.0.1:0".to_owned(), format!("{}/{name}", directory.display()), format!("@{name}")]
}

/// Bytes of which few are what their neighbors are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

fn exchange(connection: &BytesConnection) {
    for size in SIZES {
        let mut message = pattern(size);
        connection.send(&message).unwrap();
        message.reverse();
        assert!(connection.recv().unwrap() == message, "{size} bytes");
    }
}

fn clients_of_each_version_exchange_messages() {
    for python in pythons() {
        for place in places() {
            let mut listener = listener(&place);
            if python.is_legacy() {
                listener = listener.allow_legacy_md5();
            }
            let running = python.start("client", &listener.address().to_string(), Some(KEY));
            let connection = listener.accept_bytes().unwrap_or_else(|error| panic!("{:?}: {error}", python.version));
            exchange(&connection);
            drop(connection);
            assert_eq!(running.end(), (0, String::new()), "{:?} at {place}", python.version);
        }
    }
}

fn listeners_of_each_version_exchange_messages() {
    for python in pythons() {
        for place in places() {
            let mut running = python.start("listener", &place, Some(KEY));
            let mut client = client(&running.line());
            if python.is_legacy() {
                client = client.allow_legacy_md5();
            }
            let connection = client.connect_bytes().unwrap_or_else(|error| panic!("{:?}: {error}", python.version));
            exchange(&connection);
            drop(connection);
            assert_eq!(running.end(), (0, String::new()), "{:?} at {place}", python.version);
        }
    }
}

fn without_keys_there_is_no_hand_shake() {
    let listener = Listener::bind("127.0.0.1:0").unwrap().without_authkey().allow_cpython();
    let running = python().start("client", &listener.address().to_string(), None);
    let connection = listener.accept_bytes().unwrap();
    exchange(&connection);
    drop(connection);
    assert_eq!(running.end().0, 0);

    let mut running = python().start("listener", "127.0.0.1:0", None);
    let client = Client::builder(running.line()).unwrap().without_authkey().allow_cpython();
    let connection = client.connect_bytes().unwrap();
    exchange(&connection);
    drop(connection);
    assert_eq!(running.end().0, 0);
}

fn a_client_with_another_key_is_refused_and_told_nothing() {
    for python in pythons() {
        let listener = listener("127.0.0.1:0").allow_legacy_md5();
        let began = Instant::now();
        let running = python.start("client", &listener.address().to_string(), Some(b"another"));
        let refused = listener.accept_bytes().unwrap_err();
        match refused {
            AcceptError::AuthFailed { peer, reason: AuthFailure::WrongKey } => {
                assert!(peer.to_string().starts_with("127.0.0.1:"), "{peer}");
            }
            other => panic!("{other}"),
        }
        let (code, said) = running.end();
        assert_eq!(code, 3);
        assert!(["EOFError", "ConnectionResetError"].contains(&&*said), "{said}: it was not told why");
        assert!(began.elapsed() < SOON);

        let running = python.start("client", &listener.address().to_string(), Some(KEY));
        exchange(&listener.accept_bytes().unwrap());
        assert_eq!(running.end().0, 0, "the listener has gone on");
    }
}

fn a_listener_with_another_key_is_refused() {
    for python in pythons() {
        let began = Instant::now();
        let mut running = python.start("listener", "127.0.0.1:0", Some(b"another"));
        let address = running.line();
        match client(&address).allow_legacy_md5().connect_bytes() {
            Err(ConnectError::AuthFailed { address: named, reason: AuthFailure::WrongKey }) => {
                assert_eq!(named.to_string(), address);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(running.end(), (3, "AuthenticationError".to_owned()));
        assert!(began.elapsed() < SOON);
    }
}

fn cpython_is_refused_unless_it_is_allowed() {
    for python in pythons() {
        let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(KEY).allow_legacy_md5();
        let running = python.start("client", &listener.address().to_string(), Some(KEY));
        let refused = listener.accept_bytes();
        assert!(
            matches!(refused, Err(AcceptError::AuthFailed { reason: AuthFailure::CpythonRefused, .. })),
            "{refused:?}"
        );
        assert_eq!(running.end().0, 3);

        let mut running = python.start("listener", "127.0.0.1:0", Some(KEY));
        let refused = Client::connect_bytes(running.line(), KEY);
        let Err(error @ ConnectError::AuthFailed { reason: AuthFailure::CpythonRefused, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(error.to_string().contains("allow_cpython"), "{error}");
        assert_eq!(running.end().0, 3);
    }
}

fn md5_is_refused_unless_it_is_allowed_too() {
    for python in pythons() {
        let refused = |reason| if python.is_legacy() { Some(reason) } else { None };
        let listener = listener("127.0.0.1:0");
        let running = python.start("client", &listener.address().to_string(), Some(KEY));
        let reason = match listener.accept_bytes() {
            Ok(_) => None,
            Err(AcceptError::AuthFailed { reason, .. }) => Some(reason),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(reason, refused(AuthFailure::LegacyRefused), "{:?}", python.version);
        assert_eq!(running.end().0, if python.is_legacy() { 3 } else { 0 });

        let mut running = python.start("listener", "127.0.0.1:0", Some(KEY));
        let reason = match client(&running.line()).connect_bytes() {
            Ok(_) => None,
            Err(ConnectError::AuthFailed { reason, .. }) => Some(reason),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(reason, refused(AuthFailure::LegacyRefused), "{:?}", python.version);
        assert_eq!(running.end().0, if python.is_legacy() { 3 } else { 0 });
    }
}

fn what_is_typed_is_not_for_cpython() {
    let python = python();
    let listener = listener("127.0.0.1:0").allow_legacy_md5();
    let running = python.start("client", &listener.address().to_string(), Some(KEY));
    let refused = listener.accept::<u32, u32>();
    assert!(matches!(refused, Err(AcceptError::AuthFailed { reason: AuthFailure::CpythonUntyped, .. })), "{refused:?}");
    assert_eq!(running.end().0, 0, "it has shaken hands, and its connection has ended");

    let mut running = python.start("listener", "127.0.0.1:0", Some(KEY));
    let refused = client(&running.line()).allow_legacy_md5().connect::<u32, u32>();
    assert!(
        matches!(refused, Err(ConnectError::AuthFailed { reason: AuthFailure::CpythonUntyped, .. })),
        "{refused:?}"
    );
    assert_eq!(running.end().0, 0);
}
