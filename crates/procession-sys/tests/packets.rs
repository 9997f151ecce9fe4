//! Packets with descriptors, where the system has no more of what they need.
//!
//! Relies on the test kit: limits are those of a process of its own, and so are its user's rights.

use std::os::fd::AsFd;

use procession_sys::{PacketSocket, Scarcity, become_user, dev_null, is_root, is_too_many_in_flight, limit};
use procession_testkit::{open_descriptors, program};

procession_testkit::main! {
    cases: [
        a_packet_that_cannot_be_peeked_at_for_want_of_descriptors_stays,
        descriptors_in_flight_are_limited_for_those_who_are_not_root,
    ];
    programs: [floods_as_somebody_else];
}

fn a_packet_that_cannot_be_peeked_at_for_want_of_descriptors_stays() {
    const SENT: usize = 10;
    let (a, b) = PacketSocket::pair().unwrap();
    let null = dev_null().unwrap();
    a.send([b"x"], &[null.as_fd(); SENT]).unwrap();
    let open = open_descriptors();
    // Some of them find room, and not all: there are so many numbers left below the limit.
    let mut free = (0..).filter(|number| open.iter().all(|open| open.number != *number));
    let end = free.nth(SENT / 2).unwrap();
    let before = limit(Scarcity::OpenFiles, Some(end.into())).unwrap();
    let error = b.peek(1).unwrap_err();
    limit(Scarcity::OpenFiles, before).unwrap();
    assert!(error.to_string().contains("open files"), "{error}");
    assert_eq!(open_descriptors().len(), open.len(), "those that arrived are closed");
    assert_eq!(b.peek(1).unwrap().unwrap().descriptors.len(), SENT);
}

/// A user that no process here belongs to, so that it has nothing in flight.
const SOMEBODY: u32 = 65_531;

/// As many descriptors as its user may have in flight.
const IN_FLIGHT_MAX: u64 = 40;

/// Sends until it may not, as a user without rights where it can become one.
fn floods_as_somebody_else() {
    if is_root() {
        become_user(SOMEBODY, SOMEBODY).unwrap();
    }
    let (a, b) = PacketSocket::pair().unwrap();
    let null = dev_null().unwrap();
    limit(Scarcity::OpenFiles, Some(IN_FLIGHT_MAX)).unwrap();
    let mut sent = 0;
    let error = loop {
        match a.try_send([b"x"], &[null.as_fd()]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(is_too_many_in_flight(&error), "{error}");
    assert!(sent <= IN_FLIGHT_MAX + 1, "{sent}");
    // What needs none goes on, and so does everything when some have been taken.
    a.try_send([b"y"], &[]).unwrap();
    for _ in 0..sent {
        assert!(b.discard().unwrap());
    }
    a.try_send([b"x"], &[null.as_fd()]).unwrap();
    println!("{sent}");
}

fn descriptors_in_flight_are_limited_for_those_who_are_not_root() {
    let output = program("floods_as_somebody_else").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let sent: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    assert!(sent <= IN_FLIGHT_MAX + 1);
}
