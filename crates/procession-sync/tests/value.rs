//! Values between processes, with a lock and without.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, StartMethod};
use procession_shm::arena::Slot;
use procession_shm::{Shareable, ShmError};
use procession_sync::{Array, Lock, LockError, RECHECK, RawArray, RawValue, Value};
use procession_sys::fail_points;
use procession_testkit::assert_cost;
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        values_of_all_kinds_are_changed_by_a_child,
        values_without_a_lock_are_changed_by_a_child,
        no_increment_is_lost,
        no_raw_increment_is_lost,
        a_struct_is_doubled_under_its_lock,
        a_struct_is_doubled_without_a_lock,
        a_holder_that_is_killed_leaves_a_value_to_repair,
        what_is_read_or_written_once_is_told_of_a_death_once,
        two_values_of_one_lock_change_together,
        a_child_returns_a_value_that_it_made,
        a_large_value_is_a_segment_with_a_lock,
    ];
    cases: [
        a_value_is_locked_once,
        a_value_is_waited_for_as_long_as_was_said,
        one_access_is_made_under_the_lock,
        a_guard_of_another_lock_is_refused,
        a_guards_copy_in_a_forked_child_shows_nothing,
        a_forked_child_has_the_value,
        bits_that_are_no_value_are_never_shown,
        values_of_any_size_and_alignment_are_kept,
        copies_are_independent,
        numbers_change_in_one_step,
        messages_that_lie_about_values_are_refused,
        a_forgotten_guard_holds_until_its_process_dies,
        threads_and_processes_exclude_each_other,
    ];
}

type Kinds = (Value<i8>, Value<u16>, Value<i64>, Value<f32>, Value<f64>, Value<bool>, Value<char>, Value<[u8; 20]>);

fn change(values: Kinds) {
    values.0.set(-7).unwrap();
    values.1.set(40_000).unwrap();
    *values.2.lock().unwrap() -= 1 << 40;
    values.3.set(2.5).unwrap();
    *values.4.lock().unwrap() *= -1.0;
    values.5.set(true).unwrap();
    *values.6.lock().unwrap() = 'ß';
    values.7.lock().unwrap()[19] = 9;
}

fn values_of_all_kinds_are_changed_by_a_child(method: StartMethod) {
    let make = || -> Result<Kinds, LockError> {
        Ok((
            Value::new(0)?,
            Value::new(1)?,
            Value::new(2)?,
            Value::new(3.0)?,
            Value::new(4.5)?,
            Value::new(false)?,
            Value::new('a')?,
            Value::new([1; 20])?,
        ))
    };
    let values = make().unwrap();
    start(method, change, (values.clone(),)).join().unwrap();
    assert_eq!(
        (values.0.get().unwrap(), values.1.get().unwrap(), values.2.get().unwrap()),
        (-7, 40_000, 2 - (1 << 40))
    );
    assert_eq!((values.3.get().unwrap(), values.4.get().unwrap()), (2.5, -4.5));
    assert_eq!((values.5.get().unwrap(), values.6.get().unwrap()), (true, 'ß'));
    let text = values.7.get().unwrap();
    assert_eq!((text[18], text[19]), (1, 9));
}

fn change_raw(number: RawValue<i32>, flag: RawValue<bool>, text: RawValue<[u8; 5000]>) {
    number.set(number.get() * 2);
    flag.set(!flag.try_get().unwrap());
    let mut copy = text.get();
    copy[4999] += 1;
    text.set(copy);
}

fn values_without_a_lock_are_changed_by_a_child(method: StartMethod) {
    let number = RawValue::new(21).unwrap();
    let flag = RawValue::new(false).unwrap();
    let text = RawValue::new([7; 5000]).unwrap();
    start(method, change_raw, (number.clone(), flag.clone(), text.clone())).join().unwrap();
    assert_eq!((number.get(), flag.try_get().unwrap()), (42, true));
    assert_eq!((text.get()[4998], text.get()[4999]), (7, 8));
}

const TIMES: u32 = 5_000;

fn count(counter: Value<u64>, times: u32) {
    for _ in 0..times {
        *counter.lock().unwrap() += 1;
    }
}

fn no_increment_is_lost(method: StartMethod) {
    let counter = Value::new(0).unwrap();
    let children = [(); 3].map(|()| start(method, count, (counter.clone(), TIMES)));
    count(counter.clone(), TIMES);
    let _ = children.map(|child| child.join().unwrap());
    assert_eq!(counter.get().unwrap(), 4 * u64::from(TIMES));
    assert_eq!(counter.holder(), None);
}

fn count_raw(counter: RawValue<i16>, times: u32) {
    for _ in 0..times {
        counter.fetch_add(1);
    }
}

fn no_raw_increment_is_lost(method: StartMethod) {
    let counter = RawValue::new(-1).unwrap();
    let children = [(); 3].map(|()| start(method, count_raw, (counter.clone(), TIMES)));
    count_raw(counter.clone(), TIMES);
    let _ = children.map(|child| child.join().unwrap());
    assert_eq!(counter.get(), 4 * TIMES as i16 - 1);
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(u8)]
enum Level {
    Low,
    High,
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C)]
struct Reading {
    count: u64,
    celsius: [f32; 2],
    name: [u8; 7],
    level: Level,
}

const READING: Reading = Reading { count: 3, celsius: [1.5, -2.0], name: *b"sensors", level: Level::Low };
const DOUBLED: Reading = Reading { count: 6, celsius: [3.0, -4.0], name: *b"doubled", level: Level::High };

fn double(reading: &mut Reading) {
    reading.count *= 2;
    reading.celsius = reading.celsius.map(|celsius| celsius * 2.0);
    reading.name = *b"doubled";
    reading.level = Level::High;
}

fn double_locked(value: Value<Reading>) {
    double(&mut value.lock().unwrap());
}

fn a_struct_is_doubled_under_its_lock(method: StartMethod) {
    let value = Value::new(READING).unwrap();
    start(method, double_locked, (value.clone(),)).join().unwrap();
    assert_eq!(*value.lock().unwrap(), DOUBLED);
}

fn double_raw(value: RawValue<Reading>) {
    let mut reading = value.try_get().unwrap();
    double(&mut reading);
    value.set(reading);
}

fn a_struct_is_doubled_without_a_lock(method: StartMethod) {
    let value = RawValue::new(READING).unwrap();
    start(method, double_raw, (value.clone(),)).join().unwrap();
    assert_eq!(value.try_get().unwrap(), DOUBLED);
}

/// Changes half of it and waits to be killed.
fn change_half(value: Value<[i64; 2]>, changed: Descriptor, never: Descriptor) {
    let mut pair = value.lock().unwrap();
    pair[0] -= 100;
    tell(&changed);
    hear(&never);
    pair[1] += 100;
}

/// A child killed with the lock held.
fn kill_half_way(method: StartMethod, value: &Value<[i64; 2]>) {
    let ((changed, tells), (never, _open)) = (pipe(), pipe());
    let child = start(method, change_half, (value.clone(), tells, never));
    hear(&changed);
    assert_eq!(value.holder().map(|holder| holder.pid), Some(child.pid()));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), -9);
}

fn a_holder_that_is_killed_leaves_a_value_to_repair(method: StartMethod) {
    assert_cost(20 * RECHECK, || {
        let value = Value::new([500, 500]).unwrap();
        kill_half_way(method, &value);
        let killed = Instant::now();
        match value.lock() {
            Err(LockError::OwnerDied(mut pair)) => pair[1] = 1000 - pair[0],
            other => panic!("{other:?}"),
        }
        let told = killed.elapsed();
        assert_eq!(*value.lock().unwrap(), [400, 600], "the next taker is not told");
        told
    });
}

fn what_is_read_or_written_once_is_told_of_a_death_once(method: StartMethod) {
    let value = Value::new([500, 500]).unwrap();
    kill_half_way(method, &value);
    assert!(matches!(value.get(), Err(LockError::OwnerDied(()))));
    assert_eq!(value.get().unwrap(), [400, 500]);
    kill_half_way(method, &value);
    assert!(matches!(value.set([0, 0]), Err(LockError::OwnerDied(()))));
    assert_eq!(value.get().unwrap(), [300, 500], "nothing was written");
    kill_half_way(method, &value);
    let told = value.try_lock().unwrap_err();
    assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)), "who is told holds it");
    assert!(matches!(LockError::<()>::from(told), LockError::OwnerDied(())));
    value.set([1, 2]).unwrap();
    assert_eq!(value.get().unwrap(), [1, 2]);
}

fn transfer(accounts: (Value<i64>, Value<i64>), lock: Lock, times: u32) {
    for _ in 0..times {
        let mut guard = lock.lock().unwrap();
        *accounts.0.access(&mut guard).unwrap() -= 1;
        *accounts.1.access(&mut guard).unwrap() += 1;
        let sum = *accounts.0.access(&mut guard).unwrap() + *accounts.1.access(&mut guard).unwrap();
        assert_eq!(sum, 0);
    }
}

fn two_values_of_one_lock_change_together(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let accounts = (Value::with_lock(0, &lock).unwrap(), Value::with_lock(0, &lock).unwrap());
    let child = start(method, transfer, (accounts.clone(), lock.clone(), TIMES));
    transfer(accounts.clone(), lock, TIMES);
    child.join().unwrap();
    assert_eq!((accounts.0.get().unwrap(), accounts.1.get().unwrap()), (-2 * i64::from(TIMES), 2 * i64::from(TIMES)));
}

fn make(number: u32) -> Vec<Value<u32>> {
    (0..number).map(|number| Value::new(number).unwrap()).collect()
}

fn a_child_returns_a_value_that_it_made(method: StartMethod) {
    let values = start(method, make, (20,)).join().unwrap();
    for (number, value) in (0..).zip(&values) {
        *value.lock().unwrap() += 1;
        assert_eq!(value.get().unwrap(), number + 1);
    }
}

fn fill(value: Value<[u32; 2000]>) {
    value.lock().unwrap().fill(5);
}

fn a_large_value_is_a_segment_with_a_lock(method: StartMethod) {
    let value = Value::new([0; 2000]).unwrap();
    start(method, fill, (value.clone(),)).join().unwrap();
    assert_eq!(value.get().unwrap(), [5; 2000]);
}

fn a_value_is_locked_once() {
    let value = Value::new(1_u8).unwrap();
    let same = value.clone();
    let guard = value.lock().unwrap();
    assert!(matches!(same.lock(), Err(LockError::HeldByThisThread)));
    assert!(matches!(same.get(), Err(LockError::HeldByThisThread)));
    assert!(matches!(same.set(2), Err(LockError::HeldByThisThread)));
    assert!(matches!(same.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(same.lock_handle().try_lock(), Err(LockError::WouldBlock)));
    assert_eq!(*guard, 1);
    drop(guard);
    // Its lock is one that can be passed on alone.
    let lock: Lock = decode(encode(value.lock_handle()).unwrap()).unwrap();
    let mut guard = lock.lock().unwrap();
    assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
    *same.access(&mut guard).unwrap() = 3;
    drop(guard);
    assert_eq!(value.get().unwrap(), 3);
}

/// Waits until somebody sleeps until the value's lock is free.
fn wait_for_sleeper<T: Shareable>(value: &Value<T>) {
    while value.lock_handle().waiters() == 0 {
        std::thread::yield_now();
    }
}

fn a_value_is_waited_for_as_long_as_was_said() {
    const TIME: Duration = Duration::from_millis(5);
    let (value, flag) = (Value::new(1).unwrap(), Value::new(true).unwrap());
    let guards = (value.lock().unwrap(), flag.lock().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            assert!(matches!(value.lock_timeout(TIME), Err(LockError::Timeout)));
            assert!(matches!(flag.lock_timeout(TIME), Err(LockError::Timeout)));
            assert!(begun.elapsed() >= 2 * TIME);
            assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
            assert!(matches!(flag.try_lock(), Err(LockError::WouldBlock)));
        });
    });
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| value.lock_timeout(Duration::MAX).is_ok());
        wait_for_sleeper(&value);
        drop(guards);
        assert!(waits.join().unwrap());
    });
}

fn one_access_is_made_under_the_lock() {
    let value = Value::new([0_u64; 2]).unwrap();
    let slot = slot_of(&value);
    let at = slot.len() - 16;
    // What others write as soon as it is free is not what was read.
    let overwrite = move || slot.write(at, &[9; 16]).unwrap();
    let mut guard = value.lock().unwrap();
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| {
            fail_points::arm("lock: to free", 0, overwrite);
            value.get().unwrap()
        });
        wait_for_sleeper(&value);
        guard.fill(1);
        drop(guard);
        assert_eq!(reads.join().unwrap(), [1; 2], "it is read once nobody else holds it, and no later");
    });
    let (slot, freed) = (slot_of(&value), RawValue::new(0).unwrap());
    let seen = freed.clone();
    let look = move || seen.set(slot.words()[at / 8].load(Relaxed));
    let guard = value.lock().unwrap();
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            fail_points::arm("lock: to free", 0, look);
            value.set([2; 2]).unwrap();
        });
        wait_for_sleeper(&value);
        assert_ne!(*guard, [2; 2], "nothing is written while another holds it");
        drop(guard);
        writes.join().unwrap();
    });
    assert_eq!((freed.get(), value.get().unwrap()), (2, [2; 2]), "it is written before the lock is free");
}

fn a_guard_of_another_lock_is_refused() {
    let (value, other) = (Value::new(1).unwrap(), Value::new(2).unwrap());
    let mut guard = other.lock_handle().lock().unwrap();
    assert!(matches!(value.access(&mut guard), Err(LockError::NotItsLock)));
    let shared = Array::with_lock(&[1, 2], other.lock_handle()).unwrap();
    shared.access(&mut guard).unwrap()[1] = 5;
    drop(guard);
    assert_eq!(shared.to_vec().unwrap(), [1, 5]);
}

fn a_guards_copy_in_a_forked_child_shows_nothing() {
    let value = Value::new(5).unwrap();
    let other = Value::with_lock(6, value.lock_handle()).unwrap();
    let mut guard = value.lock().unwrap();
    let child = Context::new(StartMethod::Fork).fork(|| {
        let shows = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| *guard = 7)).is_ok();
        (shows, matches!(value.try_lock(), Err(LockError::WouldBlock)))
    });
    assert_eq!(child.unwrap().join().unwrap(), (false, true));
    assert_eq!(*guard, 5);
    *guard = 6;
    drop(guard);
    let mut guard = value.lock_handle().lock().unwrap();
    let child = Context::new(StartMethod::Fork).fork(|| matches!(other.access(&mut guard), Err(LockError::NotItsLock)));
    assert!(child.unwrap().join().unwrap());
    *other.access(&mut guard).unwrap() = 1;
}

fn a_forked_child_has_the_value() {
    let value = Value::new(5).unwrap();
    let child = Context::new(StartMethod::Fork).fork(|| *value.lock().unwrap() += 1);
    child.unwrap().join().unwrap();
    assert_eq!(value.get().unwrap(), 6);
}

/// The bytes of a value, as a peer may write them that breaks the rules.
fn slot_of<T: Shareable>(value: &Value<T>) -> Slot {
    let message = encode(value.lock_handle()).unwrap();
    decode(message).unwrap()
}

fn bits_that_are_no_value_are_never_shown() {
    let value = Value::new(READING).unwrap();
    let slot = slot_of(&value);
    let at = slot.len() - 1; // The level is the struct's last byte.
    for wrong in [2, 0xff] {
        slot.write(at, &[wrong]).unwrap();
        let results = [value.lock(), value.try_lock(), value.lock_timeout(Duration::ZERO)];
        for error in results.map(|result| LockError::<()>::from(result.unwrap_err())) {
            assert!(matches!(error, LockError::Memory(ShmError::Invalid { index: 0, .. })), "{error}");
            assert_eq!(value.holder(), None, "nothing is held");
        }
        assert!(matches!(value.get(), Err(LockError::Memory(ShmError::Invalid { .. }))));
        let mut guard = value.lock_handle().lock().unwrap();
        assert!(matches!(value.access(&mut guard), Err(LockError::Memory(ShmError::Invalid { .. }))));
        drop(guard);
        value.set(DOUBLED).unwrap();
        assert_eq!(*value.lock().unwrap(), DOUBLED, "it is repaired");
    }
    // Nor are those that a dead holder left.
    let flags = Value::new([true; 8]).unwrap();
    let child = Context::new(StartMethod::Fork).fork(|| std::mem::forget(flags.lock().unwrap()));
    child.unwrap().join().unwrap();
    let slot = slot_of(&flags);
    slot.write(slot.len() - 1, &[2]).unwrap();
    assert!(matches!(flags.lock(), Err(LockError::Memory(ShmError::Invalid { .. }))));
    assert_eq!(flags.holder(), None);
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C, align(32))]
struct HalfLine([u16; 16]);

fn kept<T: Shareable + PartialEq + std::fmt::Debug>(old: T, new: T) {
    let (value, raw) = (Value::new(old).unwrap(), RawValue::new(old).unwrap());
    let lock = Lock::new().unwrap();
    let apart = Value::with_lock(old, &lock).unwrap();
    for value in [value, apart] {
        assert_eq!(value.get().unwrap(), old);
        let mut guard = value.lock().unwrap();
        assert!(std::ptr::from_ref(&*guard).is_aligned());
        *guard = new;
        drop(guard);
        assert_eq!(value.get().unwrap(), new);
        value.set(old).unwrap();
        let same: Value<T> = decode(encode(&value).unwrap()).unwrap();
        assert_eq!(*same.lock().unwrap(), old);
    }
    assert_eq!(raw.try_get().unwrap(), old);
    raw.set(new);
    let same: RawValue<T> = decode(encode(&raw).unwrap()).unwrap();
    assert_eq!(same.try_get().unwrap(), new);
}

fn values_of_any_size_and_alignment_are_kept() {
    kept(1_u8, 2);
    kept([1_u8; 3], [2; 3]);
    kept(1_u32, 2);
    kept([1_u16; 5], [2; 5]);
    kept(1_u128, u128::MAX);
    kept([1_u8; 47], [2; 47]);
    kept(HalfLine([1; 16]), HalfLine([2; 16]));
    kept(Line([1; 64]), Line([2; 64]));
    kept([Line([1; 64]); 2], [Line([2; 64]); 2]);
    kept([1_u64; 510], [2; 510]);
    kept([1_u64; 511], [2; 511]);
    kept([1_u64; 513], [2; 513]);
    kept([false; 9], [true; 9]);
}

fn copies_are_independent() {
    let original = Value::new(READING).unwrap();
    let copy = Value::new(original.get().unwrap()).unwrap();
    double(&mut original.lock().unwrap());
    assert_eq!((original.get().unwrap(), copy.get().unwrap()), (DOUBLED, READING));
}

fn numbers_change_in_one_step() {
    let number = RawValue::<i8>::new(127).unwrap();
    assert_eq!((number.fetch_add(1), number.get()), (127, -128));
    assert_eq!((number.fetch_sub(2), number.get()), (-128, 126));
    assert_eq!((number.fetch_and(0b11), number.get()), (126, 2));
    assert_eq!((number.fetch_or(0b101), number.get()), (2, 7));
    assert_eq!((number.fetch_xor(0b110), number.get()), (7, 1));
    assert_eq!((number.fetch_max(9), number.fetch_max(3), number.get()), (1, 9, 9));
    assert_eq!((number.fetch_min(-3), number.fetch_min(3), number.get()), (9, -3, -3));
    assert_eq!((number.swap(4), number.get()), (-3, 4));
    assert_eq!((number.compare_exchange(5, 6), number.compare_exchange(4, 6), number.get()), (Err(4), Ok(4), 6));
}

fn messages_that_lie_about_values_are_refused() {
    let value = Value::new(1_u32).unwrap();
    let message = || encode(&value).unwrap();
    assert!(decode::<Value<i32>>(message()).is_err(), "another type");
    assert!(decode::<Array<u32>>(message()).is_ok(), "an array of one is what it is");
    assert!(decode::<Lock>(encode(&RawValue::new(1_u64).unwrap()).unwrap()).is_err());
    let two = Array::from_slice(&[1_u32, 2]).unwrap();
    assert!(decode::<Value<u32>>(encode(&two).unwrap()).is_err());
    let two = RawArray::from_slice(&[1_u32, 2]).unwrap();
    assert!(decode::<RawValue<u32>>(encode(&two).unwrap()).is_err());
    let slots = [Slot::allocate(24, 5).unwrap(), slot_of(&value)];
    for (slot, len) in [(&slots[0], 1_u64), (&slots[1], 1 << 60), (&slots[1], 3), (&slots[1], u64::MAX)] {
        let lie = (u32::SIGNATURE, slot.clone(), None::<Slot>, None::<Slot>, len);
        assert!(decode::<Array<u32>>(encode(&lie).unwrap()).is_err(), "{slot:?} {len}");
        let lie = (u32::SIGNATURE, value.lock_handle().clone(), Some(slot.clone()), None::<Slot>, len);
        assert!(decode::<Array<u32>>(encode(&lie).unwrap()).is_err(), "{slot:?} {len}");
    }
}

fn forget(value: Value<u8>, held: Descriptor, end: Descriptor) {
    std::mem::forget(value.lock().unwrap());
    assert!(matches!(value.lock(), Err(LockError::HeldByThisThread)));
    tell(&held);
    hear(&end);
}

fn a_forgotten_guard_holds_until_its_process_dies() {
    let value = Value::new(1).unwrap();
    let ((held, tells), (end, ends)) = (pipe(), pipe());
    let child = start(StartMethod::Spawn, forget, (value.clone(), tells, end));
    hear(&held);
    assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
    tell(&ends);
    child.join().unwrap();
    assert!(matches!(value.lock(), Err(LockError::OwnerDied(_))));
    assert_eq!(value.get().unwrap(), 1);
}

fn threads_and_processes_exclude_each_other() {
    let counter = Value::new(0).unwrap();
    let child = start(StartMethod::Spawn, count, (counter.clone(), TIMES));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| count(counter.clone(), TIMES));
        }
    });
    child.join().unwrap();
    assert_eq!(counter.get().unwrap(), 3 * u64::from(TIMES));
}
