//! Tasks: what their handles tell, what they hold, and what a worker that dies with one costs.

use std::os::fd::{AsFd, OwnedFd};
use std::process::abort;
use std::sync::{Mutex, mpsc};
use std::thread;

use procession_launch::StartMethod;
use procession_pool::{
    Executor, ExecutorExt, InvalidState, Promise, RawCall, SubmitError, Task, TaskError, ThreadPool,
    ThreadPoolExecutor, as_completed,
};
use procession_sys::{Deadline, Ended, PidFd, Signal, exit_now, set_variable};
use procession_wire::Descriptor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{A_WHILE, Door, SOON, executor, is_let_go, leash, pool, square, wait_at};

pub(crate) fn calls_that_are_not_waited_for_have_handles(method: StartMethod) {
    let pool = pool(1, method);
    let mut door = Door::new();
    let call = pool.apply_async(wait_at, door.place()).unwrap();
    door.wait_for(1);
    assert!(!call.ready() && call.successful().is_none());
    assert_eq!((call.try_get(), call.get_timeout(A_WHILE)), (Err(TaskError::WouldBlock), Err(TaskError::Timeout)));
    assert!(!call.wait_timeout(A_WHILE));
    door.let_go(1);
    assert_eq!(call.get(), Ok(pool.worker_pids()[0]));
    assert!(call.ready() && call.successful() == Some(true) && call.wait_timeout(A_WHILE));
    let sums = pool.starmap_async(|a: u64, b: u64| a + b, [(1, 2), (3, 4)]).unwrap();
    assert_eq!(sums.get_timeout(SOON), Ok(vec![3, 7]));
}

pub(crate) fn callbacks_of_a_pool_are_told_once(method: StartMethod) {
    let pool = pool(2, method);
    let (told, tales) = mpsc::channel();
    let good = pool.map_async(square, 0..3).unwrap();
    let bad = pool.map_async(|n: u64| assert!(n != 2, "no two"), 0..4).unwrap();
    let one = pool.apply_async(|| -> u64 { panic!("no one") }, ()).unwrap();
    let tell = |what: &'static str| {
        let told = told.clone();
        move || told.send(what).unwrap()
    };
    let (map, map_failed, failed) = (tell("map"), tell("map failed"), tell("failed"));
    good.on_success(move |squares| {
        if squares == [0, 1, 4] {
            map();
        }
    });
    good.on_error(|_| unreachable!("it has not failed"));
    bad.on_success(|_| unreachable!("it has failed"));
    bad.on_error(move |error| {
        if matches!(error, TaskError::Panicked { .. }) {
            map_failed();
        }
    });
    one.on_error(move |error| {
        if matches!(error, TaskError::Panicked { .. }) {
            failed();
        }
    });
    assert!(matches!(one.get(), Err(TaskError::Panicked { .. })), "both are told");
    let mut all: Vec<_> = (0..3).map(|_| tales.recv_timeout(SOON).unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, ["failed", "map", "map failed"]);
    assert!(tales.recv_timeout(A_WHILE).is_err(), "once");
}

fn divide(by: u64) -> u64 {
    assert!(by != 0, "nothing is divided by nothing");
    7 / by
}

pub(crate) fn a_panic_brings_its_place_and_its_frames(method: StartMethod) {
    set_variable("RUST_BACKTRACE", "1").unwrap();
    let executor = executor(1, method);
    let error = executor.submit(divide, (0,)).unwrap().result().unwrap_err();
    let text = error.to_string();
    let TaskError::Panicked { message, location, backtrace, pid, .. } = error else { panic!("{error}") };
    assert_eq!((message.as_str(), vec![pid]), ("nothing is divided by nothing", executor.worker_pids()));
    assert!(location.is_some_and(|place| place.contains("tasks.rs:")));
    assert!(backtrace.is_some_and(|frames| frames.contains("divide")));
    assert!(text.contains("tasks.rs:") && text.ends_with("nothing is divided by nothing"), "{text}");
}

pub(crate) fn a_panic_has_no_frames_that_nobody_asks_for(method: StartMethod) {
    set_variable("RUST_BACKTRACE", "0").unwrap();
    let executor = executor(1, method);
    let error = executor.submit(divide, (0,)).unwrap().result().unwrap_err();
    let TaskError::Panicked { location, backtrace, .. } = error else { panic!("{error}") };
    assert!(location.is_some_and(|place| place.contains("tasks.rs:")));
    assert_eq!(backtrace, None, "to look up their names takes a second in a large program");
}

pub(crate) fn who_waits_for_an_error_wakes(method: StartMethod) {
    let executor = executor(1, method);
    let mut door = Door::new();
    let future = executor.submit(wait_at, door.place()).unwrap();
    door.wait_for(1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| future.exception());
        assert_eq!(future.exception_timeout(A_WHILE), Err(TaskError::Timeout), "the other one waits by now");
        assert!(future.kill());
        assert_eq!(waiter.join().unwrap(), Some(TaskError::Cancelled));
    });
}

/// Whoever drives the pool for a result of its own wakes those that wait for others.
pub(crate) fn who_waits_while_another_drives_wakes(method: StartMethod) {
    let executor = executor(2, method);
    let (mut first, mut second) = (Door::new(), Door::new());
    let drives = executor.submit(wait_at, first.place()).unwrap();
    let sleeps = executor.submit(wait_at, second.place()).unwrap();
    let killed = executor.submit(wait_at, second.place()).unwrap();
    first.wait_for(1);
    second.wait_for(1);
    thread::scope(|scope| {
        let driver = scope.spawn(|| drives.result());
        thread::park_timeout(A_WHILE); // So that it is the one that drives; the promise holds in any case.
        let (ends, told) = mpsc::channel();
        for future in [&sleeps, &killed] {
            let ends = ends.clone();
            scope.spawn(move || ends.send(future.result()).unwrap());
        }
        thread::park_timeout(A_WHILE);
        second.let_go(1);
        assert!(told.recv_timeout(SOON / 2).unwrap().is_ok());
        second.wait_for(1);
        assert!(killed.kill());
        assert_eq!(told.recv_timeout(SOON / 2).unwrap(), Err(TaskError::Cancelled));
        assert!(!driver.is_finished());
        first.let_go(1);
        driver.join().unwrap().unwrap();
    });
}

/// Forks behind the pool's back, and comes back twice; here when the copy has ended, and says whether as it should.
fn fork_and_return(number: u64) -> (u64, bool) {
    match procession_sys::fork_and_go_on().unwrap() {
        0 => (1000 + number, false),
        copy => (number, PidFd::open(copy).unwrap().reap().unwrap() == Ended::Exited(1)),
    }
}

pub(crate) fn a_copy_that_a_task_forks_ends_where_it_comes_back(method: StartMethod) {
    let pool = pool(1, method);
    for number in 0..3 {
        assert_eq!(pool.apply(fork_and_return, (number,)), Ok((number, true)));
    }
    let each = pool.chunked(4).map(fork_and_return, 0..8);
    assert_eq!(each, Ok((0..8).map(|number| (number, true)).collect()));
    assert_eq!(pool.map(square, 0..100), Ok((0..100).map(square).collect()), "nobody else sits at the desk");
}

/// The same in a process with threads, which wait meanwhile.
fn fork_beside_and_return(number: u64) -> (u64, bool) {
    thread::park_timeout(A_WHILE); // Whoever is to wait for this does.
    match procession_sys::fork_beside_threads().unwrap() {
        0 => (1000 + number, false),
        copy => {
            let copy = PidFd::open(copy).unwrap();
            let has_ended = copy.wait_ended(Deadline::after(SOON / 4)).unwrap();
            if !has_ended {
                copy.send(Signal::KILL).unwrap();
            }
            (number, copy.reap().unwrap() == Ended::Exited(1))
        }
    }
}

/// What can be done in a copy with executors of threads, of which it has none: nothing, and that at once.
pub(crate) fn a_copy_has_no_threads_to_wait_for() {
    const AS_IT_SHOULD: i32 = 7;
    let (pool, executor) = (ThreadPool::new(1).unwrap(), ThreadPoolExecutor::new(1).unwrap());
    assert_eq!(pool.apply(square, (2,)), Ok(4)); // Each has a thread, and nothing to do.
    executor.submit(|| ()).unwrap().result().unwrap();
    match procession_sys::fork_beside_threads().unwrap() {
        0 => {
            let refused = [executor.submit(|| ()).map(drop), pool.apply_async(square, (2,)).map(drop)];
            let are_foreign = refused.iter().all(|end| matches!(end, Err(SubmitError::Foreign { .. })));
            let is_joined = pool.join().is_ok();
            pool.close();
            pool.terminate();
            executor.shutdown_now();
            drop((pool, executor));
            exit_now(if are_foreign && is_joined { AS_IT_SHOULD } else { 1 })
        }
        copy => {
            let copy = PidFd::open(copy).unwrap();
            if !copy.wait_ended(Deadline::after(SOON)).unwrap() {
                copy.send(Signal::KILL).unwrap();
            }
            assert_eq!(copy.reap().unwrap(), Ended::Exited(AS_IT_SHOULD));
        }
    }
    assert_eq!(pool.apply(square, (3,)), Ok(9));
}

/// Makes every call where it is submitted.
struct Here;

impl Executor for Here {
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
        let (call, promise) = task.into_parts();
        promise.set_reply(call.run()).unwrap();
        Ok(())
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn close(&self) {}
}

pub(crate) fn a_copy_that_a_thread_forks_ends_where_it_comes_back() {
    assert_eq!(ExecutorExt::submit(&Here, fork_and_return, (1,)).unwrap().result(), Ok((1, true)));
    let pool = ThreadPool::new(1).unwrap();
    assert_eq!(pool.apply(fork_beside_and_return, (1,)), Ok((1, true)));
    let each = pool.chunked(4).map(fork_beside_and_return, 0..8);
    assert_eq!(each, Ok((0..8).map(|number| (number, true)).collect()));
    let panics_in_a_copy = || {
        let own = std::process::id();
        let told = fork_beside_and_return(1);
        assert_eq!(std::process::id(), own, "this is the copy");
        told
    };
    assert_eq!(pool.apply(panics_in_a_copy, ()), Ok((1, true)));
    let forks_first = || assert!(fork_beside_and_return(1).1);
    let executor = ThreadPoolExecutor::builder().max_workers(1).initializer(forks_first).build().unwrap();
    let captured = 2;
    assert_eq!(executor.submit(move || fork_beside_and_return(captured)).unwrap().result(), Ok((2, true)));
    assert_eq!(executor.task(fork_beside_and_return, (3,)).retries(2).submit().unwrap().result(), Ok((3, true)));
}

pub(crate) fn what_a_task_was_given_is_let_go_when_it_has_ended(method: StartMethod) {
    let pool = pool(1, method);
    let (held, end) = leash();
    let is_open = |end: Descriptor| end.as_fd().try_clone_to_owned().is_ok();
    let call = pool.apply_async(is_open, (Descriptor::from(end),)).unwrap();
    assert_eq!(call.get(), Ok(true));
    assert!(is_let_go(&held), "neither the worker, which has nothing else to do, nor the handle holds it");
    drop(call);
}

pub(crate) fn what_a_result_holds_is_let_go_with_its_future(method: StartMethod) {
    let executor = executor(1, method);
    let (held, end) = leash();
    let future = executor.submit(|end: Descriptor| end, (Descriptor::from(end),)).unwrap();
    let result: Descriptor = future.result().unwrap();
    drop((result, future));
    assert!(is_let_go(&held));
    let (held, end) = leash();
    let mut results = executor.map(|end: Descriptor| end, [Descriptor::from(end)]);
    drop(results.next().unwrap().unwrap());
    let after = results.next();
    assert!(after.is_none() && is_let_go(&held), "what was taken is not kept");
}

pub(crate) fn futures_that_complete_are_given_away(method: StartMethod) {
    let executor = executor(1, method);
    let (held, ends): (Vec<_>, Vec<OwnedFd>) = (0..2).map(|_| leash()).unzip();
    let submit = |end: OwnedFd| executor.submit(|end: Descriptor| end, (Descriptor::from(end),)).unwrap();
    let futures: Vec<_> = ends.into_iter().map(submit).collect();
    let mut completed = as_completed(futures);
    drop(completed.next().unwrap());
    assert!(is_let_go(&held[0]), "what was given is not kept");
    drop(completed.next().unwrap());
    assert!(is_let_go(&held[1]) && completed.next().is_none());
}

/// Keeps tasks instead of running them.
#[derive(Default)]
struct Keeper(Mutex<Vec<(RawCall, Promise)>>);

impl Executor for Keeper {
    fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
        self.0.lock().unwrap().push(task.into_parts());
        Ok(())
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn close(&self) {}
}

pub(crate) fn a_result_is_given_once() {
    let keeper = Keeper::default();
    let future = ExecutorExt::submit(&keeper, square, (2,)).unwrap();
    let (call, promise) = keeper.0.lock().unwrap().remove(0);
    let again = RawCall::from_bytes(&call.to_bytes().unwrap()).unwrap();
    assert_eq!(promise.set_reply(call.run()), Ok(()));
    assert_eq!(promise.set_reply(again.run()), Err(InvalidState));
    assert_eq!(promise.set_error(TaskError::Terminated), Err(InvalidState));
    assert_eq!(future.result(), Ok(4));
}

pub(crate) fn an_error_is_given_once() {
    let keeper = Keeper::default();
    let future = ExecutorExt::submit(&keeper, square, (2,)).unwrap();
    let (call, promise) = keeper.0.lock().unwrap().remove(0);
    assert_eq!(promise.set_error(TaskError::Terminated), Ok(()));
    assert_eq!(promise.set_error(TaskError::Timeout), Err(InvalidState));
    assert_eq!(promise.set_reply(call.run()), Err(InvalidState));
    assert_eq!(future.result(), Err(TaskError::Terminated));
}

/// Ends the process that reads it or writes it, if that is a worker.
#[derive(Debug)]
struct Bomb {
    parent: u32,
    when: When,
    exits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum When {
    Read,
    Written,
}

impl Bomb {
    fn new(when: When, exits: bool) -> Self {
        Self { parent: std::process::id(), when, exits }
    }

    fn tick(&self, when: When) {
        if when == self.when && std::process::id() != self.parent {
            if self.exits { std::process::exit(3) } else { abort() }
        }
    }
}

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.tick(When::Written);
        (self.parent, self.when, self.exits).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (parent, when, exits) = Deserialize::deserialize(deserializer)?;
        let bomb = Self { parent, when, exits };
        bomb.tick(When::Read);
        Ok(bomb)
    }
}

/// The task with the bomb has the error, whichever way its worker ended, and the others have their results.
fn costs_its_task(method: StartMethod, when: When) {
    let executor = executor(1, method);
    for (exits, code) in [(true, 3), (false, -6)] {
        let before = executor.submit(square, (2,)).unwrap();
        let bomb = executor.submit(|bomb: Bomb| bomb, (Bomb::new(when, exits),)).unwrap();
        let after = executor.submit(square, (3,)).unwrap();
        let error = bomb.result().unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied { exitcode, .. } if exitcode == code), "{error}");
        assert_eq!((before.result(), after.result()), (Ok(4), Ok(9)));
    }
}

pub(crate) fn a_worker_that_dies_while_it_reads_costs_its_task(method: StartMethod) {
    costs_its_task(method, When::Read);
}

pub(crate) fn a_worker_that_dies_while_it_writes_costs_its_task(method: StartMethod) {
    costs_its_task(method, When::Written);
}

pub(crate) fn a_task_that_exits_is_told_its_code(method: StartMethod) {
    let executor = executor(1, method);
    let exits = executor.submit(|code: i32| -> u64 { std::process::exit(code) }, (17,)).unwrap();
    let error = exits.result().unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { signal: None, exitcode: 17, .. }), "{error}");
    assert!(error.to_string().contains("ended with exit code 17 while it ran the task"), "{error}");
    assert_eq!(executor.submit(square, (2,)).unwrap().result(), Ok(4));
}

/// What cannot be written.
#[derive(Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it will not be written"))
    }
}

pub(crate) fn what_is_refused_does_not_hold_up_the_end(method: StartMethod) {
    let executor = executor(1, method);
    let good = executor.submit(square, (2,)).unwrap();
    let refused = executor.submit(|_: Unwritable| (), (Unwritable,));
    executor.close();
    assert!(matches!(refused, Err(SubmitError::Arguments { .. })));
    assert!(executor.shutdown_timeout(SOON) && good.try_result() == Ok(4));
}

pub(crate) fn what_is_cancelled_does_not_hold_up_the_end(method: StartMethod) {
    let executor = executor(1, method);
    let mut door = Door::new();
    let first = executor.submit(wait_at, door.place()).unwrap();
    let second = executor.submit(square, (2,)).unwrap();
    door.wait_for(1);
    assert!(second.cancel());
    door.let_go(1);
    assert!(executor.shutdown_timeout(SOON) && first.try_result().is_ok());
    assert_eq!(second.try_result(), Err(TaskError::Cancelled));
}
