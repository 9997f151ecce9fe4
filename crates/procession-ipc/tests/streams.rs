//! Typed connections over stream sockets: values whole and in order, and errors in bounded time whatever the peer does.
//!
//! Relies on the test kit; order is told by the sockets themselves.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_ipc::{Connection, MESSAGE_BYTES, Queue, RecvError, SendError, wait_ready};
use procession_launch::StartMethod;
use procession_sync::{Lock, RECHECK};
use procession_testkit::assert_cost;
use procession_wire::{Descriptor, decode, encode};
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_answers_by_an_end_that_it_was_given,
        an_end_goes_on_through_a_connection_of_another_child,
        a_sender_that_is_killed_in_mid_message_is_told,
    ];
    cases for KINDS, [
        values_of_all_sizes_go_both_ways within 60,
        what_is_no_value_is_gone_and_the_next_is_received,
        what_has_descriptors_is_refused_and_costs_nothing,
        a_stream_cut_off_anywhere_is_told,
        a_peer_that_says_nothing_is_waited_for_no_longer_than_asked,
        a_message_begun_and_not_finished_in_time_tears_the_connection,
        poll_and_wait_see_values_and_ends,
        closing_ends_the_waits_of_other_threads,
        too_large_a_message_is_refused_on_both_sides,
        threads_do_not_mix_their_values,
    ];
    cases: [
        a_small_value_is_sent_as_a_whole_or_not_at_all,
        a_reset_connection_is_at_its_end,
        what_is_no_stream_socket_is_refused,
        a_connection_of_other_types_is_refused,
    ];
}

const SOON: Duration = Duration::from_millis(20);
/// Ten times what is promised of any of these.
const FENCE: Duration = Duration::from_secs(5);

/// What carries it.
#[derive(Clone, Copy)]
enum Kind {
    Unix,
    Tcp,
}

const KINDS: [(&str, Kind); 2] = [("unix", Kind::Unix), ("tcp", Kind::Tcp)];

/// Two connected sockets.
fn sockets(kind: Kind) -> (OwnedFd, OwnedFd) {
    match kind {
        Kind::Unix => UnixStream::pair().map(|(a, b)| (a.into(), b.into())).unwrap(),
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (a.into(), listener.accept().unwrap().0.into())
        }
    }
}

fn connected<S, R>(kind: Kind) -> (Connection<S, R>, Connection<R, S>) {
    let (a, b) = sockets(kind);
    (a.try_into().unwrap(), b.try_into().unwrap())
}

/// A connection and the bare socket at its other end.
fn bare<S, R>(kind: Kind) -> (Connection<S, R>, File) {
    let (a, b) = sockets(kind);
    (a.try_into().unwrap(), b.into())
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

/// Some of everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Item {
    Nothing,
    Text(String),
    Numbers {
        of: u64,
        #[serde(with = "procession_wire::bulk")]
        all: Vec<f64>,
    },
}

fn echo<T: Serialize + for<'de> Deserialize<'de> + 'static>(connection: Connection<T, T>, times: usize) {
    for _ in 0..times {
        connection.send(&connection.recv().unwrap()).unwrap();
    }
}

/// Values of all sizes up to 64 MiB of text and numbers, there and back.
fn values_of_all_sizes_go_both_ways(kind: Kind) {
    let (ours, theirs) = connected::<Item, Item>(kind);
    let sizes = [0, 1, 2, 126, 127, 128, 16_383, 16_384, 65_535, 65_536, 1 << 20, 64 << 20];
    let peer = thread::spawn(move || echo(theirs, 2 * sizes.len() + 1));
    let back = |item: Item| {
        ours.send(&item).unwrap();
        assert_eq!(ours.recv().unwrap(), item);
    };
    back(Item::Nothing);
    for bytes in sizes {
        back(Item::Text("x".repeat(bytes)));
        back(Item::Numbers { of: bytes as u64, all: (0..bytes / 8).map(|at| at as f64).collect() });
    }
    peer.join().unwrap();
    let (ours, theirs) = connected::<Vec<u16>, Vec<u16>>(kind);
    let peer = thread::spawn(move || echo(theirs, sizes.len()));
    for bytes in sizes {
        // What is sent by itself goes as it is in memory.
        let numbers: Vec<u16> = (0..bytes / 2).map(|at| at as u16).collect();
        ours.send(&numbers).unwrap();
        assert!(ours.recv().unwrap() == numbers, "{bytes}");
    }
    peer.join().unwrap();
    assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
    // Over TCP the first goes to a machine that answers with a reset.
    let refused = std::iter::repeat_with(|| ours.send(&Vec::new())).find_map(Result::err).unwrap();
    assert!(matches!(refused, SendError::Disconnected), "{refused}");
}

fn what_is_no_value_is_gone_and_the_next_is_received(kind: Kind) {
    let (ours, mut socket) = bare::<(), Vec<bool>>(kind);
    let good = encode(&vec![true, false]).unwrap();
    for bad in [&b""[..], b"\x01\x07", b"\x01\x01\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
        socket.write_all(&frame(bad)).unwrap();
        socket.write_all(&frame(good.bytes())).unwrap();
        assert!(matches!(ours.recv(), Err(RecvError::Decode(_))), "{bad:?}");
        assert_eq!(ours.recv().unwrap(), [true, false]);
    }
    // So is one that says that descriptors came with it.
    let (ours, mut socket) = bare::<(), Lock>(kind);
    socket.write_all(&frame(encode(&Lock::new().unwrap()).unwrap().bytes())).unwrap();
    assert!(matches!(ours.recv(), Err(RecvError::Decode(_))));
    socket.write_all(b"\0\0").unwrap();
    assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock)));
}

fn what_has_descriptors_is_refused_and_costs_nothing(kind: Kind) {
    let (ours, theirs) = connected::<Option<Descriptor>, ()>(kind);
    let null = || Descriptor::from(OwnedFd::from(File::open("/dev/null").unwrap()));
    let refused = ours.send(&Some(null())).unwrap_err();
    assert!(matches!(refused, SendError::Descriptors { descriptors: 1 }), "{refused}");
    assert!(refused.to_string().contains("Unix socket"), "it names the remedy: {refused}");
    ours.send(&None).unwrap();
    assert!(theirs.recv().unwrap().is_none());
    let (locks, _theirs) = connected::<(Lock, Queue<u8>), ()>(kind);
    let refused = locks.try_send(&(Lock::new().unwrap(), Queue::unbounded().unwrap()));
    assert!(matches!(refused, Err(SendError::Descriptors { descriptors: 2.. })));
}

fn a_stream_cut_off_anywhere_is_told(kind: Kind) {
    let whole = frame(encode(&"some text".to_owned()).unwrap().bytes());
    for bytes in 0..=whole.len() {
        let (ours, mut socket) = bare::<(), String>(kind);
        socket.write_all(&whole[..bytes]).unwrap();
        drop(socket);
        let since = Instant::now();
        match ours.recv() {
            Err(RecvError::Disconnected) => assert_eq!(bytes, 0),
            Err(RecvError::Truncated { .. }) => assert!((1..whole.len()).contains(&bytes), "{bytes}"),
            Ok(text) => assert_eq!((text.as_str(), bytes), ("some text", whole.len())),
            Err(other) => panic!("{bytes}: {other}"),
        }
        assert!(since.elapsed() < FENCE);
    }
}

/// Such as one whose machine is gone without a word: nobody can tell, so only time ends the wait.
fn a_peer_that_says_nothing_is_waited_for_no_longer_than_asked(kind: Kind) {
    let (ours, mut socket) = bare::<Vec<u8>, u32>(kind);
    let takes = |receive: &dyn Fn() -> Result<u32, RecvError>| {
        let since = Instant::now();
        let received = receive();
        assert!(since.elapsed() < FENCE);
        received
    };
    assert!(matches!(takes(&|| ours.try_recv()), Err(RecvError::WouldBlock)));
    assert!(matches!(takes(&|| ours.recv_timeout(SOON)), Err(RecvError::Timeout)));
    assert!(matches!(takes(&|| ours.recv_timeout(Duration::ZERO)), Err(RecvError::Timeout)));
    for (at, byte) in frame(&[7]).into_iter().enumerate() {
        assert!(matches!(takes(&|| ours.recv_timeout(Duration::from_millis(1))), Err(RecvError::Timeout)), "{at}");
        socket.write_all(&[byte]).unwrap();
    }
    assert_eq!(takes(&|| ours.recv_timeout(FENCE)).unwrap(), 7);
}

fn a_message_begun_and_not_finished_in_time_tears_the_connection(kind: Kind) {
    let (ours, mut socket) = bare::<Vec<u8>, ()>(kind);
    let torn = ours.send_timeout(&vec![0; 16 << 20], SOON);
    assert!(matches!(torn, Err(SendError::Torn { sent: 1.., .. })), "{torn:?}");
    assert!(matches!(ours.try_send(&Vec::new()), Err(SendError::Torn { .. })));
    assert!(socket.read_to_end(&mut Vec::new()).unwrap() > 4, "and the peer is told");
}

/// Over a Unix socket, that is; by TCP a part may go even of that.
fn a_small_value_is_sent_as_a_whole_or_not_at_all() {
    let (full, _socket) = bare::<u64, ()>(Kind::Unix);
    let refused = std::iter::repeat_with(|| full.try_send(&1)).find_map(Result::err).unwrap();
    assert!(matches!(refused, SendError::WouldBlock), "{refused}");
    assert!(matches!(full.send_timeout(&1, Duration::ZERO), Err(SendError::Timeout)));
    assert!(matches!(full.send_timeout(&1, SOON), Err(SendError::Timeout)));
}

fn poll_and_wait_see_values_and_ends(kind: Kind) {
    let (ours, theirs) = connected::<u8, u8>(kind);
    assert!(!ours.poll().unwrap());
    assert!(!ours.poll_timeout(SOON).unwrap());
    theirs.send(&1).unwrap();
    assert_eq!(wait_ready([&ours as &dyn procession_ipc::Waitable]).unwrap(), [0]);
    assert!(ours.poll().unwrap() && ours.poll_timeout(FENCE).unwrap());
    assert_eq!(ours.recv().unwrap(), 1);
    drop(theirs);
    assert!(ours.poll_timeout(Duration::MAX).unwrap());
    assert_eq!(wait_ready([&ours as &dyn procession_ipc::Waitable]).unwrap(), [0]);
    assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
}

fn closing_ends_the_waits_of_other_threads(kind: Kind) {
    assert_cost(10 * RECHECK, || {
        let (ours, theirs) = connected::<u8, u8>(kind);
        let (clone, other) = (ours.clone(), ours.clone());
        let waits = [
            thread::spawn(move || matches!(clone.recv(), Err(RecvError::Closed))),
            thread::spawn(move || matches!(other.poll_timeout(Duration::MAX), Err(RecvError::Closed))),
        ];
        thread::yield_now();
        let since = Instant::now();
        ours.close();
        assert!(waits.into_iter().all(|wait| wait.join().unwrap()));
        let told = since.elapsed();
        assert!(matches!(ours.send(&1), Err(SendError::Closed)));
        assert!(matches!(theirs.recv(), Err(RecvError::Disconnected)));
        assert!(encode(&ours).unwrap_err().to_string().contains("close"));
        told
    });
}

/// The longest message is by both ends' word [`MESSAGE_BYTES`]: one more byte is not sent, and nothing is received of it.
fn too_large_a_message_is_refused_on_both_sides(kind: Kind) {
    let (ours, mut socket) = bare::<Vec<u8>, Vec<u8>>(kind);
    let too_large = vec![0; MESSAGE_BYTES as usize];
    let refused = ours.send(&too_large).unwrap_err();
    assert!(
        matches!(refused, SendError::TooLarge { bytes, bytes_max: MESSAGE_BYTES } if bytes == MESSAGE_BYTES + 5),
        "{refused}"
    );
    ours.send(&vec![7]).unwrap();
    let mut sent = [0; 6];
    socket.read_exact(&mut sent).unwrap();
    assert_eq!(sent, [0, 0, 0, 2, 1, 7]);
    socket.write_all(&(MESSAGE_BYTES as u32 + 1).to_be_bytes()).unwrap();
    for _ in 0..2 {
        let refused = ours.recv();
        assert!(
            matches!(refused, Err(RecvError::TooLarge { bytes, bytes_max: MESSAGE_BYTES }) if bytes == MESSAGE_BYTES + 1)
        );
        assert!(ours.poll().unwrap(), "what stands in the way is there");
    }
    ours.send(&vec![8]).unwrap();
}

fn threads_do_not_mix_their_values(kind: Kind) {
    let (ours, theirs) = connected::<(u8, Vec<u8>), ()>(kind);
    let senders: Vec<_> = (0..4_u8)
        .map(|from| {
            let ours = ours.clone();
            thread::spawn(move || {
                for len in (0..200_000).step_by(9973) {
                    ours.send(&(from, vec![from; len])).unwrap();
                }
            })
        })
        .collect();
    drop(ours);
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let theirs = theirs.clone();
            thread::spawn(move || {
                let mut count = 0;
                while let Ok((from, bytes)) = theirs.recv() {
                    assert!(bytes.iter().all(|byte| *byte == from));
                    count += 1;
                }
                count
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let received: usize = receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum();
    assert_eq!(received, 4 * (0..200_000).step_by(9973).count());
}

/// Answers until it gets a zero: a forked child has the other end, too, so that none comes.
fn square(connection: Connection<u64, u64>) {
    loop {
        let number = connection.recv().unwrap();
        connection.send(&(number * number)).unwrap();
        if number == 0 {
            return;
        }
    }
}

fn a_child_answers_by_an_end_that_it_was_given(method: StartMethod) {
    for (_, kind) in KINDS {
        let (ours, theirs) = connected::<u64, u64>(kind);
        let child = start(method, square, (theirs,));
        for number in [1, 12, 0] {
            ours.send(&number).unwrap();
            assert_eq!(ours.recv().unwrap(), number * number);
        }
        child.join().unwrap();
    }
}

fn squares(ends: Connection<(), Connection<u64, u64>>, times: usize) {
    (0..times).for_each(|_| square(ends.recv().unwrap()));
}

fn an_end_goes_on_through_a_connection_of_another_child(method: StartMethod) {
    let (ends, theirs) = procession_ipc::pipe().unwrap();
    let child = start(method, squares, (theirs, KINDS.len()));
    for (_, kind) in KINDS {
        let (ours, end) = connected::<u64, u64>(kind);
        ends.send(&end).unwrap();
        drop(end);
        for number in [9, 0] {
            ours.send(&number).unwrap();
            assert_eq!(ours.recv().unwrap(), number * number);
        }
    }
    child.join().unwrap();
}

fn floods(connection: Connection<Vec<u8>, ()>, told: Descriptor) {
    tell(&told);
    let _ = connection.send(&vec![7; 64 << 20]);
}

fn a_sender_that_is_killed_in_mid_message_is_told(method: StartMethod) {
    let (ours, theirs) = connected::<(), Vec<u8>>(Kind::Unix);
    let (read, write) = pipe();
    let child = start(method, floods, (theirs, write));
    hear(&read);
    // Once something has come, and nobody takes it, it cannot be whole.
    assert!(ours.poll_timeout(Duration::MAX).unwrap());
    child.kill().unwrap();
    let since = Instant::now();
    let told = ours.recv().unwrap_err();
    assert!(matches!(told, RecvError::Truncated { bytes, .. } if bytes > 64 << 20), "{told}");
    assert!(since.elapsed() < FENCE);
    let _ = child.join();
}

fn a_reset_connection_is_at_its_end() {
    let (ours, socket) = bare::<u8, u8>(Kind::Tcp);
    ours.send(&1).unwrap();
    // Bytes that nobody reads make a close a reset.
    assert!(
        procession_sys::poll_one(socket.as_fd(), procession_sys::Interest::Read, procession_sys::Deadline::NEVER)
            .unwrap()
    );
    drop(socket);
    let since = Instant::now();
    assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
    let refused = std::iter::repeat_with(|| ours.send(&1)).find_map(Result::err).unwrap();
    assert!(matches!(refused, SendError::Disconnected), "{refused}");
    assert!(since.elapsed() < FENCE);
}

fn what_is_no_stream_socket_is_refused() {
    let refused = Connection::<u8, u8>::try_from(OwnedFd::from(File::open("/dev/null").unwrap()));
    assert!(refused.is_err());
}

fn a_connection_of_other_types_is_refused() {
    let (ours, _theirs) = connected::<u8, u16>(Kind::Unix);
    let message = encode(&ours).unwrap();
    assert!(decode::<Connection<u16, u8>>(message).is_err());
    let same: Connection<u8, u16> = decode(encode(&ours).unwrap()).unwrap();
    same.send(&1).unwrap();
    assert!(format!("{same:?}").contains("Connection"));
}
