//! Messages: whole, in order, of any size, and polled for one by one.

use std::thread;
use std::time::Duration;

use procession_ipc::{BytesConnection, Connection, PIPE_BYTES, RecvError, SendError, pipe, pipe_bytes};
use procession_launch::StartMethod;

use crate::common::start;
use crate::{MIB, SOON, is_end, pattern};

fn echo_bytes(connection: BytesConnection, times: usize) {
    for _ in 0..times {
        connection.send(&connection.recv().unwrap()).unwrap();
    }
}

pub(crate) fn a_child_answers_messages_of_any_size(method: StartMethod) {
    let (ours, theirs) = pipe_bytes().unwrap();
    let lens = [
        0,
        1,
        7,
        8,
        16 << 10,
        (16 << 10) + 1,
        64 << 10,
        (64 << 10) + 1,
        MIB,
        16 * MIB,
        64 * MIB,
        64 * MIB + 1,
        256 * MIB,
    ];
    let child = start(method, echo_bytes, (theirs.clone(), lens.len()));
    drop(theirs);
    let mut buffer = vec![0; 256 * MIB];
    for (turn, len) in lens.into_iter().enumerate() {
        let message = pattern(len, turn);
        ours.send(&message).unwrap();
        assert_eq!(ours.recv_into(&mut buffer).unwrap(), len);
        assert!(buffer[..len] == message[..], "{len} bytes");
    }
    assert!(is_end(ours.recv()));
    child.join().unwrap();
}

fn echo(connection: Connection<(u64, String), (u64, String)>, times: usize) {
    for _ in 0..times {
        connection.send(&connection.recv().unwrap()).unwrap();
    }
}

fn double(connection: Connection<Vec<f64>, Vec<f64>>, times: usize) {
    for _ in 0..times {
        let mut numbers = connection.recv().unwrap();
        numbers.iter_mut().for_each(|number| *number *= 2.0);
        connection.send(&numbers).unwrap();
    }
}

pub(crate) fn a_child_answers_values_of_many_types(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let lens = [0, 1, 20_000, MIB, 65 * MIB];
    let child = start(method, echo, (theirs, lens.len()));
    for len in lens {
        let message = (len as u64, "x".repeat(len));
        ours.send(&message).unwrap();
        assert!(ours.recv().unwrap() == message, "{len} bytes");
    }
    child.join().unwrap();
    let (ours, theirs) = pipe().unwrap();
    let lens = [0, 1, 2047, 2048, 2049, MIB, 8 * MIB, 9 * MIB];
    let child = start(method, double, (theirs, lens.len()));
    for len in lens {
        ours.send(&vec![1.5; len]).unwrap();
        assert!(ours.recv().unwrap() == vec![3.0; len], "{len} numbers");
    }
    child.join().unwrap();
}

fn say_hello_and_hear(connection: Connection<String, u32>) -> u32 {
    connection.send(&"hello".into()).unwrap();
    connection.recv().unwrap()
}

pub(crate) fn the_parent_may_close_its_copy_right_after_the_start(method: StartMethod) {
    let (ours, theirs) = pipe::<u32, String>().unwrap();
    let child = start(method, say_hello_and_hear, (theirs.clone(),));
    theirs.close();
    drop(theirs);
    assert!(ours.poll_timeout(Duration::MAX).unwrap());
    assert_eq!(ours.recv().unwrap(), "hello");
    ours.send(&5).unwrap();
    assert_eq!(child.join().unwrap(), 5);
}

pub(crate) fn empty_messages_are_reported_and_not_consumed() {
    let (ours, theirs) = pipe_bytes().unwrap();
    assert!(!ours.poll().unwrap());
    assert!(!ours.poll_timeout(SOON).unwrap());
    theirs.send(b"").unwrap();
    for _ in 0..3 {
        assert!(ours.poll().unwrap());
        assert!(ours.poll_timeout(SOON).unwrap());
    }
    assert_eq!(ours.recv().unwrap(), b"");
    assert!(!ours.poll().unwrap());
    drop(theirs);
    assert!(ours.poll().unwrap() && ours.poll_timeout(Duration::ZERO).unwrap());
    assert!(is_end(ours.recv()));
    let (ours, theirs) = pipe::<(), ()>().unwrap();
    theirs.send(&()).unwrap();
    assert!(ours.poll().unwrap());
    ours.recv().unwrap();
    assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock)));
}

pub(crate) fn messages_are_never_merged() {
    let (ours, theirs) = pipe_bytes().unwrap();
    let lens = || (0..5000_usize).map(|turn| turn * 7919 % 300);
    for (turn, len) in lens().enumerate() {
        theirs.send(&pattern(len, turn)).unwrap();
    }
    for (turn, len) in lens().enumerate() {
        assert!(ours.poll().unwrap());
        assert_eq!(ours.recv().unwrap(), pattern(len, turn));
    }
    assert!(!ours.poll().unwrap());
}

pub(crate) fn messages_are_polled_for_one_by_one() {
    let (ours, theirs) = pipe::<(), String>().unwrap();
    let strings = ["hello", "", "a", "b", "", "bye", "lop"];
    for string in strings {
        theirs.send(&string.to_owned()).unwrap();
    }
    let mut received = Vec::new();
    while ours.poll_timeout(SOON).unwrap() {
        received.push(ours.recv().unwrap());
    }
    assert_eq!(received, strings);
}

pub(crate) fn parts_of_buffers_are_sent_and_received() {
    let (ours, theirs) = pipe_bytes().unwrap();
    let message = *b"abcdefghijklmnopqrstuvwxyz";
    for part in [0..26, 5..26, 7..15, 26..26, 0..0] {
        ours.send(&message[part.clone()]).unwrap();
        let mut buffer = [b'.'; 40];
        let len = theirs.recv_into(&mut buffer[10..]).unwrap();
        assert_eq!(&buffer[10..10 + len], &message[part]);
        assert!(buffer[..10].iter().chain(&buffer[10 + len..]).all(|&byte| byte == b'.'));
    }
}

pub(crate) fn a_full_pipe_takes_no_more_and_one_message_of_any_size() {
    let (ours, theirs) = pipe_bytes().unwrap();
    let message = pattern(MIB, 1);
    for _ in 0..PIPE_BYTES as usize / MIB {
        ours.try_send(&message).unwrap();
    }
    assert!(matches!(ours.try_send(&message), Err(SendError::WouldBlock)));
    assert!(matches!(ours.send_timeout(b"x", SOON), Err(SendError::Timeout)));
    thread::scope(|scope| {
        let large = scope.spawn(|| ours.send(&pattern(65 * MIB, 2)));
        for _ in 0..PIPE_BYTES as usize / MIB {
            assert!(theirs.recv().unwrap() == message);
        }
        assert!(theirs.recv().unwrap() == pattern(65 * MIB, 2));
        large.join().unwrap().unwrap();
    });
    assert!(!theirs.poll().unwrap());
}

pub(crate) fn times_of_nothing_and_of_ever() {
    let (ours, theirs) = pipe::<u8, u8>().unwrap();
    assert!(matches!(ours.recv_timeout(Duration::ZERO), Err(RecvError::Timeout)));
    assert!(matches!(ours.recv_timeout(SOON), Err(RecvError::Timeout)));
    assert!(matches!(ours.try_recv(), Err(RecvError::WouldBlock)));
    assert!(!ours.poll_timeout(Duration::ZERO).unwrap());
    ours.send_timeout(&1, Duration::ZERO).unwrap();
    ours.send_timeout(&2, Duration::MAX).unwrap();
    ours.try_send(&3).unwrap();
    assert_eq!(theirs.recv_timeout(Duration::MAX).unwrap(), 1);
    assert_eq!(theirs.recv_timeout(Duration::ZERO).unwrap(), 2);
    assert_eq!(theirs.try_recv().unwrap(), 3);
    thread::scope(|scope| {
        let waits = scope.spawn(|| theirs.recv_timeout(Duration::MAX));
        thread::park_timeout(SOON);
        ours.send(&4).unwrap();
        assert_eq!(waits.join().unwrap().unwrap(), 4);
    });
}

pub(crate) fn a_short_buffer_costs_nothing() {
    let (ours, theirs) = pipe_bytes().unwrap();
    for len in [10, 100_000, 65 * MIB] {
        theirs.send(&pattern(len, 0)).unwrap();
        let mut buffer = vec![7; len - 1];
        match ours.recv_into(&mut buffer) {
            Err(RecvError::BufferTooShort { message }) => assert!(message == pattern(len, 0)),
            other => panic!("{other:?}"),
        }
        assert!(buffer.iter().all(|&byte| byte == 7));
        theirs.send(b"next").unwrap();
        assert_eq!(ours.recv_into(&mut buffer[3..]).unwrap(), 4);
        assert_eq!(&buffer[..8], b"\x07\x07\x07next\x07");
        assert!(matches!(ours.try_recv_into(&mut buffer), Err(RecvError::WouldBlock)));
        assert!(matches!(ours.recv_into_timeout(&mut buffer, SOON), Err(RecvError::Timeout)));
    }
}

pub(crate) fn too_large_a_message_ends_receiving() {
    let (ours, theirs) = pipe_bytes().unwrap();
    theirs.send(&[0; 256]).unwrap();
    theirs.send(&[0; 257]).unwrap();
    assert_eq!(ours.recv_max(256).unwrap().len(), 256);
    for _ in 0..2 {
        let refused = ours.recv_max(256);
        assert!(matches!(refused, Err(RecvError::TooLarge { bytes: 257, bytes_max: 256 })), "{refused:?}");
    }
    ours.send(b"still").unwrap();
    assert_eq!(theirs.recv().unwrap(), b"still");
}
