//! The event between processes: set, waited for, cleared, and left by the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes and by the
//! kernel's count of sleepers.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use common::owner::eventually;
use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, StartMethod};
use procession_sync::{Event, RECHECK};
use procession_sys::{fail_points, send_signal, thread_id};
use procession_testkit::assert_cost;
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        its_printed_form_says_whether_it_is_set,
        a_wait_ends_in_time_however_short_or_long,
        a_handler_that_interrupts_a_wait_may_set_it,
    ];
    cases for methods(), [
        another_process_sets_and_clears_it,
        set_and_cleared_at_once_it_frees_all_that_wait,
        a_woken_one_is_killed_and_others_go_on,
        a_setter_that_is_killed_has_set_it_for_all,
        one_that_was_killed_asleep_is_missed_by_nobody,
    ];
}

fn waits(event: Event) {
    event.wait().unwrap();
}

/// Waits, and is killed where the place is.
fn waits_until(event: Event, place: String) {
    fail_points::arm(place.leak(), 0, fail_points::kill);
    event.wait().unwrap();
}

fn sets_until(event: Event, place: String) {
    fail_points::arm(place.leak(), 0, fail_points::kill);
    event.set();
}

/// Waits until so many sleep.
fn asleep(event: &Event, count: usize) {
    eventually("they sleep", || event.waiters() == count);
}

fn its_printed_form_says_whether_it_is_set() {
    let event = Event::new().unwrap();
    assert_eq!(format!("{event:?}"), "Event { is_set: false }");
    event.set();
    assert_eq!(format!("{event:?}"), "Event { is_set: true }");
}

fn a_wait_ends_in_time_however_short_or_long() {
    let event = Event::new().unwrap();
    let began = Instant::now();
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
    assert!(!event.wait_timeout(2 * RECHECK).unwrap());
    assert!(began.elapsed() >= 2 * RECHECK);
    thread::scope(|scope| {
        let waits = scope.spawn(|| event.wait_timeout(Duration::MAX).unwrap());
        asleep(&event, 1);
        event.set();
        assert!(waits.join().unwrap());
    });
    assert!(event.wait_timeout(Duration::ZERO).unwrap());
    event.wait().unwrap();
}

/// 10 on every architecture that this is built for.
const SIGUSR1: i32 = 10;

static OF_HANDLER: OnceLock<Event> = OnceLock::new();
static HANDLED_BY: AtomicU32 = AtomicU32::new(0);

extern "C" fn handler(_: i32) {
    HANDLED_BY.store(thread_id(), SeqCst);
    if let Some(event) = OF_HANDLER.get() {
        event.set();
    }
}

fn a_handler_that_interrupts_a_wait_may_set_it() {
    let event = Event::new().unwrap();
    let ready = pipe();
    let child = Context::new(StartMethod::Fork)
        .fork({
            let (ready, event) = (ready.1, event.clone());
            move || {
                let event = OF_HANDLER.get_or_init(|| event);
                procession_sys::run_in_handler(SIGUSR1, handler).unwrap();
                tell(&ready);
                event.wait().unwrap();
                (HANDLED_BY.load(SeqCst), thread_id())
            }
        })
        .unwrap();
    hear(&ready.0);
    asleep(&event, 1);
    send_signal(child.pid(), SIGUSR1).unwrap();
    let (handled, waited) = child.join().unwrap();
    assert_eq!(handled, waited, "the handler ran on the thread that waited");
    assert!(event.is_set());
}

fn answers(event: Event, cleared: Event) {
    event.wait().unwrap();
    event.clear();
    cleared.set();
}

fn another_process_sets_and_clears_it(method: StartMethod) {
    let (event, cleared) = (Event::new().unwrap(), Event::new().unwrap());
    assert!(!event.is_set());
    let child = start(method, answers, (event.clone(), cleared.clone()));
    event.set();
    cleared.wait().unwrap();
    assert!(!event.is_set());
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
    child.join().unwrap();
}

fn set_and_cleared_at_once_it_frees_all_that_wait(method: StartMethod) {
    let event = Event::new().unwrap();
    let children = [(); 2].map(|()| start(method, waits, (event.clone(),)));
    thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| event.wait().unwrap()));
        asleep(&event, 4);
        event.set();
        event.clear();
        let _ = threads.map(|thread| thread.join().unwrap());
    });
    let _ = children.map(|child| child.join().unwrap());
    assert!(!event.is_set());
    assert_eq!(event.waiters(), 0);
}

fn a_woken_one_is_killed_and_others_go_on(method: StartMethod) {
    let event = Event::new().unwrap();
    let dies = start(method, waits_until, (event.clone(), "event: to leave".to_owned()));
    asleep(&event, 1);
    let other = start(method, waits, (event.clone(),));
    asleep(&event, 2);
    event.set();
    event.clear();
    let comes_then = start(method, waits, (event.clone(),));
    assert!(dies.join().is_err());
    other.join().unwrap();
    asleep(&event, 1);
    event.set();
    comes_then.join().unwrap();
}

fn a_setter_that_is_killed_has_set_it_for_all(method: StartMethod) {
    assert_cost(20 * RECHECK, || {
        let event = Event::new().unwrap();
        let children = [(); 2].map(|()| start(method, waits, (event.clone(),)));
        asleep(&event, 2);
        let setter = start(method, sets_until, (event.clone(), "event: set, not woken".to_owned()));
        assert!(setter.join().is_err());
        assert!(event.is_set());
        let killed = Instant::now();
        eventually("all look again", || event.waiters() == 0);
        let told = killed.elapsed();
        let _ = children.map(|child| child.join().unwrap());
        told
    });
}

fn tells_and_waits(event: Event, begins: Descriptor) {
    tell(&begins);
    event.wait().unwrap();
}

fn one_that_was_killed_asleep_is_missed_by_nobody(method: StartMethod) {
    let event = Event::new().unwrap();
    let (begins, tells) = pipe();
    let dies = start(method, tells_and_waits, (event.clone(), tells));
    hear(&begins);
    asleep(&event, 1);
    dies.kill().unwrap();
    assert!(dies.join().is_err());
    assert_eq!(event.waiters(), 0);
    let lives = start(method, waits, (event.clone(),));
    asleep(&event, 1);
    event.set();
    lives.join().unwrap();
}
