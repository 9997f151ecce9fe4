//! Semaphores between processes: permits taken, waited for, and given back by the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, JoinError, StartMethod};
use procession_shm::arena::Slot;
use procession_sync::{BoundedSemaphore, HOLDERS_MAX, LockError, PERMITS_MAX, Permit, RECHECK, Semaphore};
use procession_sys::fail_points;
use procession_testkit::assert_cost;
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        a_permit_copied_by_a_fork_is_inert,
        limits_are_kept,
        who_was_killed_in_the_middle_of_its_taking_is_seen,
        a_permit_is_waited_for_as_long_as_was_said,
        scribbled_words_block_at_worst,
    ];
    cases for methods(), [
        permits_are_shared_and_come_back,
        a_bounded_semaphore_follows_what_is_taken_and_given,
        the_dead_give_back_what_they_have_not_forgotten,
        the_woken_waiter_is_killed_while_another_barges_in,
        the_releaser_is_killed_before_it_wakes_anybody,
        the_taker_is_killed_between_wake_and_take,
        a_kill_at_any_step_leaves_a_whole_count,
        of_two_that_over_release_at_once_one_is_refused,
        a_holder_too_many_is_refused_until_another_ends,
        threads_and_processes_never_have_more_than_there_are,
    ];
}

const TICK: Duration = Duration::from_millis(5);

fn hold(semaphore: Semaphore, held: Descriptor, release: Descriptor) {
    let _permit = semaphore.acquire().unwrap();
    semaphore.acquire().unwrap().forget();
    tell(&held);
    hear(&release);
}

fn permits_are_shared_and_come_back(method: StartMethod) {
    let semaphore = Semaphore::new(2).unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let child = start(method, hold, (semaphore.clone(), tells_held, release));
    hear(&held);
    assert_eq!(semaphore.holders(), [(child.pid(), 1)]);
    assert!(matches!(semaphore.try_acquire(), Err(LockError::WouldBlock)));
    let before = Instant::now();
    assert!(matches!(semaphore.acquire_timeout(TICK), Err(LockError::Timeout)));
    assert!(before.elapsed() >= TICK);
    tell(&tells_release);
    let permit = semaphore.acquire().unwrap();
    assert_eq!(semaphore.available(), 0);
    child.join().unwrap();
    drop(permit);
    assert_eq!(semaphore.available(), 1);
    // One that is not bounded may have more than at first.
    semaphore.release(4).unwrap();
    assert_eq!(semaphore.available(), 5);
}

fn take_two(semaphore: BoundedSemaphore) {
    let _one = semaphore.acquire().unwrap();
    let _other = semaphore.try_acquire().unwrap();
    assert_eq!(semaphore.available(), 0);
}

fn a_bounded_semaphore_follows_what_is_taken_and_given(method: StartMethod) {
    let semaphore = BoundedSemaphore::new(2).unwrap();
    start(method, take_two, (semaphore.clone(),)).join().unwrap();
    assert_eq!(semaphore.available(), 2);
    let permit = semaphore.acquire().unwrap();
    assert!(matches!(semaphore.release(1), Err(LockError::OverRelease { count: 1 })));
    permit.forget();
    assert!(matches!(semaphore.release(2), Err(LockError::OverRelease { count: 2 })));
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.available(), 2);
}

fn the_dead_give_back_what_they_have_not_forgotten(method: StartMethod) {
    assert_cost(20 * RECHECK, || {
        let semaphore = Semaphore::new(2).unwrap();
        let ((held, tells_held), (release, _open)) = (pipe(), pipe());
        let child = start(method, hold, (semaphore.clone(), tells_held, release));
        hear(&held);
        child.kill().unwrap();
        let killed = Instant::now();
        let permit = semaphore.acquire().unwrap();
        let told = killed.elapsed();
        assert!(matches!(semaphore.try_acquire(), Err(LockError::WouldBlock)));
        drop(permit);
        assert!(child.join().is_err());
        told
    });
}

/// Waits until so many sleep.
fn wait_for_sleepers(semaphore: &Semaphore, count: usize) {
    while semaphore.waiters() != count {
        // The kernel says who sleeps in a futex only when it is asked; this orders nothing.
        thread::sleep(Duration::from_millis(1));
    }
}

/// Is killed when it comes to the place and `released` says that it is time.
fn arm(place: &'static str, released: Semaphore) {
    fail_points::arm(
        place,
        0,
        move || {
            if released.available() == 0 { arm(place, released) } else { fail_points::kill() }
        },
    );
}

fn visit(semaphore: Semaphore) {
    drop(semaphore.acquire().unwrap());
}

fn visit_and_die_woken(semaphore: Semaphore, released: Semaphore) {
    arm("semaphore: woken", released);
    visit(semaphore);
}

fn visit_and_die_taking(semaphore: Semaphore) {
    fail_points::arm("semaphore: to take", 0, fail_points::kill);
    visit(semaphore);
}

fn hold_and_die_giving(semaphore: Semaphore, held: Descriptor, release: Descriptor) {
    let permit = semaphore.acquire().unwrap();
    tell(&held);
    hear(&release);
    fail_points::arm("semaphore: given, not woken", 0, fail_points::kill);
    drop(permit);
}

fn assert_killed(ended: Result<(), JoinError>) {
    assert!(matches!(ended, Err(JoinError::Signaled { .. })), "{ended:?}");
}

fn the_woken_waiter_is_killed_while_another_barges_in(method: StartMethod) {
    let (semaphore, released) = (Semaphore::new(1).unwrap(), Semaphore::new(0).unwrap());
    let permit = semaphore.acquire().unwrap();
    let dies = start(method, visit_and_die_woken, (semaphore.clone(), released.clone()));
    wait_for_sleepers(&semaphore, 1);
    let remains = start(method, visit, (semaphore.clone(),));
    wait_for_sleepers(&semaphore, 2);
    released.release(1).unwrap();
    drop(permit);
    let barges = semaphore.acquire().unwrap();
    assert_killed(dies.join());
    drop(barges);
    remains.join().unwrap();
    assert_eq!(semaphore.available(), 1);
}

fn the_releaser_is_killed_before_it_wakes_anybody(method: StartMethod) {
    let semaphore = Semaphore::new(1).unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let dies = start(method, hold_and_die_giving, (semaphore.clone(), tells_held, release));
    hear(&held);
    let remains = start(method, visit, (semaphore.clone(),));
    wait_for_sleepers(&semaphore, 1);
    tell(&tells_release);
    remains.join().unwrap();
    assert_killed(dies.join());
    assert_eq!(semaphore.available(), 1);
}

fn the_taker_is_killed_between_wake_and_take(method: StartMethod) {
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.acquire().unwrap();
    let dies = start(method, visit_and_die_taking, (semaphore.clone(),));
    wait_for_sleepers(&semaphore, 1);
    let remains = start(method, visit, (semaphore.clone(),));
    wait_for_sleepers(&semaphore, 2);
    drop(permit);
    remains.join().unwrap();
    assert_killed(dies.join());
    assert_eq!(semaphore.available(), 1);
}

fn visit_and_die_noting(semaphore: Semaphore) {
    fail_points::arm("ledger: changed, not noted", 0, fail_points::kill);
    visit(semaphore);
}

fn who_was_killed_in_the_middle_of_its_taking_is_seen() {
    let semaphore = Semaphore::new(1).unwrap();
    let dies = start(StartMethod::Spawn, visit_and_die_noting, (semaphore.clone(),));
    assert_killed(dies.join());
    assert!(matches!(semaphore.holders()[..], [(_, 1)]), "{semaphore:?}");
    drop(semaphore.try_acquire().unwrap());
    assert_eq!(semaphore.holders(), []);
}

/// What a process does with a semaphore, once each, and is killed after so many steps. True when there were not so many.
fn live(semaphore: BoundedSemaphore, empty: Semaphore, before: u32) -> bool {
    fail_points::arm_any(before, fail_points::kill);
    let permit = semaphore.acquire().unwrap();
    let other = semaphore.try_acquire().unwrap();
    drop(permit);
    other.forget();
    semaphore.release(1).unwrap();
    assert!(empty.acquire_timeout(Duration::from_millis(1)).is_err());
    drop(semaphore.acquire().unwrap());
    let is_over = fail_points::is_armed();
    fail_points::disarm();
    is_over
}

fn a_kill_at_any_step_leaves_a_whole_count(method: StartMethod) {
    let (semaphore, empty) = (BoundedSemaphore::new(2).unwrap(), Semaphore::new(0).unwrap());
    for before in 0.. {
        match start(method, live, (semaphore.clone(), empty.clone(), before)).join() {
            Ok(is_over) => {
                assert!(is_over && before > 30, "it was no more than {before} steps");
                break;
            }
            Err(JoinError::Signaled { .. }) => {}
            Err(error) => panic!("step {before}: {error}"),
        }
        // All that can be had, before and after what was forgotten and not released comes back.
        let permits: Vec<_> = std::iter::from_fn(|| semaphore.try_acquire().ok()).collect();
        let forgotten = 2 - permits.len();
        assert!(forgotten <= 1, "step {before}: {forgotten} permits are gone");
        assert_eq!(semaphore.release(1).is_ok(), forgotten == 1, "step {before}");
        drop(permits);
        assert_eq!((semaphore.available(), semaphore.holders().len()), (2, 0), "step {before}");
    }
    assert_eq!((empty.available(), empty.waiters()), (0, 0));
}

/// More than two processes can release at once.
const FORGOTTEN: u32 = 500;

fn release_all(semaphore: BoundedSemaphore, ready: Descriptor, go: Descriptor) -> u32 {
    tell(&ready);
    hear(&go);
    (0..FORGOTTEN).map(|_| u32::from(semaphore.release(1).is_ok())).sum()
}

fn of_two_that_over_release_at_once_one_is_refused(method: StartMethod) {
    let semaphore = BoundedSemaphore::new(FORGOTTEN + 1).unwrap();
    (0..FORGOTTEN).for_each(|_| semaphore.acquire().unwrap().forget());
    let permit = semaphore.acquire().unwrap();
    let ((ready, tells_ready), (go, tells_go)) = (pipe(), pipe());
    let children = [(); 2].map(|()| {
        let [tells_ready, go] = [&tells_ready, &go].map(again);
        start(method, release_all, (semaphore.clone(), tells_ready, go))
    });
    children.iter().for_each(|_| hear(&ready));
    children.iter().for_each(|_| tell(&tells_go));
    let released = children.map(|child| child.join().unwrap());
    assert_eq!((released.iter().sum::<u32>(), semaphore.available()), (FORGOTTEN, FORGOTTEN), "{released:?}");
    drop(permit);
}

fn again(descriptor: &Descriptor) -> Descriptor {
    use std::os::fd::AsFd;
    descriptor.as_fd().try_clone_to_owned().unwrap().into()
}

fn try_to_hold(semaphore: Semaphore) -> bool {
    match semaphore.acquire() {
        Ok(_) => true,
        Err(LockError::TooManyHolders { limit: 2 }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn a_holder_too_many_is_refused_until_another_ends(method: StartMethod) {
    let semaphore = Semaphore::builder(5).holders(2).build().unwrap();
    let _own = semaphore.acquire().unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let child = start(method, hold, (semaphore.clone(), tells_held, release));
    hear(&held);
    assert!(!start(method, try_to_hold, (semaphore.clone(),)).join().unwrap());
    tell(&tells_release);
    child.join().unwrap();
    assert!(start(method, try_to_hold, (semaphore.clone(),)).join().unwrap());
    assert_eq!(semaphore.available(), 3);
}

/// Rounds of each thread.
const ROUNDS: usize = 200;

fn visit_often(semaphore: Semaphore, inside: Semaphore) {
    for _ in 0..ROUNDS {
        let _permit = semaphore.acquire().unwrap();
        // Only two are inside, so there is room for both at once.
        drop(inside.try_acquire().unwrap());
    }
}

fn threads_and_processes_never_have_more_than_there_are(method: StartMethod) {
    let (semaphore, inside) = (Semaphore::new(2).unwrap(), Semaphore::new(2).unwrap());
    let children = [(); 2].map(|()| start(method, visit_often, (semaphore.clone(), inside.clone())));
    thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(|| visit_often(semaphore.clone(), inside.clone()))));
    });
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!((semaphore.available(), inside.available(), semaphore.waiters()), (2, 2, 0));
}

fn a_permit_copied_by_a_fork_is_inert() {
    let semaphore = Semaphore::new(2).unwrap();
    let permits = Cell::new([(); 2].map(|()| semaphore.acquire().ok()));
    let child = Context::new(StartMethod::Fork).fork(|| {
        let [dropped, forgotten] = permits.take();
        drop(dropped);
        forgotten.unwrap().forget();
        assert!(matches!(semaphore.try_acquire(), Err(LockError::WouldBlock)));
        semaphore.release(1).unwrap();
        drop(semaphore.acquire().unwrap());
    });
    child.unwrap().join().unwrap();
    assert_eq!((semaphore.available(), semaphore.holders()), (1, vec![(std::process::id(), 2)]));
    drop(permits);
    assert_eq!((semaphore.available(), semaphore.holders()), (3, vec![]));
}

fn limits_are_kept() {
    assert!(matches!(Semaphore::new(PERMITS_MAX + 1), Err(LockError::TooManyPermits { .. })));
    assert!(matches!(BoundedSemaphore::new(u32::MAX), Err(LockError::TooManyPermits { .. })));
    for holders in [0, HOLDERS_MAX + 1, u32::MAX] {
        let error = Semaphore::builder(1).holders(holders).build().unwrap_err();
        assert!(matches!(error, LockError::InvalidHolders { .. }), "{error}");
    }
    for holders in [1, 2, 3, 4, HOLDERS_MAX - 1, HOLDERS_MAX] {
        let semaphore = Semaphore::builder(1).holders(holders).build().unwrap();
        drop(decode::<Semaphore>(encode(&semaphore).unwrap()).unwrap().acquire().unwrap());
    }
    let semaphore = Semaphore::new(PERMITS_MAX).unwrap();
    assert!(matches!(semaphore.release(1), Err(LockError::OverRelease { .. })));
    assert!(matches!(semaphore.release(u32::MAX), Err(LockError::OverRelease { .. })));
    semaphore.release(0).unwrap();
    let permit = semaphore.acquire().unwrap();
    semaphore.release(1).unwrap();
    // There is no room for it any more.
    drop(permit);
    assert_eq!((semaphore.available(), semaphore.holders()), (PERMITS_MAX, vec![]));
    assert!(BoundedSemaphore::new(0).unwrap().try_acquire().is_err());
}

fn a_permit_is_waited_for_as_long_as_was_said() {
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.acquire_timeout(Duration::ZERO).unwrap();
    assert!(matches!(semaphore.acquire_timeout(Duration::ZERO), Err(LockError::Timeout)));
    assert!(matches!(semaphore.try_acquire(), Err(LockError::WouldBlock)));
    for wait in [TICK, 2 * RECHECK] {
        assert_cost(wait + 20 * RECHECK, || {
            let before = Instant::now();
            assert!(matches!(semaphore.acquire_timeout(wait), Err(LockError::Timeout)));
            let took = before.elapsed();
            assert!(took >= wait);
            took
        });
    }
    thread::scope(|scope| {
        let waits = scope.spawn(|| drop(semaphore.acquire_timeout(Duration::MAX).unwrap()));
        wait_for_sleepers(&semaphore, 1);
        drop(permit);
        waits.join().unwrap();
    });
    assert_eq!(format!("{semaphore:?}"), "Semaphore { available: 1, holders: [] }");
}

/// As many times as words are scribbled.
const SCRIBBLES: u64 = 300;

fn scribbled_words_block_at_worst() {
    let semaphore = BoundedSemaphore::builder(3).holders(3).build().unwrap();
    let slot: Slot = decode(encode(&semaphore).unwrap()).unwrap();
    let mut seed = 1_u64;
    for _ in 0..SCRIBBLES {
        let permit = semaphore.try_acquire();
        for word in slot.words() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.store(seed ^ seed >> 29, Relaxed);
        }
        drop(permit);
        let _ = semaphore.acquire_timeout(Duration::from_micros(10)).map(Permit::forget);
        let _ = semaphore.release(seed as u32);
        let _ = (semaphore.available(), semaphore.waiters(), semaphore.holders(), format!("{semaphore:?}"));
        drop(decode::<BoundedSemaphore>(encode(&semaphore).unwrap()));
    }
}
