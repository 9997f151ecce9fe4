//! The lock that its holder takes again: counted, waited for, and inherited from the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, StartMethod};
use procession_shm::arena::Slot;
use procession_sync::{Lock, LockError, RLOCK_DEPTH_MAX, RLock};
use procession_sys::fail_points;
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        it_is_free_after_as_many_guards_as_were_had,
        a_holder_that_is_killed_deep_leaves_depth_one,
        whoever_is_killed_at_any_step_leaves_a_lock_that_works,
    ];
    cases: [
        guards_are_dropped_in_any_order,
        another_thread_waits,
        copies_in_a_forked_child_are_inert,
        a_depth_that_cannot_be_counted_is_an_error,
        it_is_no_other_object,
        a_forgotten_guard_keeps_it,
    ];
}

fn hold_deep(lock: RLock, held: Descriptor, go: Descriptor) {
    let guards = [lock.lock().unwrap(), lock.try_lock().unwrap(), lock.lock_timeout(Duration::ZERO).unwrap()];
    for guard in guards {
        tell(&held);
        hear(&go);
        drop(guard);
    }
    tell(&held);
    hear(&go);
}

fn it_is_free_after_as_many_guards_as_were_had(method: StartMethod) {
    let lock = RLock::new().unwrap();
    let ((held, tells), (go, goes)) = (pipe(), pipe());
    let child = start(method, hold_deep, (lock.clone(), tells, go));
    for depth in [3, 2, 1] {
        hear(&held);
        assert_eq!((lock.depth(), lock.holder().unwrap().pid), (depth, child.pid()));
        assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
        assert!(matches!(lock.lock_timeout(Duration::from_millis(1)), Err(LockError::Timeout)));
        tell(&goes);
    }
    hear(&held);
    assert_eq!((lock.depth(), lock.holder()), (0, None));
    drop(lock.lock().unwrap());
    tell(&goes);
    child.join().unwrap();
}

fn a_holder_that_is_killed_deep_leaves_depth_one(method: StartMethod) {
    let lock = RLock::new().unwrap();
    let ((held, tells), (go, _goes)) = (pipe(), pipe());
    let child = start(method, hold_deep, (lock.clone(), tells, go));
    hear(&held);
    assert_eq!(lock.depth(), 3);
    child.kill().unwrap();
    match lock.lock() {
        Err(LockError::OwnerDied(guard)) => {
            assert_eq!(lock.depth(), 1);
            let again = lock.lock().unwrap();
            drop(guard);
            assert_eq!(lock.depth(), 1);
            drop(again);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((lock.depth(), lock.holder()), (0, None));
    drop(lock.lock().unwrap());
    assert!(child.join().is_err());
}

/// The steps of a thread that had to wait, and whether it holds the lock there.
const STEPS: [(&str, bool); 10] = [
    ("lock: marked", false),
    ("lock: woken", false),
    ("lock: to take", false),
    ("lock: taken", true),
    ("rlock: to enter", true),
    ("rlock: entered", true),
    ("rlock: left", true),
    ("lock: to free", true),
    ("lock: freed, not woken", false),
    ("lock: nobody woken", false),
];

fn visit(lock: RLock, step: usize) {
    fail_points::arm(STEPS[step].0, 0, fail_points::kill);
    let outer = lock.lock();
    drop(lock.lock());
    drop(outer);
}

fn whoever_is_killed_at_any_step_leaves_a_lock_that_works(method: StartMethod) {
    for (step, (place, holds)) in STEPS.into_iter().enumerate() {
        let lock = RLock::new().unwrap();
        let guard = lock.lock().unwrap();
        let child = start(method, visit, (lock.clone(), step));
        while lock.waiters() == 0 && child.is_alive() {
            std::thread::yield_now();
        }
        drop(guard);
        assert_eq!(child.wait().unwrap().exitcode(), -9, "{place}");
        match lock.lock() {
            Ok(_) => assert!(!holds, "{place}: nobody was told"),
            Err(LockError::OwnerDied(_)) => assert!(holds && lock.depth() == 1, "{place}"),
            Err(error) => panic!("{place}: {error}"),
        }
        drop(lock.lock().expect("one was told, if anybody had to be"));
        assert_eq!((lock.depth(), lock.holder()), (0, None), "{place}");
    }
}

fn guards_are_dropped_in_any_order() {
    let lock = RLock::new().unwrap();
    let same = lock.clone();
    let (first, second, third) = (lock.lock().unwrap(), same.lock().unwrap(), lock.try_lock().unwrap());
    drop(second);
    drop(first);
    assert_eq!(same.depth(), 1);
    drop(third);
    assert_eq!((lock.depth(), lock.holder()), (0, None));
}

fn another_thread_waits() {
    let lock = RLock::new().unwrap();
    let guards = (lock.lock().unwrap(), lock.lock().unwrap());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| lock.lock().map(drop).is_ok());
        while lock.waiters() == 0 {
            std::thread::yield_now();
        }
        drop(guards.0);
        assert_eq!(lock.depth(), 1);
        drop(guards.1);
        assert!(other.join().unwrap());
    });
    assert_eq!(lock.waiters(), 0);
}

fn copies_in_a_forked_child_are_inert() {
    let lock = RLock::new().unwrap();
    let guards = (lock.lock().unwrap(), lock.lock().unwrap());
    let mut kept = Some(guards);
    let child = Context::new(StartMethod::Fork).fork(|| {
        kept = None; // Drops the child's copies.
        (lock.depth(), matches!(lock.try_lock(), Err(LockError::WouldBlock)))
    });
    assert_eq!(child.unwrap().join().unwrap(), (2, true), "the child is not its parent");
    assert_eq!(lock.depth(), 2);
    drop(kept);
    assert_eq!(lock.holder(), None);
}

fn a_depth_that_cannot_be_counted_is_an_error() {
    let lock = RLock::new().unwrap();
    let slot: Slot = decode(encode(&lock).unwrap()).unwrap();
    let guard = lock.lock().unwrap();
    slot.words()[2].store(RLOCK_DEPTH_MAX - 1, std::sync::atomic::Ordering::Relaxed);
    for result in [lock.lock(), lock.try_lock()] {
        assert!(matches!(result, Err(LockError::TooDeep { limit: RLOCK_DEPTH_MAX })));
    }
    slot.words()[2].store(0, std::sync::atomic::Ordering::Relaxed);
    drop(guard);
    assert_eq!(lock.holder(), None);
}

fn it_is_no_other_object() {
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    assert!(decode::<RLock>(encode(&lock).unwrap()).is_err());
    assert!(decode::<Lock>(encode(&rlock).unwrap()).is_err());
}

fn a_forgotten_guard_keeps_it() {
    let lock = RLock::new().unwrap();
    std::mem::forget(lock.lock().unwrap());
    drop(lock.lock().unwrap());
    assert_eq!(lock.depth(), 1);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock))));
    });
}
