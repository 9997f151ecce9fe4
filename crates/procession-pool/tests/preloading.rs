//! Pools whose context preloads what does not return: whoever makes one is told, and so are tasks of one that was made.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

mod work;

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use procession_launch::{Context, StartError};
use procession_pool::{Pool, PoolError, ProcessPoolExecutor, TaskError};
use procession_sys::{Deadline, PidFd, pid, set_variable};
use procession_testkit::{ProcessInfo, children_of, unique_name};

use work::{all_at_work, finish, kill, submit, wait_for_ever};

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        a_function_that_hangs_is_an_error_of_the_construction within 60,
        an_executor_is_told_by_its_task within 60,
        an_executor_with_an_initializer_has_the_same_error,
        the_one_that_hangs_is_named_of_several,
        what_another_start_preloads_is_waited_for_no_longer,
        tasks_are_told_of_a_function_that_hangs_when_it_runs_again,
        a_function_that_returns_in_time_has_all_of_it,
    ];
}

/// Longer than anything takes here.
const SOON: Duration = Duration::from_secs(10);

/// How long a pool waits: what does not hang is to start within it, also on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// Starts and joins one child, so that what a process has once is there.
fn warm_up() {
    Context::forkserver().start(|| (), ()).unwrap().join().unwrap();
}

/// The servers that there are beside those before.
fn servers_beside(before: &[ProcessInfo]) -> Vec<ProcessInfo> {
    let mut servers = children_of(pid());
    servers.retain(|child| before.iter().all(|other| other.pid != child.pid));
    servers
}

fn return_at_once() {}

/// What a start is told whose function hangs.
fn check(error: &StartError, function: &str) {
    let text = error.to_string();
    let StartError::PreloadTimeout { function: named, after: START_TIMEOUT, .. } = error else { panic!("{error:?}") };
    assert!(named.ends_with(function), "{named}");
    let told = ["worker-0", function, &format!("{START_TIMEOUT:?}"), "`start_timeout`"];
    assert!(told.iter().all(|told| text.contains(told)), "{text}");
}

fn a_function_that_hangs_is_an_error_of_the_construction() {
    let context = Context::forkserver().preload(wait_for_ever);
    let before = children_of(pid());
    for _ in 0..2 {
        let begun = Instant::now();
        let builder = Pool::builder().processes(2).context(context.clone()).stderr_tail(false);
        let error = builder.start_timeout(START_TIMEOUT).build().unwrap_err();
        assert!((START_TIMEOUT..SOON).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        let PoolError::Start(error) = error else { panic!("{error:?}") };
        check(&error, "wait_for_ever");
        assert_eq!(servers_beside(&before), [], "a server that never serves is gone");
    }
}

fn an_executor_is_told_by_its_task() {
    let context = Context::forkserver().preload(wait_for_ever);
    let builder = ProcessPoolExecutor::builder().max_workers(2).context(context).stderr_tail(false);
    let executor = builder.start_timeout(START_TIMEOUT).build().unwrap();
    for deaths_now in 1..=2 {
        let told = executor.submit(pid, ()).unwrap().result_timeout(SOON);
        let Err(TaskError::NoWorkers { deaths, last }) = told else { panic!("{told:?}") };
        assert_eq!(deaths, deaths_now, "the first is told, and each task is another try");
        assert!(last.contains("wait_for_ever") && last.contains("`start_timeout`"), "{last}");
    }
}

fn an_executor_with_an_initializer_has_the_same_error() {
    let context = Context::forkserver().preload(wait_for_ever);
    let builder = ProcessPoolExecutor::builder().max_workers(2).context(context).stderr_tail(false);
    let begun = Instant::now();
    let error = builder.initializer(return_at_once, ()).start_timeout(START_TIMEOUT).build().unwrap_err();
    assert!((START_TIMEOUT..SOON).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let PoolError::Start(error) = error else { panic!("{error:?}") };
    check(&error, "wait_for_ever");
}

fn the_one_that_hangs_is_named_of_several() {
    let context = Context::forkserver().preload(return_at_once).preload(wait_for_ever).preload(return_at_once);
    let builder = Pool::builder().processes(1).context(context).stderr_tail(false);
    let PoolError::Start(error) = builder.start_timeout(START_TIMEOUT).build().unwrap_err() else { panic!() };
    check(&error, "wait_for_ever");
}

/// Says where its server can see it that it runs, and does not return.
fn say_and_wait() {
    File::create_new(std::env::var("MARK").unwrap()).unwrap();
    wait_for_ever();
}

fn what_another_start_preloads_is_waited_for_no_longer() {
    let mark = std::env::temp_dir().join(unique_name());
    set_variable("MARK", mark.to_str().unwrap()).unwrap();
    let context = Context::forkserver().preload(say_and_wait);
    let before = children_of(pid());
    thread::scope(|scope| {
        let other = scope.spawn(|| context.start(|| (), ()).map(drop)); // It has no limit.
        let begun = Instant::now();
        while !mark.exists() {
            assert!(begun.elapsed() < SOON);
            thread::yield_now();
        }
        let builder = Pool::builder().processes(1).context(context.clone()).stderr_tail(false);
        let PoolError::Start(error) = builder.start_timeout(START_TIMEOUT).build().unwrap_err() else { panic!() };
        check(&error, "say_and_wait");
        assert!(!other.is_finished(), "it waits on");
        kill(servers_beside(&before)[0].pid);
        assert!(matches!(other.join().unwrap(), Err(StartError::Preload { .. })));
    });
    std::fs::remove_file(mark).unwrap();
}

/// Returns in the first server alone.
fn return_once() {
    if File::create_new(std::env::var("MARK").unwrap()).is_err() {
        wait_for_ever();
    }
}

fn tasks_are_told_of_a_function_that_hangs_when_it_runs_again() {
    let mark = std::env::temp_dir().join(unique_name());
    set_variable("MARK", mark.to_str().unwrap()).unwrap();
    let context = Context::forkserver().preload(return_once);
    let before = children_of(pid());
    let builder = Pool::builder().processes(1).context(context).stderr_tail(false);
    let pool = builder.start_timeout(START_TIMEOUT).build().unwrap();
    let worker = all_at_work(&pool)[0];
    let server = servers_beside(&before)[0].pid;
    let held = PidFd::open(server).unwrap();
    kill(server);
    assert!(held.wait_ended(Deadline::after(SOON)).unwrap());
    kill(worker);
    let told = submit(&pool, wait_for_ever, ()).result_timeout(SOON);
    let Err(TaskError::NoWorkers { deaths: 1, last }) = told else { panic!("{told:?}") };
    assert!(last.contains("return_once") && last.contains("`start_timeout`"), "{last}");
    std::fs::remove_file(&mark).unwrap();
    all_at_work(&pool);
    finish(pool);
    std::fs::remove_file(mark).unwrap();
}

fn a_function_that_returns_in_time_has_all_of_it() {
    let context = Context::forkserver().preload(return_at_once).preload(return_at_once);
    let builder = Pool::builder().processes(2).context(context).stderr_tail(false);
    let pool = builder.start_timeout(Duration::MAX).build().unwrap();
    all_at_work(&pool);
    finish(pool);
}
