//! Locks for readers and writers between processes: taken, waited for, and inherited from the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, JoinError, StartMethod};
use procession_shm::arena::Slot;
use procession_sync::{LockError, RECHECK, RawValue, RwLock, Semaphore};
use procession_sys::fail_points;
use procession_testkit::assert_cost;
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        guards_copied_by_a_fork_are_inert,
        a_thread_that_writes_does_not_wait_for_itself,
        times_of_all_lengths_are_waited_for,
        a_writer_is_known_and_since_when,
        what_a_dead_writer_left_is_held_by_whoever_is_told,
        who_was_killed_in_the_middle_of_its_taking_is_seen,
        no_more_read_than_can_be_counted,
        a_writer_that_waits_is_let_pass_whoever_else_writes_or_gives_up,
        readers_are_woken_when_a_writer_gives_up,
        scribbled_words_block_at_worst,
    ];
    cases for methods(), [
        a_writer_excludes_all,
        readers_exclude_writers_only,
        a_dead_writer_is_told_of_once,
        a_dead_reader_is_counted_off,
        a_writer_that_waits_is_let_pass_until_it_gives_up_or_dies,
        the_woken_waiter_is_killed_while_another_barges_in within 60,
        the_unlocker_is_killed_before_it_wakes_anybody within 60,
        the_taker_is_killed_between_wake_and_take within 60,
        a_kill_at_any_step_leaves_a_whole_lock,
        a_holder_too_many_is_refused,
        readers_see_all_of_what_is_written_or_nothing,
    ];
}

const TICK: Duration = Duration::from_millis(5);

fn write(lock: RwLock, held: Descriptor, release: Descriptor) {
    let _guard = lock.write().unwrap();
    tell(&held);
    hear(&release);
}

fn read(lock: RwLock, held: Descriptor, release: Descriptor) {
    let _guards = (lock.read().unwrap(), lock.read().unwrap());
    tell(&held);
    hear(&release);
}

fn a_writer_excludes_all(method: StartMethod) {
    let lock = RwLock::new().unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let child = start(method, write, (lock.clone(), tells_held, release));
    hear(&held);
    assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
    assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
    let before = Instant::now();
    assert!(matches!(lock.read_timeout(TICK), Err(LockError::Timeout)));
    assert!(matches!(lock.write_timeout(TICK), Err(LockError::Timeout)));
    assert!(before.elapsed() >= 2 * TICK);
    let holder = lock.writer().unwrap();
    assert_eq!((holder.pid, holder.is_alive, lock.readers()), (child.pid(), true, vec![]));
    tell(&tells_release);
    drop(lock.read().unwrap());
    child.join().unwrap();
    assert_eq!(lock.writer(), None);
}

fn readers_exclude_writers_only(method: StartMethod) {
    let lock = RwLock::new().unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let child = start(method, read, (lock.clone(), tells_held, release));
    hear(&held);
    let own = lock.read().unwrap();
    assert_eq!((lock.readers().len(), lock.readers().contains(&(child.pid(), 2))), (2, true));
    assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
    drop(own);
    assert!(matches!(lock.write_timeout(TICK), Err(LockError::Timeout)));
    tell(&tells_release);
    drop(lock.write().unwrap());
    child.join().unwrap();
    assert_eq!(lock.readers(), []);
}

fn a_dead_writer_is_told_of_once(method: StartMethod) {
    for is_read in [false, true] {
        assert_cost(20 * RECHECK, || {
            let lock = RwLock::new().unwrap();
            let ((held, tells_held), (release, _open)) = (pipe(), pipe());
            let child = start(method, write, (lock.clone(), tells_held, release));
            hear(&held);
            child.kill().unwrap();
            let killed = Instant::now();
            let is_told = match is_read {
                false => matches!(lock.write(), Err(LockError::OwnerDied(_))),
                true => matches!(lock.read(), Err(LockError::OwnerDied(_))),
            };
            let told = killed.elapsed();
            assert!(is_told);
            drop((lock.read().unwrap(), lock.read().unwrap()));
            drop(lock.write().unwrap());
            assert!(child.join().is_err());
            told
        });
    }
}

fn a_dead_reader_is_counted_off(method: StartMethod) {
    let lock = RwLock::new().unwrap();
    let ((held, tells_held), (release, _open)) = (pipe(), pipe());
    let child = start(method, read, (lock.clone(), tells_held, release));
    hear(&held);
    child.kill().unwrap();
    drop(lock.write().unwrap());
    assert!(child.join().is_err());
}

/// Waits until so many sleep.
fn wait_for_sleepers(lock: &RwLock, count: usize) {
    while lock.waiters() != count {
        // The kernel says who sleeps in a futex only when it is asked; this orders nothing.
        thread::sleep(Duration::from_millis(1));
    }
}

fn wait_to_write(lock: RwLock) {
    drop(lock.write().unwrap());
}

fn a_writer_that_waits_is_let_pass_until_it_gives_up_or_dies(method: StartMethod) {
    let lock = RwLock::new().unwrap();
    let reads = lock.read().unwrap();
    assert!(matches!(lock.write_timeout(TICK), Err(LockError::Timeout)));
    drop(lock.try_read().unwrap());
    let waits = start(method, wait_to_write, (lock.clone(),));
    wait_for_sleepers(&lock, 1);
    assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
    assert!(matches!(lock.read_timeout(3 * RECHECK), Err(LockError::Timeout)));
    waits.kill().unwrap();
    drop(lock.read().unwrap());
    assert_killed(waits.join());
    drop(reads);
}

/// How far a test has come that waits for a sleeper to be woken.
const HELD: u32 = 0;
const FREED: u32 = 1;
const BARGED: u32 = 2;

/// What a test and its sleepers tell each other: how far it has come, and how many of them somebody has woken.
type Scene = (RawValue<u32>, RawValue<u32>);

fn scene() -> Scene {
    (RawValue::new(HELD).unwrap(), RawValue::new(0).unwrap())
}

/// A test needs a sleeper that is woken, and one may look by itself just then: so it tries again, so many times at most.
const TRIES: u32 = 20;

/// Has `then` happen when this thread comes to one of the places after the lock was freed, and tells of it if somebody has
/// woken it, so that it has not looked by itself.
fn once_woken(places: &[&'static str], (step, woken): Scene, then: impl Fn() + Clone + 'static) {
    let is_late = Rc::new(Cell::new(false));
    let late = Rc::clone(&is_late);
    fail_points::watch(move |place| match place {
        "park: sleeps" => late.set(false),
        "park: looks again" => late.set(true),
        _ => {}
    });
    let tells = move || {
        woken.fetch_add(u32::from(!is_late.get()));
        then();
    };
    places.iter().for_each(|place| arm(place, step.clone(), tells.clone()));
}

fn arm(place: &'static str, step: RawValue<u32>, then: impl Fn() + 'static) {
    fail_points::arm(place, 0, move || if step.get() == HELD { arm(place, step, then) } else { then() });
}

/// The places to which who sleeps comes next, and before it takes.
const READ: [&str; 2] = ["rwlock: woken to read", "rwlock: to read"];
const WRITE: [&str; 2] = ["rwlock: woken to write", "rwlock: to write"];

fn places(reads: bool) -> &'static [&'static str; 2] {
    if reads { &READ } else { &WRITE }
}

fn visit(lock: RwLock, reads: bool) {
    match reads {
        true => drop(lock.read().unwrap()),
        false => drop(lock.write().unwrap()),
    }
}

fn visit_woken(lock: RwLock, reads: bool, scene: Scene) {
    once_woken(&places(reads)[..1], scene, || {});
    visit(lock, reads);
    fail_points::disarm();
    fail_points::unwatch();
}

fn visit_and_die_woken(lock: RwLock, reads: bool, scene: Scene) {
    let step = scene.0.clone();
    // It comes to the second alone if it has just looked by itself: then it does not count.
    once_woken(places(reads), scene, move || {
        while step.get() != BARGED {
            thread::yield_now();
        }
        fail_points::kill();
    });
    visit(lock, reads);
}

fn visit_and_die_taking(lock: RwLock, reads: bool, scene: Scene) {
    once_woken(&places(reads)[1..], scene, fail_points::kill);
    visit(lock, reads);
}

fn hold_and_die_freeing(lock: RwLock, reads: bool, held: Descriptor, release: Descriptor) {
    let guards = if reads { (Some(lock.read().unwrap()), None) } else { (None, Some(lock.write().unwrap())) };
    tell(&held);
    hear(&release);
    fail_points::arm("rwlock: freed, not woken", 0, fail_points::kill);
    drop(guards);
}

fn assert_killed(ended: Result<(), JoinError>) {
    assert!(matches!(ended, Err(JoinError::Signaled { .. })), "{ended:?}");
}

/// Tries it with who is killed and who remains, each of which reads or writes, until all were woken that had to be.
fn assert_all_are_woken(tries: impl Fn(bool, bool) -> bool) {
    for (dies, remains) in [(false, false), (false, true), (true, false), (true, true)] {
        let is_woken = (0..TRIES).any(|_| tries(dies, remains));
        assert!(is_woken, "nobody is ever woken: reads who dies {dies}, who remains {remains}");
    }
}

fn assert_free(lock: &RwLock) {
    assert_eq!((lock.writer(), lock.readers()), (None, vec![]));
    drop(lock.try_write().unwrap());
    drop(lock.try_read().unwrap());
}

fn the_woken_waiter_is_killed_while_another_barges_in(method: StartMethod) {
    assert_all_are_woken(|dies, remains| {
        let (lock, scene) = (RwLock::new().unwrap(), scene());
        let guard = lock.write().unwrap();
        let dies = start(method, visit_and_die_woken, (lock.clone(), dies, scene.clone()));
        let remains = start(method, visit_woken, (lock.clone(), remains, scene.clone()));
        wait_for_sleepers(&lock, 2);
        scene.0.set(FREED);
        drop(guard);
        let barges = lock.write().unwrap();
        scene.0.set(BARGED);
        assert_killed(dies.join());
        drop(barges);
        remains.join().unwrap();
        assert_free(&lock);
        scene.1.get() == 2
    });
}

fn the_unlocker_is_killed_before_it_wakes_anybody(method: StartMethod) {
    assert_all_are_woken(|dies, remains| {
        let (lock, scene) = (RwLock::new().unwrap(), scene());
        let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
        let dies = start(method, hold_and_die_freeing, (lock.clone(), dies, tells_held, release));
        hear(&held);
        // A writer has whoever reads let it pass, so that there is one that sleeps.
        let waits = start(method, visit_woken, (lock.clone(), false, scene.clone()));
        wait_for_sleepers(&lock, 1);
        let remains = start(method, visit_woken, (lock.clone(), remains, scene.clone()));
        wait_for_sleepers(&lock, 2);
        scene.0.set(FREED);
        tell(&tells_release);
        // Its end takes longer than both sleep, perhaps.
        while (lock.writer(), lock.readers()) != (None, vec![]) {
            thread::yield_now();
        }
        drop(lock.write().unwrap()); // Whoever comes next wakes all when it ends.
        assert_killed(dies.join());
        waits.join().unwrap();
        remains.join().unwrap();
        assert_free(&lock);
        scene.1.get() == 2
    });
}

fn the_taker_is_killed_between_wake_and_take(method: StartMethod) {
    assert_all_are_woken(|dies, remains| {
        let (lock, scene) = (RwLock::new().unwrap(), scene());
        let guard = lock.write().unwrap();
        let dies = start(method, visit_and_die_taking, (lock.clone(), dies, scene.clone()));
        wait_for_sleepers(&lock, 1);
        let remains = start(method, visit_woken, (lock.clone(), remains, scene.clone()));
        wait_for_sleepers(&lock, 2);
        scene.0.set(FREED);
        drop(guard);
        assert_killed(dies.join());
        remains.join().unwrap();
        assert_free(&lock);
        scene.1.get() == 2
    });
}

/// What a process does with a lock, once each, and is killed after so many steps. True when there were not so many.
fn live(lock: RwLock, busy: RwLock, before: u32) -> bool {
    fail_points::arm_any(before, fail_points::kill);
    drop((lock.read().unwrap(), lock.try_read().unwrap()));
    drop(lock.write().unwrap());
    drop(lock.try_write().unwrap());
    assert!(busy.write_timeout(Duration::from_millis(1)).is_err());
    drop(lock.read().unwrap());
    let is_over = fail_points::is_armed();
    fail_points::disarm();
    is_over
}

fn a_kill_at_any_step_leaves_a_whole_lock(method: StartMethod) {
    let (lock, busy) = (RwLock::new().unwrap(), RwLock::new().unwrap());
    let reads = busy.read().unwrap();
    let mut told = 0;
    for before in 0.. {
        match start(method, live, (lock.clone(), busy.clone(), before)).join() {
            Ok(is_over) => {
                assert!(is_over && before > 30, "it was no more than {before} steps");
                break;
            }
            Err(JoinError::Signaled { .. }) => {}
            Err(error) => panic!("step {before}: {error}"),
        }
        match lock.try_write() {
            Ok(_) => {}
            Err(LockError::OwnerDied(_)) => told += 1,
            Err(error) => panic!("step {before}: {error}"),
        }
        assert_eq!((lock.writer(), lock.readers()), (None, vec![]), "step {before}");
        // No mark of the dead one keeps readers out.
        drop((lock.try_read().unwrap(), busy.try_read().unwrap()));
    }
    assert!(told >= 6, "it died while it wrote only {told} times");
    drop(reads);
    drop(busy.try_write().unwrap());
}

fn is_refused(lock: RwLock) -> bool {
    matches!(lock.read(), Err(LockError::TooManyHolders { limit: 1 }))
}

fn a_holder_too_many_is_refused(method: StartMethod) {
    let lock = RwLock::builder().holders(1).build().unwrap();
    drop(lock.read().unwrap());
    assert!(start(method, is_refused, (lock.clone(),)).join().unwrap());
    assert!(matches!(RwLock::builder().holders(257).build(), Err(LockError::InvalidHolders { holders: 257 })));
}

const ROUNDS: u32 = 200;

/// Who writes takes a permit and gives it back, and who reads sees that nobody has it.
fn visit_often(lock: RwLock, guarded: Semaphore) {
    for round in 0..ROUNDS {
        if round % 4 == 0 {
            let _guard = lock.write().unwrap();
            drop(guarded.try_acquire().unwrap());
        } else {
            let _guard = lock.read().unwrap();
            assert_eq!(guarded.available(), 1);
        }
    }
}

fn readers_see_all_of_what_is_written_or_nothing(method: StartMethod) {
    let (lock, guarded) = (RwLock::new().unwrap(), Semaphore::new(1).unwrap());
    let child = start(method, visit_often, (lock.clone(), guarded.clone()));
    thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(|| visit_often(lock.clone(), guarded.clone()))));
    });
    child.join().unwrap();
    assert_eq!((lock.waiters(), lock.readers()), (0, vec![]));
}

fn guards_copied_by_a_fork_are_inert() {
    let (lock, other) = (RwLock::new().unwrap(), RwLock::new().unwrap());
    let guards = Cell::new(Some((lock.read().unwrap(), other.write().unwrap())));
    let child = Context::new(StartMethod::Fork).fork(|| {
        drop(guards.take());
        assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
        assert!(matches!(other.try_read(), Err(LockError::WouldBlock)));
        drop(lock.read().unwrap());
    });
    child.unwrap().join().unwrap();
    assert_eq!(lock.readers(), [(std::process::id(), 1)]);
    drop(guards);
    drop((lock.try_write().unwrap(), other.try_read().unwrap()));
}

fn a_thread_that_writes_does_not_wait_for_itself() {
    let lock = RwLock::new().unwrap();
    let guard = lock.write().unwrap();
    assert!(matches!(lock.write(), Err(LockError::HeldByThisThread)));
    assert!(matches!(lock.read(), Err(LockError::HeldByThisThread)));
    fail_points::arm("park: sleeps", 0, || panic!("who tries does not wait"));
    assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
    assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
    fail_points::disarm();
    assert_eq!(lock.writer().unwrap().pid, std::process::id());
    drop(guard);
    drop(lock.read().unwrap());
}

fn times_of_all_lengths_are_waited_for() {
    let lock = RwLock::new().unwrap();
    drop(lock.read_timeout(Duration::ZERO).unwrap());
    let guard = lock.write_timeout(Duration::ZERO).unwrap();
    assert!(matches!(lock.write_timeout(Duration::ZERO), Err(LockError::HeldByThisThread)));
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            assert!(matches!(lock.read_timeout(Duration::ZERO), Err(LockError::Timeout)));
            drop(lock.read_timeout(Duration::MAX).unwrap());
            drop(lock.write_timeout(Duration::MAX).unwrap());
        });
        wait_for_sleepers(&lock, 1);
        drop(guard);
        waits.join().unwrap();
    });
    assert_eq!(format!("{lock:?}"), "RwLock { writer: None, readers: [] }");
}

fn a_writer_that_waits_is_let_pass_whoever_else_writes_or_gives_up() {
    let (lock, step) = (RwLock::new().unwrap(), RawValue::new(HELD).unwrap());
    let reads = lock.read().unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let step = step.clone();
            fail_points::arm("ledger: marked", 0, move || {
                step.set(FREED);
                while step.get() != BARGED {
                    thread::yield_now();
                }
            });
            drop(lock.write().unwrap());
        });
        while step.get() != FREED {
            thread::yield_now();
        }
        assert!(matches!(lock.write_timeout(TICK), Err(LockError::Timeout)));
        assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)), "another has given up");
        drop(reads);
        drop(lock.try_write().unwrap());
        assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)), "another has written");
        step.set(BARGED);
        waits.join().unwrap();
    });
    let reads = lock.read().unwrap();
    assert!(matches!(lock.write_timeout(TICK), Err(LockError::Timeout)));
    drop((lock.try_read().unwrap(), reads));
    assert_free(&lock);
}

fn readers_are_woken_when_a_writer_gives_up() {
    let tries = || {
        let (lock, scene) = (RwLock::new().unwrap(), scene());
        scene.0.set(FREED);
        let _reads = lock.read().unwrap();
        thread::scope(|scope| {
            let writes = scope.spawn(|| assert!(matches!(lock.write_timeout(4 * TICK), Err(LockError::Timeout))));
            while lock.waiters() == 0 && !writes.is_finished() {
                thread::yield_now();
            }
            visit_woken(lock.clone(), true, scene.clone());
        });
        scene.1.get() == 1
    };
    assert!((0..TRIES).any(|_| tries()), "they look by themselves");
}

fn a_writer_is_known_and_since_when() {
    let lock = RwLock::new().unwrap();
    let guard = lock.write().unwrap();
    let first = lock.writer().unwrap();
    assert_eq!((first.pid, first.thread, first.is_alive), (std::process::id(), procession_sys::thread_id(), true));
    assert_eq!(lock.readers(), [], "it writes");
    // What is measured is that it grows.
    thread::park_timeout(TICK);
    let second = lock.writer().unwrap();
    assert!(second.held_for >= first.held_for + TICK / 2, "{first:?} {second:?}");
    drop(guard);
    let _guard = lock.write().unwrap();
    assert!(lock.writer().unwrap().held_for < second.held_for, "it begins anew");
}

fn forget(lock: RwLock) {
    std::mem::forget(lock.write().unwrap());
}

fn what_a_dead_writer_left_is_held_by_whoever_is_told() {
    let lock = RwLock::new().unwrap();
    for reads in [false, true] {
        start(StartMethod::Spawn, forget, (lock.clone(),)).join().unwrap();
        assert!(!lock.writer().unwrap().is_alive);
        let (mut read, mut written) = (None, None);
        match reads {
            true => read = Some(lock.try_read().unwrap_err()),
            false => written = Some(lock.try_write().unwrap_err()),
        }
        assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)), "who is told holds it");
        assert_eq!((lock.try_read().is_ok(), lock.writer().is_some()), (reads, !reads));
        let narrowed = [read.map(LockError::<()>::from), written.map(LockError::<()>::from)];
        assert!(matches!(narrowed, [Some(LockError::OwnerDied(())), None] | [None, Some(LockError::OwnerDied(()))]));
        assert_free(&lock);
    }
}

fn visit_and_die_noting(lock: RwLock, reads: bool) {
    fail_points::arm("ledger: changed, not noted", 0, fail_points::kill);
    visit(lock, reads);
}

fn who_was_killed_in_the_middle_of_its_taking_is_seen() {
    let lock = RwLock::new().unwrap();
    for reads in [true, false] {
        let dies = start(StartMethod::Spawn, visit_and_die_noting, (lock.clone(), reads));
        assert_killed(dies.join());
        assert_eq!(lock.writer().map(|writer| writer.is_alive), (!reads).then_some(false));
        assert_eq!(lock.readers().len(), usize::from(reads));
        assert_eq!(lock.write().is_err(), !reads);
    }
    assert_free(&lock);
}

/// The most readers, as `protocol/rwlock.md` has them.
const READERS: u64 = (1 << 28) - 1;

fn no_more_read_than_can_be_counted() {
    let lock = RwLock::new().unwrap();
    let slot: Slot = decode(encode(&lock).unwrap()).unwrap();
    let guard = lock.read().unwrap();
    let word = &slot.words()[0];
    word.fetch_add(READERS - 2, Relaxed);
    let last = lock.try_read().unwrap();
    assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
    assert!(matches!(lock.read_timeout(TICK), Err(LockError::Timeout)));
    drop((last, guard));
    word.fetch_sub(READERS - 2, Relaxed);
    assert_free(&lock);
    // Nor fewer than nobody.
    let guard = lock.read().unwrap();
    word.fetch_sub(1, Relaxed);
    drop(guard);
    assert!(lock.try_write().is_ok());
}

/// As many times as words are scribbled.
const SCRIBBLES: u64 = 300;

fn scribbled_words_block_at_worst() {
    let lock = RwLock::builder().holders(3).build().unwrap();
    let slot: Slot = decode(encode(&lock).unwrap()).unwrap();
    let mut seed = 1_u64;
    for _ in 0..SCRIBBLES {
        let guards = (lock.try_read(), lock.try_write());
        for word in slot.words() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.store(seed ^ seed >> 29, Relaxed);
        }
        drop(guards);
        let wait = Duration::from_micros(10);
        drop((lock.read_timeout(wait), lock.write_timeout(wait)));
        let _ = (lock.writer(), lock.readers(), lock.waiters(), format!("{lock:?}"));
    }
}
