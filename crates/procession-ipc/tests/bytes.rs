//! Messages of bytes over stream sockets: whole, in order, whatever becomes of the peer.
//!
//! Relies on the test kit, and on `python3` for the one peer that is not ours; order is told by pipes, and by what the
//! kernel says of a socket.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_ipc::{BytesConnection, RecvError, SendError, wait_ready};
use procession_launch::{Context, StartMethod};
use procession_sync::RECHECK;
use procession_testkit::assert_cost;
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_sends_back_what_it_receives,
        an_end_goes_on_through_a_connection_of_another_child,
        a_sender_that_is_killed_in_mid_message_is_told,
        the_end_comes_when_the_last_holder_is_gone,
        whoever_sends_to_nobody_is_told_and_not_killed,
    ];
    cases: [
        messages_are_not_merged_and_may_be_empty,
        poll_takes_nothing_away,
        a_message_of_256_mib_is_sent_in_bounded_memory,
        a_length_of_eight_bytes_is_written_and_read,
        the_longest_announcement_costs_no_memory,
        what_came_before_a_timeout_is_kept,
        a_message_begun_and_not_finished_in_time_tears_the_connection,
        up_to_32_kib_are_sent_as_a_whole_or_not_at_all,
        too_large_a_message_ends_receiving_and_not_sending,
        corrupt_lengths_are_errors_from_then_on,
        a_stream_cut_off_anywhere_is_told,
        a_short_buffer_costs_nothing,
        threads_do_not_mix_their_messages,
        closing_ends_the_waits_of_other_threads,
        flags_of_the_open_file_stay_as_they_are,
        a_connection_in_mid_message_does_not_travel,
        what_a_forked_child_finds_half_way_is_its_parents,
        a_reset_connection_is_at_its_end,
        many_are_waited_for_at_once,
        what_is_no_stream_socket_is_refused,
        python_reads_and_writes_the_same_frames,
    ];
}

/// Memory that it had.
const HAD: &str = "VmHWM:";
const SOON: Duration = Duration::from_millis(20);

fn connected() -> (BytesConnection, BytesConnection) {
    let (a, b) = UnixStream::pair().unwrap();
    (a.into(), b.into())
}

/// A connection and the bare socket at its other end.
fn bare() -> (BytesConnection, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    (a.into(), b)
}

/// Bytes of which few are what their neighbors are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

fn echo(connection: BytesConnection, times: usize) {
    for _ in 0..times {
        connection.send(&connection.recv().unwrap()).unwrap();
    }
}

fn a_child_sends_back_what_it_receives(method: StartMethod) {
    let (ours, theirs) = connected();
    let lens = [0, 1, 0, 65_535, 65_536, 65_537, 16 << 20];
    let child = start(method, echo, (theirs, lens.len()));
    for len in lens {
        let message = pattern(len);
        ours.send(&message).unwrap();
        assert!(ours.recv().unwrap() == message, "{len} bytes");
    }
    child.join().unwrap();
    assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
}

fn pass_on(connections: Vec<Option<BytesConnection>>) -> Vec<Option<BytesConnection>> {
    connections.iter().flatten().for_each(|connection| connection.send(b"from a child").unwrap());
    connections
}

fn an_end_goes_on_through_a_connection_of_another_child(method: StartMethod) {
    let (ours, theirs) = connected();
    ours.send(b"before it left").unwrap();
    let back = start(method, pass_on, (vec![None, Some(theirs)],)).join().unwrap();
    assert_eq!(ours.recv().unwrap(), b"from a child");
    let [None, Some(back)] = &back[..] else { panic!("{back:?}") };
    assert_eq!(back.recv().unwrap(), b"before it left");
    ours.send(b"after").unwrap();
    assert_eq!(back.recv().unwrap(), b"after");
}

fn send_without_end(connection: BytesConnection) {
    connection.send(&pattern(64 << 20)).unwrap();
}

fn a_sender_that_is_killed_in_mid_message_is_told(method: StartMethod) {
    assert_cost(Duration::from_secs(2), || {
        let (ours, theirs) = connected();
        let child = start(method, send_without_end, (theirs,));
        assert!(ours.poll_timeout(Duration::MAX).unwrap());
        while !matches!(ours.recv_timeout(Duration::from_millis(1)), Err(RecvError::Timeout)) {}
        child.kill().unwrap();
        let killed = Instant::now();
        for _ in 0..2 {
            match ours.recv() {
                Err(RecvError::Truncated { had, bytes }) => assert!(had < bytes && bytes == 64 << 20, "{had}"),
                other => panic!("{other:?}"),
            }
        }
        let told = killed.elapsed();
        assert!(ours.poll().unwrap(), "the end is something to receive");
        assert!(matches!(ours.send(b"x"), Err(SendError::Disconnected)));
        assert!(child.join().is_err());
        told
    });
}

fn hold(connection: BytesConnection, held: Descriptor, release: Descriptor) {
    connection.send(b"last words").unwrap();
    tell(&held);
    hear(&release);
}

fn the_end_comes_when_the_last_holder_is_gone(method: StartMethod) {
    let (ours, theirs) = connected();
    let ((held, tells_held), (release, _open)) = (pipe(), pipe());
    let child = start(method, hold, (theirs.clone(), tells_held, release));
    hear(&held);
    drop(theirs.clone());
    theirs.close();
    assert_eq!(ours.recv().unwrap(), b"last words");
    assert!(!ours.poll().unwrap(), "the child has it");
    assert!(matches!(ours.recv_timeout(SOON), Err(RecvError::Timeout)));
    thread::scope(|scope| {
        let waits = scope.spawn(|| ours.recv());
        child.kill().unwrap();
        assert!(matches!(waits.join().unwrap(), Err(RecvError::Disconnected)));
    });
    assert!(ours.poll_timeout(Duration::MAX).unwrap());
    assert!(matches!(ours.try_recv(), Err(RecvError::Disconnected)));
    assert!(child.join().is_err());
}

fn send_to_nobody(connection: BytesConnection) -> bool {
    procession_sys::set_disposition(procession_sys::Signal::PIPE, procession_sys::Disposition::Default);
    (0..2).all(|_| matches!(connection.send(b"is anybody there"), Err(SendError::Disconnected)))
}

fn whoever_sends_to_nobody_is_told_and_not_killed(method: StartMethod) {
    let (ours, theirs) = connected();
    drop(ours);
    assert!(start(method, send_to_nobody, (theirs,)).join().unwrap());
}

fn messages_are_not_merged_and_may_be_empty() {
    let (ours, theirs) = connected();
    let messages = [&b"a"[..], b"", b"bc", b"", b"", b"def"];
    messages.iter().for_each(|message| ours.send(message).unwrap());
    for message in messages {
        assert!(theirs.poll().unwrap());
        assert_eq!(theirs.try_recv().unwrap(), message);
    }
    assert!(matches!(theirs.try_recv(), Err(RecvError::WouldBlock)));
}

fn poll_takes_nothing_away() {
    let (ours, theirs) = connected();
    assert!(!theirs.poll().unwrap());
    let begun = Instant::now();
    assert!(!theirs.poll_timeout(SOON).unwrap());
    assert!(begun.elapsed() >= SOON);
    assert!(!theirs.poll_timeout(Duration::ZERO).unwrap());
    ours.send(b"").unwrap();
    for _ in 0..3 {
        assert!(theirs.poll().unwrap() && theirs.poll_timeout(Duration::MAX).unwrap());
    }
    assert_eq!(theirs.recv().unwrap(), b"");
    assert!(!theirs.poll().unwrap());
    drop(ours);
    for _ in 0..2 {
        assert!(theirs.poll_timeout(Duration::MAX).unwrap());
        assert!(matches!(theirs.recv(), Err(RecvError::Disconnected)));
    }
}

/// The most memory that this process had at a time, or asked for, in bytes.
fn peak(of: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(of)).unwrap();
    let kib: u64 = line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

fn receive_large(connection: BytesConnection) -> (u64, bool) {
    let message = connection.recv().unwrap();
    (peak(HAD), message.len() == 256 << 20 && message.chunks(1 << 20).all(|part| part == [7; 1 << 20]))
}

fn a_message_of_256_mib_is_sent_in_bounded_memory() {
    const LEN: usize = 256 << 20;
    let (ours, theirs) = connected();
    let child = start(StartMethod::Spawn, receive_large, (theirs.clone(),));
    drop(theirs);
    let message = vec![7; LEN];
    let before = peak(HAD);
    ours.send(&message).unwrap();
    assert!(peak(HAD) < before + (16 << 20), "sending copies nothing");
    let (peak, is_right) = child.join().unwrap();
    assert!(is_right);
    assert!(peak < LEN as u64 + (64 << 20), "receiving has it once: {peak}");
}

fn a_length_of_eight_bytes_is_written_and_read() {
    const LEN: usize = (1 << 31) + 5;
    let (ours, mut theirs) = bare();
    let discards = thread::spawn(move || {
        let mut header = [0; 12];
        theirs.read_exact(&mut header).unwrap();
        assert_eq!(header, [255, 255, 255, 255, 0, 0, 0, 0, 0x80, 0, 0, 5]);
        let (mut count, mut room) = (0, vec![0; 1 << 20]);
        while count < LEN {
            count += theirs.read(&mut room).unwrap();
        }
        theirs.write_all(b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x05short").unwrap();
        count
    });
    ours.send(&vec![0; LEN]).unwrap(); // Pages of zeros that nobody writes to are one page.
    assert_eq!(ours.recv().unwrap(), b"short", "the long form of a small length");
    assert_eq!(discards.join().unwrap(), LEN);
}

fn the_longest_announcement_costs_no_memory() {
    let (ours, mut theirs) = bare();
    let before = peak("VmPeak:");
    theirs.write_all(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffabc").unwrap();
    assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock)));
    assert!(matches!(ours.try_recv_into(&mut [0; 9]), Err(RecvError::WouldBlock)));
    drop(theirs);
    assert!(matches!(ours.recv(), Err(RecvError::Truncated { had: 3, bytes: u64::MAX })));
    assert!(peak("VmPeak:") < before + (16 << 20));
}

fn what_came_before_a_timeout_is_kept() {
    let (ours, mut theirs) = bare();
    let frame = b"\0\0\0\x0ahalf a word";
    for (at, byte) in frame[..13].iter().enumerate() {
        theirs.write_all(&[*byte]).unwrap();
        let mut room = [0; 10];
        match at % 4 {
            0 => assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock))),
            1 => assert!(matches!(ours.recv_into_timeout(&mut room, Duration::ZERO), Err(RecvError::Timeout))),
            2 => assert!(matches!(ours.try_recv_into(&mut room), Err(RecvError::WouldBlock))),
            _ => assert!(matches!(ours.recv_timeout(Duration::from_millis(1)), Err(RecvError::Timeout))),
        }
    }
    theirs.write_all(b"r\0\0\0\x01.").unwrap();
    let mut room = [0; 11];
    assert_eq!(ours.recv_into(&mut room).unwrap(), 10);
    assert_eq!(&room, b"half a wor\0");
    assert_eq!(ours.recv().unwrap(), b".");
}

fn a_message_begun_and_not_finished_in_time_tears_the_connection() {
    let (ours, theirs) = connected();
    let begun = Instant::now();
    let Err(SendError::Torn { sent, bytes }) = ours.send_timeout(&[1; 8 << 20], SOON) else { panic!() };
    assert!(begun.elapsed() >= SOON);
    assert!(sent > 0 && sent < bytes && bytes == (8 << 20) + 4, "{sent}");
    for _ in 0..2 {
        assert!(matches!(ours.send(b"x"), Err(SendError::Torn { .. })));
    }
    match theirs.recv() {
        Err(RecvError::Truncated { had, bytes: 0x80_0000 }) => assert_eq!(had + 4, sent),
        other => panic!("{other:?}"),
    }
    theirs.send(b"the other direction works").unwrap();
    assert_eq!(ours.recv().unwrap(), b"the other direction works");
}

fn up_to_32_kib_are_sent_as_a_whole_or_not_at_all() {
    let (ours, theirs) = connected();
    let message = pattern(32 << 10);
    let mut sent = 0;
    let full = loop {
        match ours.try_send(&message) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, SendError::WouldBlock), "{full}");
    assert!(matches!(ours.send_timeout(&message, SOON), Err(SendError::Timeout)));
    for _ in 0..sent {
        assert!(theirs.try_recv().unwrap() == message);
    }
    assert!(sent > 0 && !theirs.poll().unwrap());
    ours.try_send(b"there is room again").unwrap();
    assert_eq!(theirs.recv().unwrap(), b"there is room again");
}

fn too_large_a_message_ends_receiving_and_not_sending() {
    let (ours, theirs) = connected();
    theirs.send(&[0; 256]).unwrap();
    theirs.send(&[0; 257]).unwrap();
    assert_eq!(ours.recv_max(256).unwrap().len(), 256);
    for bytes_max in [256, 1000] {
        assert!(matches!(ours.recv_max(bytes_max), Err(RecvError::TooLarge { bytes: 257, bytes_max: 256 })));
    }
    assert!(ours.poll().unwrap());
    ours.send(b"sorry").unwrap();
    assert_eq!(theirs.recv().unwrap(), b"sorry");
    assert!(matches!(theirs.send(&[0; 1 << 20]), Err(SendError::Disconnected)), "nobody will ever receive it");
}

fn corrupt_lengths_are_errors_from_then_on() {
    for word in [-2, i32::MIN, -0x0100_0000] {
        let (ours, mut theirs) = bare();
        theirs.write_all(&word.to_be_bytes()).unwrap();
        theirs.write_all(b"\0\0\0\x01x").unwrap();
        for _ in 0..2 {
            assert!(matches!(ours.recv(), Err(RecvError::Corrupt { .. })));
            assert!(matches!(ours.recv_into(&mut [0]), Err(RecvError::Corrupt { .. })));
        }
    }
}

fn a_stream_cut_off_anywhere_is_told() {
    let frame = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x03abc";
    for cut in 0..frame.len() {
        let (ours, mut theirs) = bare();
        theirs.write_all(&frame[..cut]).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        let received = if cut % 2 == 0 { ours.recv().map(drop) } else { ours.recv_into(&mut [0; 3]).map(drop) };
        match received {
            Err(RecvError::Disconnected) => assert_eq!(cut, 0),
            Err(RecvError::Truncated { had: 0, bytes: 0 }) => assert!((1..12).contains(&cut), "{cut}"),
            Err(RecvError::Truncated { had, bytes: 3 }) => assert_eq!(had, cut as u64 - 12),
            other => panic!("{cut}: {other:?}"),
        }
    }
}

fn a_short_buffer_costs_nothing() {
    let (ours, theirs) = connected();
    theirs.send(b"four").unwrap();
    theirs.send(b"").unwrap();
    theirs.send(b"next").unwrap();
    let mut room = *b"...";
    match ours.recv_into(&mut room) {
        Err(RecvError::BufferTooShort { message }) => assert_eq!((&message[..], &room), (&b"four"[..], b"...")),
        other => panic!("{other:?}"),
    }
    assert_eq!(ours.recv_into(&mut []).unwrap(), 0);
    assert_eq!(ours.recv().unwrap(), b"next");
}

fn threads_do_not_mix_their_messages() {
    const SENDERS: u8 = 4;
    const TIMES: usize = 60;
    let (ours, theirs) = connected();
    let mut counts = [0; SENDERS as usize];
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let ours = ours.clone();
            scope.spawn(move || (0..TIMES).for_each(|time| ours.send(&vec![sender; time * 6_000]).unwrap()));
        }
        let receivers = [(); 2].map(|()| scope.spawn(|| receive_some(&theirs, SENDERS as usize * TIMES / 2)));
        for message in receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()) {
            let Some(&sender) = message.first() else { continue };
            assert!(message.iter().all(|&byte| byte == sender));
            counts[usize::from(sender)] += 1;
        }
    });
    assert_eq!(counts, [TIMES - 1; SENDERS as usize]);
    assert!(!theirs.poll().unwrap());
}

fn receive_some(connection: &BytesConnection, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| connection.recv().unwrap()).collect()
}

fn closing_ends_the_waits_of_other_threads() {
    assert_cost(20 * RECHECK, || {
        let (ours, theirs) = connected();
        while ours.try_send(&[0; 1000]).is_ok() {}
        let closed = thread::scope(|scope| {
            let waits = [
                scope.spawn(|| matches!(ours.recv(), Err(RecvError::Closed))),
                scope.spawn(|| matches!(ours.recv_into(&mut [0; 9]), Err(RecvError::Closed))),
                scope.spawn(|| matches!(ours.poll_timeout(Duration::MAX), Err(RecvError::Closed))),
                scope.spawn(|| matches!(ours.send(b"x"), Err(SendError::Closed))),
            ];
            thread::park_timeout(SOON); // Most wait by now; those that do not are told as well.
            let closed = Instant::now();
            ours.clone().close();
            assert_eq!(waits.map(|wait| wait.join().unwrap()), [true; 4]);
            closed
        });
        let told = closed.elapsed();
        ours.close();
        assert!(matches!(ours.poll(), Err(RecvError::Closed)));
        assert!(encode(&ours).is_err(), "what is closed does not travel");
        while theirs.try_recv().is_ok() {}
        assert!(matches!(theirs.try_recv(), Err(RecvError::Disconnected)), "though a handle is left");
        told
    });
}

fn flags_of_the_open_file_stay_as_they_are() {
    for is_nonblocking in [false, true] {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(is_nonblocking).unwrap();
        let mut same = a.try_clone().unwrap();
        let (ours, theirs) = (BytesConnection::from(a), BytesConnection::from(b));
        assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock)));
        assert!(matches!(ours.recv_timeout(SOON), Err(RecvError::Timeout)));
        thread::scope(|scope| {
            scope.spawn(|| echo(theirs.clone(), 1));
            let message = pattern(1 << 20);
            ours.send(&message).unwrap();
            assert!(ours.recv().unwrap() == message);
        });
        // One that is not to wait does not, however slow the machine is.
        let timeout = if is_nonblocking { 500 * SOON } else { SOON };
        same.set_read_timeout(Some(timeout)).unwrap();
        let begun = Instant::now();
        assert!(same.read(&mut [0]).is_err());
        assert_eq!(begun.elapsed() < timeout, is_nonblocking);
    }
}

fn a_connection_in_mid_message_does_not_travel() {
    let (ours, mut theirs) = bare();
    drop(encode(&ours).unwrap());
    theirs.write_all(b"\0\0").unwrap();
    drop(encode(&ours).expect("nothing of it was received"));
    assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock)));
    let error = encode(&ours).expect_err("two bytes of the header are here").to_string();
    assert!(error.contains("middle of a message"), "{error}");
    theirs.write_all(b"\0\0").unwrap();
    assert_eq!(ours.recv().unwrap(), b"");
    let arrived: BytesConnection = decode(encode(&ours).unwrap()).unwrap();
    arrived.send(b"").unwrap();
    assert!(matches!(ours.try_send(&[0; 8 << 20]), Err(SendError::Torn { .. })));
    assert!(encode(&ours).is_err(), "it would be torn there, too");
}

fn what_a_forked_child_finds_half_way_is_its_parents() {
    let (ours, mut theirs) = bare();
    theirs.write_all(b"\0\0\0\x03ab").unwrap();
    assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock)));
    let child = Context::new(StartMethod::Fork).fork(|| {
        ours.send(b"hi").unwrap();
        let error = ours.try_recv().unwrap_err();
        (error.to_string(), encode(&ours).is_err(), ours.poll().unwrap())
    });
    let (error, is_refused, has_come) = child.unwrap().join().unwrap();
    assert!(error.contains("forked") && is_refused && !has_come, "{error}");
    theirs.write_all(b"c").unwrap();
    assert_eq!(ours.recv().unwrap(), b"abc");
    let child = Context::new(StartMethod::Fork).fork(|| {
        theirs.write_all(b"\0\0\0\x01d").unwrap();
        ours.recv().unwrap()
    });
    assert_eq!(child.unwrap().join().unwrap(), b"d", "between messages it is the child's as well");
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn a_reset_connection_is_at_its_end() {
    let (client, server) = tcp();
    let same = client.try_clone().unwrap();
    let (ours, theirs) = (BytesConnection::from(client), BytesConnection::from(server));
    assert!(same.nodelay().unwrap());
    ours.send(&pattern(100_000)).unwrap();
    assert!(theirs.recv().unwrap() == pattern(100_000));
    ours.send(b"never received").unwrap();
    drop(theirs); // What is unread makes this a reset.
    assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
    assert!(matches!(ours.send(b"x"), Err(SendError::Disconnected)));
    let (ours, theirs) = connected();
    ours.send(b"never received").unwrap();
    theirs.send(b"sent").unwrap();
    drop(theirs);
    assert_eq!(ours.recv().unwrap(), b"sent");
    assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
}

fn many_are_waited_for_at_once() {
    let (a, a_peer) = connected();
    let (b, b_peer) = connected();
    let (c, _c_peer) = connected();
    a_peer.send(b"").unwrap();
    drop(b_peer);
    assert_eq!(wait_ready([&c as _, &a as _, &b as _]).unwrap(), [1, 2]);
    c.close();
    assert_eq!(wait_ready([&c as _]).unwrap(), [0], "the next call does not wait");
}

fn what_is_no_stream_socket_is_refused() {
    let (read, _write) = procession_sys::pipe().unwrap();
    assert!(BytesConnection::try_from(read).is_err());
    let (stream, _peer) = UnixStream::pair().unwrap();
    assert!(BytesConnection::try_from(OwnedFd::from(stream)).is_ok());
    let (connection, _peer) = connected();
    let message = encode(&connection).unwrap();
    let (null, bytes) = (procession_sys::dev_null().unwrap(), message.bytes().to_vec());
    let forged = procession_wire::Decoder::new(bytes, vec![null]).value::<BytesConnection>();
    assert!(forged.is_err(), "a peer that sends another descriptor");
}

const PYTHON: &str = "
from multiprocessing.connection import Connection
connection = Connection(0)
connection.send_bytes(b'')
connection.send_bytes(b'hello')
while True:
    try:
        message = connection.recv_bytes()
    except EOFError:
        break
    connection.send_bytes(message[::-1])
connection.close()
";

fn python_reads_and_writes_the_same_frames() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = Stdio::from(OwnedFd::from(theirs));
    let python = Command::new("python3").args(["-c", PYTHON]).stdin(theirs).stdout(Stdio::null()).spawn();
    let (mut python, same) = (python.expect("python3"), ours.as_fd().try_clone_to_owned().unwrap());
    let ours = BytesConnection::from(ours);
    assert_eq!((ours.recv().unwrap(), ours.recv().unwrap()), (b"".to_vec(), b"hello".to_vec()));
    for len in [0, 3, 16_384, 16_385, 5 << 20] {
        let mut message = pattern(len);
        ours.send(&message).unwrap();
        message.reverse();
        assert!(ours.recv().unwrap() == message, "{len} bytes");
    }
    UnixStream::from(same).shutdown(Shutdown::Write).unwrap();
    assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
    assert!(python.wait().unwrap().success());
}
