//! Slots between processes: who holds them, and what is left when a process is killed.
//!
//! Relies on the test kit, whose fail points kill a child where its books are half written; order is told by pipes.
//!
//! # Safety
//! Two cases fork beside threads, which hold no lock at that moment but libc's own and those of what is tested.

#![expect(unsafe_code, reason = "forks a process with threads")]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, JoinError, Process, StartMethod};
use procession_shm::arena::{ArenaError, OWNERS_MAX, Owner, SLOT_BYTES_MAX, Slot, collect, statistics};
use procession_sys::{Deadline, PacketSocket, Scarcity, fail_points, limit};
use procession_wire::{Decoder, Descriptor, Message, decode, encode};
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        an_arena_is_gone_with_its_last_slot,
        a_slot_is_zero_again_when_it_is_used_again,
        five_thousand_slots_are_handed_out_once_each_and_all_come_back,
        a_message_has_one_descriptor_for_any_number_of_slots,
        a_message_holds_its_slots_until_it_is_thrown_away,
        a_message_that_is_closed_with_its_socket_holds_nothing,
        handles_are_dropped_in_the_middle_of_everything within 60,
        a_slot_of_another_kind_is_refused,
        a_copy_keeps_what_its_parent_drops,
        a_copy_is_another_from_its_fork_to_its_end,
        a_program_that_a_child_executes_holds_nothing,
        a_fork_without_descriptors_makes_handles_that_do_nothing,
        a_copy_does_not_keep_its_parent_alive,
        the_death_of_a_large_process_is_seen_before_its_memory_is_freed within 60,
        a_copy_that_is_killed_at_any_step_leaves_whole_books within 120,
        copies_that_are_killed_at_any_time_leave_whole_books within 120,
        copies_of_a_process_whose_threads_are_busy_have_what_they_need within 120,
        nobody_collects_while_a_thread_forks,
    ];
    cases for methods(), [
        a_child_counts_in_its_parents_slot,
        a_slot_outlives_the_child_that_made_it,
        slots_travel_in_whatever_holds_them,
        a_child_that_is_killed_gives_up_what_it_has,
        others_hold_a_slot_while_they_live_or_a_message_does,
        a_child_that_is_killed_at_any_step_leaves_whole_books within 120,
    ];
}

/// What the slots of these tests hold.
const KIND: u64 = 0x7465_7374;

fn slot() -> Slot {
    Slot::allocate(64, KIND).unwrap()
}

fn value(slot: &Slot) -> u64 {
    slot.atomic_u64(0).unwrap().load(SeqCst)
}

/// Asserts that so many slots are somebody's in the arenas of this process, now that what was left behind is collected.
#[track_caller]
fn assert_live(expected: u32) {
    collect();
    let now = statistics();
    assert_eq!((now.live, now.unsettled, now.free), (expected, 0, now.slots - expected), "{now:?}");
}

/// Waits until no other process uses this process's one arena: what a killed child has started ends a moment after it.
#[track_caller]
fn wait_until_alone() {
    let deadline = Deadline::after(Duration::from_secs(10));
    while statistics().owners > 1 && !deadline.has_passed() {
        thread::yield_now();
    }
    assert_eq!((statistics().arenas, statistics().owners), (1, 1));
}

fn an_arena_is_gone_with_its_last_slot() {
    let first = slot();
    let second = first.clone();
    drop(first);
    assert_eq!(statistics().arenas, 1);
    drop(second);
    assert_eq!(statistics().arenas, 0);
}

fn a_slot_is_zero_again_when_it_is_used_again() {
    let _other = slot();
    for bytes in [1, 64, 65, 1024, SLOT_BYTES_MAX] {
        let slot = Slot::allocate(bytes, KIND).unwrap();
        let place = slot.as_ptr().unwrap();
        slot.write(0, &vec![0xff; bytes]).unwrap();
        drop(slot);
        let again = Slot::allocate(bytes, KIND).unwrap();
        assert_eq!(again.as_ptr().unwrap(), place, "the first slot that is free is used first");
        let mut read = vec![1; bytes];
        again.read(0, &mut read).unwrap();
        assert!(read.iter().all(|byte| *byte == 0));
    }
    assert!(Slot::allocate(SLOT_BYTES_MAX + 1, KIND).unwrap_err().to_string().contains("SharedMemory"));
}

fn five_thousand_slots_are_handed_out_once_each_and_all_come_back() {
    let first = slot();
    let slots: Vec<Slot> = (0..5000).map(|_| slot()).collect();
    for (number, slot) in slots.iter().enumerate() {
        assert_eq!(slot.atomic_u64(0).unwrap().swap(number as u64, SeqCst), 0);
    }
    assert!(slots.iter().enumerate().all(|(number, slot)| value(slot) == number as u64));
    assert_live(5001);
    assert_eq!(statistics().arenas, 2, "one arena has not so many of this size");
    drop(slots);
    assert_live(1);
    assert_eq!(statistics().arenas, 1);
    drop(first);
}

fn a_message_has_one_descriptor_for_any_number_of_slots() {
    let slots: Vec<Slot> = (0..300).map(|_| slot()).collect();
    let message = encode(&slots).unwrap();
    assert_eq!(message.descriptor_count(), 1);
    let arrived: Vec<Slot> = decode(message).unwrap();
    assert!(slots.iter().zip(&arrived).all(|(sent, arrived)| sent.is_same(arrived)));
    drop(slots);
    assert_live(300);
}

fn a_message_holds_its_slots_until_it_is_thrown_away() {
    let kept = slot();
    let sent = slot();
    sent.atomic_u64(0).unwrap().store(5, SeqCst);
    let message: Message = encode(&(sent.clone(), sent)).unwrap();
    assert_live(2);
    let (first, second): (Slot, Slot) = decode(message).unwrap();
    drop(first);
    assert_live(2);
    assert_eq!(value(&second), 5);
    let message = encode(&second).unwrap();
    drop(second);
    assert_live(2);
    drop(message);
    assert_live(1);
    drop(kept);
}

fn count(slot: Slot, times: u64) -> u64 {
    let slot = slot.expect(KIND).unwrap();
    for _ in 0..times {
        slot.atomic_u64(0).unwrap().fetch_add(1, SeqCst);
    }
    assert_eq!(statistics().owners, 2);
    value(&slot)
}

fn a_child_counts_in_its_parents_slot(method: StartMethod) {
    let slot = slot();
    assert_eq!(start(method, count, (slot.clone(), 10)).join().unwrap(), 10);
    assert_eq!(start(method, count, (slot.clone(), 5)).join().unwrap(), 15);
    assert_eq!(value(&slot), 15);
    assert_live(1);
    assert!(statistics().owners < OWNERS_MAX);
}

fn a_message_that_is_closed_with_its_socket_holds_nothing() {
    let kept = slot();
    let sent = slot();
    let (there, here) = PacketSocket::pair().unwrap();
    for _ in 0..3 {
        let message = encode(&(&sent, &kept).0.clone()).unwrap();
        let descriptors: Vec<_> = message.descriptors().collect();
        there.send([message.bytes()], &descriptors).unwrap();
    }
    let packet = here.receive(64, Deadline::NEVER).unwrap().unwrap();
    drop(sent);
    let arrived: Slot = Decoder::new(packet.bytes, packet.descriptors).value().unwrap();
    drop(arrived);
    assert_live(2);
    drop((there, here));
    assert_live(1);
    drop(kept);
}

/// What a process does with slots, once each.
fn all_there_is(slots: &[Slot]) {
    let own: Vec<Slot> = [1, 100, 1000, 4096].iter().map(|bytes| Slot::allocate(*bytes, KIND).unwrap()).collect();
    let copies = slots.to_vec();
    let message = encode(&(copies, own.clone())).unwrap();
    drop(own);
    let (copies, own): (Vec<Slot>, Vec<Slot>) = decode(message).unwrap();
    let _ = own[0].is_held_by_others();
    drop(encode(&own).unwrap());
    drop((copies, own));
    collect();
}

/// As a signal handler would: at every step of everything.
fn handles_are_dropped_in_the_middle_of_everything() {
    let slots = [slot(), slot()];
    let mut before = 0;
    loop {
        let (same, other) = (slots[0].clone(), slot());
        fail_points::arm_any(before, move || drop((same, other)));
        all_there_is(&slots);
        if fail_points::is_armed() {
            break;
        }
        assert_live(2);
        before += 1;
    }
    assert!(before > 50, "it was no more than {before} steps");
    fail_points::disarm();
    assert_live(2);
}

fn a_slot_of_another_kind_is_refused() {
    let error = slot().expect(KIND + 1).unwrap_err();
    assert!(matches!(error, ArenaError::WrongKind { found: KIND, .. }), "{error}");
    assert_eq!(statistics().arenas, 0);
}

fn a_copy_keeps_what_its_parent_drops() {
    let kept = slot();
    let given = make(vec![7]).remove(0);
    let (wait, go) = pipe();
    // The parent's own handle is dropped with the closure.
    let child = Context::new(StartMethod::Fork).fork(move || {
        hear(&wait);
        let more = given.clone();
        drop(given);
        value(&decode::<Slot>(encode(&more).unwrap()).unwrap())
    });
    let child = child.unwrap();
    assert_live(2);
    let others = make(vec![8; 10]);
    tell(&go);
    assert_eq!(child.join().unwrap(), 7);
    assert_live(11);
    drop((kept, others));
}

fn a_program_that_a_child_executes_holds_nothing() {
    let slots = [slot(), slot()];
    let (executed, executes) = pipe();
    let (end, ends) = pipe();
    let [mine, childs] = slots;
    let child = Context::new(StartMethod::Fork).fork(move || {
        let _held = (&childs, &executes);
        let mut program = Command::new("cat");
        Err::<(), _>(program.stdin(ends_of(&end)).exec().to_string())
    });
    let child = child.unwrap();
    // The child's own end of this pipe is closed when it executes.
    File::from(executed.into_owned().unwrap()).read_to_end(&mut Vec::new()).unwrap();
    wait_until_alone();
    assert_live(1);
    drop((mine, ends));
    assert_eq!(child.wait().unwrap().exitcode(), 0);
    drop(child);
}

/// A pipe's end as a program's stream.
fn ends_of(descriptor: &Descriptor) -> std::process::Stdio {
    descriptor.as_fd().try_clone_to_owned().unwrap().into()
}

fn a_fork_without_descriptors_makes_handles_that_do_nothing() {
    let slot = Rc::new(slot());
    slot.atomic_u64(0).unwrap().store(3, SeqCst);
    let before = limit(Scarcity::OpenFiles, Some(1 << 10)).unwrap();
    // Between the launcher's own pipes and the fork.
    let allow = |descriptors| move || assert!(limit(Scarcity::OpenFiles, Some(descriptors)).is_ok());
    fail_points::arm("fork: begins", 0, allow(0));
    fail_points::arm("fork: prepared", 0, allow(1 << 10));
    let childs = Rc::clone(&slot);
    let child = Context::new(StartMethod::Fork).fork(move || {
        let refused = childs.atomic_u64(0).is_err() && encode(&*childs).is_err() && (*childs).clone().as_ptr().is_err();
        drop((*childs).clone());
        drop(childs);
        let fresh = Slot::allocate(8, KIND).unwrap();
        refused && fresh.atomic_u64(0).unwrap().fetch_add(1, SeqCst) == 0
    });
    assert!(child.unwrap().join().unwrap());
    assert!(!fail_points::is_armed());
    limit(Scarcity::OpenFiles, before).unwrap();
    assert_eq!(value(&slot), 3);
    assert_live(1);
}

/// Says in the slot who it is, forks a copy that outlives it, and is killed.
fn leave_a_copy_behind(slot: Slot, with_descriptors: bool, wait: Descriptor, told: Descriptor) {
    slot.atomic_u32(0).unwrap().store(slot.own_name().unwrap().word(), SeqCst);
    if !with_descriptors {
        fail_points::arm("fork: begins", 0, || assert!(limit(Scarcity::OpenFiles, Some(0)).is_ok()));
        fail_points::arm("fork: prepared", 0, || assert!(limit(Scarcity::OpenFiles, Some(1 << 10)).is_ok()));
    }
    let parent = slot.own_name().unwrap();
    let copy = || {
        assert!(!slot.is_own_name(parent), "it has another name, or none");
        tell(&told);
        hear(&wait); // Until nobody can write there any more.
        0
    };
    // SAFETY: a child of the fork server has one thread.
    unsafe { procession_sys::fork(copy) }.unwrap();
    fail_points::kill();
}

fn a_copy_does_not_keep_its_parent_alive() {
    for with_descriptors in [true, false] {
        let slot = slot();
        let ((wait, end), (told, tells)) = (pipe(), pipe());
        let target = (slot.clone(), with_descriptors, wait, tells);
        assert!(start(StartMethod::ForkServer, leave_a_copy_behind, target).join().is_err());
        hear(&told);
        let parent = Owner::from_word(slot.atomic_u32(0).unwrap().load(SeqCst)).unwrap();
        assert!(!slot.is_alive(parent), "descriptors for the copy: {with_descriptors}");
        let own = slot.own_name().unwrap();
        assert!(slot.is_alive(own));
        assert_eq!([own, parent].map(|name| slot.is_own_name(name)), [true, false]);
        drop(end);
    }
}

/// Says in the slot who it is, as a process of so many bytes, and waits to be killed.
fn be_large(slot: Slot, bytes: usize, told: Descriptor, wait: Descriptor) {
    let memory = vec![1_u8; bytes];
    slot.atomic_u32(0).unwrap().store(slot.own_name().unwrap().word(), SeqCst);
    tell(&told);
    hear(&wait);
    drop(memory);
}

fn the_death_of_a_large_process_is_seen_before_its_memory_is_freed() {
    let sees = || {
        let slot = slot();
        let ((told, tells), (wait, _open)) = (pipe(), pipe());
        let child = start(StartMethod::ForkServer, be_large, (slot.clone(), 256 << 20, tells, wait));
        hear(&told);
        let name = Owner::from_word(slot.atomic_u32(0).unwrap().load(SeqCst)).unwrap();
        assert!(slot.goes_on(name));
        child.kill().unwrap();
        while slot.goes_on(name) {}
        let is_early = slot.is_alive(name);
        assert!(child.join().is_err());
        assert!(!slot.is_alive(name));
        is_early
    };
    // Each takes the kernel some 30 ms, in which this process is to run once.
    assert!((0..10).any(|_| sees()));
}

fn make(values: Vec<u64>) -> Vec<Slot> {
    let make = |value: &u64| {
        let slot = slot();
        slot.atomic_u64(0).unwrap().store(*value, SeqCst);
        slot
    };
    values.iter().map(make).collect()
}

fn a_slot_outlives_the_child_that_made_it(method: StartMethod) {
    let slots = start(method, make, (vec![1, 2, 3],)).join().unwrap();
    assert_eq!(slots.iter().map(value).collect::<Vec<_>>(), [1, 2, 3]);
    assert_live(3);
    assert_eq!(statistics().owners, 1);
}

#[derive(Serialize, Deserialize, Clone)]
struct Nested {
    slot: Slot,
    more: BTreeMap<String, Option<Slot>>,
}

fn pass_through(nested: Vec<Nested>) -> Vec<Nested> {
    nested.iter().for_each(|nested| {
        nested.slot.atomic_u64(8).unwrap().fetch_add(1, SeqCst);
    });
    nested
}

fn slots_travel_in_whatever_holds_them(method: StartMethod) {
    let slots = make((0..100).collect());
    let nested = slots.iter().map(|slot| {
        let more = [("some".to_owned(), Some(slot.clone())), ("none".to_owned(), None)].into();
        Nested { slot: slot.clone(), more }
    });
    let nested = start(method, pass_through, (nested.collect(),)).join().unwrap();
    assert_live(100);
    for (slot, nested) in slots.iter().zip(&nested) {
        assert!(slot.is_same(&nested.slot) && slot.is_same(nested.more["some"].as_ref().unwrap()));
        assert_eq!(slot.atomic_u64(8).unwrap().load(SeqCst), 1);
    }
    drop(nested);
    assert_live(100);
}

fn hold(slots: Vec<Slot>, told: Descriptor, never: Descriptor) {
    tell(&told);
    hear(&never);
    drop(slots);
}

fn a_child_that_is_killed_gives_up_what_it_has(method: StartMethod) {
    let kept = slot();
    let given = make(vec![1, 2, 3]);
    let ((heard, told), (never, _open)) = (pipe(), pipe());
    let child = start(method, hold, (given, told, never));
    hear(&heard);
    assert_live(4);
    assert_eq!(statistics().owners, 2);
    child.kill().unwrap();
    assert_killed(child);
    assert_live(1);
    drop(kept);
}

fn others_hold_a_slot_while_they_live_or_a_message_does(method: StartMethod) {
    let given = make(vec![1, 2]);
    let same = given.clone();
    let others = || given.iter().map(Slot::is_held_by_others).collect::<Vec<_>>();
    assert_eq!(others(), [false, false]);
    let ((heard, told), (never, _open)) = (pipe(), pipe());
    let child = start(method, hold, (same, told, never));
    hear(&heard);
    assert_eq!(others(), [true, true]);
    child.kill().unwrap();
    assert_killed(child);
    // Nobody has collected what it left.
    assert_eq!(others(), [false, false]);
    let message = encode(&given[1]).unwrap();
    let (there, here) = PacketSocket::pair().unwrap();
    there.send([message.bytes()], &message.descriptors().collect::<Vec<_>>()).unwrap();
    drop(message);
    assert_eq!(others(), [false, true]);
    drop((there, here));
    assert_eq!(others(), [false, false]);
    assert_live(2);
}

fn a_copy_is_another_from_its_fork_to_its_end() {
    let slot = Rc::new(slot());
    let (wait, go) = pipe();
    let childs = Rc::clone(&slot);
    let child = Context::new(StartMethod::Fork).fork(move || {
        hear(&wait);
        childs.is_held_by_others()
    });
    let child = child.unwrap();
    assert!(slot.is_held_by_others());
    tell(&go);
    assert!(child.join().unwrap());
    assert!(!slot.is_held_by_others());
}

#[track_caller]
fn assert_killed<R>(child: Process<R>) {
    let status = child.wait().unwrap();
    assert_eq!(status.exitcode(), -9);
}

/// Does all there is, and is killed after so many steps of it. True when there were not so many.
fn live(slots: Vec<Slot>, before: u32) -> bool {
    let message = encode(&slots).unwrap();
    drop(slots);
    fail_points::arm_any(before, fail_points::kill);
    // In a process that was not forked this opens the arena anew.
    let slots: Vec<Slot> = decode(message).unwrap();
    all_there_is(&slots);
    let copied = slots.clone();
    if let Ok(child) = Context::new(StartMethod::Fork).fork(move || all_there_is(&copied)) {
        // A copy has what was armed as well.
        let _ = child.join();
    }
    drop(slots);
    let is_over = fail_points::is_armed();
    fail_points::disarm();
    is_over
}

/// Has children killed at the first step, at the second, and so on, until one lives to its end; after each the books are
/// whole. Says how many were killed.
fn kill_at_each_step(slots: &[Slot], mut child: impl FnMut(u32) -> Result<bool, JoinError>) -> u32 {
    for before in 0.. {
        match child(before) {
            Ok(true) => return before,
            Ok(false) => panic!("it went on after it was killed"),
            Err(JoinError::Signaled { .. }) => {}
            Err(error) => panic!("step {before}: {error}"),
        }
        wait_until_alone();
        assert_live(2);
        assert_eq!(slots.iter().map(value).collect::<Vec<_>>(), [1, 2]);
    }
    unreachable!("one of them lives")
}

fn a_child_that_is_killed_at_any_step_leaves_whole_books(method: StartMethod) {
    let slots = make(vec![1, 2]);
    let steps = kill_at_each_step(&slots, |before| start(method, live, (slots.clone(), before)).join());
    assert!(steps > 100, "it was no more than {steps} steps");
    assert_live(2);
}

/// As above, where the child is a copy and allocates in its parent's own arena.
fn a_copy_that_is_killed_at_any_step_leaves_whole_books() {
    let slots = Rc::new(make(vec![1, 2]));
    kill_at_each_step(&slots, |before| {
        let childs = Rc::clone(&slots);
        let child = Context::new(StartMethod::Fork).fork(move || {
            let own: Vec<Slot> = childs.to_vec();
            drop(childs);
            live(own, before)
        });
        child.unwrap().join()
    });
    wait_until_alone();
    assert_live(2);
}

/// How many copies are killed while they do all there is, again and again.
const KILLS: u64 = 150;

fn copies_that_are_killed_at_any_time_leave_whole_books() {
    let slots = Rc::new(make(vec![1, 2]));
    let start = || {
        let childs = Rc::clone(&slots);
        let child = Context::new(StartMethod::Fork).fork(move || -> () {
            loop {
                all_there_is(&childs);
            }
        });
        child.unwrap()
    };
    let mut children: Vec<_> = (0..3).map(|_| start()).collect();
    for kill in 0..KILLS {
        let child = children.remove(0);
        // A different time each, from none to what all there is takes a few times.
        assert!(child.wait_timeout(Duration::from_micros(kill * 37 % 2000)).unwrap().is_none());
        child.kill().unwrap();
        assert_killed(child);
        children.push(start());
        all_there_is(&slots);
        assert_eq!(slots.iter().map(value).collect::<Vec<_>>(), [1, 2]);
    }
    for child in children {
        child.kill().unwrap();
        assert_killed(child);
    }
    assert_live(2);
    assert_eq!(statistics().owners, 1);
}

/// How often a process forks while its threads do all there is.
const BUSY_FORKS: u32 = 100;

fn copies_of_a_process_whose_threads_are_busy_have_what_they_need() {
    let slots = make(vec![1, 2]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    all_there_is(&slots);
                }
            });
        }
        for _ in 0..BUSY_FORKS {
            let copied = slots.clone();
            let use_them = move || {
                all_there_is(&copied);
                copied.iter().map(value).collect::<Vec<_>>()
            };
            // SAFETY: what the copy calls waits for locks of libc, which its fork makes free, and of the list of arenas,
            // which is the forking thread's meanwhile.
            let child = unsafe { Context::new(StartMethod::Fork).fork_unchecked(use_them) };
            assert_eq!(child.unwrap().join().unwrap(), [1, 2]);
        }
        is_over.store(true, SeqCst);
    });
    assert_live(2);
    wait_until_alone();
}

/// How long a thread waits for what another one is kept from.
const PAUSE: Duration = Duration::from_millis(100);

fn nobody_collects_while_a_thread_forks() {
    let slot = make(vec![1]).remove(0);
    let ((begin, begun), (enter, entered)) = (channel(), channel());
    thread::scope(|scope| {
        scope.spawn(move || {
            let (_open, never) = channel::<()>();
            fail_points::arm("free: at an owner", 0, move || {
                let _ = enter.send(());
                assert!(never.recv_timeout(PAUSE).is_err());
            });
            begun.recv().unwrap();
            collect();
        });
        fail_points::arm("fork: prepared", 0, move || {
            begin.send(()).unwrap();
            assert!(entered.recv_timeout(PAUSE).is_err(), "the other thread collects");
        });
        let copied = slot.clone();
        let collects = move || {
            collect();
            value(&copied)
        };
        // SAFETY: as above.
        let child = unsafe { Context::new(StartMethod::Fork).fork_unchecked(collects) };
        assert_eq!(child.unwrap().join().unwrap(), 1);
    });
    assert_live(1);
}
