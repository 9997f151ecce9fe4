//! Pipes between processes: whole messages, in order, each once, whatever becomes of a peer.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes of the kernel.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe as signal, start, tell};
use procession_ipc::{
    BytesConnection, Connection, PIPE_BYTES, Queue, Receiver, RecvError, SendError, Sender, Waitable, pipe, pipe_bytes,
    pipe_simplex, wait_ready, wait_ready_timeout,
};
use procession_launch::{Context, StartMethod};
use procession_sync::{Lock, LockError};
use procession_sys::fail_points;
use procession_testkit::open_descriptors;
use procession_wire::{Descriptor, decode, encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_answers_messages_of_any_size,
        a_child_answers_values_of_many_types,
        the_parent_may_close_its_copy_right_after_the_start,
        the_end_comes_however_the_peer_goes,
        a_sender_is_told_however_the_peer_goes,
        who_waits_for_room_is_told_that_the_peer_was_killed,
        whoever_is_killed_at_any_step_of_a_send_has_sent_all_or_nothing,
        a_sender_killed_in_a_message_of_64_mib_leaves_nothing_half,
        whoever_is_killed_at_any_step_of_a_receive_leaves_the_rest,
        who_waits_for_room_costs_no_processor_time,
        both_directions_are_busy_at_once,
        several_senders_on_one_end_do_not_mix,
        several_receivers_on_one_end_get_each_message_once,
        a_descriptor_is_writable_in_the_child,
        handles_go_through_connections,
        ends_go_through_connections_and_through_themselves,
        connections_of_every_family_and_a_socket_are_messages,
        a_one_way_end_stays_what_it_is,
        many_pipes_are_waited_for_at_once,
    ];
    cases: [
        a_process_has_two_descriptors_an_end,
        empty_messages_are_reported_and_not_consumed,
        messages_are_never_merged,
        messages_are_polled_for_one_by_one,
        parts_of_buffers_are_sent_and_received,
        a_full_pipe_takes_no_more_and_one_message_of_any_size,
        times_of_nothing_and_of_ever,
        a_short_buffer_costs_nothing,
        too_large_a_message_ends_receiving,
        a_message_without_its_descriptor_is_an_error,
        an_end_arrives_as_what_it_was_sent_or_not_at_all,
        a_closed_end_is_an_error,
        closing_ends_the_waits_of_other_threads,
        three_hundred_descriptors_go_in_one_message,
        three_hundred_messages_with_one_each_wait_unread,
        descriptors_above_1024_go,
        a_send_that_fails_leaves_no_descriptors,
        who_never_receives_leaks_no_descriptors,
        an_end_in_its_own_pipe_goes_with_it,
        a_forked_child_is_another_process,
        a_wait_is_ended_by_a_message_and_by_the_end,
        what_a_killed_sender_left_does_not_ring_for_ever,
        a_receiver_without_descriptors_left_loses_nothing,
    ];
}

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_millis(20);

/// Longer than any wait for a peer's death.
const LATE: Duration = Duration::from_secs(20);

/// Bytes of which few are what their neighbors are.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    const PERIOD: usize = 65_521; // A prime, so that no block looks like another.
    let some = (0..len.min(PERIOD)).map(|at| ((at + seed).wrapping_mul(0x9e37_79b1) >> 13) as u8);
    let mut bytes: Vec<u8> = some.collect();
    bytes.reserve_exact(len - bytes.len());
    while bytes.len() < len {
        let more = bytes.len().min(len - bytes.len());
        bytes.extend_from_within(..more);
    }
    bytes
}

fn is_end<T>(received: Result<T, RecvError>) -> bool {
    matches!(received, Err(RecvError::Disconnected))
}

fn is_gone(sent: Result<(), SendError>) -> bool {
    matches!(sent, Err(SendError::Disconnected))
}

// Messages.

fn echo_bytes(connection: BytesConnection, times: usize) {
    for _ in 0..times {
        connection.send(&connection.recv().unwrap()).unwrap();
    }
}

fn a_child_answers_messages_of_any_size(method: StartMethod) {
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

fn a_child_answers_values_of_many_types(method: StartMethod) {
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

fn the_parent_may_close_its_copy_right_after_the_start(method: StartMethod) {
    let (ours, theirs) = pipe::<u32, String>().unwrap();
    let child = start(method, say_hello_and_hear, (theirs.clone(),));
    theirs.close();
    drop(theirs);
    assert!(ours.poll_timeout(Duration::MAX).unwrap());
    assert_eq!(ours.recv().unwrap(), "hello");
    ours.send(&5).unwrap();
    assert_eq!(child.join().unwrap(), 5);
}

fn empty_messages_are_reported_and_not_consumed() {
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

fn messages_are_never_merged() {
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

fn messages_are_polled_for_one_by_one() {
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

fn parts_of_buffers_are_sent_and_received() {
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

type Numbers = Connection<Vec<u64>, Vec<u64>>;

/// Sends and receives at the same time.
fn be_busy(end: Numbers) {
    thread::scope(|scope| {
        scope.spawn(|| (0..300).for_each(|turn| end.send(&vec![turn; 40_000]).unwrap()));
        (0..300).for_each(|turn| assert!(end.recv().unwrap() == vec![turn; 40_000]));
    });
}

fn both_directions_are_busy_at_once(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, be_busy, (theirs,));
    be_busy(ours);
    child.join().unwrap();
}

fn a_full_pipe_takes_no_more_and_one_message_of_any_size() {
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

fn times_of_nothing_and_of_ever() {
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

fn a_short_buffer_costs_nothing() {
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

fn too_large_a_message_ends_receiving() {
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

// The end.

fn leave(connection: Connection<u32, u32>, how: u32) {
    connection.send(&how).unwrap();
    match how {
        0 => drop(connection),
        1 => connection.close(),
        2 => std::process::exit(0),
        3 => std::mem::forget(connection),
        _ => fail_points::kill(),
    }
}

fn the_end_comes_however_the_peer_goes(method: StartMethod) {
    for how in 0..5 {
        let (ours, theirs) = pipe().unwrap();
        let child = start(method, leave, (theirs, how));
        assert_eq!(ours.recv().unwrap(), how);
        assert!(is_end(ours.recv()), "{how}");
        assert!(ours.poll().unwrap() && is_end(ours.try_recv()) && is_end(ours.recv_timeout(SOON)));
        assert_eq!(wait_ready([&ours as &dyn Waitable]).unwrap(), [0]);
        let _ = child.join();
    }
}

fn a_sender_is_told_however_the_peer_goes(method: StartMethod) {
    for how in 0..5 {
        let (ours, theirs) = pipe().unwrap();
        let child = start(method, leave, (theirs, how));
        assert_eq!(ours.recv().unwrap(), how);
        let _ = child.join();
        // The first send from this handle; then a handle that has sent before.
        assert!(is_gone(ours.send(&1)), "{how}");
        let (ours, theirs) = pipe().unwrap();
        ours.send(&1).unwrap();
        let child = start(method, leave, (theirs, how));
        let _ = child.join();
        let more = (0..).take_while(|_| ours.send(&2).is_ok()).count();
        assert!(more <= if how < 2 { 0 } else { 256 }, "{how}: {more} more went nowhere");
        assert!(is_gone(ours.send(&3)) && is_gone(ours.try_send(&3)));
    }
}

/// Tells, and lives on until it is killed.
fn wait_to_be_killed(_end: BytesConnection, begun: Descriptor, never: Descriptor) {
    tell(&begun);
    hear(&never);
}

fn who_waits_for_room_is_told_that_the_peer_was_killed(method: StartMethod) {
    let (ours, theirs) = pipe_bytes().unwrap();
    let message = vec![1; MIB];
    while ours.try_send(&message).is_ok() {}
    let ((begun, tells), (never, _open)) = (signal(), signal());
    let child = start(method, wait_to_be_killed, (theirs, tells, never));
    hear(&begun);
    thread::scope(|scope| {
        let waits = scope.spawn(|| ours.send(&message));
        thread::park_timeout(SOON);
        child.kill().unwrap();
        assert!(is_gone(waits.join().unwrap()));
    });
    assert!(child.join().is_err());
}

/// The most steps of the protocol that one message takes.
const STEPS_MAX: u32 = 100;

fn send_two_and_be_killed(connection: Connection<(u32, Vec<u8>), u32>, bytes: usize, step: u32) {
    connection.send(&(1, Vec::new())).unwrap();
    fail_points::arm_any(step, fail_points::kill);
    connection.send(&(2, pattern(bytes, 2))).unwrap();
    fail_points::disarm();
    connection.send(&(3, Vec::new())).unwrap();
}

fn whoever_is_killed_at_any_step_of_a_send_has_sent_all_or_nothing(method: StartMethod) {
    for bytes in [10, 100_000] {
        let (ours, theirs) = pipe().unwrap();
        let mut outcomes = BTreeSet::new();
        for step in 0..STEPS_MAX {
            let child = start(method, send_two_and_be_killed, (theirs.clone(), bytes, step));
            let is_whole = child.join().is_ok();
            let (mut received, mut last) = (Vec::new(), None);
            while last.is_none() {
                match ours.try_recv() {
                    Ok(message) => received.push(message),
                    Err(error) => last = Some(error),
                }
            }
            assert!(matches!(last, Some(RecvError::WouldBlock)), "step {step}: {last:?}");
            let received: Vec<(u32, Vec<u8>)> = received;
            let numbers: Vec<u32> = received.iter().map(|(number, _)| *number).collect();
            assert!(received.iter().all(|(number, bulk)| *number != 2 || *bulk == pattern(bytes, 2)), "step {step}");
            assert_eq!(is_whole, numbers == [1, 2, 3], "step {step}: {numbers:?}");
            assert!(is_whole || numbers == [1] || numbers == [1, 2], "step {step}: {numbers:?}");
            outcomes.insert(numbers);
            if is_whole {
                break;
            }
        }
        assert_eq!(outcomes.len(), 3, "killed before and after: {outcomes:?}");
        drop(theirs);
        assert!(is_end(ours.recv()));
    }
}

fn send_for_ever(connection: BytesConnection, begun: Descriptor) {
    let message = pattern(64 * MIB, 3);
    tell(&begun);
    while connection.send(&message).is_ok() {}
}

fn a_sender_killed_in_a_message_of_64_mib_leaves_nothing_half(method: StartMethod) {
    let mut buffer = vec![0; 64 * MIB];
    let message = pattern(64 * MIB, 3);
    for turn in 0..6 {
        let (ours, theirs) = pipe_bytes().unwrap();
        let (begun, tells) = signal();
        let child = start(method, send_for_ever, (theirs, tells));
        hear(&begun);
        thread::park_timeout(Duration::from_millis(turn * 7));
        child.kill().unwrap();
        while let Ok(len) = ours.recv_into(&mut buffer) {
            assert!(buffer[..len] == message, "turn {turn}");
        }
        assert!(is_end(ours.recv()));
        assert!(child.join().is_err());
    }
}

fn receive_and_be_killed(connection: Connection<(), (u32, Vec<u8>)>, step: u32) -> u32 {
    fail_points::arm_any(step, fail_points::kill);
    let (number, _) = connection.recv().unwrap();
    fail_points::disarm();
    number
}

fn whoever_is_killed_at_any_step_of_a_receive_leaves_the_rest(method: StartMethod) {
    let (ours, theirs) = pipe::<(u32, Vec<u8>), ()>().unwrap();
    let mut outcomes = BTreeSet::new();
    for step in 0..STEPS_MAX {
        for number in [1, 2] {
            ours.send(&(number, pattern(100_000, number as usize))).unwrap();
        }
        let child = start(method, receive_and_be_killed, (theirs.clone(), step));
        let is_whole = child.join().is_ok();
        let left: Vec<(u32, Vec<u8>)> = std::iter::from_fn(|| theirs.try_recv().ok()).collect();
        assert!(left.iter().all(|(number, bulk)| *bulk == pattern(100_000, *number as usize)));
        let numbers: Vec<u32> = left.iter().map(|(number, _)| *number).collect();
        assert!(numbers == [2] || !is_whole && numbers == [1, 2], "step {step}: {numbers:?}");
        outcomes.insert((is_whole, numbers.len()));
        if is_whole {
            break;
        }
    }
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
}

// Several at one end.

fn send_numbers(connection: Connection<(u32, u32, Vec<u8>), ()>, who: u32, count: u32) {
    for number in 0..count {
        let len = (number * 7919 % 40_000) as usize;
        connection.send(&(who, number, pattern(len, (who + number) as usize))).unwrap();
    }
}

fn fill_and_wait(connection: BytesConnection, bytes: usize, full: Descriptor) {
    let (message, large) = (vec![1; MIB], vec![2; bytes]);
    while connection.try_send(&message).is_ok() {}
    tell(&full);
    connection.send(&large).unwrap();
}

/// The processor time of a process, in ticks of 10 ms.
fn ticks_of(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_ascii_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn who_waits_for_room_costs_no_processor_time(method: StartMethod) {
    const PAUSE: Duration = Duration::from_millis(600);
    for bytes in [64 * MIB, 65 * MIB] {
        let (ours, theirs) = pipe_bytes().unwrap();
        let (full, tells) = signal();
        let child = start(method, fill_and_wait, (theirs, bytes, tells));
        hear(&full);
        let before = ticks_of(child.pid());
        thread::park_timeout(PAUSE);
        let ticks = ticks_of(child.pid()) - before;
        assert!(ticks <= 2, "{ticks} ticks for {bytes} bytes");
        while ours.recv().unwrap().len() != bytes {}
        child.join().unwrap();
    }
}

fn several_senders_on_one_end_do_not_mix(method: StartMethod) {
    const COUNT: u32 = 400;
    let (ours, theirs) = pipe().unwrap();
    let children = [0, 1, 2].map(|who| start(method, send_numbers, (theirs.clone(), who, COUNT)));
    drop(theirs);
    let mut next = [0; 3];
    while let Ok((who, number, bulk)) = ours.recv() {
        assert_eq!(number, next[who as usize], "of one sender in order");
        next[who as usize] += 1;
        assert!(bulk == pattern((number * 7919 % 40_000) as usize, (who + number) as usize));
    }
    assert_eq!(next, [COUNT; 3]);
    children.into_iter().for_each(|child| child.join().unwrap());
}

/// Receives until a zero.
fn receive_all(connection: Connection<(), u32>) -> Vec<u32> {
    std::iter::repeat_with(|| connection.recv().unwrap()).take_while(|number| *number > 0).collect()
}

fn several_receivers_on_one_end_get_each_message_once(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let children = [(); 3].map(|()| start(method, receive_all, (theirs.clone(),)));
    drop(theirs);
    (1..3000).chain([0; 3]).for_each(|number| ours.send(&number).unwrap());
    let mut all: Vec<u32> = Vec::new();
    for child in children {
        let some = child.join().unwrap();
        assert!(some.is_sorted());
        all.extend(some);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(1..3000));
}

// What has descriptors.

/// An empty file that nobody else has.
fn scratch_file() -> File {
    let file = procession_sys::MemoryFile { bytes: 0, huge_page_bits: None };
    procession_sys::memory_file("scratch", &file).unwrap().into()
}

fn write_into(connection: Connection<(), Descriptor>) {
    let file = connection.recv().unwrap().into_owned().unwrap();
    File::from(file).write_all(b"from the child").unwrap();
}

fn a_descriptor_is_writable_in_the_child(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, write_into, (theirs,));
    let mut file = scratch_file();
    ours.send(&OwnedFd::from(file.try_clone().unwrap()).into()).unwrap();
    child.join().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the child");
}

fn use_handles(connection: Connection<(), (Lock, Queue<u32>, Descriptor)>) {
    let (lock, queue, stream) = connection.recv().unwrap();
    UnixStream::from(stream.into_owned().unwrap()).write_all(b"s").unwrap();
    let _guard = lock.lock().unwrap();
    queue.put(queue.get().unwrap() + 1).unwrap();
    fail_points::kill();
}

fn handles_go_through_connections(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, use_handles, (theirs,));
    let (lock, queue) = (Lock::new().unwrap(), Queue::unbounded().unwrap());
    let (mut stream, other) = UnixStream::pair().unwrap();
    queue.put(1).unwrap();
    ours.send(&(lock.clone(), queue.clone(), OwnedFd::from(other).into())).unwrap();
    assert!(child.join().is_err());
    assert_eq!(queue.get().unwrap(), 2);
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

type Sockets = (BytesConnection, BytesConnection, Descriptor);

fn answer_each(connection: Connection<(), Sockets>) {
    let (tcp, unix, plain) = connection.recv().unwrap();
    for each in [tcp, unix] {
        each.send(&each.recv().unwrap().to_ascii_uppercase()).unwrap();
    }
    UnixStream::from(plain.into_owned().unwrap()).write_all(b"plain").unwrap();
}

fn connections_of_every_family_and_a_socket_are_messages(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, answer_each, (theirs,));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let tcp = (BytesConnection::from(tcp), listener.accept().unwrap().0.into());
    let unix = UnixStream::pair().unwrap();
    let unix = (BytesConnection::from(unix.0), unix.1.into());
    let (mut plain, plain_theirs) = UnixStream::pair().unwrap();
    ours.send(&(tcp.1, unix.1, OwnedFd::from(plain_theirs).into())).unwrap();
    for each in [tcp.0, unix.0] {
        each.send(b"text").unwrap();
        assert_eq!(each.recv().unwrap(), b"TEXT");
        assert!(is_end(each.recv()));
    }
    let mut text = String::new();
    plain.read_to_string(&mut text).unwrap();
    assert_eq!(text, "plain");
    child.join().unwrap();
}

type Inner = Connection<String, String>;

fn serve_one(connection: Connection<(), (Inner, Sender<u32>, BytesConnection)>) {
    let (inner, sender, bytes) = connection.recv().unwrap();
    drop(connection);
    inner.send(&inner.recv().unwrap().to_uppercase()).unwrap();
    sender.send(&7).unwrap();
    bytes.send(b"bytes").unwrap();
}

fn ends_go_through_connections_and_through_themselves(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, serve_one, (theirs,));
    let (inner, inner_theirs) = pipe().unwrap();
    let (receiver, sender) = pipe_simplex().unwrap();
    let (bytes, bytes_theirs) = pipe_bytes().unwrap();
    inner.send(&"before it is there".to_owned()).unwrap();
    ours.send(&(inner_theirs, sender, bytes_theirs)).unwrap();
    assert_eq!(inner.recv().unwrap(), "BEFORE IT IS THERE");
    assert_eq!(receiver.recv().unwrap(), 7);
    assert_eq!(bytes.recv().unwrap(), b"bytes");
    assert!(is_end(inner.recv()) && is_end(receiver.recv()) && is_end(bytes.recv()));
    child.join().unwrap();
    // An end through its own pipe, to whoever has the other end.
    let (ours, theirs) = pipe::<Through, Through>().unwrap();
    let child = start(method, swap_ends, (theirs,));
    ours.send(&Through::End(ours.clone())).unwrap();
    drop(ours);
    assert_eq!(child.join().unwrap(), 11);
}

/// What goes through a pipe that carries its own ends.
#[derive(Serialize, Deserialize)]
enum Through {
    End(Connection<Through, Through>),
    Number(u32),
}

fn swap_ends(theirs: Connection<Through, Through>) -> u32 {
    let Ok(Through::End(ours)) = theirs.recv() else { return 0 };
    theirs.send(&Through::Number(11)).unwrap();
    drop(theirs);
    match (ours.recv(), ours.recv()) {
        (Ok(Through::Number(number)), Err(RecvError::Disconnected)) => number,
        _ => 1,
    }
}

fn pass_on(receiver: Receiver<u32>, sender: Sender<u32>) {
    let number = receiver.recv().unwrap();
    sender.send(&(number + 1)).unwrap();
}

fn a_one_way_end_stays_what_it_is(method: StartMethod) {
    let ((there, to_there), (back, to_back)) = (pipe_simplex().unwrap(), pipe_simplex().unwrap());
    let child = start(method, pass_on, (there, to_back));
    to_there.send(&1).unwrap();
    assert_eq!(back.recv().unwrap(), 2);
    assert!(is_end(back.recv()));
    child.join().unwrap();
    assert!(is_gone(to_there.send(&2)) || is_gone((0..256).try_for_each(|_| to_there.send(&2))));
}

fn send_each(sender: Sender<u32>, who: u32) {
    for number in 0..100 {
        sender.send(&(who * 1000 + number)).unwrap();
    }
}

fn many_pipes_are_waited_for_at_once(method: StartMethod) {
    let started = (0..4).map(|who| {
        let (receiver, sender) = pipe_simplex().unwrap();
        (receiver, start(method, send_each, (sender, who)))
    });
    let (mut receivers, children): (Vec<_>, Vec<_>) = started.unzip();
    let mut numbers = Vec::new();
    while !receivers.is_empty() {
        let things: Vec<&dyn Waitable> = receivers.iter().map(|receiver| receiver as &dyn Waitable).collect();
        let ready = wait_ready(things).unwrap();
        for which in ready.into_iter().rev() {
            match receivers[which].try_recv() {
                Ok(number) => numbers.push(number),
                Err(RecvError::Disconnected) => drop(receivers.swap_remove(which)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq((0..4).flat_map(|who| (0..100).map(move |number| who * 1000 + number))));
    children.into_iter().for_each(|child| child.join().unwrap());
}

fn a_process_has_two_descriptors_an_end() {
    // The arena's own are there from the first pipe on.
    let _first = pipe::<(), ()>().unwrap();
    let before = open_descriptors().len();
    let (ours, theirs) = pipe::<u8, u8>().unwrap();
    assert_eq!(open_descriptors().len(), before + 3);
    drop(theirs);
    assert_eq!(open_descriptors().len(), before + 2);
    let again: Connection<u8, u8> = decode(encode(&ours).unwrap()).unwrap();
    drop(ours);
    assert_eq!(open_descriptors().len(), before + 2);
    drop(again);
    assert_eq!(open_descriptors().len(), before);
}

/// Says that its descriptor comes with the message, which it does not.
struct Claimed(Option<Descriptor>);

impl Serialize for Claimed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(descriptor) => descriptor.serialize(serializer),
            None => 0_u32.serialize(serializer), // Its position in the message.
        }
    }
}

impl<'de> Deserialize<'de> for Claimed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Descriptor::deserialize(deserializer).map(|descriptor| Self(Some(descriptor)))
    }
}

fn a_message_without_its_descriptor_is_an_error() {
    let (ours, theirs) = pipe::<Claimed, ()>().unwrap();
    ours.send(&Claimed(None)).unwrap();
    ours.send(&Claimed(Some(null()))).unwrap();
    assert!(matches!(theirs.recv(), Err(RecvError::Decode(_))));
    assert!(theirs.recv().unwrap().0.is_some(), "the next is whole");
}

fn an_end_arrives_as_what_it_was_sent_or_not_at_all() {
    let before = open_descriptors().len();
    {
        let (ours, _theirs) = pipe::<u32, String>().unwrap();
        let sent = || encode(&ours).unwrap();
        assert!(decode::<Connection<u32, String>>(sent()).is_ok());
        let error = decode::<Connection<String, u32>>(sent()).unwrap_err().to_string();
        assert!(error.contains("Connection<alloc::string::String, u32>"), "{error}");
        assert!(decode::<Connection<u64, String>>(sent()).is_err());
        assert!(decode::<Sender<u32>>(sent()).is_err());
        assert!(decode::<BytesConnection>(sent()).is_err());
        assert!(decode::<Queue<u32>>(sent()).is_err());
        let (bytes, _theirs) = pipe_bytes().unwrap();
        assert!(decode::<BytesConnection>(encode(&bytes).unwrap()).is_ok());
        assert!(decode::<Connection<u32, String>>(encode(&bytes).unwrap()).is_err());
        let (receiver, sender) = pipe_simplex::<u32>().unwrap();
        assert!(decode::<Sender<u32>>(encode(&receiver).unwrap()).is_err());
        assert!(decode::<Receiver<u32>>(encode(&sender).unwrap()).is_err());
    }
    assert!(open_descriptors().len() <= before + 2, "but for the arena's");
}

fn a_closed_end_is_an_error() {
    let (ours, theirs) = pipe::<u8, u8>().unwrap();
    theirs.send(&1).unwrap();
    let clone = ours.clone();
    ours.close();
    ours.close();
    for end in [&ours, &clone] {
        assert!(matches!(end.send(&1), Err(SendError::Closed)));
        assert!(matches!(end.recv(), Err(RecvError::Closed)));
        assert!(matches!(end.poll(), Err(RecvError::Closed)));
        assert!(encode(end).is_err());
        assert_eq!(wait_ready([end as &dyn Waitable]).unwrap(), [0]);
    }
    assert!(is_end(theirs.recv()) && is_gone(theirs.send(&1)));
    assert!(format!("{ours:?}").contains("is_closed: true"));
}

fn closing_ends_the_waits_of_other_threads() {
    let (ours, theirs) = pipe_bytes().unwrap();
    while ours.try_send(&[0; MIB]).is_ok() {}
    let began = Instant::now();
    thread::scope(|scope| {
        let sends = scope.spawn(|| ours.send(&[0; MIB]));
        let receives = scope.spawn(|| ours.recv());
        let polls = scope.spawn(|| ours.poll_timeout(Duration::MAX));
        thread::park_timeout(SOON);
        ours.close();
        assert!(matches!(sends.join().unwrap(), Err(SendError::Closed)));
        assert!(matches!(receives.join().unwrap(), Err(RecvError::Closed)));
        assert!(matches!(polls.join().unwrap(), Err(RecvError::Closed)));
    });
    assert!(began.elapsed() < LATE);
    assert_eq!(theirs.recv().unwrap().len(), MIB);
}

fn null() -> Descriptor {
    procession_sys::dev_null().unwrap().into()
}

fn three_hundred_descriptors_go_in_one_message() {
    let (ours, theirs) = pipe::<Vec<Descriptor>, ()>().unwrap();
    ours.send(&Vec::new()).unwrap();
    assert!(theirs.recv().unwrap().is_empty());
    let before = open_descriptors().len();
    for count in [253, 254, 300] {
        ours.send(&(0..count).map(|_| null()).collect()).unwrap();
        assert_eq!(theirs.recv().unwrap().len(), count);
    }
    assert_eq!(open_descriptors().len(), before);
}

fn three_hundred_messages_with_one_each_wait_unread() {
    let (ours, theirs) = pipe::<(u32, Descriptor), ()>().unwrap();
    let (read, write) = signal();
    for number in 0..300 {
        ours.try_send(&(number, write.clone())).unwrap();
    }
    drop(write);
    for number in 0..300 {
        let (received, write) = theirs.recv().unwrap();
        assert_eq!(received, number);
        tell(&write);
        hear(&read);
    }
    let mut rest = File::from(read.into_owned().unwrap());
    assert_eq!(rest.read(&mut [0]).unwrap(), 0, "nobody has the other end");
}

fn descriptors_above_1024_go() {
    procession_sys::set_file_limit([4096; 2]).unwrap();
    let many: Vec<Descriptor> = (0..1100).map(|_| null()).collect();
    assert!(many.iter().any(|null| null.as_fd().as_raw_fd() > 1024));
    let (ours, theirs) = pipe::<Descriptor, Connection<u8, u8>>().unwrap();
    let (inner, inner_theirs) = pipe().unwrap();
    let (read, write) = signal();
    ours.send(&write).unwrap();
    theirs.send(&inner).unwrap();
    let write = theirs.recv().unwrap();
    assert!(write.as_fd().as_raw_fd() > 1024);
    tell(&write);
    hear(&read);
    ours.recv().unwrap().send(&9).unwrap();
    assert_eq!(inner_theirs.recv().unwrap(), 9);
    assert!(inner_theirs.poll_timeout(Duration::ZERO).is_ok());
    assert!(wait_ready_timeout([&ours as &dyn Waitable], SOON).unwrap().is_empty());
}

/// A descriptor, and then something that no message holds.
#[derive(Serialize, Deserialize)]
struct Unsendable {
    descriptor: Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<u8>,
}

fn a_send_that_fails_leaves_no_descriptors() {
    let (ours, theirs) = pipe::<Unsendable, ()>().unwrap();
    let (read, write) = signal();
    let before = open_descriptors().len();
    let unsendable = Unsendable { descriptor: write, skipped: None };
    assert!(matches!(ours.send(&unsendable), Err(SendError::Encode(_))));
    assert_eq!(open_descriptors().len(), before);
    assert!(!theirs.poll().unwrap());
    drop(unsendable);
    let mut read = File::from(read.into_owned().unwrap());
    assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody has the other end");
    // A pipe whose other end is gone, and one that is full.
    let (read, write) = signal();
    let (ours, theirs) = pipe::<(Vec<u8>, Descriptor), ()>().unwrap();
    while ours.try_send(&(vec![0; MIB], null())).is_ok() {}
    assert!(matches!(ours.try_send(&(vec![0; MIB], write.clone())), Err(SendError::WouldBlock)));
    drop(theirs);
    assert!(is_gone(ours.send(&(Vec::new(), write.clone()))));
    drop(write);
    let mut read = File::from(read.into_owned().unwrap());
    assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody has the other end");
}

fn who_never_receives_leaks_no_descriptors() {
    let (read, write) = signal();
    let (ours, theirs) = pipe::<Descriptor, ()>().unwrap();
    for _ in 0..20 {
        ours.send(&write).unwrap();
    }
    drop((write, theirs, ours));
    let mut read = File::from(read.into_owned().unwrap());
    assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody has the other end");
}

fn an_end_in_its_own_pipe_goes_with_it() {
    let (read, write) = signal();
    let (ours, theirs) = pipe::<(Descriptor, Option<Connection<(), (Descriptor, ())>>), ()>().unwrap();
    ours.send(&(write.clone(), None)).unwrap();
    drop(ours);
    assert!(theirs.recv().unwrap().1.is_none());
    let (ours, theirs) = pipe::<Through, Through>().unwrap();
    ours.send(&Through::End(theirs.clone())).unwrap();
    ours.send(&Through::End(ours.clone())).unwrap();
    drop(theirs);
    ours.send(&Through::Number(1)).unwrap();
    drop((ours, write));
    let mut read = File::from(read.into_owned().unwrap());
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

fn a_forked_child_is_another_process() {
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    ours.send(&0).unwrap();
    assert_eq!(theirs.recv().unwrap(), 0);
    let (copy, copy_theirs) = (ours.clone(), theirs.clone());
    let child = Context::new(StartMethod::Fork).fork(move || {
        drop(copy);
        copy_theirs.send(&(copy_theirs.recv().unwrap() + 1)).unwrap();
        copy_theirs.recv().unwrap()
    });
    let child = child.unwrap();
    ours.send(&1).unwrap();
    assert_eq!(ours.recv().unwrap(), 2);
    // What a child drops its parent still has.
    ours.send(&3).unwrap();
    assert_eq!(child.join().unwrap(), 3);
    theirs.send(&4).unwrap();
    assert_eq!(ours.recv().unwrap(), 4);
    drop(theirs);
    assert!(is_end(ours.recv()));
}

fn a_wait_is_ended_by_a_message_and_by_the_end() {
    let (ours, theirs) = pipe::<Descriptor, u8>().unwrap();
    assert!(wait_ready_timeout([&theirs as &dyn Waitable, &ours], SOON).unwrap().is_empty());
    thread::scope(|scope| {
        let waits = scope.spawn(|| wait_ready([&ours as &dyn Waitable, &theirs]).unwrap());
        thread::park_timeout(SOON);
        ours.send(&null()).unwrap();
        assert_eq!(waits.join().unwrap(), [1]);
    });
    assert_eq!(wait_ready([&theirs as &dyn Waitable]).unwrap(), [0], "as often as it is asked");
    drop(theirs.recv().unwrap());
    assert!(wait_ready_timeout([&ours as &dyn Waitable, &theirs], SOON).unwrap().is_empty());
    thread::scope(|scope| {
        let waits = scope.spawn(|| wait_ready([&theirs as &dyn Waitable]).unwrap());
        thread::park_timeout(SOON);
        drop(ours);
        assert_eq!(waits.join().unwrap(), [0]);
    });
    assert!(is_end(theirs.recv()));
}

fn send_half(connection: Connection<Descriptor, ()>) {
    fail_points::arm("ring: written", 0, fail_points::kill);
    connection.send(&null()).unwrap();
}

fn what_a_killed_sender_left_does_not_ring_for_ever() {
    let (ours, theirs) = pipe::<(), Descriptor>().unwrap();
    let child = start(StartMethod::Fork, send_half, (theirs.clone(),));
    assert!(child.join().is_err());
    assert!(wait_ready_timeout([&ours as &dyn Waitable], SOON).unwrap().is_empty());
    let link = ours.watch();
    let readable = procession_sys::poll_readable(&[link.fd], procession_sys::Deadline::NOW).unwrap();
    assert_eq!(readable, [false], "nothing wakes whoever polls");
    theirs.send(&null()).unwrap();
    assert_eq!(wait_ready([&ours as &dyn Waitable]).unwrap(), [0]);
    drop(ours.recv().unwrap());
}

fn a_receiver_without_descriptors_left_loses_nothing() {
    let (ours, theirs) = pipe::<Vec<Descriptor>, ()>().unwrap();
    let (read, write) = signal();
    ours.send(&vec![write; 1]).unwrap();
    ours.send(&Vec::new()).unwrap();
    let highest = open_descriptors().iter().map(|open| open.number).max().unwrap();
    // Room for some, wherever the numbers of this process end.
    procession_sys::set_file_limit([u64::from(highest) + 8; 2]).unwrap();
    let mut filler = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        filler.push(file);
    }
    assert!(matches!(theirs.recv(), Err(RecvError::System { .. })));
    assert!(filler.pop().is_some());
    drop(filler);
    let received = theirs.recv().unwrap();
    tell(&received[0]);
    hear(&read);
    assert!(theirs.recv().unwrap().is_empty());
}
