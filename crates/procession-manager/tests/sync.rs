//! Synchronization objects of a manager, by every start method: who is served, and what becomes of what the dead had.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod};
use procession_manager::{
    BarrierProxy, BaseManager, CallError, ConditionProxy, EventProxy, LockProxy, RLockProxy, Refusal, SemaphoreProxy,
    SemaphoreProxyPermit, SyncManager,
};

use common::{manager, methods, refusal, rest, warm_up};

/// Ten times what a dead process may cost until others know.
const SOON: Duration = Duration::from_secs(10);

/// Too short for anything that does not happen.
const SHORT: Duration = Duration::from_millis(20);

/// Waits for what others are about to do.
fn until(is_so: impl Fn() -> Result<bool, CallError>) {
    let begun = Instant::now();
    while !is_so().unwrap() {
        assert!(begun.elapsed() < SOON, "it does not become so");
        std::thread::yield_now();
    }
}

fn an_event_is_everybodys(method: StartMethod) {
    let manager = manager(method);
    let (event, answer) = (manager.event().unwrap(), manager.event().unwrap());
    assert!(!event.is_set().unwrap() && !event.wait_timeout(SHORT).unwrap());
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
    event.set().unwrap();
    event.wait().unwrap();
    let clears = |event: EventProxy, answer: EventProxy| {
        assert!(event.is_set().unwrap() && event.wait_timeout(Duration::ZERO).unwrap());
        event.clear().unwrap();
        answer.set().unwrap();
        event.wait().unwrap();
    };
    let child = Context::new(method).start(clears, (event.clone(), answer.clone())).unwrap();
    answer.wait().unwrap();
    until(|| Ok(event.waiters()? == 1));
    assert!(!event.is_set().unwrap());
    event.set().unwrap();
    event.clear().unwrap();
    child.join().unwrap(); // It was waiting when the event was set.
    assert_eq!(event.waiters().unwrap(), 0);
}

fn an_rlock_is_one_threads(method: StartMethod) {
    let manager = manager(method);
    let lock = manager.rlock().unwrap();
    let outer = lock.lock().unwrap();
    let inner = lock.try_lock().unwrap();
    assert_eq!(lock.depth().unwrap(), 2);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| (refusal(lock.try_lock()), refusal(lock.lock_timeout(SHORT))));
        assert_eq!(
            others.join().unwrap(),
            (Refusal::WouldBlock, Refusal::TimedOut),
            "another thread is another holder"
        );
    });
    let takes = |lock: RLockProxy| {
        assert_eq!(refusal(lock.try_lock()), Refusal::WouldBlock);
        let outer = lock.lock().unwrap();
        let inner = lock.lock().unwrap();
        assert!(!outer.owner_died() && lock.depth().unwrap() == 2);
        drop((outer, inner));
    };
    let child = Context::new(method).start(takes, (lock.clone(),)).unwrap();
    until(|| Ok(lock.waiters()? == 1));
    drop(outer);
    assert_eq!((lock.depth().unwrap(), lock.waiters().unwrap()), (1, 1));
    drop(inner);
    child.join().unwrap();
    assert!(!lock.is_locked().unwrap());
}

fn a_semaphore_counts(method: StartMethod) {
    let manager = manager(method);
    for semaphore in [manager.semaphore(2).unwrap(), manager.bounded_semaphore(2).unwrap()] {
        let takes = |semaphore: SemaphoreProxy| semaphore.acquire().unwrap().forget().unwrap();
        Context::new(method).start(takes, (semaphore.clone(),)).unwrap().join().unwrap();
        let permit = semaphore.acquire().unwrap();
        assert_eq!(refusal(semaphore.try_acquire()), Refusal::WouldBlock);
        assert_eq!(refusal(semaphore.acquire_timeout(SHORT)), Refusal::TimedOut);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| semaphore.acquire_timeout(SOON).map(drop));
            until(|| Ok(semaphore.waiters()? == 1));
            semaphore.release(1).unwrap(); // What the child has taken.
            waits.join().unwrap().unwrap();
        });
        drop(permit);
        assert_eq!(semaphore.available().unwrap(), 2);
    }
    let bounded = manager.bounded_semaphore(1).unwrap();
    let permit = bounded.acquire().unwrap();
    assert_eq!(refusal(bounded.release(1)), Refusal::NotHeld, "it is still somebody's");
    permit.forget().unwrap();
    assert_eq!(refusal(bounded.release(2)), Refusal::NotHeld);
    assert_eq!(bounded.available().unwrap(), 0);
    bounded.release(1).unwrap();
    assert_eq!((refusal(bounded.release(1)), bounded.available().unwrap()), (Refusal::NotHeld, 1));
    let unbounded = manager.semaphore(0).unwrap();
    unbounded.release(3).unwrap();
    assert_eq!(unbounded.available().unwrap(), 3);
}

fn a_condition_is_waited_for_under_its_lock(method: StartMethod) {
    let manager = manager(method);
    let (condition, ready) = (manager.condition().unwrap(), manager.event().unwrap());
    let guard = condition.lock().unwrap();
    assert_eq!(refusal(condition.try_lock()), Refusal::WouldBlock);
    let waits = |condition: ConditionProxy, ready: EventProxy| {
        let guard = condition.lock().unwrap();
        let guard = condition.wait_for(guard, || ready.is_set()).unwrap();
        assert!(condition.is_locked().unwrap() && !guard.owner_died());
    };
    let children = [0; 2].map(|_| Context::new(method).start(waits, (condition.clone(), ready.clone())).unwrap());
    let (guard, was_notified) = condition.wait_timeout(guard, SHORT).unwrap();
    assert!(!was_notified && condition.is_locked().unwrap(), "it has its lock again");
    let (guard, is_so) = condition.wait_for_timeout(guard, SHORT, || ready.is_set()).unwrap();
    assert!(!is_so);
    drop(guard);
    until(|| Ok(condition.waiters()? == 2));
    condition.notify_one().unwrap(); // Nothing has changed yet, so it waits again.
    until(|| Ok(condition.waiters()? == 2 && !condition.is_locked()?));
    let guard = condition.lock().unwrap();
    ready.set().unwrap();
    condition.notify_all().unwrap();
    assert_eq!(condition.waiters().unwrap(), 0, "they want the lock now");
    assert_eq!(refusal(condition.lock_timeout(SHORT)), Refusal::TimedOut);
    drop(guard);
    children.into_iter().for_each(|child| child.join().unwrap());
    assert!(!condition.is_locked().unwrap());
    let (one, other) = (manager.condition().unwrap(), manager.condition().unwrap());
    let (_guard, others) = (one.lock().unwrap(), other.lock().unwrap());
    assert_eq!(refusal(one.wait_timeout(others, SHORT)), Refusal::NotHeld, "it is another condition's guard");
    assert!(one.is_locked().unwrap() && !other.is_locked().unwrap());
}

fn who_waited_in_vain_wants_the_lock(method: StartMethod) {
    let manager = manager(method);
    let condition = manager.condition().unwrap();
    let waits = |condition: ConditionProxy| {
        let guard = condition.lock().unwrap();
        condition.wait_timeout(guard, Duration::from_secs(3)).unwrap().1
    };
    let child = Context::new(method).start(waits, (condition.clone(),)).unwrap();
    until(|| Ok(condition.waiters()? == 1));
    let guard = condition.lock().unwrap();
    until(|| Ok(condition.waiters()? == 0)); // Its time is over, and the lock is this process's.
    let (guard, was_notified) = condition.wait_timeout(guard, Duration::ZERO).unwrap();
    assert!(!was_notified && !guard.owner_died());
    assert!(!child.join().unwrap());
}

fn notifications_go_to_so_many(method: StartMethod) {
    let manager = manager(method);
    let condition = manager.condition().unwrap();
    let waits = || condition.wait_timeout(condition.lock().unwrap(), SOON).map(|(_, was_notified)| was_notified);
    std::thread::scope(|scope| {
        let threads = [0; 3].map(|_| scope.spawn(waits));
        until(|| Ok(condition.waiters()? == 3));
        condition.notify(2).unwrap();
        assert_eq!(condition.waiters().unwrap(), 1);
        condition.notify(9).unwrap();
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap().unwrap()));
    });
    let (guard, was_notified) = condition.wait_timeout(condition.lock().unwrap(), Duration::ZERO).unwrap();
    assert!(!was_notified && condition.is_locked().unwrap(), "nobody has notified it");
    drop(guard);
}

fn a_barrier_lets_all_pass(method: StartMethod) {
    let manager = manager(method);
    let barrier = manager.barrier(3).unwrap();
    let passes = |barrier: BarrierProxy| -> Vec<usize> { (0..5).map(|_| barrier.wait().unwrap()).collect() };
    let children = [0; 2].map(|_| Context::new(method).start(passes, (barrier.clone(),)).unwrap());
    let mut indexes = vec![passes(barrier.clone())];
    indexes.extend(children.into_iter().map(|child| child.join().unwrap()));
    for round in 0..5 {
        let mut passed: Vec<usize> = indexes.iter().map(|of| of[round]).collect();
        passed.sort_unstable();
        assert_eq!(passed, [0, 1, 2], "in round {round}");
    }
    let resets = |barrier: BarrierProxy| {
        assert_eq!((barrier.parties().unwrap(), barrier.n_waiting().unwrap()), (3, 0));
        assert!(barrier.is_broken().unwrap());
        barrier.reset().unwrap();
    };
    barrier.abort().unwrap();
    assert_eq!(refusal(barrier.wait()), Refusal::Broken);
    Context::new(method).start(resets, (barrier.clone(),)).unwrap().join().unwrap();
    assert!(!barrier.is_broken().unwrap());
    assert!(matches!(refusal(manager.barrier(0)), Refusal::Construct { .. }));
    assert!(matches!(refusal(manager.barrier(usize::MAX)), Refusal::Limit { .. }));
}

/// A way to break a barrier, and whether it stays broken.
type Breaks = (fn(&BarrierProxy), bool);

fn a_barrier_breaks_for_all(method: StartMethod) {
    let manager = manager(method);
    let barrier = manager.barrier(3).unwrap();
    assert_eq!(refusal(barrier.try_wait()), Refusal::WouldBlock);
    assert!(!barrier.is_broken().unwrap(), "who only asks breaks nothing");
    let breaks: [Breaks; 4] = [
        (|barrier| assert_eq!(refusal(barrier.wait_timeout(SHORT)), Refusal::TimedOut), true),
        (|barrier| assert_eq!(refusal(barrier.wait_timeout(Duration::ZERO)), Refusal::TimedOut), true),
        (|barrier| barrier.abort().unwrap(), true),
        (|barrier| barrier.reset().unwrap(), false),
    ];
    for (breaks, stays_broken) in breaks {
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| refusal(barrier.wait()));
            until(|| Ok(barrier.n_waiting()? == 1));
            breaks(&barrier);
            assert_eq!(waits.join().unwrap(), Refusal::Broken);
        });
        assert_eq!((barrier.is_broken().unwrap(), barrier.n_waiting().unwrap()), (stays_broken, 0));
        barrier.reset().unwrap();
    }
}

fn a_killed_client_gives_back_what_it_had(method: StartMethod) {
    let manager = manager(method);
    let (rlock, semaphore) = (manager.rlock().unwrap(), manager.bounded_semaphore(3).unwrap());
    let (condition, ready) = (manager.condition().unwrap(), manager.event().unwrap());
    let has = |rlock: RLockProxy, semaphore: SemaphoreProxy, condition: ConditionProxy, ready: EventProxy| -> () {
        let _had = (rlock.lock().unwrap(), rlock.lock().unwrap(), condition.lock().unwrap());
        let _permits = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
        semaphore.acquire().unwrap().forget().unwrap();
        ready.set().unwrap();
        rest()
    };
    let given = (rlock.clone(), semaphore.clone(), condition.clone(), ready.clone());
    let child = Context::new(method).start(has, given).unwrap();
    ready.wait().unwrap();
    assert_eq!((rlock.depth().unwrap(), semaphore.available().unwrap()), (2, 0));
    std::thread::scope(|scope| {
        let rlocked = scope.spawn(|| rlock.lock_timeout(SOON).map(|guard| guard.owner_died()));
        let locked = scope.spawn(|| condition.lock_timeout(SOON).map(|guard| guard.owner_died()));
        let permitted = scope.spawn(|| semaphore.acquire_timeout(SOON).map(drop));
        until(|| Ok((rlock.waiters()?, semaphore.waiters()?) == (1, 1)));
        child.kill().unwrap();
        assert!(rlocked.join().unwrap().unwrap(), "the next one is told that the holder died");
        assert!(locked.join().unwrap().unwrap(), "the next one is told that the holder died");
        permitted.join().unwrap().unwrap();
    });
    let _ = child.join();
    assert_eq!(semaphore.available().unwrap(), 2, "what was forgotten does not come back");
    assert!(!rlock.lock().unwrap().owner_died() && !condition.lock().unwrap().owner_died(), "it is told once");
}

fn a_killed_party_breaks_its_barrier(method: StartMethod) {
    let manager = manager(method);
    let barrier = manager.barrier(3).unwrap();
    let waits = |barrier: BarrierProxy| drop(barrier.wait());
    let child = Context::new(method).start(waits, (barrier.clone(),)).unwrap();
    until(|| Ok(barrier.n_waiting()? == 1));
    std::thread::scope(|scope| {
        let told = scope.spawn(|| refusal(barrier.wait_timeout(SOON)));
        until(|| Ok(barrier.n_waiting()? == 2));
        child.kill().unwrap();
        assert_eq!(told.join().unwrap(), Refusal::Broken);
    });
    let _ = child.join();
    assert!(barrier.is_broken().unwrap());
}

fn a_notification_is_not_lost_with_who_has_it(method: StartMethod) {
    let manager = manager(method);
    let condition = manager.condition().unwrap();
    let waits = |condition: ConditionProxy| -> () {
        let _guard = condition.wait(condition.lock().unwrap());
        rest()
    };
    let child = Context::new(method).start(waits, (condition.clone(),)).unwrap();
    until(|| Ok(condition.waiters()? == 1));
    std::thread::scope(|scope| {
        let next = scope.spawn(|| condition.wait_timeout(condition.lock().unwrap(), SOON).map(|(_, told)| told));
        until(|| Ok(condition.waiters()? == 2));
        let guard = condition.lock().unwrap();
        condition.notify_one().unwrap();
        assert_eq!(condition.waiters().unwrap(), 1, "the child has it, and waits for the lock");
        child.kill().unwrap();
        drop(guard);
        assert!(next.join().unwrap().unwrap(), "the next one goes on in its place");
    });
    let _ = child.join();
}

/// One that belongs to the process that put it here.
static HELD: Mutex<Option<SemaphoreProxyPermit>> = Mutex::new(None);

fn a_forked_copy_gives_nothing_back(method: StartMethod) {
    let manager = manager(method);
    let semaphore = manager.semaphore(1).unwrap();
    *HELD.lock().unwrap() = Some(semaphore.acquire().unwrap());
    let drops = |semaphore: SemaphoreProxy| {
        let copy = HELD.lock().unwrap().take();
        let had_one = copy.is_some();
        drop(copy);
        (had_one, semaphore.available().unwrap())
    };
    let child = Context::new(method).start(drops, (semaphore.clone(),)).unwrap();
    assert_eq!(child.join().unwrap(), (method == StartMethod::Fork, 0));
    drop(HELD.lock().unwrap().take());
    assert_eq!(semaphore.available().unwrap(), 1);
}

fn a_call_that_is_given_up_leaves_nothing(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).call_timeout(Duration::from_secs(2));
    let manager: SyncManager = builder.start().unwrap().into();
    let late = |result: Result<(), CallError>| assert!(matches!(result, Err(CallError::TimedOut { .. })), "{result:?}");
    let rlock = manager.rlock().unwrap();
    let guard = rlock.lock().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| rlock.lock().map(drop));
        late(waits.join().unwrap());
    });
    drop(guard);
    assert_eq!((rlock.depth().unwrap(), rlock.waiters().unwrap()), (0, 0));

    let semaphore = manager.semaphore(0).unwrap();
    late(semaphore.acquire().map(drop));
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.available().unwrap(), 1);

    let event = manager.event().unwrap();
    late(event.wait());
    assert_eq!(event.waiters().unwrap(), 0);

    let condition = manager.condition().unwrap();
    late(condition.wait(condition.lock().unwrap()).map(drop));
    assert_eq!((condition.waiters().unwrap(), condition.is_locked().unwrap()), (0, false));

    let barrier = manager.barrier(2).unwrap();
    late(barrier.wait().map(drop));
    until(|| barrier.is_broken());
}

fn a_lock_says_once_that_its_holder_died(method: StartMethod) {
    let manager = manager(method);
    let (lock, ready) = (manager.lock().unwrap(), manager.event().unwrap());
    let has = |lock: LockProxy, ready: EventProxy| -> () {
        let _guard = lock.lock().unwrap();
        ready.set().unwrap();
        rest()
    };
    let child = Context::new(method).start(has, (lock.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    child.kill().unwrap();
    let _ = child.join();
    let guard = lock.lock_timeout(SOON).unwrap();
    assert!(guard.owner_died());
    drop(guard);
    assert!(!lock.lock().unwrap().owner_died());
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        an_event_is_everybodys,
        an_rlock_is_one_threads,
        a_semaphore_counts,
        a_condition_is_waited_for_under_its_lock,
        who_waited_in_vain_wants_the_lock,
        notifications_go_to_so_many,
        a_barrier_lets_all_pass,
        a_barrier_breaks_for_all,
        a_killed_client_gives_back_what_it_had,
        a_killed_party_breaks_its_barrier,
        a_notification_is_not_lost_with_who_has_it,
        a_forked_copy_gives_nothing_back,
        a_call_that_is_given_up_leaves_nothing,
        a_lock_says_once_that_its_holder_died,
    ];
}
