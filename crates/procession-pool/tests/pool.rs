//! Pools and executors of processes, as users have them, by every start method.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod};
use procession_pool::{POOL_NAME_BYTES_MAX, Pool, PoolError, ProcessPoolExecutor, SubmitError, TaskError};

/// How often is tried what a busy machine may prevent.
const TRIES_MAX: usize = 5;

/// For what is not to happen.
const A_WHILE: Duration = Duration::from_millis(30);

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

/// Ends the first process that it is called in, which a file of that name tells.
fn sum_the_second_time(numbers: Vec<f64>) -> f64 {
    let is_first = std::fs::File::create_new(std::env::temp_dir().join(format!("procession-test-{}", numbers[0])));
    if is_first.is_ok() {
        std::process::abort();
    }
    numbers.iter().sum()
}

fn many_numbers_outlive_the_worker_that_had_them(method: StartMethod) {
    let executor = executor(1, method);
    let name = f64::from(std::process::id());
    let mut numbers = vec![1.0; 100_000];
    numbers[0] = name;
    let sum = executor.task(sum_the_second_time, (numbers,)).retries(1).submit().unwrap();
    assert_eq!(sum.result().unwrap(), name + 99_999.0);
    std::fs::remove_file(std::env::temp_dir().join(format!("procession-test-{name}"))).unwrap();
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

fn an_item_of_a_map_is_one_of_a_workers_tasks(method: StartMethod) {
    let builder = || Pool::builder().processes(2).start_method(method).stderr_tail(false);
    let pool = builder().max_tasks_per_child(3).build().unwrap();
    let mut tasks = HashMap::new();
    for pid in pool.map(|_: u64| std::process::id(), 0..60).unwrap() {
        *tasks.entry(pid).or_insert(0) += 1;
    }
    assert!(tasks.values().all(|&tasks| tasks <= 3), "{tasks:?}");
    assert_eq!(tasks.values().sum::<u32>(), 60);
}

/// How many naps that are submitted before an urgent task are done when that is. None is left at the end.
fn naps_before_what_is_urgent(executor: &ProcessPoolExecutor) -> usize {
    for task in (0..300).map(|n: u64| executor.submit(|n: u64| n, (n,)).unwrap()) {
        task.result().unwrap();
    }
    // So many that the worker is given some of them ahead; each takes long enough that all of them would be noticed.
    let nap = |ms: u64| std::thread::sleep(Duration::from_millis(ms));
    let naps: Vec<_> = (0..40).map(|_| executor.submit(nap, (20,)).unwrap()).collect();
    executor.task(|| (), ()).priority(1).submit().unwrap().result().unwrap();
    let done = naps.iter().filter(|nap| nap.done()).count();
    let begun: Vec<_> = naps.into_iter().filter(|nap| !nap.cancel()).collect();
    begun.into_iter().for_each(|nap| nap.result().unwrap());
    done
}

fn an_urgent_task_does_not_wait_for_what_was_given_ahead(method: StartMethod) {
    let executor = executor(1, method);
    let mut seen = Vec::new();
    let is_first = (0..TRIES_MAX).any(|_| {
        seen.push(naps_before_what_is_urgent(&executor));
        seen.last() <= Some(&5)
    });
    assert!(is_first, "so many naps came first: {seen:?}");
}

/// When the first result of a slow input comes, and when the last.
fn times_of_a_slow_input(pool: &Pool) -> (Duration, Duration) {
    let (sender, items) = std::sync::mpsc::channel::<u64>();
    let ((first, at), end) = std::thread::scope(|scope| {
        let slowly = move || {
            for n in 0..20 {
                // This is what makes the input a slow one.
                std::thread::sleep(Duration::from_millis(20));
                sender.send(n).unwrap();
            }
        };
        scope.spawn(slowly);
        let begun = Instant::now();
        let mut times = pool.imap(|n: u64| n, items).map(|n| (n.unwrap(), begun.elapsed()));
        let first = times.next().unwrap();
        assert_eq!(times.count(), 19);
        (first, begun.elapsed())
    });
    assert_eq!(first, 0);
    (at, end)
}

fn results_of_a_slow_input_come_before_its_end(method: StartMethod) {
    let pool = pool(2, method);
    pool.map(|n: u64| n, 0..2).unwrap(); // The workers are there.
    let mut seen = Vec::new();
    let is_early = (0..TRIES_MAX).any(|_| {
        let (at, end) = times_of_a_slow_input(&pool);
        seen.push((at, end));
        at < end / 2
    });
    assert!(is_early, "when the first came, and the last: {seen:?}");
}

fn an_arc_of_a_pool_is_used_as_the_pool(method: StartMethod) {
    let pool = Arc::new(pool(1, method));
    assert_eq!(pool.map(|n: u64| n + 1, 0..3).unwrap(), [1, 2, 3]);
}

/// Pools of forked workers in a process of their own, as what keeps the end of standard error has a thread there.
fn pools_of_forked_workers_follow_each_other_and_share_a_nursery() {
    fn build(context: Context) -> Pool {
        Pool::builder().processes(2).context(context).build().unwrap()
    }
    fn program() {
        for round in 0..5_u64 {
            let pool = build(Context::new(StartMethod::Fork));
            assert_eq!(pool.map(|n: u64| n + 1, 0..round).unwrap(), (1..=round).collect::<Vec<_>>());
            let died = pool.apply(|| -> () { std::process::abort() }, ()).unwrap_err();
            assert!(matches!(died, TaskError::WorkerDied { stderr: Some(_), .. }), "{died:?}");
            let second = Pool::builder().start_method(StartMethod::Fork).build();
            assert!(second.unwrap_err().to_string().contains("`Context::nursery()`"));
        }
        let nursery = Context::nursery().unwrap();
        let (one, other) = (build(nursery.clone()), build(nursery));
        assert_ne!(one.apply(std::process::id, ()).unwrap(), other.apply(std::process::id, ()).unwrap());
    }
    Context::spawn().start(program, ()).unwrap().join().unwrap();
}

fn settings_that_no_pool_can_have_are_errors() {
    let name = |name: String| Pool::builder().processes(1).stderr_tail(false).name(name).build();
    assert!(name("x".repeat(POOL_NAME_BYTES_MAX)).is_ok());
    let refused = [
        name("x".repeat(POOL_NAME_BYTES_MAX + 1)),
        name("a\0b".to_owned()),
        Pool::builder().processes(1).pin_workers([]).build(),
        Pool::builder().processes(1).pin_workers([100_000]).build(),
        Pool::builder().processes(0).build(),
        Pool::builder().max_tasks_per_child(0).build(),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(PoolError::Setting { .. })), "{refused:?}");
    }
}

fn a_callback_that_takes_long_holds_nobody_up() {
    let executor = executor(1, StartMethod::ForkServer);
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (begins, begun) = std::sync::mpsc::channel::<()>();
    let callback = move |_| {
        begins.send(()).unwrap();
        let _ = wait.recv();
    };
    executor.submit(|| (), ()).unwrap().add_done_callback(callback);
    begun.recv().unwrap();
    executor.shutdown(); // Returns, although the callback does not.
    drop(release);
}

/// Takes an item of a map away, and its worker.
fn all_but_three(number: u64) -> u64 {
    if number == 3 {
        std::process::abort();
    }
    number
}

fn a_map_that_has_begun_goes_on_after_close_also_when_workers_die(method: StartMethod) {
    let pool = pool(2, method);
    let later = pool.chunked(10).map_async(all_but_three, 0..40).unwrap();
    let mut results = pool.chunked(10).imap(all_but_three, 0..2000);
    pool.close();
    for n in 0..2000 {
        match results.next().unwrap() {
            Err(TaskError::WorkerDied { .. }) if n == 3 => {}
            result => assert_eq!(result, Ok(n)),
        }
    }
    pool.join().unwrap();
    assert!(
        matches!(later.get(), Err(TaskError::WorkerDied { .. })),
        "and not that some were not submitted: {later:?}"
    );
}

fn a_join_waits_for_maps_of_other_threads(method: StartMethod) {
    let pool = pool(1, method);
    let (proceed, wait) = std::sync::mpsc::channel::<()>();
    let (begins, begun) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let pool = &pool;
        let taken = scope.spawn(move || {
            let mut results = pool.chunked(1).imap(|n: u64| n, 0..);
            begins.send(()).unwrap();
            wait.recv().unwrap();
            let taken = results.nth(1000);
            begins.send(()).unwrap();
            wait.recv().unwrap();
            taken
        });
        begun.recv().unwrap();
        pool.close();
        assert!(matches!(pool.apply_async(std::process::id, ()), Err(SubmitError::Closed { .. })));
        assert!(!pool.join_timeout(A_WHILE).unwrap());
        proceed.send(()).unwrap();
        begun.recv().unwrap();
        assert!(!pool.join_timeout(A_WHILE).unwrap(), "it could go on");
        proceed.send(()).unwrap();
        pool.join().unwrap();
        assert_eq!(taken.join().unwrap(), Some(Ok(1000)));
    });
    assert!(pool.worker_pids().is_empty());
}

fn an_iterator_that_nobody_can_advance_does_not_hold_up_a_join(method: StartMethod) {
    let check = |mut results: procession_pool::Imap<'_, u64>| {
        let good = results.by_ref().take_while(Result::is_ok).count();
        assert!((1..1000).contains(&good), "{good} were submitted before");
        assert_eq!(results.next(), None);
    };
    let executor = executor(2, method);
    let results = executor.map(|n: u64| n, 0..1000);
    executor.shutdown();
    check(results);
    if method == StartMethod::Fork {
        return; // Threads of that one have ended; whether the kernel has seen it, nobody tells.
    }
    let pool = pool(2, method);
    let results = pool.chunked(1).imap(|n: u64| n, 0..1000);
    pool.close();
    pool.join().unwrap();
    check(results);
}

fn what_ends_at_once_ends_maps(method: StartMethod) {
    let pool = pool(1, method);
    std::thread::scope(|scope| {
        let map = scope.spawn(|| pool.map(|n: u64| n, 0..));
        let mut results = pool.imap(|n: u64| n, 0..);
        assert_eq!(results.next(), Some(Ok(0)));
        pool.close();
        assert_eq!(results.nth(1000), Some(Ok(1001)));
        pool.terminate();
        assert!(results.any(|result| result.is_err()));
        assert!(matches!(map.join().unwrap(), Err(TaskError::Terminated | TaskError::NotSubmitted { .. })));
    });
    assert!(pool.worker_pids().is_empty());
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        a_call_runs_in_a_worker,
        a_killed_worker_costs_its_own_task,
        many_numbers_outlive_the_worker_that_had_them,
        a_recorded_run_is_answered_the_same_when_it_is_replayed,
        an_item_of_a_map_is_one_of_a_workers_tasks,
        an_urgent_task_does_not_wait_for_what_was_given_ahead,
        results_of_a_slow_input_come_before_its_end,
        an_arc_of_a_pool_is_used_as_the_pool,
        a_map_that_has_begun_goes_on_after_close_also_when_workers_die,
        a_join_waits_for_maps_of_other_threads,
        an_iterator_that_nobody_can_advance_does_not_hold_up_a_join,
        what_ends_at_once_ends_maps,
    ];
    cases: [pools_of_forked_workers_follow_each_other_and_share_a_nursery, settings_that_no_pool_can_have_are_errors, a_callback_that_takes_long_holds_nobody_up];
}
