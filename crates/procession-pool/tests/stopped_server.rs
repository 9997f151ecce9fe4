//! Pools whose workers come from a server that is stopped, or killed: what they promise holds although a start does not return,
//! and where no worker can be had their tasks do not wait for one.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

mod work;

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use procession_launch::{Context, StartError, StartMethod, active_children};
use procession_pool::{ExecutorExt, Pool, PoolError, ProcessPoolExecutor, TaskError};
use procession_sync::{Event, Value};
use procession_sys::{Deadline, PidFd, pid, send_signal, set_variable};
use procession_testkit::{ProcessInfo, assert_cost, children_of, process, unique_name};

use work::{all_at_work, finish, kill, submit, wait_for_ever};

/// Longer than anything takes here, and much shorter than a worker may take to start if nothing is said.
const SOON: Duration = Duration::from_secs(10);

/// How soon a pool ends that has nothing to do: ten times what it takes to see that a server is stopped, for each worker, and no
/// more than it takes to give up a server that is not seen to be. That is why more than one end is timed where it is exceeded.
const ENDED_MAX: Duration = Duration::from_secs(2);

/// How soon tasks that need a new worker have one, or are told that there is none: a server is seen to be stopped in a second.
const TOLD_MAX: Duration = Duration::from_secs(5);

/// How long a worker may take to start, where that is what counts: a server is seen to be stopped only later.
const START_TIMEOUT: Duration = Duration::from_millis(800);

const STOPPED: i32 = 19;
const CONTINUED: i32 = 18;

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        a_server_that_is_stopped_is_an_error_of_the_construction,
        a_construction_with_time_has_another_server_or_an_error_soon,
        tasks_do_not_wait_for_a_server_that_is_stopped,
        tasks_keep_their_times_and_deaths_are_told_while_a_start_hangs,
        a_pool_ends_while_a_start_hangs within 60,
        a_start_that_hangs_is_given_up_and_the_next_has_another_server within 60,
    ];
    cases: [
        tasks_do_not_wait_for_a_nursery_that_was_killed,
        a_pool_keeps_time_and_ends_while_functions_are_preloaded_anew within 60,
    ];
}

/// Those that have a server.
fn methods() -> Vec<(&'static str, StartMethod)> {
    [StartMethod::ForkServer, StartMethod::Fork].map(|method| (method.name(), method)).to_vec()
}

/// Starts and joins one child of each kind, so that what a process has once is there.
fn warm_up() {
    for (_, method) in methods() {
        Context::new(method).start(|| (), ()).unwrap().join().unwrap();
    }
}

/// Where workers come from.
fn context_with_server(method: StartMethod) -> Context {
    match method {
        StartMethod::Fork => Context::nursery().unwrap(),
        _ => Context::new(method),
    }
}

/// The process that forks this one's workers; the last one that was made.
fn server(method: StartMethod) -> ProcessInfo {
    let name = if method == StartMethod::Fork { "nursery" } else { "forkserver" };
    let servers = children_of(pid()).into_iter().filter(|child| child.name == name && !child.is_zombie());
    servers.max_by_key(|server| server.pid).unwrap()
}

/// The same while it is stopped; it goes on at the end, if it is there.
struct StoppedServer {
    pid: u32,
    held: PidFd,
}

impl StoppedServer {
    fn stop(method: StartMethod) -> Self {
        let server = server(method);
        let stopped = Self { pid: server.pid, held: PidFd::open(server.pid).unwrap() };
        send_signal(stopped.pid, STOPPED).unwrap();
        let begun = Instant::now();
        while process(stopped.pid).unwrap().state != 'T' {
            assert!(begun.elapsed() < SOON);
            thread::yield_now();
        }
        stopped
    }

    /// Waits until it has ended, which nobody asks for anything any more; it was killed if it had no children.
    fn await_end(self) {
        drop(active_children()); // Nothing is left of its children.
        assert!(self.held.wait_ended(Deadline::after(SOON)).unwrap());
        assert!(active_children().is_empty()); // Reaps it as well.
    }
}

impl Drop for StoppedServer {
    fn drop(&mut self) {
        if !self.held.wait_ended(Deadline::NOW).unwrap() {
            let _ = send_signal(self.pid, CONTINUED);
        }
    }
}

/// Kills a worker, and waits until the pool's thread sleeps that starts another one. It does so for a second: a test that is
/// kept from looking for so long sees none, and goes on.
fn kill_and_await_start(pool: &Pool, worker: u32) {
    kill(worker);
    let begun = Instant::now();
    while pool.counts().starting == 0 || pool.worker_pids().contains(&worker) || !a_start_waits() {
        if begun.elapsed() > TOLD_MAX {
            return;
        }
        thread::yield_now();
    }
}

/// Kills a process, and waits until it has ended.
fn kill_and_await_end(killed: u32) {
    let held = PidFd::open(killed).unwrap();
    kill(killed);
    assert!(held.wait_ended(Deadline::after(SOON)).unwrap());
}

/// Whether a thread of this process that starts workers sleeps.
fn a_start_waits() -> bool {
    fs::read_dir("/proc/self/task").unwrap().any(|task| {
        // One that has ended since does not.
        let stat = task.and_then(|task| fs::read_to_string(task.path().join("stat")));
        stat.is_ok_and(|stat| stat.contains("-starter) S "))
    })
}

fn a_server_that_is_stopped_is_an_error_of_the_construction(method: StartMethod) {
    let context = context_with_server(method);
    let stopped = StoppedServer::stop(method);
    let begun = Instant::now();
    let builder = || Pool::builder().processes(2).context(context.clone()).stderr_tail(false);
    let error = builder().start_timeout(START_TIMEOUT).build().unwrap_err();
    assert!((START_TIMEOUT..SOON).contains(&begun.elapsed()));
    let PoolError::Start(StartError::Unanswered { server, after: START_TIMEOUT, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(server, stopped.pid);
    if method == StartMethod::ForkServer {
        all_at_work(&builder().build().unwrap()); // By another one.
        return stopped.await_end();
    }
    drop(stopped);
    all_at_work(&builder().build().unwrap());
}

fn a_construction_with_time_has_another_server_or_an_error_soon(method: StartMethod) {
    let context = context_with_server(method);
    let stopped = StoppedServer::stop(method);
    let begun = Instant::now();
    let pool = Pool::builder().processes(2).context(context.clone()).stderr_tail(false).build();
    assert!(begun.elapsed() < TOLD_MAX, "{:?}", begun.elapsed());
    if method == StartMethod::ForkServer {
        let pool = pool.unwrap();
        all_at_work(&pool);
        finish(pool);
        return stopped.await_end();
    }
    let error = pool.unwrap_err();
    let PoolError::Start(StartError::Unanswered { is_nursery: true, is_stopped: true, .. }) = error else {
        panic!("{error:?}")
    };
    drop(stopped); // Before its context, which waits for its end.
}

fn tasks_do_not_wait_for_a_server_that_is_stopped(method: StartMethod) {
    let context = context_with_server(method);
    let pool = Pool::builder().processes(8).context(context).stderr_tail(false).build().unwrap();
    let workers = all_at_work(&pool);
    let stopped = StoppedServer::stop(method);
    workers.iter().for_each(|&worker| kill_and_await_end(worker));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..4).map(|_| submit(&pool, pid, ())).collect();
    for task in tasks {
        match (method, task.result_timeout(TOLD_MAX.saturating_sub(begun.elapsed()))) {
            (StartMethod::ForkServer, Ok(worker)) => assert!(!workers.contains(&worker)),
            (StartMethod::Fork, Err(TaskError::NoWorkers { last, .. })) => {
                let told = ["it is stopped", &format!("kill -CONT {}", stopped.pid)];
                assert!(told.iter().all(|told| last.contains(told)), "{last}");
            }
            (_, other) => panic!("{other:?}"),
        }
    }
    if method == StartMethod::ForkServer {
        finish(pool);
        return stopped.await_end();
    }
    drop(stopped);
    // A start that began before may be under way.
    let served = (0..3).any(|_| submit(&pool, pid, ()).result().is_ok());
    assert!(served, "a task that comes later tries again");
    all_at_work(&pool);
    finish(pool);
}

fn tasks_do_not_wait_for_a_nursery_that_was_killed() {
    let context = Context::nursery().unwrap();
    let pool = Pool::builder().processes(3).context(context.clone()).stderr_tail(false).build().unwrap();
    let workers = all_at_work(&pool);
    // One that has a worker when it needs one, and room for more than can be tried one by one.
    let executor = ProcessPoolExecutor::builder().max_workers(16).context(context.clone()).stderr_tail(false);
    let executor = executor.build().unwrap();
    let worker = executor.submit(pid, ()).unwrap().result().unwrap();
    kill_and_await_end(server(StartMethod::Fork).pid);
    workers.iter().chain([&worker]).for_each(|&worker| kill_and_await_end(worker));
    let tasks = [submit(&pool, pid, ()), executor.submit(pid, ()).unwrap()];
    // Each dead worker of the pool may have been replaced before the first of these starts has failed; one more is the task's.
    for (task, deaths_max) in tasks.into_iter().zip([3 + 1, 1]) {
        let told = task.result_timeout(TOLD_MAX);
        let Err(TaskError::NoWorkers { deaths, last }) = told else { panic!("{told:?}") };
        assert!((1..=deaths_max).contains(&deaths), "{deaths}");
        assert!(last.contains("nursery was killed") && last.contains("`Context::nursery()`"), "{last}");
    }
    let error = Pool::builder().context(context).build().unwrap_err();
    assert!(matches!(error, PoolError::Start(StartError::NurseryGone { .. })), "{error:?}");
}

fn tasks_keep_their_times_and_deaths_are_told_while_a_start_hangs(method: StartMethod) {
    let context = context_with_server(method);
    let pool = Pool::builder().processes(3).context(context).stderr_tail(false).build().unwrap();
    let workers = all_at_work(&pool);
    let _stopped = StoppedServer::stop(method);
    kill_and_await_start(&pool, workers[0]);
    let timeout = Duration::from_millis(200);
    let late = ExecutorExt::task(&pool, wait_for_ever, ()).timeout(timeout).submit().unwrap();
    let error = late.result_timeout(SOON).unwrap_err();
    assert!(matches!(error, TaskError::TimedOut { .. }), "{error:?}");
    let (begun, whose) = (Event::new().unwrap(), Value::new(0_u32).unwrap());
    let wait = |begun: Event, whose: Value<u32>| {
        whose.set(pid()).unwrap();
        begun.set();
        wait_for_ever();
    };
    let dying = submit(&pool, wait, (begun.clone(), whose.clone()));
    assert!(begun.wait_timeout(SOON).unwrap());
    let last = whose.get().unwrap();
    kill(last);
    let error = dying.result_timeout(SOON).unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { pid, .. } if pid == last), "{error:?}");
    let waiting = submit(&pool, wait_for_ever, ());
    pool.terminate();
    // Whoever was kept from this for a second is told that there are no workers.
    let ended = waiting.result_timeout(SOON);
    assert!(matches!(ended, Err(TaskError::Terminated | TaskError::NoWorkers { .. })), "{ended:?}");
}

/// How long a pool takes to end in some way while a start hangs.
fn time_of_end(method: StartMethod, context: &Context, end: fn(Pool)) -> Duration {
    let pool = Pool::builder().processes(2).context(context.clone()).stderr_tail(false).build().unwrap();
    let workers = all_at_work(&pool);
    let _stopped = StoppedServer::stop(method);
    kill_and_await_start(&pool, workers[0]);
    let begun = Instant::now();
    end(pool);
    begun.elapsed()
}

fn a_pool_ends_while_a_start_hangs(method: StartMethod) {
    let context = context_with_server(method);
    let terminate = |pool: Pool| {
        pool.terminate();
        pool.join().unwrap();
    };
    for end in [drop::<Pool>, finish, terminate] {
        assert_cost(ENDED_MAX, || time_of_end(method, &context, end));
    }
}

/// What is preloaded; in a second server it does not return.
fn return_once() {
    if File::create_new(std::env::var("MARK").unwrap()).is_err() {
        wait_for_ever();
    }
}

/// Has a pool keep a task's time while functions are preloaded anew, and end. How long the end takes.
fn time_of_end_while_preloading() -> Duration {
    let context = Context::forkserver().preload(return_once);
    let before = children_of(pid());
    let pool = Pool::builder().processes(2).context(context).stderr_tail(false).build().unwrap();
    let server =
        children_of(pid()).into_iter().find(|child| before.iter().all(|other| other.pid != child.pid)).unwrap();
    let workers = all_at_work(&pool);
    kill(server.pid);
    kill_and_await_start(&pool, workers[0]);
    let timeout = Duration::from_millis(200);
    let late = ExecutorExt::task(&pool, wait_for_ever, ()).timeout(timeout).submit().unwrap();
    assert!(matches!(late.result_timeout(SOON), Err(TaskError::TimedOut { .. })));
    let begun = Instant::now();
    drop(pool);
    begun.elapsed()
}

fn a_pool_keeps_time_and_ends_while_functions_are_preloaded_anew() {
    let mark = std::env::temp_dir().join(unique_name());
    set_variable("MARK", mark.to_str().unwrap()).unwrap();
    assert_cost(ENDED_MAX, || {
        let took = time_of_end_while_preloading();
        fs::remove_file(&mark).unwrap();
        took
    });
}

fn a_start_that_hangs_is_given_up_and_the_next_has_another_server(method: StartMethod) {
    let context = context_with_server(method);
    let builder = Pool::builder().processes(1).context(context).stderr_tail(false);
    let pool = builder.start_timeout(START_TIMEOUT).build().unwrap();
    let worker = all_at_work(&pool)[0];
    let stopped = StoppedServer::stop(method);
    kill(worker);
    let told = submit(&pool, pid, ()).result_timeout(2 * SOON);
    if method == StartMethod::ForkServer {
        assert_ne!(told.unwrap(), worker);
        finish(pool);
        return stopped.await_end();
    }
    let Err(TaskError::NoWorkers { last, .. }) = told else { panic!("{told:?}") };
    assert!(last.contains(&format!("nursery (pid {})", stopped.pid)), "{last}");
    drop(stopped);
    let served = (0..3).any(|_| submit(&pool, pid, ()).result().is_ok());
    assert!(served, "a task that comes later tries again");
    finish(pool);
}
