//! The lock between processes: taken, waited for, and inherited from the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, StartMethod};
use procession_shm::arena::Slot;
use procession_sync::{Lock, LockError, RECHECK, RawValue};
use procession_sys::fail_points;
use procession_testkit::assert_cost;
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_lock_excludes_other_processes,
        a_killed_holder_is_told_of_once,
        a_woken_waiter_is_killed_while_another_barges within 60,
        an_unlocker_is_killed_between_store_and_wake,
        a_taker_is_killed_between_wake_and_take,
        whoever_is_killed_at_any_step_leaves_a_lock_that_works,
        a_lock_travels_in_whatever_holds_it,
    ];
    cases: [
        a_thread_does_not_wait_for_itself,
        times_of_nothing_and_of_ever,
        threads_and_processes_wait_for_each_other,
        copies_in_a_forked_child_are_inert,
        a_forked_child_has_the_lock,
        a_forgotten_guard_is_inherited_from_its_process,
        a_holder_is_known_and_since_when,
        an_error_frees_the_lock_when_it_is_thrown_on,
    ];
}

fn hold(lock: Lock, held: Descriptor, release: Descriptor) {
    let _guard = lock.lock().unwrap();
    tell(&held);
    hear(&release);
}

fn a_lock_excludes_other_processes(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let child = start(method, hold, (lock.clone(), tells_held, release));
    hear(&held);
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(lock.lock_timeout(Duration::from_millis(5)), Err(LockError::Timeout)));
    let holder = lock.holder().unwrap();
    assert_eq!((holder.pid, holder.is_alive), (child.pid(), true));
    tell(&tells_release);
    drop(lock.lock().unwrap());
    child.join().unwrap();
    assert_eq!(lock.holder(), None);
}

fn a_killed_holder_is_told_of_once(method: StartMethod) {
    assert_cost(20 * RECHECK, || {
        let lock = Lock::new().unwrap();
        let ((held, tells_held), (release, _open)) = (pipe(), pipe());
        let child = start(method, hold, (lock.clone(), tells_held, release));
        hear(&held);
        child.kill().unwrap();
        let killed = Instant::now();
        match lock.lock() {
            Err(LockError::OwnerDied(guard)) => drop(guard),
            other => panic!("{other:?}"),
        }
        let told = killed.elapsed();
        drop(lock.lock().unwrap());
        assert!(child.join().is_err());
        told
    });
}

/// Waits until so many sleep.
fn wait_for_waiters(lock: &Lock, count: usize) {
    while lock.waiters() != count {
        thread::yield_now();
    }
}

/// The mark that somebody may sleep, as `protocol/lock.md` has it.
fn is_marked(lock: &Lock) -> bool {
    let slot: Slot = decode(encode(lock).unwrap()).unwrap();
    slot.words()[0].load(Relaxed) & 1 << 31 != 0
}

/// Has the first that wakes after the order is given be killed there.
fn kill_when_woken(order: RawValue<u32>) {
    fail_points::arm("lock: woken", 0, move || match order.compare_exchange(1, 0) {
        Ok(_) => fail_points::kill(),
        Err(_) => kill_when_woken(order),
    });
}

fn wait_to_be_killed(lock: Lock, order: RawValue<u32>) -> bool {
    kill_when_woken(order);
    let is_told = matches!(lock.lock(), Err(LockError::OwnerDied(_)));
    fail_points::disarm();
    is_told
}

/// A waiter may look by itself just then, and have the lock before the barger: so it is tried again.
const TRIES: u32 = 20;

fn a_woken_waiter_is_killed_while_another_barges(method: StartMethod) {
    assert!((0..TRIES).any(|_| one_sleeps_while_another_barges(method)), "nobody knows that the other one sleeps");
}

fn one_sleeps_while_another_barges(method: StartMethod) -> bool {
    let (lock, order) = (Lock::new().unwrap(), RawValue::new(0).unwrap());
    let guard = lock.lock().unwrap();
    let waiters = [(); 2].map(|()| start(method, wait_to_be_killed, (lock.clone(), order.clone())));
    wait_for_waiters(&lock, 2);
    order.set(1);
    drop(guard); // Wakes one, which is killed.
    let barger = lock.lock().unwrap();
    let is_marked = is_marked(&lock);
    while order.get() == 1 {
        thread::yield_now();
    }
    let freed = Instant::now();
    drop(barger);
    let ended = waiters.map(|waiter| waiter.join().ok());
    assert!(freed.elapsed() < common::SOON);
    assert!(matches!(ended, [Some(false), None] | [None, Some(false)]), "{ended:?}: who was killed held nothing");
    assert_eq!((lock.holder(), lock.waiters()), (None, 0));
    is_marked
}

fn free_half(lock: Lock, held: Descriptor, go: Descriptor) {
    let guard = lock.lock().unwrap();
    tell(&held);
    hear(&go);
    fail_points::arm("lock: freed, not woken", 0, fail_points::kill);
    drop(guard);
}

fn an_unlocker_is_killed_between_store_and_wake(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let ((held, tells), (go, goes)) = (pipe(), pipe());
    let child = start(method, free_half, (lock.clone(), tells, go));
    hear(&held);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| lock.lock().map(drop).map_err(|error| error.map(drop)));
        wait_for_waiters(&lock, 1);
        tell(&goes);
        waiter.join().unwrap().expect("it was free, and nobody said so");
    });
    assert_eq!(child.wait().unwrap().exitcode(), -9);
    assert_eq!(lock.holder(), None);
}

fn take_half(lock: Lock) {
    fail_points::arm("lock: to take", 0, fail_points::kill);
    drop(lock.lock());
}

fn a_taker_is_killed_between_wake_and_take(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    let child = start(method, take_half, (lock.clone(),));
    wait_for_waiters(&lock, 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| lock.lock().map(drop).map_err(|error| error.map(drop)));
        wait_for_waiters(&lock, 2);
        drop(guard);
        waiter.join().unwrap().expect("nobody holds it");
    });
    if child.is_alive() {
        drop(lock.lock().unwrap()); // The waiter was woken first, and the child by its freeing.
    }
    assert_eq!(child.wait().unwrap().exitcode(), -9);
    drop(lock.lock().unwrap());
}

/// The steps of a thread that had to wait, and whether it holds the lock there.
const STEPS: [(&str, bool); 7] = [
    ("lock: marked", false),
    ("lock: woken", false),
    ("lock: to take", false),
    ("lock: taken", true),
    ("lock: to free", true),
    ("lock: freed, not woken", false),
    ("lock: nobody woken", false),
];

fn visit(lock: Lock, step: usize) {
    fail_points::arm(STEPS[step].0, 0, fail_points::kill);
    drop(lock.lock());
}

fn whoever_is_killed_at_any_step_leaves_a_lock_that_works(method: StartMethod) {
    for (step, (place, holds)) in STEPS.into_iter().enumerate() {
        let lock = Lock::new().unwrap();
        let guard = lock.lock().unwrap();
        let child = start(method, visit, (lock.clone(), step));
        while lock.waiters() == 0 && child.is_alive() {
            thread::yield_now();
        }
        drop(guard);
        assert_eq!(child.wait().unwrap().exitcode(), -9, "{place}");
        let is_told = matches!(lock.lock(), Err(LockError::OwnerDied(_)));
        assert_eq!(is_told, holds, "{place}");
        drop(lock.lock().expect("one was told, if anybody had to be"));
        assert_eq!((lock.holder(), lock.waiters()), (None, 0), "{place}");
    }
}

fn take_all(locks: Vec<Option<(String, Lock)>>) -> Vec<Option<(String, Lock)>> {
    locks.iter().flatten().for_each(|(_, lock)| drop(lock.lock().unwrap()));
    locks
}

fn a_lock_travels_in_whatever_holds_it(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let locks = vec![Some(("a".to_owned(), lock.clone())), None, Some(("b".to_owned(), Lock::new().unwrap()))];
    let back = start(method, take_all, (locks,)).join().unwrap();
    let guard = lock.lock().unwrap();
    let tries = back.iter().flatten().map(|(_, lock)| lock.try_lock().is_ok());
    assert_eq!(tries.collect::<Vec<_>>(), [false, true], "what came back are handles of the same locks");
    drop(guard);
}

fn a_thread_does_not_wait_for_itself() {
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    assert!(matches!(lock.clone().lock(), Err(LockError::HeldByThisThread)));
    assert!(matches!(lock.lock_timeout(Duration::MAX), Err(LockError::HeldByThisThread)));
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    drop(guard);
    drop(lock.lock().unwrap());
}

fn times_of_nothing_and_of_ever() {
    let lock = Lock::new().unwrap();
    for time in [Duration::ZERO, Duration::MAX, Duration::from_secs(u64::MAX)] {
        drop(lock.lock_timeout(time).expect("it is free"));
    }
    let guard = lock.lock().unwrap();
    thread::scope(|scope| {
        let now = scope.spawn(|| matches!(lock.lock_timeout(Duration::ZERO), Err(LockError::Timeout)));
        assert!(now.join().unwrap());
        let ever = scope.spawn(|| lock.lock_timeout(Duration::MAX).is_ok());
        wait_for_waiters(&lock, 1);
        drop(guard);
        assert!(ever.join().unwrap());
    });
    let _guard = lock.lock().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (time, begun) = (Duration::from_millis(120), Instant::now());
            assert!(matches!(lock.lock_timeout(time), Err(LockError::Timeout)));
            assert!(begun.elapsed() >= time, "not before its time, though it looks in between");
        });
    });
}

fn come_and_go(lock: Lock, inside: RawValue<u32>, times: u32) {
    for _ in 0..times {
        let guard = lock.lock().unwrap();
        assert_eq!(inside.fetch_add(1), 0, "two hold it");
        inside.fetch_sub(1);
        drop(guard);
    }
}

fn threads_and_processes_wait_for_each_other() {
    const TIMES: u32 = 3_000;
    let (lock, inside) = (Lock::new().unwrap(), RawValue::new(0).unwrap());
    let child = start(StartMethod::Spawn, come_and_go, (lock.clone(), inside.clone(), TIMES));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| come_and_go(lock.clone(), inside.clone(), TIMES));
        }
    });
    child.join().unwrap();
    assert_eq!((lock.holder(), lock.waiters()), (None, 0));
}

fn copies_in_a_forked_child_are_inert() {
    let lock = Lock::new().unwrap();
    let mut kept = Some(lock.lock().unwrap());
    let child = Context::new(StartMethod::Fork).fork(|| {
        kept = None; // Drops the child's copy.
        matches!(lock.try_lock(), Err(LockError::WouldBlock))
    });
    assert!(child.unwrap().join().unwrap(), "the child is not its parent");
    assert!(lock.holder().is_some_and(|holder| holder.pid == std::process::id()));
    drop(kept);
    assert_eq!(lock.holder(), None);
}

fn a_forked_child_has_the_lock() {
    let lock = Lock::new().unwrap();
    let child = Context::new(StartMethod::Fork).fork(|| {
        std::mem::forget(lock.lock().unwrap());
        lock.holder().unwrap().pid
    });
    let child = child.unwrap();
    let pid = child.pid();
    assert_eq!(child.join().unwrap(), pid);
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))), "the child held it, not this process");
}

fn forget(lock: Lock) {
    std::mem::forget(lock.lock().unwrap());
}

fn a_forgotten_guard_is_inherited_from_its_process() {
    let lock = Lock::new().unwrap();
    start(StartMethod::Spawn, forget, (lock.clone(),)).join().unwrap();
    let holder = lock.holder().unwrap();
    assert!(!holder.is_alive, "{holder:?}");
    assert!(matches!(lock.try_lock(), Err(LockError::OwnerDied(_))));
    drop(lock.try_lock().unwrap());
    std::mem::forget(lock.lock().unwrap());
    assert!(matches!(lock.lock(), Err(LockError::HeldByThisThread)));
}

fn a_holder_is_known_and_since_when() {
    let lock = Lock::new().unwrap();
    assert_eq!((lock.holder(), lock.waiters()), (None, 0));
    let guard = lock.lock().unwrap();
    let first = lock.holder().unwrap();
    assert_eq!((first.pid, first.thread, first.is_alive), (std::process::id(), procession_sys::thread_id(), true));
    // What is measured is that it grows.
    thread::park_timeout(Duration::from_millis(5));
    let (second, grown) = (lock.holder().unwrap(), Duration::from_millis(4));
    assert!(second.held_for >= first.held_for + grown, "{first:?} {second:?}");
    drop(guard);
    let _guard = lock.lock().unwrap();
    assert!(lock.holder().unwrap().held_for < second.held_for, "it begins anew");
}

fn an_error_frees_the_lock_when_it_is_thrown_on() {
    fn thrown(lock: &Lock) -> Result<(), Box<dyn std::error::Error>> {
        let _guard = lock.lock()?;
        Ok(())
    }
    fn narrowed(lock: &Lock) -> Result<(), LockError> {
        let _guard = lock.lock()?;
        Ok(())
    }
    let lock = Lock::new().unwrap();
    start(StartMethod::Spawn, forget, (lock.clone(),)).join().unwrap();
    let error = thrown(&lock).unwrap_err();
    assert!(error.to_string().contains("died"), "{error}");
    drop(error);
    assert_eq!(lock.holder(), None);
    start(StartMethod::Spawn, forget, (lock.clone(),)).join().unwrap();
    assert!(matches!(narrowed(&lock), Err(LockError::OwnerDied(()))));
    assert_eq!(lock.holder(), None);
}
