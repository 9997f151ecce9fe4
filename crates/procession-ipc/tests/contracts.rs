//! What CPython's tests promise of queues between processes that are not parent and child, and of listeners and clients.
//!
//! Relies on the test kit; order is told by the queues and connections themselves.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use common::{methods, start};
use procession_ipc::{
    AcceptError, Address, AuthFailure, Client, ConnectError, ListenError, Listener, Queue, SendError,
};
use procession_launch::StartMethod;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        grandchildren_exchange_a_value_over_a_queue_of_their_parent,
        a_fresh_client_polls_for_the_first_message,
    ];
    cases: [
        a_windows_pipe_is_no_address,
        a_bogus_answer_is_refused,
        a_listener_that_does_not_welcome_is_refused,
        a_short_time_for_hand_shakes_ends_no_other_wait,
        what_passes_bytes_alone_leaves_a_stream,
    ];
}

const KEY: &[u8] = b"a key";

fn put_and_hear(there: Queue<u32>, back: Queue<u32>) -> u32 {
    there.put(7).unwrap();
    back.get().unwrap()
}

fn answer(there: Queue<u32>, back: Queue<u32>) {
    back.put(there.get().unwrap() * 6).unwrap();
}

/// A child's child has the queue that its parent made, and its sibling has it as well.
fn exchange(method: StartMethod) -> u32 {
    let (there, back) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let asks = start(method, put_and_hear, (there.clone(), back.clone()));
    let answers = start(method, answer, (there.clone(), back.clone()));
    let heard = asks.join().unwrap();
    answers.join().unwrap();
    assert!(there.is_empty() && back.is_empty());
    heard
}

fn grandchildren_exchange_a_value_over_a_queue_of_their_parent(method: StartMethod) {
    assert_eq!(start(method, exchange, (method,)).join().unwrap(), 42);
}

fn poll_and_receive(address: Address) -> Vec<u8> {
    let connection = Client::connect_bytes(address, KEY).unwrap();
    assert!(connection.poll_timeout(Duration::from_secs(10)).unwrap());
    connection.recv().unwrap()
}

fn a_fresh_client_polls_for_the_first_message(method: StartMethod) {
    for listener in [Listener::bind("127.0.0.1:0"), Listener::temporary()] {
        let listener = listener.unwrap().authkey(KEY);
        let child = start(method, poll_and_receive, (listener.address().clone(),));
        let accepted = listener.accept_bytes().unwrap();
        accepted.send(b"hello").unwrap();
        assert_eq!(child.join().unwrap(), b"hello");
    }
}

fn a_windows_pipe_is_no_address() {
    let pipe = r"\\.\test";
    let refused = Listener::bind(pipe).unwrap_err();
    assert!(matches!(refused, ListenError::Address(_)) && refused.to_string().contains("host:port"), "{refused}");
    assert!(matches!(Client::connect_bytes(pipe, KEY), Err(ConnectError::Address(_))));
}

/// A frame as both sides write them.
fn frame(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

fn receive(socket: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    socket.read_exact(&mut header).unwrap();
    let mut message = vec![0; u32::from_be_bytes(header) as usize];
    socket.read_exact(&mut message).unwrap();
    message
}

fn a_bogus_answer_is_refused() {
    let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(KEY).allow_cpython().allow_legacy_md5();
    for bogus in [&b"something bogus"[..], b"", b"#WELCOME#", &[0; 16], b"{sha256}something bogus"] {
        let mut socket = TcpStream::connect(listener.address().to_string()).unwrap();
        assert!(matches!(listener.try_accept_bytes(), Err(AcceptError::WouldBlock)));
        assert!(receive(&mut socket).starts_with(b"#CHALLENGE#"));
        socket.write_all(&frame(bogus)).unwrap();
        let refused = listener.accept_bytes();
        assert!(matches!(refused, Err(AcceptError::AuthFailed { .. })), "{bogus:?}: {refused:?}");
        let mut rest = Vec::new();
        let told = socket.read_to_end(&mut rest);
        assert!(told.is_err() || rest.is_empty(), "who fails is told nothing");
    }
}

fn a_listener_that_does_not_welcome_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let challenge = [&b"#CHALLENGE#{sha256}"[..], &[7; 40]].concat();
    let sayings: [&[&[u8]]; 4] =
        [&[b"#CHALLENGE#"], &[b"#CHALLENGE#too short"], &[b"something else"], &[&challenge, b"something bogus"]];
    for said in sayings {
        let client = Client::builder(&address).unwrap().authkey(KEY).allow_cpython();
        let refused = thread::scope(|scope| {
            let client = scope.spawn(move || client.connect_bytes());
            let mut socket = listener.accept().unwrap().0;
            for (count, message) in said.iter().enumerate() {
                if count > 0 {
                    assert!(receive(&mut socket).starts_with(b"{sha256}"), "it has answered");
                }
                socket.write_all(&frame(message)).unwrap();
            }
            client.join().unwrap()
        });
        let Err(ConnectError::AuthFailed { reason, .. }) = refused else { panic!("{said:?}: {refused:?}") };
        assert_ne!(reason, AuthFailure::Timeout);
    }
}

fn a_short_time_for_hand_shakes_ends_no_other_wait() {
    let short = Duration::from_secs(2); // More than a machine stands still for.
    let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(KEY).handshake_timeout(short);
    let address = listener.address().clone();
    let client = thread::spawn(move || {
        thread::park_timeout(short + short / 4);
        let connection = Client::connect_bytes(address, KEY).unwrap();
        thread::park_timeout(short + short / 4);
        connection.send(b"late").unwrap();
        connection.recv().unwrap()
    });
    let accepted = listener.accept_bytes().unwrap();
    assert_eq!(accepted.recv().unwrap(), b"late");
    thread::park_timeout(short + short / 4);
    accepted.send(b"later").unwrap();
    assert_eq!(client.join().unwrap(), b"later");
}

/// As `ssh -L` between two socket files does: the descriptors of a ring do not get through, and neither end minds.
fn what_passes_bytes_alone_leaves_a_stream() {
    let listener = Listener::temporary().unwrap();
    let far = listener.address().clone();
    let near = far.path().unwrap().with_file_name("near");
    let relay = UnixListener::bind(&near).unwrap();
    let relayed = thread::spawn(move || {
        let (near, far) = (relay.accept().unwrap().0, UnixStream::connect(far.path().unwrap()).unwrap());
        let pass = |mut from: UnixStream, mut to: UnixStream| {
            std::io::copy(&mut from, &mut to).unwrap();
            let _ = to.shutdown(std::net::Shutdown::Write);
        };
        let (there, back) = ((near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near));
        thread::scope(|scope| {
            scope.spawn(|| pass(there.0, there.1));
            pass(back.0, back.1);
        });
    });
    let address = near.to_str().unwrap().to_owned();
    let client = thread::spawn(move || Client::connect::<Vec<Queue<u8>>, String>(address, b"").unwrap());
    let accepted = listener.accept::<String, Vec<Queue<u8>>>().unwrap();
    let connected = client.join().unwrap();
    accepted.send(&"by a stream".to_owned()).unwrap();
    assert_eq!(connected.recv().unwrap(), "by a stream");
    connected.send(&Vec::new()).unwrap();
    assert!(accepted.recv().unwrap().is_empty());
    let refused = connected.send(&vec![Queue::unbounded().unwrap()]);
    assert!(matches!(refused, Err(SendError::Descriptors { .. })), "{refused:?}");
    drop((accepted, connected));
    relayed.join().unwrap();
    std::fs::remove_file(near).unwrap();
}
