//! Arrays between processes, with a lock and without, and handles behind a lock.
//!
//! Relies on the test kit; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, StartMethod};
use procession_shm::arena::Slot;
use procession_shm::{Shareable, SharedArray, ShmError};
use procession_sync::{Array, Guard, Guarded, Lock, LockError, RawArray};
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_sums_up_in_place,
        a_child_sums_up_in_place_without_a_lock,
        an_array_of_structs_and_a_text_are_doubled_by_a_child,
        a_struct_and_an_array_are_doubled_without_a_lock,
        a_holder_that_is_killed_leaves_an_array_to_repair,
        elements_are_counted_up_in_one_step,
        a_guarded_array_is_changed_by_one_process_at_a_time,
    ];
    cases: [
        an_array_is_made_of_anything,
        elements_and_ranges_are_read_and_replaced,
        an_array_without_a_lock_is_read_and_replaced,
        an_array_of_nothing_is_one,
        an_array_has_its_own_lock_or_a_given_one,
        a_copy_is_independent,
        what_cannot_be_had_is_an_error,
        bits_that_are_no_value_are_never_shown,
        a_guards_copy_in_a_forked_child_shows_nothing,
        a_handle_is_guarded_by_the_lock_that_was_said,
        an_array_is_waited_for_as_long_as_was_said,
    ];
}

fn sum_up(array: Array<i64>) {
    let mut elements = array.lock().unwrap();
    for index in 1..elements.len() {
        elements[index] += elements[index - 1];
    }
}

/// In a slot, and in a segment.
const LENGTHS: [usize; 2] = [10, 10_000];

fn sums(len: usize) -> Vec<i64> {
    (0..len as i64).map(|last| last * (last + 1) / 2).collect()
}

fn a_child_sums_up_in_place(method: StartMethod) {
    for len in LENGTHS {
        let array = Array::from_items(0..len as i64).unwrap();
        start(method, sum_up, (array.clone(),)).join().unwrap();
        assert_eq!(array.to_vec().unwrap(), sums(len));
    }
}

fn sum_up_raw(array: RawArray<i64>) {
    for index in 1..array.len() {
        array.set(index, array.get(index).unwrap() + array.get(index - 1).unwrap()).unwrap();
    }
}

fn a_child_sums_up_in_place_without_a_lock(method: StartMethod) {
    for len in LENGTHS {
        let array = RawArray::from_items(0..len as i64).unwrap();
        start(method, sum_up_raw, (array.clone(),)).join().unwrap();
        assert_eq!(array.to_vec().unwrap(), sums(len));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
    hits: u32,
    seen: bool,
    label: [u8; 3],
}

fn point(number: u32) -> Point {
    let x = f64::from(number);
    Point { x, y: -x, hits: number, seen: false, label: *b"abc" }
}

fn double(point: &mut Point) {
    *point = Point { x: point.x * 2.0, y: point.y * 2.0, hits: point.hits * 2, seen: true, ..*point };
}

fn doubled(number: u32) -> Point {
    let mut point = point(number);
    double(&mut point);
    point
}

fn double_all(points: Array<Point>, text: Array<u8>) {
    points.lock().unwrap().iter_mut().for_each(double);
    let mut text = text.lock().unwrap();
    let half = text.len() / 2;
    text.copy_within(..half, half);
}

fn an_array_of_structs_and_a_text_are_doubled_by_a_child(method: StartMethod) {
    for len in [3, 1000] {
        let points = Array::from_fn(len, |index| point(index as u32)).unwrap();
        let text = Array::from_slice(b"bye   ").unwrap();
        start(method, double_all, (points.clone(), text.clone())).join().unwrap();
        assert!(points.lock().unwrap().iter().copied().eq((0..len as u32).map(doubled)));
        assert_eq!(text.to_vec().unwrap(), b"byebye");
    }
}

fn double_raw(points: RawArray<Point>) {
    for index in 0..points.len() {
        let mut point = points.get(index).unwrap();
        double(&mut point);
        points.set(index, point).unwrap();
    }
}

fn a_struct_and_an_array_are_doubled_without_a_lock(method: StartMethod) {
    let points = RawArray::from_items((0..500).map(point)).unwrap();
    start(method, double_raw, (points.clone(),)).join().unwrap();
    assert!(points.to_vec().unwrap().into_iter().eq((0..500).map(doubled)));
}

/// Moves half of it and waits to be killed.
fn move_half(array: Array<u64>, moved: Descriptor, never: Descriptor) {
    let mut elements = array.lock().unwrap();
    elements[0] -= 40;
    tell(&moved);
    hear(&never);
    elements[1] += 40;
}

fn kill_half_way(method: StartMethod, array: &Array<u64>) {
    let ((moved, tells), (never, _open)) = (pipe(), pipe());
    let child = start(method, move_half, (array.clone(), tells, never));
    hear(&moved);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), -9);
}

fn a_holder_that_is_killed_leaves_an_array_to_repair(method: StartMethod) {
    for len in LENGTHS {
        let array = Array::from_fn(len, |_| 200).unwrap();
        kill_half_way(method, &array);
        let mut elements = array.lock().or_else(LockError::into_guard).unwrap();
        assert_eq!(elements[..2], [160, 200]);
        elements[1] = 240;
        drop(elements);
        assert_eq!(array.lock().unwrap()[..2], [160, 240], "the next taker is not told");
        kill_half_way(method, &array);
        assert!(matches!(array.to_vec(), Err(LockError::OwnerDied(()))));
        assert_eq!((array.get(0).unwrap(), array.get(1).unwrap()), (120, 240));
        kill_half_way(method, &array.clone());
        assert!(matches!(array.set(5, 0), Err(LockError::OwnerDied(()))));
        assert_eq!(array.get(5).unwrap(), 200, "nothing was written");
    }
}

const TIMES: usize = 5_000;

fn count(array: RawArray<u16>) {
    for time in 0..TIMES {
        array.fetch_add(time % 7, 1).unwrap();
    }
}

fn elements_are_counted_up_in_one_step(method: StartMethod) {
    let array = RawArray::<u16>::zeroed(7).unwrap();
    let children = [(); 2].map(|()| start(method, count, (array.clone(),)));
    count(array.clone());
    let _ = children.map(|child| child.join().unwrap());
    assert_eq!(array.to_vec().unwrap().iter().map(|&count| usize::from(count)).sum::<usize>(), 3 * TIMES);
}

fn move_along(balances: Guarded<SharedArray<i64>>, times: usize) {
    for _ in 0..times {
        let array = balances.lock().unwrap();
        array.set(0, array.get(0).unwrap() - 1).unwrap();
        array.set(1, array.get(1).unwrap() + 1).unwrap();
        assert_eq!(array.iter().sum::<i64>(), 0);
    }
}

fn hold_guarded(balances: Guarded<SharedArray<i64>>, held: Descriptor, never: Descriptor) {
    let _array = balances.lock().unwrap();
    tell(&held);
    hear(&never);
}

fn a_guarded_array_is_changed_by_one_process_at_a_time(method: StartMethod) {
    let balances = Guarded::new(SharedArray::zeroed(2).unwrap()).unwrap();
    let child = start(method, move_along, (balances.clone(), TIMES));
    move_along(balances.clone(), TIMES);
    child.join().unwrap();
    let sum = 2 * TIMES as i64;
    assert_eq!(balances.lock().unwrap().to_vec().unwrap(), [-sum, sum]);
    let ((held, tells), (never, _open)) = (pipe(), pipe());
    let child = start(method, hold_guarded, (balances.clone(), tells, never));
    hear(&held);
    assert!(matches!(balances.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(balances.lock_timeout(Duration::from_millis(1)), Err(LockError::Timeout)));
    child.kill().unwrap();
    match balances.lock() {
        Err(LockError::OwnerDied(array)) => array.fill(0).unwrap(),
        other => panic!("{other:?}"),
    }
    assert_eq!(balances.lock().unwrap().to_vec().unwrap(), [0, 0]);
    assert!(child.join().is_err());
}

fn an_array_is_made_of_anything() {
    assert_eq!(Array::<f32>::zeroed(3).unwrap().to_vec().unwrap(), [0.0; 3]);
    assert_eq!(Array::from_slice(&[true, false]).unwrap().to_vec().unwrap(), [true, false]);
    assert_eq!(Array::from_items((0..10).step_by(3)).unwrap().to_vec().unwrap(), [0, 3, 6, 9]);
    assert_eq!(Array::from_items('x'..='z').unwrap().to_vec().unwrap(), ['x', 'y', 'z']);
    assert_eq!(Array::from_fn(3, |index| index * index).unwrap().to_vec().unwrap(), [0, 1, 4]);
    assert_eq!(RawArray::from_items(1_u8..4).unwrap().to_vec().unwrap(), [1, 2, 3]);
    assert_eq!(RawArray::<i16>::zeroed(2).unwrap().to_vec().unwrap(), [0, 0]);
}

fn elements_and_ranges_are_read_and_replaced() {
    for len in LENGTHS {
        let array = Array::from_items(0..len as u32).unwrap();
        assert_eq!((array.len(), array.get(3).unwrap(), array.get(len - 1).unwrap()), (len, 3, len as u32 - 1));
        array.set(3, 33).unwrap();
        let mut elements = array.lock().unwrap();
        assert_eq!(elements[2..5], [2, 33, 4]);
        elements[4..7].copy_from_slice(&[44, 55, 66]);
        elements[8..].fill(0);
        assert!(matches!(array.get(3), Err(LockError::HeldByThisThread)));
        drop(elements);
        assert_eq!(array.to_vec().unwrap()[..9], [0, 1, 2, 33, 44, 55, 66, 7, 0]);
        let same: Array<u32> = decode(encode(&array).unwrap()).unwrap();
        assert_eq!(same.to_vec().unwrap(), array.to_vec().unwrap());
        for index in [len, usize::MAX] {
            let error = array.get(index).unwrap_err();
            assert!(matches!(error, LockError::Memory(ShmError::Index { .. })), "{error}");
            assert!(array.set(index, 0).is_err());
        }
    }
}

fn an_array_without_a_lock_is_read_and_replaced() {
    for len in LENGTHS {
        let array = RawArray::from_items(0..len as u32).unwrap();
        array.write(4, &[44, 55, 66]).unwrap();
        assert_eq!(array.to_vec().unwrap()[2..8], [2, 3, 44, 55, 66, 7]);
        assert!(array.write(len - 1, &[0, 0]).is_err() && array.write(usize::MAX, &[0, 0]).is_err());
        array.write(len, &[]).unwrap();
        assert_eq!(array.get(len - 1).unwrap(), len as u32 - 1, "nothing was written");
        assert!(array.get(len).is_err() && array.set(len, 0).is_err() && array.fetch_add(len, 1).is_err());
        assert_eq!(array.compare_exchange(3, 4, 5).unwrap(), Err(3));
        assert_eq!(array.compare_exchange(3, 3, 5).unwrap(), Ok(3));
        let same: RawArray<u32> = decode(encode(&array).unwrap()).unwrap();
        assert_eq!((same.get(3).unwrap(), same.len()), (5, len));
    }
}

fn an_array_of_nothing_is_one() {
    let (array, raw) = (Array::<char>::zeroed(0).unwrap(), RawArray::<[u64; 600]>::zeroed(0).unwrap());
    assert!(array.is_empty() && raw.is_empty());
    assert_eq!(array.lock().unwrap().len(), 0);
    let array: Array<char> = decode(encode(&array).unwrap()).unwrap();
    let raw: RawArray<[u64; 600]> = decode(encode(&raw).unwrap()).unwrap();
    assert!(array.get(0).is_err() && raw.get(0).is_err());
}

fn an_array_has_its_own_lock_or_a_given_one() {
    let lock = Lock::new().unwrap();
    for len in LENGTHS {
        let own = Array::<u8>::zeroed(len).unwrap();
        let given = Array::with_lock(&vec![1_u8; len], &lock).unwrap();
        let guard = lock.lock().unwrap();
        assert!(own.try_lock().is_ok());
        assert!(matches!(given.try_lock(), Err(LockError::WouldBlock)));
        drop(guard);
        let guard = own.lock_handle().lock().unwrap();
        assert!(matches!(own.try_lock(), Err(LockError::WouldBlock)));
        assert!(own.holder().is_some() && given.holder().is_none());
        drop(guard);
        assert_eq!(given.lock().unwrap().len(), len);
    }
}

fn forget(array: Array<u64>, balances: Guarded<SharedArray<u64>>) {
    std::mem::forget((array.lock().unwrap(), balances.lock().unwrap()));
}

fn a_handle_is_guarded_by_the_lock_that_was_said() {
    let lock = Lock::new().unwrap();
    let of_both = [1, 2].map(|number| Guarded::with_lock(SharedArray::from_slice(&[number]).unwrap(), &lock));
    let guard = of_both[0].lock().unwrap();
    assert!(matches!(of_both[1].try_lock(), Err(LockError::WouldBlock)));
    assert!(of_both[1].holder().is_some_and(|holder| holder.pid == std::process::id()));
    assert_eq!(of_both[1].unguarded().to_vec().unwrap(), [2], "without the lock");
    let guard = Guard::into_lock_guard(guard);
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)), "it stays held");
    drop(guard);
    assert_eq!((lock.holder(), of_both[0].holder()), (None, None));
    start(StartMethod::Spawn, forget, (Array::zeroed(1).unwrap(), of_both[0].clone())).join().unwrap();
    let told = of_both[1].lock().unwrap_err();
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)), "who is told holds it");
    assert!(matches!(LockError::<()>::from(told), LockError::OwnerDied(())));
    drop(lock.try_lock().unwrap());
}

fn an_array_is_waited_for_as_long_as_was_said() {
    const TIME: Duration = Duration::from_millis(5);
    for len in LENGTHS {
        let (array, balances) = (Array::zeroed(len).unwrap(), Guarded::new(SharedArray::zeroed(1).unwrap()).unwrap());
        let guards = (array.lock().unwrap(), balances.lock().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let begun = Instant::now();
                assert!(matches!(array.lock_timeout(TIME), Err(LockError::Timeout)));
                assert!(begun.elapsed() >= TIME);
                assert!(matches!(array.try_lock(), Err(LockError::WouldBlock)));
                assert!(matches!(balances.lock_timeout(TIME), Err(LockError::Timeout)));
                assert!(begun.elapsed() >= 2 * TIME);
                assert!(matches!(balances.try_lock(), Err(LockError::WouldBlock)));
            });
        });
        drop(guards);
        start(StartMethod::Spawn, forget, (array.clone(), balances.clone())).join().unwrap();
        let told = array.lock_timeout(TIME).unwrap_err();
        assert!(matches!(array.try_lock(), Err(LockError::WouldBlock)), "who is told holds it");
        assert!(matches!(LockError::<()>::from(told), LockError::OwnerDied(())));
        drop(array.try_lock().unwrap());
    }
}

fn a_copy_is_independent() {
    let original = Array::from_items(0..5).unwrap();
    let copy = Array::from_slice(&original.lock().unwrap()).unwrap();
    original.lock().unwrap().reverse();
    assert_eq!(copy.to_vec().unwrap(), [0, 1, 2, 3, 4]);
}

fn what_cannot_be_had_is_an_error() {
    type Number = std::num::NonZero<u8>;
    let error = Array::<Number>::zeroed(1).unwrap_err();
    assert!(matches!(error, LockError::Memory(ShmError::NoZero { .. })), "{error}");
    assert!(Array::<Number>::zeroed(100_000).is_err() && RawArray::<Number>::zeroed(1).is_err());
    let error = Array::<u64>::zeroed(usize::MAX / 4).unwrap_err();
    assert!(matches!(error, LockError::Memory(ShmError::TooLarge { .. })), "{error}");
}

fn bits_that_are_no_value_are_never_shown() {
    let array = Array::from_slice(&[true; 40]).unwrap();
    let slot: Slot = decode(encode(array.lock_handle()).unwrap()).unwrap();
    let at = slot.len() - 40;
    slot.write(at + 7, &[3]).unwrap();
    let error = LockError::<()>::from(array.lock().unwrap_err());
    assert!(matches!(error, LockError::Memory(ShmError::Invalid { index: 7, .. })), "{error}");
    assert!(array.get(7).is_err() && array.to_vec().is_err());
    assert!(array.get(6).unwrap(), "the others can be read");
    assert_eq!(array.holder(), None, "nothing is held");
    array.set(7, false).unwrap();
    assert_eq!(array.lock().unwrap()[6..9], [true, false, true]);
}

fn a_guards_copy_in_a_forked_child_shows_nothing() {
    let array = Array::from_items(0..5).unwrap();
    let guard = array.lock().unwrap();
    let child = Context::new(StartMethod::Fork).fork(|| {
        let shows = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| guard[0])).is_ok();
        (shows, array.try_lock().is_err())
    });
    assert_eq!(child.unwrap().join().unwrap(), (false, true));
    assert_eq!(guard[4], 4);
}
