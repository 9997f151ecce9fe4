//! Pools and executors of processes, as users have them, by every start method.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

use std::time::Duration;

use procession_launch::{Context, StartMethod};
use procession_pool::{Pool, ProcessPoolExecutor, TaskError};

fn methods() -> Vec<(&'static str, StartMethod)> {
    StartMethod::ALL.map(|method| (method.name(), method)).to_vec()
}

/// Starts and joins one child of each kind, so that what a process has once is there. Tails are not kept here: what keeps
/// them is there once as well, and has a thread, which a process that forks must not have.
fn warm_up() {
    for (_, method) in methods() {
        Context::new(method).start(|| (), ()).unwrap().join().unwrap();
    }
}

fn pool(size: usize, method: StartMethod) -> Pool {
    Pool::builder().processes(size).start_method(method).stderr_tail(false).build().unwrap()
}

fn executor(size: usize, method: StartMethod) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(size).start_method(method).stderr_tail(false).build().unwrap()
}

fn a_call_runs_in_a_worker(method: StartMethod) {
    let pool = pool(2, method);
    let pid = pool.apply(std::process::id, ()).unwrap();
    assert!(pool.worker_pids().contains(&pid) && pid != std::process::id());
    assert_eq!(pool.apply(|a: u64, b: String| format!("{a}{b}"), (4, "2".to_string())).unwrap(), "42");
    pool.close();
    pool.join().unwrap();
    assert!(pool.worker_pids().is_empty());
    let closed = pool.apply(std::process::id, ());
    assert!(matches!(closed, Err(TaskError::NotSubmitted { .. })), "{closed:?}");
}

fn a_killed_worker_costs_its_own_task(method: StartMethod) {
    let executor = executor(2, method);
    let died = executor.submit(|| -> () { std::process::abort() }, ()).unwrap();
    let others: Vec<_> = (0..100_u64).map(|n| executor.submit(|n: u64| n + 1, (n,)).unwrap()).collect();
    let error = died.result().unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { signal: Some(6), attempts: 1, .. }), "{error}");
    for (n, other) in (0..).zip(others) {
        assert_eq!(other.result().unwrap(), n + 1);
    }
}

/// Runs a mixed load, with deaths, retries, timeouts and cancellations.
fn live_through_it(executor: &ProcessPoolExecutor) {
    // One of them is to take longer than its timeout, and the others are to be waited for.
    let slow = |ms: u64| std::thread::sleep(Duration::from_millis(ms));
    let died = executor.task(|| -> () { std::process::abort() }, ()).retries(1).submit().unwrap();
    let late = executor.task(slow, (60_000,)).timeout(Duration::from_millis(50)).submit().unwrap();
    let failed = executor.task(|| -> () { panic!("planned") }, ()).retries(2).submit().unwrap();
    let waits: Vec<_> = (0..20).map(|_| executor.submit(slow, (1,)).unwrap()).collect();
    let cancelled = waits.iter().rev().take(5).filter(|wait| wait.cancel()).count();
    let sum: u64 = executor.map(|n: u64| n * n, 0..1000).map(Result::unwrap).sum();
    assert_eq!(sum, (0..1000).map(|n| n * n).sum());
    assert!(matches!(died.result(), Err(TaskError::WorkerDied { attempts: 2, .. })));
    assert!(matches!(late.result(), Err(TaskError::TimedOut { .. })));
    assert!(matches!(failed.result(), Err(TaskError::Panicked { .. })));
    let ends = waits.iter().filter(|wait| wait.result().is_ok()).count();
    assert_eq!(ends + cancelled, waits.len());
}

fn a_recorded_run_is_answered_the_same_when_it_is_replayed(method: StartMethod) {
    let builder = ProcessPoolExecutor::builder().max_workers(2).start_method(method).max_tasks_per_child(700);
    let executor = builder.stderr_tail(false).recorded().build().unwrap();
    live_through_it(&executor);
    executor.shutdown();
    let events = executor.replay().unwrap();
    assert!(events > 100, "{events} events were written down");
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        a_call_runs_in_a_worker,
        a_killed_worker_costs_its_own_task,
        a_recorded_run_is_answered_the_same_when_it_is_replayed,
    ];
}
