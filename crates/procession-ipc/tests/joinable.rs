//! Queues whose items are said to be done: whoever waits for all of them is told when they are, and who died with which.
//!
//! Relies on the test kit, whose fail points kill a taker in the middle of taking.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell, tell_when_asleep};
use procession_ipc::{GetError, JoinableQueue, PutError, UnfinishedError};
use procession_launch::StartMethod;
use procession_sys::fail_points;
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        workers_say_what_is_done_and_join_returns,
        a_workers_death_with_items_is_told_once,
        a_taker_killed_at_any_step_has_taken_its_item_or_not,
        items_bring_items_and_join_waits_for_those_too,
    ];
    cases: [
        an_item_put_and_another_done_during_a_count_are_no_end,
        more_done_than_taken_is_an_error,
        join_waits_for_as_long_as_it_may,
        anybody_may_say_that_an_item_is_done,
        items_that_nobody_else_can_take_are_told,
        many_takers_one_after_the_other_need_no_more_room,
        a_joinable_queue_is_a_queue,
    ];
}

const SOON: Duration = common::SOON;
const SHORT: Duration = Duration::from_millis(30);

fn work(queue: JoinableQueue<Option<u32>>) {
    while queue.get().unwrap().is_some() {
        queue.task_done().unwrap();
    }
    queue.task_done().unwrap();
}

fn workers_say_what_is_done_and_join_returns(method: StartMethod) {
    let queue = JoinableQueue::unbounded().unwrap();
    let workers: Vec<_> = (0..4).map(|_| start(method, work, (queue.clone(),))).collect();
    for number in 0..10 {
        queue.put(Some(number)).unwrap();
    }
    queue.join().unwrap();
    assert_eq!((queue.unfinished(), queue.len()), (0, 0));
    workers.iter().for_each(|_| queue.put(None).unwrap());
    queue.join().unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    queue.try_join().unwrap();
}

fn take_and_stay(queue: JoinableQueue<Option<u32>>, told: Descriptor) {
    for _ in 0..3 {
        queue.get().unwrap();
    }
    queue.task_done().unwrap();
    tell(&told);
    loop {
        thread::park();
    }
}

fn a_workers_death_with_items_is_told_once(method: StartMethod) {
    let queue = JoinableQueue::unbounded().unwrap();
    let (hears, tells) = pipe();
    for number in 0..4 {
        queue.put(Some(number)).unwrap();
    }
    let worker = start(method, take_and_stay, (queue.clone(), tells));
    hear(&hears);
    assert_eq!((queue.unfinished(), queue.len()), (3, 1));
    assert!(matches!(queue.try_join(), Err(UnfinishedError::WouldBlock { unfinished: 3 })), "it is alive");
    let pid = worker.pid();
    thread::scope(|scope| {
        let joins = scope.spawn(|| queue.join());
        worker.kill().unwrap();
        let killed = Instant::now();
        match joins.join().unwrap() {
            Err(UnfinishedError::Lost { pid: told, items: 2 }) => assert_eq!(told, pid),
            other => panic!("{other:?}"),
        }
        assert!(killed.elapsed() < SOON);
    });
    assert!(
        matches!(queue.try_join(), Err(UnfinishedError::WouldBlock { unfinished: 1 })),
        "told once; one is in the queue"
    );
    queue.get().unwrap();
    queue.task_done().unwrap();
    queue.join().unwrap();
    assert!(worker.join().is_err());
}

/// The steps of a taker, and whether the item is taken there.
const STEPS: [(&str, bool); 4] =
    [("ring: to take", false), ("ring: read", false), ("ring: taken", true), ("ring: settled", true)];

fn take_until_killed(queue: JoinableQueue<u32>, step: usize) {
    fail_points::arm(STEPS[step].0, 0, fail_points::kill);
    let _ = queue.get();
}

fn a_taker_killed_at_any_step_has_taken_its_item_or_not(method: StartMethod) {
    for (step, (place, is_taken)) in STEPS.into_iter().enumerate() {
        for joins_first in [true, false] {
            let queue = JoinableQueue::unbounded().unwrap();
            queue.put(1).unwrap();
            queue.put(2).unwrap();
            let child = start(method, take_until_killed, (queue.clone(), step));
            let pid = child.pid();
            assert_eq!(child.wait().unwrap().exitcode(), -9, "{place}");
            if joins_first {
                assert_is_told(&queue, is_taken, pid, 2);
            }
            let rest: Vec<u32> = std::iter::from_fn(|| queue.try_get().ok()).collect();
            assert_eq!(rest, if is_taken { vec![2] } else { vec![1, 2] }, "{place}");
            for _ in &rest {
                queue.task_done().unwrap();
            }
            if !joins_first {
                assert_is_told(&queue, is_taken, pid, 0);
            }
            queue.join().unwrap();
            assert!(matches!(queue.task_done(), Err(UnfinishedError::TooOften)), "{place}");
        }
    }
}

/// Asserts that `join` tells of the item that a process died with, if it did.
fn assert_is_told(queue: &JoinableQueue<u32>, is_taken: bool, pid: u32, rest: u64) {
    match queue.try_join() {
        Err(UnfinishedError::Lost { pid: told, items: 1 }) => assert!(is_taken && told == pid),
        Err(UnfinishedError::WouldBlock { unfinished }) => assert!(!is_taken && unfinished == rest),
        Ok(()) => assert!(!is_taken && rest == 0),
        other => panic!("{other:?}"),
    }
}

const DEPTH: u32 = 6;

fn branch(queue: JoinableQueue<u32>) {
    while let Ok(depth) = queue.get() {
        if depth == u32::MAX {
            return queue.task_done().unwrap();
        }
        for _ in 0..if depth < DEPTH { 2 } else { 0 } {
            queue.put(depth + 1).unwrap();
        }
        queue.task_done().unwrap();
    }
}

fn items_bring_items_and_join_waits_for_those_too(method: StartMethod) {
    let queue = JoinableQueue::unbounded().unwrap();
    let workers: Vec<_> = (0..2).map(|_| start(method, branch, (queue.clone(),))).collect();
    for _ in 0..10 {
        queue.put(0).unwrap();
        queue.join().unwrap();
        assert_eq!((queue.len(), queue.unfinished()), (0, 0), "not before the last");
    }
    workers.iter().for_each(|_| queue.put(u32::MAX).unwrap());
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    queue.join().unwrap();
}

fn an_item_put_and_another_done_during_a_count_are_no_end() {
    let queue = JoinableQueue::unbounded().unwrap();
    queue.put(1).unwrap();
    queue.get().unwrap();
    let other = queue.clone();
    fail_points::arm("accounts: queue looked at", 0, move || {
        other.put(2).unwrap();
        other.task_done().unwrap();
    });
    assert!(matches!(queue.try_join(), Err(UnfinishedError::WouldBlock { unfinished: 1 })), "there always was one");
}

fn more_done_than_taken_is_an_error() {
    let queue = JoinableQueue::unbounded().unwrap();
    queue.put(1).unwrap();
    assert!(matches!(queue.task_done(), Err(UnfinishedError::TooOften)), "nobody has taken it");
    queue.get().unwrap();
    queue.task_done().unwrap();
    let error = queue.task_done().unwrap_err();
    assert!(matches!(error, UnfinishedError::TooOften) && error.to_string().contains("more often"), "{error}");
    queue.join().unwrap();
}

fn join_waits_for_as_long_as_it_may() {
    let queue = JoinableQueue::unbounded().unwrap();
    queue.join_timeout(Duration::ZERO).unwrap();
    queue.put(1).unwrap();
    let begun = Instant::now();
    assert!(matches!(queue.join_timeout(SHORT), Err(UnfinishedError::Timeout { unfinished: 1 })));
    assert!((SHORT..SHORT + SOON).contains(&begun.elapsed()));
    queue.get().unwrap();
    let (hears, asleep) = pipe();
    let join = || {
        tell_when_asleep(&asleep);
        queue.join()
    };
    thread::scope(|scope| {
        let joins = [(); 3].map(|()| scope.spawn(join));
        assert!(matches!(queue.try_join(), Err(UnfinishedError::WouldBlock { unfinished: 1 })));
        (0..3).for_each(|_| hear(&hears));
        queue.task_done().unwrap();
        joins.into_iter().for_each(|join| join.join().unwrap().unwrap());
    });
    queue.join_timeout(Duration::MAX).unwrap();
}

fn take_and_tell(queue: JoinableQueue<u32>, told: Descriptor, release: Descriptor) {
    queue.get().unwrap();
    tell(&told);
    hear(&release);
}

fn anybody_may_say_that_an_item_is_done() {
    let queue = JoinableQueue::unbounded().unwrap();
    let ((hears_taken, taken), (hears, release)) = (pipe(), pipe());
    queue.put(1).unwrap();
    let child = start(StartMethod::Spawn, take_and_tell, (queue.clone(), taken, hears));
    hear(&hears_taken);
    queue.task_done().unwrap();
    queue.join().unwrap();
    tell(&release);
    child.join().unwrap();
    queue.join().unwrap();
}

fn items_that_nobody_else_can_take_are_told() {
    let queue = JoinableQueue::unbounded().unwrap();
    queue.put(1).unwrap();
    assert!(matches!(queue.join(), Err(UnfinishedError::Disconnected { unfinished: 1 })));
    queue.get().unwrap();
    assert!(matches!(queue.join(), Err(UnfinishedError::Disconnected { unfinished: 1 })));
    queue.task_done().unwrap();
    queue.join().unwrap();
}

fn many_takers_one_after_the_other_need_no_more_room() {
    let queue = JoinableQueue::unbounded().unwrap();
    let take = |queue: JoinableQueue<u32>| {
        queue.get().unwrap();
        queue.task_done().unwrap();
    };
    for number in 0..300 {
        queue.put(number).unwrap();
        start(StartMethod::ForkServer, take, (queue.clone(),)).join().unwrap();
    }
    queue.join().unwrap();
}

fn a_joinable_queue_is_a_queue() {
    let queue = JoinableQueue::bounded(1).unwrap();
    queue.put(1).unwrap();
    assert!(queue.is_full() && !queue.is_empty() && queue.capacity() == Some(1));
    assert!(matches!(queue.try_put(2), Err(PutError::Full(2))));
    assert!(matches!(queue.put_timeout(2, SHORT), Err(PutError::Full(2))));
    assert_eq!(queue.get_timeout(SHORT).unwrap(), 1);
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    queue.close();
    assert!(matches!(queue.get(), Err(GetError::Closed)));
    assert!(matches!(queue.put(2), Err(PutError::Closed(2))));
    queue.task_done().unwrap();
    queue.join().unwrap();
    assert!(JoinableQueue::<u8>::bounded(0).is_err());
    assert!(format!("{queue:?}").contains("JoinableQueue"));
}
