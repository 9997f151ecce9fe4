//! How a pipe ends: closed, dropped, or with a peer that is killed at any step.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use procession_ipc::{
    BytesConnection, Connection, RecvError, SendError, Waitable, pipe, pipe_bytes, wait_ready, wait_ready_timeout,
};
use procession_launch::StartMethod;
use procession_sys::fail_points;
use procession_wire::{Descriptor, encode};

use crate::common::{hear, pipe as signal, start, tell};
use crate::{LATE, MIB, SOON, is_end, is_gone, null, pattern};

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

pub(crate) fn the_end_comes_however_the_peer_goes(method: StartMethod) {
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

pub(crate) fn a_sender_is_told_however_the_peer_goes(method: StartMethod) {
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

pub(crate) fn who_waits_for_room_is_told_that_the_peer_was_killed(method: StartMethod) {
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

pub(crate) fn whoever_is_killed_at_any_step_of_a_send_has_sent_all_or_nothing(method: StartMethod) {
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

pub(crate) fn a_sender_killed_in_a_message_of_64_mib_leaves_nothing_half(method: StartMethod) {
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

pub(crate) fn whoever_is_killed_at_any_step_of_a_receive_leaves_the_rest(method: StartMethod) {
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

pub(crate) fn a_closed_end_is_an_error() {
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

pub(crate) fn closing_ends_the_waits_of_other_threads() {
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

pub(crate) fn a_wait_is_ended_by_a_message_and_by_the_end() {
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

pub(crate) fn what_a_killed_sender_left_does_not_ring_for_ever() {
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
