//! The end: of pools and executors, of the programs that have them, and of what they were given.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::thread;

use procession_launch::{Context, ExitStatus, StartMethod, at_exit};
use procession_pool::{Pool, PoolError, ProcessPoolExecutor, SubmitError, TaskError};
use procession_sys::{PidFd, Scarcity};
use procession_wire::Descriptor;

use crate::{Door, SOON, executor, executors, file, is_let_go, leash, pool, square, wait_at};

/// True if all these processes have been waited for.
fn are_gone(pids: &[u32]) -> bool {
    pids.iter().all(|&pid| PidFd::open(pid).is_err())
}

pub(crate) fn a_pool_that_has_ended_takes_nothing(method: StartMethod) {
    let pool = pool(1, method);
    assert!(matches!(pool.join(), Err(PoolError::Open { .. })), "that would wait for ever");
    let pids = pool.worker_pids();
    pool.terminate();
    pool.join().unwrap();
    assert!(are_gone(&pids) && pool.worker_pids().is_empty());
    assert!(matches!(pool.apply_async(square, (2,)), Err(SubmitError::Closed { .. })));
    assert!(matches!(pool.apply(square, (2,)), Err(TaskError::NotSubmitted { .. })));
    assert!(matches!(pool.map(square, 0..3), Err(TaskError::NotSubmitted { .. })));
}

pub(crate) fn a_pool_that_is_dropped_ends_its_workers(method: StartMethod) {
    let pool = pool(2, method);
    let mut door = Door::new();
    let call = pool.apply_async(wait_at, door.place()).unwrap();
    door.wait_for(1);
    let pids = pool.worker_pids();
    drop(pool);
    assert_eq!(call.try_get(), Err(TaskError::Terminated));
    assert!(pids.len() == 2 && are_gone(&pids));
}

/// A call that waits at a door if it is given one.
fn square_or_wait((number, place): (u64, Option<(Descriptor, Descriptor)>)) -> u64 {
    if let Some((door, passing)) = place {
        wait_at(door, passing);
    }
    square(number)
}

/// The item that waits, and the one before which the pool ends.
const WAITS: u64 = 20;
const ENDS: u64 = 23;

pub(crate) fn a_map_whose_pool_ends_tells_of_each_item(method: StartMethod) {
    let run = |end: fn(&Pool, &mut Door), is_of_known_length: bool| {
        let (pool, mut door) = (pool(1, method), Door::new());
        let numbers: Box<dyn Iterator<Item = u64>> =
            if is_of_known_length { Box::new(0..100) } else { Box::new((0..100).take_while(|_| true)) };
        let items = numbers.map(|n| {
            if n == ENDS {
                door.wait_for(1);
                end(&pool, &mut door);
            }
            (n, (n == WAITS).then(|| door.place()))
        });
        pool.chunked(1).map_results(square_or_wait, items).unwrap()
    };
    let was_not_submitted =
        |results: &[Result<u64, TaskError>]| results.iter().all(|it| matches!(it, Err(TaskError::NotSubmitted { .. })));
    let submitted = ENDS as usize;
    for (is_of_known_length, count) in [(true, 100), (false, submitted + 1)] {
        // What a worker has just finished may be lost with it.
        let results = run(|pool, _| pool.terminate(), is_of_known_length);
        let done = results.iter().take_while(|result| result.is_ok()).count();
        assert!(done <= WAITS as usize, "{results:?}");
        assert!(results[done..submitted].iter().all(|result| *result == Err(TaskError::Terminated)), "{results:?}");
        assert!(results.len() == count && was_not_submitted(&results[submitted..]), "{results:?}");
        let close_and_join = |pool: &Pool, door: &mut Door| {
            door.let_go(1);
            pool.close();
            pool.join().unwrap();
        };
        let results = run(close_and_join, is_of_known_length);
        assert!((0..ENDS).zip(&results).all(|(n, result)| *result == Ok(square(n))), "{results:?}");
        assert!(results.len() == count && was_not_submitted(&results[submitted..]), "{results:?}");
    }
}

pub(crate) fn a_join_with_a_limit_lets_go_of_what_nobody_can_advance(method: StartMethod) {
    let taken = |mut results: procession_pool::Imap<'_, u64>| {
        let good = results.by_ref().take_while(Result::is_ok).count();
        assert!((1..1000).contains(&good), "{good} were submitted before");
        assert_eq!(results.next(), None);
    };
    let ended = pool(1, method);
    let results = ended.chunked(1).imap(square, 0..1000);
    ended.close();
    assert!(ended.join_timeout(SOON).unwrap());
    taken(results);
    let ended = executor(1, method);
    let results = ended.map(square, 0..1000);
    assert!(ended.shutdown_timeout(SOON));
    taken(results);
    // In the middle of reading its input.
    let ended = pool(1, method);
    let joins = |n: &u64| {
        if *n == 500 {
            ended.close();
            assert!(ended.join_timeout(SOON).unwrap());
        }
    };
    let results = ended.chunked(1).imap(square, (0..1000).inspect(joins));
    assert_eq!(results.filter(Result::is_ok).count(), 500);
}

pub(crate) fn an_executor_that_is_dropped_finishes(method: StartMethod) {
    let executor = executor(2, method);
    let futures: Vec<_> = (0..20_u64).map(|n| executor.submit(square, (n,)).unwrap()).collect();
    futures[0].result().unwrap();
    let pids = executor.worker_pids();
    drop(executor);
    assert!((0..).zip(futures).all(|(n, future)| future.try_result() == Ok(n * n)));
    assert!(!pids.is_empty() && are_gone(&pids));
}

pub(crate) fn a_shutdown_finishes_what_there_is(method: StartMethod) {
    let executor = executor(2, method);
    let futures: Vec<_> = (0..50_u64).map(|n| executor.submit(square, (n,)).unwrap()).collect();
    futures[0].result().unwrap();
    let pids = executor.worker_pids();
    executor.shutdown();
    assert!((0..).zip(futures).all(|(n, future)| future.try_result() == Ok(n * n)));
    assert!(!pids.is_empty() && are_gone(&pids) && executor.worker_pids().is_empty());
    executor.shutdown(); // Once more does nothing.
}

pub(crate) fn a_shutdown_now_cancels_what_has_not_begun(method: StartMethod) {
    let executor = executor(2, method);
    let mut door = Door::new();
    let futures: Vec<_> = (0..50).map(|_| executor.submit(wait_at, door.place()).unwrap()).collect();
    door.wait_for(2);
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| executor.shutdown_now());
        // They are cancelled at once, and not when those that have begun are through.
        let are_cancelled =
            futures[2..].iter().all(|future| future.exception_timeout(SOON) == Ok(Some(TaskError::Cancelled)));
        assert!(are_cancelled);
        assert!(!shutdown.is_finished());
        door.let_go(2);
    });
    assert!(futures[..2].iter().all(|future| future.try_result().is_ok()));
}

pub(crate) fn a_shutdown_that_nobody_waits_for_finishes_too(method: StartMethod) {
    let executor = executor(1, method);
    let mut door = Door::new();
    let futures = [executor.submit(wait_at, door.place()).unwrap(), executor.submit(wait_at, door.place()).unwrap()];
    door.wait_for(1);
    executor.close();
    assert!(matches!(executor.submit(square, (2,)), Err(SubmitError::Closed { .. })));
    door.let_go(2);
    assert!(futures.iter().all(|future| future.result_timeout(SOON).is_ok()));
    let pids = executor.worker_pids();
    assert!(executor.shutdown_timeout(SOON) && are_gone(&pids));
}

/// Each task is a new worker, which is forked from a copy with one thread, whatever threads do here.
pub(crate) fn workers_are_forked_while_another_thread_works(method: StartMethod) {
    let executor = executors(2, method).max_tasks_per_child(1).build().unwrap();
    let other = procession_pool::ThreadPoolExecutor::new(1).unwrap();
    let futures: Vec<_> = (0..50_u64)
        .map(|n| {
            let busy =
                other.submit(move || std::iter::repeat_n(format!("{n}"), 100).collect::<String>().len()).unwrap();
            (executor.submit(square, (n,)).unwrap(), busy)
        })
        .collect();
    for (n, (forked, busy)) in (0..).zip(futures) {
        assert_eq!(forked.result_timeout(SOON), Ok(n * n));
        assert!(busy.result().is_ok());
    }
}

pub(crate) fn a_child_makes_and_uses_a_pool(method: StartMethod) {
    let child = |method| pool(2, method).map(square, 0..10).unwrap();
    let squares = Context::new(method).start(child, (method,)).unwrap().join().unwrap();
    assert_eq!(squares, (0..10).map(square).collect::<Vec<_>>());
}

pub(crate) fn a_pool_in_a_static_does_not_hold_up_the_end_of_its_program(method: StartMethod) {
    static POOL: OnceLock<Pool> = OnceLock::new();
    fn program(method: StartMethod, passing: Descriptor) -> u64 {
        let pool = POOL.get_or_init(|| pool(2, method));
        let idle = procession_sys::pipe().unwrap();
        let _goes_on = pool.apply_async(wait_at, (Descriptor::from(idle.0), passing)).unwrap();
        pool.apply(square, (7,)).unwrap()
    }
    let (held, end) = leash();
    let child = Context::new(method).start(program, (method, Descriptor::from(end))).unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().map(ExitStatus::exitcode), Some(0));
    assert_eq!(child.join().unwrap(), 49);
    let mut held = held;
    held.read_to_end(&mut Vec::new()).unwrap(); // The end comes when the last worker is gone.
}

/// Says that it is done, but only after its program has come to its end.
fn say_later(door: Descriptor, said: Descriptor) {
    file(&door).read_exact(&mut [0]).unwrap();
    file(&said).write_all(b"done").unwrap();
}

pub(crate) fn an_executor_in_a_static_finishes_before_the_end_of_its_program(method: StartMethod) {
    static EXECUTOR: OnceLock<ProcessPoolExecutor> = OnceLock::new();
    fn program(method: StartMethod, door: Descriptor, said: Descriptor) {
        let executor = EXECUTOR.get_or_init(|| executor(1, method));
        executor.submit(say_later, (door, said)).unwrap();
    }
    let (inner, outer) = procession_sys::pipe().unwrap();
    let (held, end) = leash();
    let child = Context::new(method).start(program, (method, inner.into(), end.into())).unwrap();
    assert_eq!(child.wait_timeout(crate::A_WHILE).unwrap(), None, "it waits for its task");
    File::from(outer).write_all(b"g").unwrap();
    assert!(is_let_go(&held));
    let mut said = String::new();
    File::from(OwnedFd::from(held)).read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), child.wait().unwrap().exitcode()), ("done", 0));
}

pub(crate) fn an_iterator_that_is_kept_does_not_hold_up_the_end_of_its_program(method: StartMethod) {
    static EXECUTOR: OnceLock<ProcessPoolExecutor> = OnceLock::new();
    fn program(method: StartMethod) {
        let executor = EXECUTOR.get_or_init(|| executor(1, method));
        let (begins, begun) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let _kept = executor.map(square, 0..);
            begins.send(()).unwrap();
            loop {
                thread::park();
            }
        });
        begun.recv().unwrap();
    }
    let child = Context::new(method).start(program, (method,)).unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().map(ExitStatus::exitcode), Some(0));
}

pub(crate) fn an_exit_hook_that_comes_too_late_is_told(method: StartMethod) {
    static EXECUTOR: OnceLock<ProcessPoolExecutor> = OnceLock::new();
    fn program(method: StartMethod, said: Descriptor) {
        let _hook = at_exit(move || {
            let late = EXECUTOR.get().map(|executor| executor.submit(square, (2,)));
            let text = if matches!(late, Some(Err(SubmitError::Closed { .. }))) { "closed" } else { "taken" };
            file(&said).write_all(text.as_bytes()).unwrap();
        });
        EXECUTOR.get_or_init(|| executor(1, method)).submit(square, (2,)).unwrap();
    }
    let (held, end) = leash();
    let child = Context::new(method).start(program, (method, end.into())).unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().map(ExitStatus::exitcode), Some(0));
    let mut said = String::new();
    File::from(OwnedFd::from(held)).read_to_string(&mut said).unwrap();
    assert_eq!(said, "closed");
}

pub(crate) fn without_descriptors_a_pool_is_not_made() {
    let before = procession_sys::limit(Scarcity::OpenFiles, Some(100)).unwrap();
    let mut taken = Vec::new();
    while let Ok(fd) = procession_sys::dev_null() {
        taken.push(fd);
    }
    for kept in 0..12 {
        match Pool::builder().processes(2).stderr_tail(false).build() {
            Err(error) => assert!(matches!(error, PoolError::System { .. } | PoolError::Start(_)), "{kept}: {error}"),
            Ok(pool) => assert_eq!(pool.apply(square, (2,)), Ok(4)),
        }
        taken.pop();
    }
    drop(taken);
    procession_sys::limit(Scarcity::OpenFiles, before).unwrap();
    assert_eq!(Pool::builder().processes(2).stderr_tail(false).build().unwrap().apply(square, (3,)), Ok(9));
}
