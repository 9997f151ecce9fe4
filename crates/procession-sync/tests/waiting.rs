//! What waiting costs, and how long it takes: idle, for no time, for some, for ever, and in a crowd.
//!
//! Relies on the lock for something to wait for; what waits is the same for all objects. Order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::hint::spin_loop;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_launch::StartMethod;
use procession_shm::arena::Slot;
use procession_sync::{Event, Lock, LockError, RECHECK};
use procession_sys::{processor_count, processor_time};
use procession_testkit::assert_cost;
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        an_idle_waiter_leaves_the_processor_to_others,
        a_wait_for_ever_outlasts_its_looks_and_ends_with_its_cause,
        a_crowd_on_one_lock_gets_through,
    ];
    cases: [
        two_that_take_turns_stay_awake within 60,
        no_time_is_no_wait,
        a_wait_is_as_long_as_it_says,
        a_wait_that_is_too_long_for_the_clock_is_for_ever,
    ];
}

/// How long an idle wait is: some looks.
const IDLE: Duration = Duration::from_millis(700);

/// Waits in vain, and says how long that took of the clock and of the processor.
fn wait_in_vain(lock: Lock) -> (Duration, Duration) {
    let (began, used) = (Instant::now(), processor_time());
    assert!(matches!(lock.lock_timeout(IDLE), Err(LockError::Timeout)));
    (began.elapsed(), processor_time() - used)
}

fn an_idle_waiter_leaves_the_processor_to_others(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let _guard = lock.lock().unwrap();
    // The promise is a thousandth; a machine that is busy with other tests gets ten times as much.
    assert_cost(IDLE / 100, || {
        let (took, used) = start(method, wait_in_vain, (lock.clone(),)).join().unwrap();
        assert!(took >= IDLE);
        used
    });
}

fn wait_for_ever(lock: Lock, timeout: Option<Duration>, got: Descriptor) {
    let guard = match timeout {
        Some(timeout) => lock.lock_timeout(timeout),
        None => lock.lock(),
    };
    let _guard = guard.unwrap();
    tell(&got);
}

fn a_wait_for_ever_outlasts_its_looks_and_ends_with_its_cause(method: StartMethod) {
    for timeout in [None, Some(Duration::MAX)] {
        let lock = Lock::new().unwrap();
        let (got, tells_got) = pipe();
        let guard = lock.lock().unwrap();
        let child = start(method, wait_for_ever, (lock.clone(), timeout, tells_got));
        until_somebody_sleeps(&lock);
        // Longer than the waiter sleeps without looking.
        std::thread::sleep(3 * RECHECK);
        until_somebody_sleeps(&lock);
        drop(guard);
        hear(&got);
        child.join().unwrap();
    }
}

fn until_somebody_sleeps(lock: &Lock) {
    let end = Instant::now() + Duration::from_secs(20);
    while lock.waiters() == 0 {
        assert!(Instant::now() < end, "nobody sleeps");
        std::thread::yield_now();
    }
}

/// How many processes there are in a crowd, and how often each visits.
const CROWD: usize = 8;
const VISITS: u32 = 500;

fn visit_often(lock: Lock, begin: Descriptor) {
    hear(&begin);
    for _ in 0..VISITS {
        drop(lock.lock().unwrap());
    }
}

fn a_crowd_on_one_lock_gets_through(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let (begin, tells_begin) = pipe();
    let guard = lock.lock().unwrap();
    let crowd: Vec<_> = (0..CROWD).map(|_| start(method, visit_often, (lock.clone(), begin.clone()))).collect();
    for _ in 0..CROWD {
        tell(&tells_begin);
    }
    until_somebody_sleeps(&lock);
    drop(guard);
    for child in crowd {
        child.join().unwrap();
    }
    assert_eq!((lock.holder(), lock.waiters()), (None, 0));
}

fn no_time_is_no_wait() {
    let lock = Lock::new().unwrap();
    let _guard = lock.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each look at the holder's life is a system call or two.
            assert_cost(10 * RECHECK, || {
                let began = Instant::now();
                for _ in 0..100 {
                    assert!(matches!(lock.lock_timeout(Duration::ZERO), Err(LockError::Timeout)));
                }
                began.elapsed()
            });
        });
    });
}

fn a_wait_is_as_long_as_it_says() {
    let lock = Lock::new().unwrap();
    let _guard = lock.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Shorter than a spin, than the time between looks, and than three of them.
            for wait in [Duration::from_micros(5), RECHECK / 5, 5 * RECHECK / 2] {
                assert_cost(10 * (wait + RECHECK), || {
                    let began = Instant::now();
                    assert!(matches!(lock.lock_timeout(wait), Err(LockError::Timeout)));
                    let took = began.elapsed();
                    assert!(took >= wait);
                    took
                });
            }
        });
    });
}

fn a_wait_that_is_too_long_for_the_clock_is_for_ever() {
    let lock = Lock::new().unwrap();
    for wait in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(i64::MAX.unsigned_abs())] {
        let guard = lock.lock().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| drop(lock.lock_timeout(wait).unwrap()));
            until_somebody_sleeps(&lock);
            drop(guard);
            waiter.join().unwrap();
        });
    }
}

/// How often two processes take turns at a time by events, and before by a cache line; and for how long at most: others may have the processors.
const TURNS: u64 = 500;
const LINE_TURNS: u64 = 10;
const BATCHES_TIME: Duration = Duration::from_secs(15);

fn by_events(events: &[Event; 2], who: usize) {
    for _ in 0..TURNS {
        if who == 0 {
            events[1].set();
        }
        events[who].wait().unwrap();
        events[who].clear();
        if who == 1 {
            events[0].set();
        }
    }
}

fn by_a_cache_line(lines: &[Slot; 2], who: usize, batch: u64) {
    let [own, other] = [who, 1 - who].map(|which| &lines[which].words()[0]);
    for turn in batch * LINE_TURNS + 1..=(batch + 1) * LINE_TURNS {
        if who == 0 {
            own.store(turn, Release);
        }
        while other.load(Acquire) != turn {
            spin_loop();
        }
        if who == 1 {
            own.store(turn, Release);
        }
    }
}

fn take_turns(events: [Event; 2], lines: [Slot; 2], go_on: Descriptor) {
    for batch in 0.. {
        if File::from(go_on.as_fd().try_clone_to_owned().unwrap()).read(&mut [0]).unwrap() == 0 {
            return;
        }
        by_a_cache_line(&lines, 1, batch);
        by_events(&events, 1);
    }
}

/// How often a process's first thread has gone to sleep.
fn sleeps(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

fn two_that_take_turns_stay_awake() {
    if processor_count().unwrap() < 2 {
        return;
    }
    let events = [Event::new().unwrap(), Event::new().unwrap()];
    let lines = [Slot::allocate(8, 0).unwrap(), Slot::allocate(8, 0).unwrap()];
    let (go_on, tells) = pipe();
    let child = start(StartMethod::ForkServer, take_turns, (events.clone(), lines.clone(), go_on));
    // Others are at work on the processors, so the two do not always have one each; when both have just looked at a
    // cache line, which neither can without, they are likely to.
    // On one processor the kernel may have one of them sleep and never the other.
    let sleeps = || sleeps(procession_sys::pid()) + sleeps(child.pid());
    let begun = Instant::now();
    let awake = (0..).take_while(|_| begun.elapsed() < BATCHES_TIME).any(|batch| {
        tell(&tells);
        by_a_cache_line(&lines, 0, batch);
        let before = sleeps();
        by_events(&events, 0);
        sleeps() - before < TURNS / 20
    });
    drop(tells);
    child.join().unwrap();
    assert!(awake, "they sleep at every turn");
}
