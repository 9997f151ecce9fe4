//! Workers that die in ways, or in numbers, which the crash matrix has no cells for; and what workers cost that do nothing.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

mod work;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod};
use procession_pool::{ExecutorExt, Future, Pool, PoolError, ProcessPoolExecutor, SubmitError, TaskError};
use procession_sync::{Event, Value};
use procession_sys::{Deadline, Interest, PidFd, pid, poll_one, processor_time, send_signal};
use procession_testkit::{assert_cost, open_descriptors, program};

use work::{all_at_work, finish, kill, submit, wait_for_ever};

/// Longer than anything takes here.
const SOON: Duration = Duration::from_secs(10);

/// What a killed parent's workers have. It is promised.
const PARENT_GONE_MAX: Duration = Duration::from_secs(1);

/// How soon a task's death is told, and how soon its worker's replacement serves: ten times what is promised.
const DEATH_TOLD_MAX: Duration = Duration::from_millis(50);
const REPLACED_MAX: Duration = Duration::from_millis(100);

/// Of so many trials the one in the middle counts: others use the machine.
const TRIALS: usize = 9;

const STOPPED: i32 = 19;

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        idle_workers_that_are_killed_all_at_once_cost_nothing,
        a_storm_of_deaths_is_limited_and_told,
        an_initializer_that_hangs_is_an_error_of_the_construction within 60,
        tasks_are_told_of_replacements_that_hang_while_they_start within 60,
        a_killed_parent_takes_its_workers_along within 60,
        a_worker_has_workers,
        two_hundred_workers_work_at_once within 60,
        workers_that_are_all_stopped_cost_what_they_had_begun,
        a_timeout_kills_its_own_task,
        a_task_is_tried_again_as_often_as_it_may_be,
        a_wait_before_each_further_attempt_is_twice_as_long,
        a_worker_does_its_number_of_tasks_and_no_more,
        a_death_is_told_soon_and_its_replacement_serves_soon,
        an_idle_pool_costs_nothing,
        a_worker_costs_a_few_descriptors_and_a_task_none,
    ];
    cases: [what_an_error_quotes_was_said_during_its_task, what_a_worker_said_that_hangs_is_quoted within 60];
    programs: [has_pool];
}

fn methods() -> Vec<(&'static str, StartMethod)> {
    StartMethod::ALL.map(|method| (method.name(), method)).to_vec()
}

/// Starts and joins one child of each kind, so that what a process has once is there.
fn warm_up() {
    for (_, method) in methods() {
        Context::new(method).start(|| (), ()).unwrap().join().unwrap();
    }
}

fn pool(size: usize, method: StartMethod) -> Pool {
    Pool::builder().processes(size).start_method(method).stderr_tail(false).build().unwrap()
}

/// One more than the number there was, which is increased.
fn count(counter: &Value<u64>) -> u64 {
    let mut count = counter.lock().unwrap();
    *count += 1;
    *count
}

fn idle_workers_that_are_killed_all_at_once_cost_nothing(method: StartMethod) {
    let pool = pool(4, method);
    for round in 0..20_u64 {
        let workers = all_at_work(&pool);
        workers.iter().for_each(|&worker| kill(worker));
        let results: Vec<_> = (0..8_u64).map(|n| submit(&pool, |n: u64| n + 1, (n + round,))).collect();
        for (n, result) in (0..).zip(results) {
            assert_eq!(result.result().unwrap(), n + round + 1);
        }
        assert!(all_at_work(&pool).iter().all(|worker| !workers.contains(worker)));
    }
    finish(pool);
}

fn a_storm_of_deaths_is_limited_and_told(method: StartMethod) {
    let fails = Event::new().unwrap();
    let initializer = |fails: Event| if fails.is_set() { Err("it is broken".to_owned()) } else { Ok(()) };
    let builder = Pool::builder().processes(2).start_method(method).stderr_tail(false);
    let pool = builder.initializer(initializer, (fails.clone(),)).build().unwrap();
    let workers = all_at_work(&pool);
    fails.set();
    workers.iter().for_each(|&worker| kill(worker));
    let ends: Vec<_> = (0..4).map(|_| submit(&pool, pid, ()).result()).collect();
    for end in ends {
        let Err(TaskError::NoWorkers { deaths, last }) = end else { panic!("{end:?}") };
        assert!((8..=32).contains(&deaths), "{deaths}");
        assert!(last.contains("it is broken"), "{last}");
    }
    fails.clear();
    assert!(submit(&pool, pid, ()).result().is_ok(), "a task that comes later tries again");
    all_at_work(&pool);
    finish(pool);
}

/// How long a worker may take to start, where one hangs: others are to start within it, also on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(3);

fn an_initializer_that_hangs_is_an_error_of_the_construction(method: StartMethod) {
    let begun = Instant::now();
    let builder = Pool::builder().processes(2).name("slow").start_method(method).stderr_tail(false);
    let hangs = builder.initializer(wait_for_ever, ()).start_timeout(START_TIMEOUT).build().unwrap_err();
    assert!((START_TIMEOUT..SOON).contains(&begun.elapsed()));
    let text = hangs.to_string();
    let PoolError::StartTimeout { name, pid, after: START_TIMEOUT, .. } = hangs else { panic!("{hangs:?}") };
    assert_eq!(name, "slow");
    assert!(PidFd::open(pid).is_err(), "it was killed, and nobody is left");
    let told = ["\"slow\"", &pid.to_string(), &format!("{START_TIMEOUT:?}"), "`start_timeout`"];
    assert!(told.iter().all(|told| text.contains(told)), "{text}");
    if method == StartMethod::Fork {
        return; // Threads of the one that failed have ended; whether the kernel has seen it, nobody tells.
    }
    let builder = ProcessPoolExecutor::builder().max_workers(2).start_method(method).stderr_tail(false);
    let hangs = builder.initializer(wait_for_ever, ()).start_timeout(START_TIMEOUT).build();
    assert!(matches!(hangs, Err(PoolError::StartTimeout { .. })), "{hangs:?}");
}

fn tasks_are_told_of_replacements_that_hang_while_they_start(method: StartMethod) {
    let hangs = Event::new().unwrap();
    let initializer = |hangs: Event| {
        if hangs.is_set() {
            wait_for_ever();
        }
    };
    let builder = Pool::builder().processes(2).start_method(method).stderr_tail(false);
    let pool = builder.initializer(initializer, (hangs.clone(),)).start_timeout(START_TIMEOUT).build().unwrap();
    let workers = all_at_work(&pool);
    hangs.set();
    workers.iter().for_each(|&worker| kill(worker));
    let ends: Vec<_> = (0..4).map(|_| submit(&pool, pid, ())).collect();
    for end in ends {
        let Err(TaskError::NoWorkers { deaths, last }) = end.result() else { panic!("{end:?}") };
        assert!((1..=2).contains(&deaths), "nobody is ready, so that no more are tried: {deaths}");
        let told = [&format!("was not ready within {START_TIMEOUT:?}"), "`start_timeout`"];
        assert!(told.iter().all(|told| last.contains(told)), "{last}");
    }
    hangs.clear();
    // One that hangs may be under way.
    let served = (0..3).any(|_| submit(&pool, pid, ()).result().is_ok());
    assert!(served, "a task that comes later tries again");
    all_at_work(&pool);
    finish(pool);
}

/// A program that has workers, names them, and waits.
fn has_pool() {
    let method = std::env::var("METHOD").unwrap();
    let (_, method) = methods().into_iter().find(|(name, _)| *name == method).unwrap();
    let pool = pool(4, method);
    let _task = submit(&pool, wait_for_ever, ());
    let workers: Vec<_> = pool.worker_pids().iter().map(u32::to_string).collect();
    println!("{}", workers.join(" "));
    wait_for_ever();
}

/// Kills a program that has workers. How long after that the last of them is there.
fn outlived_by_workers(method: StartMethod) -> Duration {
    let mut parent = program("has_pool").env("METHOD", method.name()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let workers: Vec<_> = line.split_whitespace().map(|worker| PidFd::open(worker.parse().unwrap()).unwrap()).collect();
    assert_eq!(workers.len(), 4);
    let killed = Instant::now();
    parent.kill().unwrap();
    for worker in &workers {
        assert!(poll_one(worker, Interest::Read, Deadline::after(SOON)).unwrap(), "a worker outlives its parent");
    }
    let outlived = killed.elapsed();
    parent.wait().unwrap();
    outlived
}

fn a_killed_parent_takes_its_workers_along(method: StartMethod) {
    assert_cost(PARENT_GONE_MAX, || outlived_by_workers(method));
}

/// What a worker's own workers do.
fn sum_by_workers(method: StartMethod, numbers: Vec<u64>) -> u64 {
    let pool = pool(2, method);
    let squares: Vec<_> = numbers.into_iter().map(|n| submit(&pool, |n: u64| n * n, (n,))).collect();
    squares.into_iter().map(|square| square.result().unwrap()).sum()
}

fn a_worker_has_workers(method: StartMethod) {
    let by_name = |name: String, numbers: Vec<u64>| {
        let (_, method) = methods().into_iter().find(|(other, _)| *other == name).unwrap();
        sum_by_workers(method, numbers)
    };
    let outer = pool(2, method);
    let sums: Vec<_> =
        (0..3_u64).map(|n| submit(&outer, by_name, (method.name().to_owned(), vec![n, n + 1]))).collect();
    for (n, sum) in (0..).zip(sums) {
        assert_eq!(sum.result().unwrap(), n * n + (n + 1) * (n + 1));
    }
    finish(outer);
}

fn two_hundred_workers_work_at_once(method: StartMethod) {
    let pool = pool(200, method);
    let mut workers = all_at_work(&pool);
    workers.sort_unstable();
    workers.dedup();
    assert_eq!(workers.len(), 200);
    let results: Vec<_> = (0..1000_u64).map(|n| submit(&pool, |n: u64| n + 1, (n,))).collect();
    let sum: u64 = results.into_iter().map(|result| result.result().unwrap()).sum();
    assert_eq!(sum, 1000 * 1001 / 2);
    finish(pool);
}

fn workers_that_are_all_stopped_cost_what_they_had_begun(method: StartMethod) {
    let pool = pool(2, method);
    let timeout = Duration::from_secs(3); // The others have that long as well, also on a busy machine.
    let stopped = all_at_work(&pool);
    stopped.iter().for_each(|&worker| send_signal(worker, STOPPED).unwrap());
    let tasks: Vec<_> = (0..6).map(|_| ExecutorExt::task(&pool, pid, ()).timeout(timeout).submit().unwrap()).collect();
    let mut told = Vec::new();
    for task in tasks {
        match task.result() {
            Ok(worker) => assert!(!stopped.contains(&worker)),
            Err(TaskError::TimedOut { pid, after, attempts: 1 }) if after == timeout => told.push(pid),
            Err(error) => panic!("{error}"),
        }
    }
    told.sort_unstable();
    let mut stopped = stopped;
    stopped.sort_unstable();
    assert_eq!(told, stopped);
    finish(pool);
}

fn a_timeout_kills_its_own_task(method: StartMethod) {
    let pool = pool(2, method);
    all_at_work(&pool);
    let go = Event::new().unwrap();
    let wait = |go: Event| {
        go.wait().unwrap();
        pid()
    };
    let timeout = Duration::from_millis(100);
    let patient = ExecutorExt::task(&pool, wait, (go.clone(),)).timeout(SOON).submit().unwrap();
    let without = submit(&pool, pid, ()).result().unwrap();
    let begun = Instant::now();
    let late = ExecutorExt::task(&pool, wait_for_ever, ()).timeout(timeout).submit().unwrap();
    let error = late.result().unwrap_err();
    assert!(begun.elapsed() >= timeout);
    assert_eq!(error, TaskError::TimedOut { after: timeout, pid: without, attempts: 1 });
    assert!(!patient.done());
    go.set();
    assert_ne!(patient.result().unwrap(), without);
    finish(pool);
}

/// By way of a new process, as below.
fn what_a_worker_said_that_hangs_is_quoted() {
    let program = || {
        let hangs = |hangs: Event| {
            eprintln!("this is the beginning");
            if hangs.is_set() {
                wait_for_ever();
            }
        };
        let event = Event::new().unwrap();
        let build = |keeps| {
            let builder = Pool::builder().processes(1).initializer(hangs, (event.clone(),));
            builder.start_timeout(START_TIMEOUT).stderr_tail(keeps).build()
        };
        let pool = build(true).unwrap();
        event.set();
        kill(pool.worker_pids()[0]);
        let told = pool.apply(pid, ()).unwrap_err().to_string();
        [told, build(true).unwrap_err().to_string(), build(false).unwrap_err().to_string()]
    };
    let [task, made, silent] = Context::forkserver().start(program, ()).unwrap().join().unwrap();
    assert!(task.contains("a worker ended before it was ready") && task.contains("this is the beginning"), "{task}");
    assert!(made.contains("`start_timeout`") && made.contains("this is the beginning"), "{made}");
    assert!(silent.contains("`start_timeout`") && !silent.contains("this is the beginning"), "{silent}");
}

/// What the errors quote of a worker, which says something at every task and before, by way of a new process: what keeps tails
/// stays in it.
fn what_an_error_quotes_was_said_during_its_task() {
    fn says(number: u64) {
        eprintln!("this is task {number}");
        if number % 3 == 2 {
            std::process::abort();
        }
    }
    let program = || {
        let initializer = || eprintln!("this is the beginning");
        let pool = Pool::builder().processes(1).initializer(initializer, ()).build().unwrap();
        let mut quoted = Vec::new();
        for number in 0..30 {
            // What follows at once may be quoted together, and to be unparked would end another pause.
            thread::sleep(Duration::from_millis(2));
            if let Err(TaskError::WorkerDied { stderr, .. }) = pool.apply(says, (number,)) {
                quoted.push(stderr.unwrap());
            }
        }
        quoted
    };
    let quoted = Context::forkserver().start(program, ()).unwrap().join().unwrap();
    assert_eq!(quoted, (0..10).map(|n| format!("this is task {}\n", 3 * n + 2)).collect::<Vec<_>>());
}

fn a_task_is_tried_again_as_often_as_it_may_be(method: StartMethod) {
    let dies = |counter: Value<u64>, times: u64| {
        let begun = count(&counter);
        if begun <= times {
            std::process::abort();
        }
        begun
    };
    let panics = |counter: Value<u64>| -> u64 { panic!("{}", count(&counter)) };
    let pool = pool(2, method);
    let counter = || Value::new(0_u64).unwrap();
    let (once, poison, panicking) = (counter(), counter(), counter());
    let retried = ExecutorExt::task(&pool, dies, (once.clone(), 2)).retries(2).submit().unwrap();
    assert_eq!(retried.result().unwrap(), 3, "the third attempt lives");
    let poisoned = ExecutorExt::task(&pool, dies, (poison.clone(), 1000)).retries(100).submit().unwrap();
    let error = poisoned.result().unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { signal: Some(6), attempts: 3, .. }), "{error:?}");
    assert_eq!(poison.get().unwrap(), 3, "it has killed enough");
    assert!(error.to_string().ends_with("(attempt 3): it is given up, as 3 workers have died of it"), "{error}");
    let tried = ExecutorExt::task(&pool, dies, (counter(), 1000)).retries(2).submit().unwrap();
    let error = tried.result().unwrap_err();
    assert!(error.to_string().ends_with("(attempt 3)"), "no retry was left: {error}");
    let panicked = ExecutorExt::task(&pool, panics, (panicking.clone(),)).retries(4).submit().unwrap();
    let error = panicked.result().unwrap_err();
    assert!(matches!(&error, TaskError::Panicked { message, attempts: 5, .. } if message == "5"), "{error:?}");
    assert!(error.to_string().contains("(attempt 5)"), "{error}");
    let alone = submit(&pool, dies, (counter(), 1)).result().unwrap_err();
    assert!(matches!(alone, TaskError::WorkerDied { attempts: 1, .. }), "{alone:?}");
    finish(pool);
}

fn a_wait_before_each_further_attempt_is_twice_as_long(method: StartMethod) {
    let pool = pool(1, method);
    let backoff = Duration::from_millis(150);
    let attempts = Value::new(0_u64).unwrap();
    // A panic would take its time to name its frames.
    let exits = |attempts: Value<u64>| -> () {
        count(&attempts);
        std::process::exit(1)
    };
    let begun = Instant::now();
    let failing = ExecutorExt::task(&pool, exits, (attempts.clone(),)).retries(2).backoff(backoff);
    let failed = failing.submit().unwrap();
    let other = submit(&pool, |attempts: Value<u64>| attempts.get().unwrap(), (attempts.clone(),));
    assert!(other.result().unwrap() < 3, "the worker is free for others meanwhile");
    assert!(failed.result().is_err());
    assert!(begun.elapsed() >= 3 * backoff, "{:?}", begun.elapsed());
    assert_eq!(attempts.get().unwrap(), 3);
    finish(pool);
}

fn a_worker_does_its_number_of_tasks_and_no_more(method: StartMethod) {
    const EACH: usize = 3;
    let numbers = |pids: Vec<Future<u32>>| {
        let mut tasks = BTreeMap::<u32, usize>::new();
        for pid in pids {
            *tasks.entry(pid.result().unwrap()).or_default() += 1;
        }
        tasks.into_values().collect::<Vec<_>>()
    };
    let builder = Pool::builder().processes(1).max_tasks_per_child(EACH).start_method(method);
    let pool = builder.stderr_tail(false).build().unwrap();
    assert_eq!(numbers((0..12).map(|_| submit(&pool, pid, ())).collect()), [EACH; 4]);
    finish(pool);
    // The pool's thread has ended: a process that forks has one.
    let executor = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(EACH);
    let executor = executor.start_method(method).stderr_tail(false).build().unwrap();
    assert_eq!(numbers((0..12).map(|_| executor.submit(pid, ()).unwrap()).collect()), [EACH; 4]);
    executor.shutdown();
    assert!(matches!(executor.submit(pid, ()), Err(SubmitError::Closed { .. })));
}

fn a_death_is_told_soon_and_its_replacement_serves_soon(method: StartMethod) {
    let pool = pool(1, method);
    let (mut told, mut replaced) = (Vec::new(), Vec::new());
    for _ in 0..TRIALS {
        let begun = Event::new().unwrap();
        let wait = |begun: Event| {
            begun.set();
            wait_for_ever();
        };
        let worker = all_at_work(&pool)[0];
        let task = submit(&pool, wait, (begun.clone(),));
        assert!(begun.wait_timeout(SOON).unwrap());
        let killed = Instant::now();
        kill(worker);
        assert!(matches!(task.result(), Err(TaskError::WorkerDied { signal: Some(9), .. })));
        told.push(killed.elapsed());
        assert_ne!(submit(&pool, pid, ()).result().unwrap(), worker);
        replaced.push(killed.elapsed());
    }
    // The best of them: what a busy machine adds to some is not ours, and what we would add ourselves is in all.
    assert!(told.iter().min() < Some(&DEATH_TOLD_MAX), "{told:?}");
    assert!(replaced.iter().min() < Some(&REPLACED_MAX), "{replaced:?}");
    finish(pool);
}

/// The processor time that a process of one thread has used, to the nanosecond.
fn exact_processor_time_of(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn an_idle_pool_costs_nothing(method: StartMethod) {
    const MEASURED: Duration = Duration::from_secs(2);
    let pool = pool(8, method);
    let workers = all_at_work(&pool);
    thread::park_timeout(Duration::from_millis(200)); // Whoever spins after a task has stopped by then.
    let used = || processor_time() + workers.iter().map(|&worker| exact_processor_time_of(worker)).sum::<Duration>();
    assert_cost(MEASURED / 100, || {
        let before = used();
        thread::park_timeout(MEASURED); // What is measured is that nothing happens.
        used() - before
    });
    finish(pool);
}

fn a_worker_costs_a_few_descriptors_and_a_task_none(method: StartMethod) {
    const EACH_MAX: usize = 4;
    let before = open_descriptors().len();
    let small = pool(1, method);
    all_at_work(&small);
    let with_one = open_descriptors().len();
    finish(small);
    assert_eq!(open_descriptors().len(), before);
    let large = pool(9, method);
    all_at_work(&large);
    let with_nine = open_descriptors().len();
    assert!(with_nine - with_one <= 8 * EACH_MAX, "{before}, {with_one}, {with_nine}");
    let go = Event::new().unwrap();
    let waits = |go: Event| go.wait().unwrap();
    let blocked: Vec<_> = (0..9).map(|_| submit(&large, waits, (go.clone(),))).collect();
    let with_event = open_descriptors().len();
    let queued: Vec<_> = (0..10_000_u64).map(|n| submit(&large, |n: u64| n, (n,))).collect();
    assert_eq!(open_descriptors().len(), with_event);
    go.set();
    blocked.into_iter().for_each(|task| task.result().unwrap());
    let sum: u64 = queued.into_iter().map(|task| task.result().unwrap()).sum();
    assert_eq!(sum, 9_999 * 10_000 / 2);
    finish(large);
}
