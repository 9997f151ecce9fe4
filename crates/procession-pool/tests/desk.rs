//! A desk between processes: what a worker that is killed at any step leaves there, and what the desk costs.
//!
//! Relies on the test kit, whose fail points kill a child at a step. The desk is nobody's but the pool's, so this test has
//! its source.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;
#[expect(dead_code, unused_imports, reason = "the pool uses all of it")]
#[path = "../src/desk/mod.rs"]
mod desk;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::{methods, start};
use desk::front::{Front, SOON};
use desk::{Bells, Bytes, Desk, NotDrained, NotOffered, Parcel, Readiness, Seat, Seq, WorkerKit};
use procession_launch::{Process, StartMethod};
use procession_sys::{Deadline, Interest, fail_points, poll_one};
use procession_testkit::open_descriptors;
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        orders_go_to_another_process_and_reports_come_back,
        a_desk_costs_its_pool_one_descriptor,
        a_worker_killed_at_any_step_loses_the_order_it_had_begun_and_nothing_else,
        a_worker_killed_at_any_moment_leaves_whole_reports_and_the_beginning_of_one,
        a_worker_killed_while_it_passes_a_revoked_order_loses_nothing,
        a_worker_killed_asleep_or_out_of_room_has_shown_what_it_had,
        a_parcel_that_a_dead_worker_has_not_received_is_closed,
        large_bodies_go_by_a_tray_and_its_memory_is_given_back,
    ];
    cases: [without_descriptors_nothing_is_lost];
}

/// Items of each report.
const ITEMS: usize = 3;

/// Has this process killed at a step, when it has been there so often.
fn die_at(place: String, before: u32) {
    fail_points::arm(Box::leak(place.into_boxed_str()), before, fail_points::kill);
}

/// Reports on each order with its bytes, several times, and a parcel with a descriptor.
fn work(kit: WorkerKit, place: String, before: u32) {
    let mut seat = Seat::open(kit).unwrap();
    seat.append(b"began").unwrap();
    seat.ready(true);
    if !place.is_empty() {
        die_at(place, before);
    }
    let null = procession_sys::dev_null().unwrap();
    while let Some(order) = seat.next_order().unwrap() {
        for _ in 0..ITEMS {
            seat.append(&order.bytes).unwrap();
        }
        seat.send_parcel(order.seq, Parcel { body: &order.bytes, descriptors: &[null.as_fd()] }).unwrap();
        seat.finish(order.seq);
    }
}

fn was_killed<R>(child: Process<R>, what: &str) {
    assert_eq!(child.wait().unwrap().exitcode(), -9, "{what}: it never came there");
}

fn orders_go_to_another_process_and_reports_come_back(method: StartMethod) {
    let (mut front, kit) = Front::new();
    front.desk.let_spin(true);
    let child = start(method, work, (kit, String::new(), 0));
    front.await_finished(1);
    assert_eq!((front.report(0), front.desk.readiness()), (b"began".as_slice(), Readiness::Ready));
    for seq in 1..200 {
        front.put(&[b"order", &[seq as u8]], None).unwrap();
        if seq % 7 == 0 {
            front.await_finished(1 + seq);
        }
    }
    front.await_finished(200);
    for seq in 1..200 {
        assert_eq!(front.report(seq), [b'o', b'r', b'd', b'e', b'r', seq as u8].repeat(ITEMS));
        let parcels = front.desk.take_parcels(seq);
        assert!(parcels.len() == 1 && parcels[0].descriptors.len() == 1);
    }
    front.desk.retire();
    child.join().unwrap();
}

fn a_desk_costs_its_pool_one_descriptor(method: StartMethod) {
    let bells = Bells::new().unwrap();
    let (mut desk, kit) = Desk::new(&bells).unwrap();
    let child = start(method, work, (kit, String::new(), 0));
    let with = open_descriptors().len();
    desk.retire();
    drop(desk);
    assert_eq!(with, open_descriptors().len() + 1);
    child.join().unwrap();
}

/// A step of an order's, how often the worker comes there before the second order's, and what it leaves: how many items of
/// that order's report, how many parcels, and whether it has done it.
const STEPS: [(&str, u32, usize, usize, bool); 8] = [
    ("desk: begun", 1, 0, 0, false),
    ("desk: taken", 1, 0, 0, false),
    ("desk: written", ITEMS as u32, 0, 0, false),
    ("desk: written", ITEMS as u32 + 2, 2, 0, false),
    ("desk: sent", 1, ITEMS, 0, false),
    ("desk: to finish", 1, ITEMS, 1, false),
    ("desk: finished", 1, ITEMS, 1, true),
    ("desk: begun", 2, ITEMS, 1, true),
];

fn a_worker_killed_at_any_step_loses_the_order_it_had_begun_and_nothing_else(method: StartMethod) {
    for (place, before, items, parcels, is_done) in STEPS {
        let what = format!("{place} {before}");
        let (mut front, kit) = Front::new();
        let orders = [b"one".as_slice(), b"two", b"three", b"four"];
        for order in orders {
            front.put(&[order], None).unwrap();
        }
        was_killed(start(method, work, (kit, place.to_owned(), before)), &what);
        front.look();
        assert_eq!(front.finished, if is_done { vec![0, 1, 2] } else { vec![0, 1] }, "{what}");
        assert_eq!(front.report(1), b"one".repeat(ITEMS), "{what}");
        assert_eq!(front.report(2), b"two".repeat(items), "{what}");
        assert_eq!(front.desk.take_parcels(1).len(), 1);
        assert_eq!(front.desk.take_parcels(2).len(), parcels, "{what}");
        let running = if place == "desk: begun" { Some(u64::from(before) + 1) } else { (!is_done).then_some(2) };
        assert_eq!(front.desk.running(), running, "{what}");
        for seq in 1..=4 {
            let is_left = seq > running.unwrap_or(2);
            assert_eq!(front.desk.revoke(seq), is_left, "{what}: {seq}");
        }
    }
}

/// Reports on each order with its bytes, several times.
fn echo(kit: WorkerKit) {
    let mut seat = Seat::open(kit).unwrap();
    seat.ready(true);
    while let Some(order) = seat.next_order().unwrap() {
        for _ in 0..ITEMS {
            seat.append(&order.bytes).unwrap();
        }
        seat.finish(order.seq);
    }
}

fn a_worker_killed_at_any_moment_leaves_whole_reports_and_the_beginning_of_one(method: StartMethod) {
    let order = |seq: Seq| vec![seq as u8; (seq * 7 % 900) as usize];
    for round in 0..15_u64 {
        let (mut front, kit) = Front::new();
        front.desk.let_spin(round % 2 == 0);
        let child = start(method, echo, (kit,));
        front.await_finished(1);
        // Each time a little later.
        let end = Instant::now() + Duration::from_micros(round * round * 40);
        let mut next = 1;
        while Instant::now() < end {
            while front.put(&[&order(next)], None).is_ok() {
                next += 1;
            }
            front.look();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        front.look();
        let done = front.finished.len() as u64;
        assert!(front.finished.iter().copied().eq(0..done), "{round}: {:?}", front.finished);
        assert!((1..done).all(|seq| front.report(seq) == order(seq).repeat(ITEMS)), "{round}");
        assert!(order(done).repeat(ITEMS).starts_with(front.report(done)), "{round}");
        assert!((done + 1..next).all(|seq| front.report(seq).is_empty()), "{round}");
        let left = done + u64::from(front.desk.running().is_some());
        assert!((left..next).all(|seq| front.desk.revoke(seq)), "{round}: {left} of {next}");
    }
}

fn a_worker_killed_while_it_passes_a_revoked_order_loses_nothing(method: StartMethod) {
    let (mut front, kit) = Front::new();
    let seqs = [b"one", b"two"].map(|order| front.put(&[order], None).unwrap());
    assert!(front.desk.revoke(seqs[0]));
    was_killed(start(method, work, (kit, "desk: skipped".to_owned(), 0)), "skipped");
    front.look();
    assert_eq!((front.finished.as_slice(), front.desk.running()), ([0].as_slice(), None));
    assert!(front.desk.revoke(seqs[1]));
}

/// Reports without an end.
fn talk(kit: WorkerKit) {
    let mut seat = Seat::open(kit).unwrap();
    seat.ready(true);
    die_at("desk: sleeps".to_owned(), 0);
    seat.next_order().unwrap();
    for word in 0_u64.. {
        seat.append(&word.to_le_bytes()).unwrap();
    }
}

fn a_worker_killed_asleep_or_out_of_room_has_shown_what_it_had(method: StartMethod) {
    let (mut front, kit) = Front::new();
    was_killed(start(method, work, (kit, "desk: sleeps".to_owned(), 0)), "asleep");
    front.look();
    assert_eq!((front.finished.as_slice(), front.desk.running()), ([0].as_slice(), None));

    let (mut front, kit) = Front::new();
    let seq = front.put(&[b"x"], None).unwrap();
    was_killed(start(method, talk, (kit,)), "out of room");
    front.look();
    assert_eq!(front.desk.running(), Some(seq));
    let report = front.report(seq);
    assert!(report.len() > 100_000);
    assert!(report.chunks(8).enumerate().all(|(at, word)| word == (at as u64).to_le_bytes()));
}

fn a_parcel_that_a_dead_worker_has_not_received_is_closed(method: StartMethod) {
    let (mut front, kit) = Front::new();
    let (read, write) = common::pipe();
    let parcel = Parcel { body: b"x", descriptors: &[write.as_fd()] };
    for _ in 0..3 {
        front.put(&[b"x"], Some(parcel)).unwrap();
    }
    drop(write);
    was_killed(start(method, work, (kit, "desk: taken".to_owned(), 1)), "taken");
    assert!(poll_one(&read, Interest::Read, Deadline::after(SOON)).unwrap(), "nobody holds the pipe");
    let refused = front.put(&[b"x"], Some(Parcel { body: b"x", descriptors: &[] })).unwrap_err();
    assert!(matches!(refused, NotOffered::Gone), "{refused:?}");
}

/// How many mappings of trays a process has.
fn trays(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines().filter(|line| line.contains("procession-tray")).count()
}

/// What [`sum`] reports on a parcel that came whole.
fn summed(way: u8, len: usize, descriptors: usize) -> Vec<u8> {
    [&[way, 1, descriptors as u8], len.to_le_bytes().as_slice()].concat()
}

/// Reports on each parcel by which way it came, and what it is.
fn sum(kit: WorkerKit) {
    let mut seat = Seat::open(kit).unwrap();
    seat.ready(true);
    while let Some(order) = seat.next_order().unwrap() {
        let parcel = order.parcel.unwrap();
        let way = match parcel.body {
            Bytes::Own(_) => b'o',
            Bytes::Mapped(_) => b'm',
            Bytes::Lent(_) => b't',
        };
        let (len, descriptors) = (parcel.body.as_ref().len(), parcel.descriptors.len());
        let is_whole = parcel.body.as_ref().iter().all(|&byte| byte == len as u8);
        assert_eq!(parcel.into_decoder().value::<u8>().unwrap(), len as u8);
        let mut summed = summed(way, len, descriptors);
        summed[1] = is_whole.into();
        seat.append(&summed).unwrap();
        seat.finish(order.seq);
    }
}

fn large_bodies_go_by_a_tray_and_its_memory_is_given_back(method: StartMethod) {
    const MIB: usize = 1 << 20;
    let (mut front, kit) = Front::new();
    let child = start(method, sum, (kit,));
    let null = procession_sys::dev_null().unwrap();
    let mut sent = 1;
    for round in 0..2 {
        for (len, way) in
            [65_537, 3 * MIB + 5, MIB, 10, 4 * MIB + 1, 100_001, 65 * MIB + 3].into_iter().zip(*b"tttottm")
        {
            let (body, descriptors) = (vec![len as u8; len], vec![null.as_fd(); len % 3 * 150]);
            let parcel = Parcel { body: &body, descriptors: &descriptors };
            let seq = front.put(&[b"x"], Some(parcel)).unwrap();
            sent += 1;
            front.await_finished(sent);
            assert_eq!(front.report(seq), summed(way, len, descriptors.len()), "{round}: {len}");
        }
        assert_eq!([child.pid(), procession_sys::pid()].map(trays), [1, 1]);
        assert!(front.desk.give_memory_back() && front.desk.give_memory_back());
        let end = Instant::now() + SOON;
        while [child.pid(), procession_sys::pid()].map(trays) != [0, 0] {
            assert!(Instant::now() < end, "an idle worker hears of it");
            std::thread::yield_now();
        }
    }
    front.desk.retire();
    child.join().unwrap();
}

fn without_descriptors_nothing_is_lost() {
    let (mut front, kit) = Front::new();
    let mut seat = Seat::open(kit).unwrap();
    let null = Descriptor::from(procession_sys::dev_null().unwrap());
    seat.send_parcel(0, Parcel { body: b"x", descriptors: &[null.as_fd()] }).unwrap();
    let mut taken = Vec::new();
    procession_sys::limit(procession_sys::Scarcity::OpenFiles, Some(100)).unwrap();
    while let Ok(fd) = procession_sys::dev_null() {
        taken.push(fd);
    }
    let error = front.desk.drain(&mut |_, _| {}).unwrap_err();
    assert!(matches!(&error, NotDrained::System(_)), "{error:?}");
    drop(taken);
    assert_eq!(front.desk.drain(&mut |_, _| {}).unwrap().frames, 1);
    assert_eq!(front.desk.take_parcels(0)[0].descriptors.len(), 1);
}
