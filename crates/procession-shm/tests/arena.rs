//! Slots between processes: who holds them, and what is left when a process is killed.
//!
//! Relies on the test kit, whose fail points kill a child where its books are half written; order is told by pipes.

mod common;

use std::sync::atomic::Ordering::SeqCst;

use common::{methods, start};
use procession_launch::StartMethod;
use procession_shm::arena::{OWNERS_MAX, SLOT_BYTES_MAX, Slot, collect, statistics};
use procession_wire::{Message, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        an_arena_is_gone_with_its_last_slot,
        a_slot_is_zero_again_when_it_is_used_again,
        five_thousand_slots_are_handed_out_once_each_and_all_come_back,
        a_message_has_one_descriptor_for_any_number_of_slots,
        a_message_holds_its_slots_until_it_is_thrown_away,
    ];
    cases for methods(), [
        a_child_counts_in_its_parents_slot,
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
        assert_eq!(again.as_ptr().unwrap(), place, "the slot that was freed last is used first");
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
