//! The condition between processes: waited at, notified, and left by the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes and by the
//! condition's own count of those that wait.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use common::owner::eventually;
use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, Process, StartMethod};
use procession_shm::arena::Slot;
use procession_sync::{Condition, Lock, LockError, RECHECK, RLock};
use procession_sys::{fail_points, interrupt_waits, send_signal};
use procession_testkit::assert_cost;
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        a_guard_of_another_lock_is_refused,
        a_copy_of_a_guard_does_not_wait,
        two_conditions_are_over_one_lock,
        a_wait_ends_in_time_however_short_or_long,
    ];
    cases for methods(), [
        each_notification_wakes_one_of_a_process_and_a_thread,
        six_time_out_and_six_others_are_woken,
        a_wait_tells_whether_it_was_notified,
        a_predicate_over_shared_state_is_waited_for,
        a_woken_one_is_killed_and_another_goes_on,
        a_notifier_that_is_killed_has_notified,
        one_that_is_killed_when_it_takes_the_lock_stops_nobody,
        one_that_was_killed_asleep_is_not_notified,
        notify_all_loses_nobody,
        a_lock_that_is_held_twice_is_freed_and_held_twice_again,
        a_holder_that_dies_is_told_of_to_who_waited,
    ];
}

fn waits(condition: Condition) {
    drop(condition.wait(condition.lock().unwrap()).unwrap());
}

/// Waits, and is killed where the place is.
fn waits_until(condition: Condition, place: String) {
    let guard = condition.lock().unwrap();
    fail_points::arm(place.leak(), 0, fail_points::kill);
    drop(condition.wait(guard).unwrap());
}

/// Waits until so many wait.
fn waiting(condition: &Condition, count: usize) {
    eventually("they wait", || condition.waiters() == count);
}

/// Two wait in this order: the first is killed at the place, the other is not.
fn one_dies(method: StartMethod, condition: &Condition, place: &str) -> [Process<()>; 2] {
    let dies = start(method, waits_until, (condition.clone(), place.to_owned()));
    waiting(condition, 1);
    let lives = start(method, waits, (condition.clone(),));
    waiting(condition, 2);
    [dies, lives]
}

fn a_guard_of_another_lock_is_refused() {
    let (condition, other) = (Condition::new().unwrap(), Lock::new().unwrap());
    let guard = other.lock().unwrap();
    assert!(matches!(condition.wait(guard), Err(LockError::NotItsLock)));
    drop(other.try_lock().unwrap());
}

fn a_copy_of_a_guard_does_not_wait() {
    let condition = Condition::new().unwrap();
    let guard = Cell::new(Some(condition.lock().unwrap()));
    let child = Context::new(StartMethod::Fork)
        .fork(|| matches!(condition.wait(guard.take().expect("the copy")), Err(LockError::NotItsLock)))
        .unwrap();
    assert!(child.join().unwrap());
    assert!(condition.base().holder().is_some(), "it is the parent's");
    drop(guard);
}

fn two_conditions_are_over_one_lock() {
    let lock = Lock::new().unwrap();
    let [full, empty] = [(); 2].map(|()| Condition::with_lock(&lock).unwrap());
    thread::scope(|scope| {
        let waits = scope.spawn(|| drop(full.wait(lock.lock().unwrap()).unwrap()));
        waiting(&full, 1);
        empty.notify_all();
        assert_eq!((full.waiters(), empty.waiters()), (1, 0));
        let guard = lock.lock().unwrap();
        assert!(matches!(full.base().try_lock(), Err(LockError::WouldBlock)));
        full.notify_one();
        drop(guard);
        waits.join().unwrap();
    });
}

fn a_wait_ends_in_time_however_short_or_long() {
    let condition = Condition::new().unwrap();
    let began = Instant::now();
    let (guard, notified) = condition.wait_timeout(condition.lock().unwrap(), Duration::ZERO).unwrap();
    assert!(!notified);
    let (guard, notified) = condition.wait_timeout(guard, 2 * RECHECK).unwrap();
    assert!(!notified && began.elapsed() >= 2 * RECHECK);
    let (guard, is_so) = condition.wait_for_timeout(guard, RECHECK, || false).unwrap();
    assert!(!is_so);
    drop(guard);
    thread::scope(|scope| {
        let waits = scope
            .spawn(|| condition.wait_timeout(condition.lock().unwrap(), Duration::MAX).map(|(_, told)| told).unwrap());
        waiting(&condition, 1);
        condition.notify_one();
        assert!(waits.join().unwrap());
    });
}

fn waits_and_tells(condition: Condition, woken: Descriptor) {
    waits(condition);
    tell(&woken);
}

fn each_notification_wakes_one_of_a_process_and_a_thread(method: StartMethod) {
    let condition = Condition::new().unwrap();
    let (woken, tells) = pipe();
    let child = start(method, waits_and_tells, (condition.clone(), tells.clone()));
    waiting(&condition, 1);
    let thread = thread::spawn({
        let condition = condition.clone();
        move || waits_and_tells(condition, tells)
    });
    waiting(&condition, 2);
    for left in [1, 0] {
        let guard = condition.lock().unwrap();
        condition.notify_one();
        assert_eq!(condition.waiters(), left);
        drop(guard);
        hear(&woken);
    }
    child.join().unwrap();
    thread.join().unwrap();
    assert_eq!((condition.waiters(), condition.base().waiters(), condition.base().holder()), (0, 0, None));
}

fn waits_for(condition: Condition, timeout: Duration) -> bool {
    condition.wait_timeout(condition.lock().unwrap(), timeout).map(|(_, notified)| notified).unwrap()
}

fn six_time_out_and_six_others_are_woken(method: StartMethod) {
    let condition = Condition::new().unwrap();
    for (timeout, is_notified) in [(RECHECK, false), (Duration::from_secs(600), true)] {
        let children = [(); 3].map(|()| start(method, waits_for, (condition.clone(), timeout)));
        thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(|| waits_for(condition.clone(), timeout)));
            if is_notified {
                waiting(&condition, 6);
                condition.notify_all();
            }
            assert_eq!(threads.map(|thread| thread.join().unwrap()), [is_notified; 3]);
        });
        assert_eq!(children.map(|child| child.join().unwrap()), [is_notified; 3]);
        assert_eq!((condition.waiters(), condition.base().waiters()), (0, 0));
    }
}

/// 10 on every architecture that this is built for.
const SIGUSR1: i32 = 10;

fn is_interrupted(condition: Condition, out_of_time: Descriptor) -> [bool; 2] {
    interrupt_waits(SIGUSR1).unwrap();
    let first = waits_for(condition.clone(), RECHECK);
    tell(&out_of_time);
    [first, waits_for(condition, Duration::from_secs(600))]
}

fn a_wait_tells_whether_it_was_notified(method: StartMethod) {
    let condition = Condition::new().unwrap();
    let (out_of_time, tells) = pipe();
    let child = start(method, is_interrupted, (condition.clone(), tells));
    hear(&out_of_time);
    waiting(&condition, 1);
    for _ in 0..10 {
        send_signal(child.pid(), SIGUSR1).unwrap();
    }
    assert_eq!(condition.waiters(), 1, "a signal does not end a wait");
    condition.notify_one();
    assert_eq!(child.join().unwrap(), [false, true]);
}

fn waits_for_four(condition: Condition, state: Slot) -> u64 {
    let state = &state.words()[0];
    let guard = condition.wait_for(condition.lock().unwrap(), || state.load(SeqCst) == 4).unwrap();
    state.store(7, SeqCst);
    condition.notify_one();
    let long = Duration::from_secs(600);
    let (_guard, is_so) = condition.wait_for_timeout(guard, long, || state.load(SeqCst) == 8).unwrap();
    if is_so { state.load(SeqCst) } else { 0 }
}

fn a_predicate_over_shared_state_is_waited_for(method: StartMethod) {
    let (condition, state) = (Condition::new().unwrap(), Slot::allocate(8, 1).unwrap());
    let child = start(method, waits_for_four, (condition.clone(), state.clone()));
    waiting(&condition, 1);
    let state = &state.words()[0];
    for _ in 0..4 {
        let guard = condition.lock().unwrap();
        state.fetch_add(1, SeqCst);
        condition.notify_one();
        drop(guard);
    }
    let guard = condition.wait_for(condition.lock().unwrap(), || state.load(SeqCst) == 7).unwrap();
    state.store(8, SeqCst);
    condition.notify_all();
    drop(guard);
    assert_eq!(child.join().unwrap(), 8);
}

fn a_woken_one_is_killed_and_another_goes_on(method: StartMethod) {
    assert_cost(20 * RECHECK, || {
        let condition = Condition::new().unwrap();
        let [dies, lives] = one_dies(method, &condition, "condition: to leave");
        condition.notify_one();
        // Who comes after the notification has no part in it, however little is left of those for whom it was.
        let late = start(method, waits, (condition.clone(),));
        assert!(dies.join().is_err());
        let killed = Instant::now();
        lives.join().unwrap();
        let told = killed.elapsed();
        waiting(&condition, 1);
        condition.notify_one();
        late.join().unwrap();
        assert_eq!(condition.waiters(), 0);
        told
    });
}

fn notifies_until(condition: Condition, place: String) {
    fail_points::arm(place.leak(), 0, fail_points::kill);
    condition.notify_one();
}

fn a_notifier_that_is_killed_has_notified(method: StartMethod) {
    assert_cost(20 * RECHECK, || {
        let condition = Condition::new().unwrap();
        let child = start(method, waits, (condition.clone(),));
        waiting(&condition, 1);
        let notifier = start(method, notifies_until, (condition.clone(), "condition: notified, not woken".to_owned()));
        assert!(notifier.join().is_err());
        let killed = Instant::now();
        child.join().unwrap();
        killed.elapsed()
    });
}

fn one_that_is_killed_when_it_takes_the_lock_stops_nobody(method: StartMethod) {
    let condition = Condition::new().unwrap();
    let [dies, lives] = one_dies(method, &condition, "lock: to take");
    let guard = condition.lock().unwrap();
    condition.notify_one();
    // The lock is held, so that it has to be waited for.
    eventually("it waits for the lock", || condition.base().waiters() == 1);
    drop(guard);
    assert!(dies.join().is_err());
    assert_eq!(condition.waiters(), 1, "what it was given is lost with it");
    condition.notify_one();
    lives.join().unwrap();
}

fn one_that_was_killed_asleep_is_not_notified(method: StartMethod) {
    let condition = Condition::new().unwrap();
    let [dies, lives] = [(); 2].map(|()| {
        let before = condition.waiters();
        let child = start(method, waits, (condition.clone(),));
        waiting(&condition, before + 1);
        child
    });
    dies.kill().unwrap();
    assert!(dies.join().is_err());
    assert_eq!(condition.waiters(), 1);
    condition.notify_one();
    assert_eq!(condition.waiters(), 0, "the living one is notified at once");
    lives.join().unwrap();
}

fn notify_all_loses_nobody(method: StartMethod) {
    let condition = Condition::new().unwrap();
    let [dies, lives] = one_dies(method, &condition, "condition: to leave");
    let other = start(method, waits, (condition.clone(),));
    waiting(&condition, 3);
    condition.notify_all();
    assert!(dies.join().is_err());
    lives.join().unwrap();
    other.join().unwrap();
    assert_eq!(condition.waiters(), 0);
}

fn notifies_and_dies(condition: Condition) {
    waiting(&condition, 1);
    let _guard = condition.lock().unwrap();
    condition.notify_one();
    fail_points::kill();
}

fn a_holder_that_dies_is_told_of_to_who_waited(method: StartMethod) {
    let condition = Condition::new().unwrap();
    let child = start(method, notifies_and_dies, (condition.clone(),));
    match condition.wait(condition.lock().unwrap()) {
        Err(LockError::OwnerDied(guard)) => drop(guard),
        other => panic!("{other:?}"),
    }
    assert!(child.join().is_err());
    drop(condition.lock().unwrap());
}

/// Takes the lock, which is free only if all levels are, notifies, and sees that it is held again.
fn takes_and_notifies(condition: Condition<RLock>, woken: Descriptor) {
    let guard = condition.lock().unwrap();
    assert_eq!(condition.base().depth(), 1);
    condition.notify_one();
    drop(guard);
    hear(&woken);
    assert!(matches!(condition.base().try_lock(), Err(LockError::WouldBlock)));
}

fn a_lock_that_is_held_twice_is_freed_and_held_twice_again(method: StartMethod) {
    let lock = RLock::new().unwrap();
    let condition = Condition::with_lock(&lock).unwrap();
    let (woken, tells_woken) = pipe();
    let outer = lock.lock().unwrap();
    let inner = condition.lock().unwrap();
    let child = start(method, takes_and_notifies, (condition.clone(), woken));
    let (inner, was_notified) = condition.wait_timeout(inner, Duration::from_secs(10)).unwrap();
    assert!(was_notified);
    assert_eq!(lock.depth(), 2);
    drop(inner);
    tell(&tells_woken);
    child.join().unwrap(); // One level is left.
    assert_eq!(lock.depth(), 1);
    drop(outer);
    assert_eq!(lock.holder(), None);
}
