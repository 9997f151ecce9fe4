//! Executors and pools of threads: the suite of all executors, and what only threads have.

mod suite;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use procession_pool::{
    Executor, ExecutorExt, PoolError, ReturnWhen, SubmitError, THREADS_DEFAULT_MAX, TaskError, ThreadPool,
    ThreadPoolExecutor, as_completed, wait_futures,
};
use suite::{Gate, SOON, TRIES_MAX, panics, square, visit};

fn make(threads: usize) -> Box<dyn Executor> {
    Box::new(ThreadPoolExecutor::new(threads).unwrap())
}

with_cases!(suite_tests!(make;));

#[test]
fn a_closure_may_capture_and_runs_once() {
    let executor = ThreadPoolExecutor::new(1).unwrap();
    let text = String::from("captured");
    assert_eq!(executor.submit(move || text + "!").unwrap().into_result().unwrap(), "captured!");
    let Err(TaskError::Panicked { message, .. }) = executor.submit(|| panics(3)).unwrap().result() else { panic!() };
    assert_eq!(message, "no 3 today");
}

#[test]
fn a_panic_tells_its_thread_and_its_place() {
    let executor = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("boom").build().unwrap();
    let closure = executor.submit(|| panics(3)).unwrap().result().unwrap_err();
    let function = executor.task(panics, (4,)).submit().unwrap().result().unwrap_err();
    for (error, said) in [(closure, "no 3 today"), (function, "no 4 today")] {
        let text = error.to_string();
        let TaskError::Panicked { name, pid, message, location, .. } = error else { panic!("{text}") };
        assert_eq!((name.as_str(), pid, message.as_str()), ("boom_0", std::process::id(), said));
        assert!(location.is_some_and(|place| place.contains("suite/mod.rs:")), "{text}");
    }
}

#[test]
fn a_panic_in_a_panic_is_told_of_each() {
    let executor = Arc::new(ThreadPoolExecutor::new(1).unwrap());
    let own = Arc::clone(&executor);
    let nested = move || {
        let inner = own.submit(|| panics(1)).unwrap().result().unwrap_err();
        panic!("after {inner}");
    };
    let error = executor.submit::<()>(nested).unwrap().result().unwrap_err();
    let TaskError::Panicked { message, location, .. } = &error else { panic!("{error}") };
    assert!(message.contains("suite/mod.rs:") && message.ends_with("no 1 today"), "{message}");
    assert!(location.as_ref().is_some_and(|place| place.contains("threads.rs:")), "{error}");
}

#[test]
fn what_a_task_had_is_dropped_before_its_result_is_known() {
    let executor = ThreadPoolExecutor::new(1).unwrap();
    let captured = Arc::new(());
    for round in 0..100 {
        let own = Arc::clone(&captured);
        let future = executor.submit(move || assert!(Arc::strong_count(&own) > 1 && round != 50)).unwrap();
        assert_eq!(future.result().is_ok(), round != 50);
        assert_eq!(Arc::strong_count(&captured), 1, "round {round}");
    }
    let (own, (tells, told)) = (Arc::clone(&captured), mpsc::channel());
    executor.submit(|| ()).unwrap().add_done_callback(move |_| {
        drop(own);
        tells.send(()).unwrap();
    });
    told.recv_timeout(SOON).unwrap();
    assert_eq!(Arc::strong_count(&captured), 1);
}

#[test]
fn no_threads_are_an_error_and_too_many_are_not_started() {
    for refused in [ThreadPoolExecutor::new(0).map(drop), ThreadPool::new(0).map(drop)] {
        assert!(matches!(refused, Err(PoolError::Setting { setting: "max_workers", .. })), "{refused:?}");
    }
    let executor = ThreadPoolExecutor::builder().thread_name_prefix("few").build().unwrap();
    assert!((5..=THREADS_DEFAULT_MAX).contains(&executor.parallelism()));
    let executor = ThreadPoolExecutor::builder().max_workers(3).thread_name_prefix("three").build().unwrap();
    let (gate, name) = (Gate::new(), || thread::current().name().unwrap_or_default().to_owned());
    let port = gate.port();
    let names: Vec<_> = (0..30)
        .map(|id| {
            executor.submit(move || {
                visit(port, id);
                name()
            })
        })
        .collect::<Result<_, _>>()
        .unwrap();
    for _ in 0..10 {
        for guest in gate.guests(3) {
            guest.let_go();
        }
    }
    let names: HashSet<String> = names.into_iter().map(|name| name.into_result().unwrap()).collect();
    assert_eq!(names, HashSet::from(["three_0", "three_1", "three_2"].map(String::from)));
}

#[test]
fn threads_have_names_that_tell_their_executors_apart() {
    let name = || thread::current().name().unwrap_or_default().to_owned();
    let executors = [(); 2].map(|()| ThreadPoolExecutor::new(1).unwrap());
    let names = executors.each_ref().map(|executor| executor.submit(name).unwrap().result().unwrap());
    assert!(names.iter().all(|name| name.starts_with("ThreadPoolExecutor-") && name.ends_with("_0")), "{names:?}");
    assert_ne!(names[0], names[1]);
    let name = ThreadPool::new(1).unwrap().apply(name, ()).unwrap();
    assert!(name.starts_with("ThreadPool-"), "{name}");
}

#[test]
fn an_idle_thread_is_used_again() {
    let builder = ThreadPoolExecutor::builder().max_workers(TRIES_MAX + 1).thread_name_prefix("idle");
    let executor = builder.build().unwrap();
    let name = || thread::current().name().unwrap_or_default().to_owned();
    let mut seen = HashSet::from([executor.submit(name).unwrap().into_result().unwrap()]);
    let is_used_again = (0..TRIES_MAX).any(|_| {
        // Gives the thread time to be idle, which it is not at the moment of its result.
        thread::sleep(Duration::from_millis(50));
        !seen.insert(executor.submit(name).unwrap().into_result().unwrap())
    });
    assert!(is_used_again, "{seen:?}");
}

/// A pool whose tasks use it themselves.
static OWN: LazyLock<ThreadPool> = LazyLock::new(|| ThreadPool::new(2).unwrap());

/// Submits to its own pool, and waits in every way there is.
fn nested(depth: u64) -> u64 {
    if depth == 0 {
        return 1;
    }
    let depths = || [depth - 1; 3];
    let sum = |results: Vec<u64>| results.into_iter().sum::<u64>();
    let future = || OWN.submit(nested, (depth - 1,)).unwrap();
    let ways = [
        sum(OWN.map(nested, depths()).unwrap()),
        sum(OWN.chunked(1).map(nested, depths()).unwrap()),
        sum(OWN.chunked(1).map_async(nested, depths()).unwrap().get().unwrap()),
        sum(OWN.chunked(1).imap(nested, depths()).map(Result::unwrap).collect()),
        sum(OWN.chunked(1).imap_unordered(nested, depths()).map(Result::unwrap).collect()),
        sum(as_completed([future(), future(), future()]).map(|future| future.result().unwrap()).collect()),
        sum(wait_futures([future(), future(), future()], ReturnWhen::AllCompleted)
            .0
            .into_iter()
            .map(|future| future.result().unwrap())
            .collect()),
        OWN.apply(nested, (depth - 1,)).unwrap() + 2 * OWN.apply_async(nested, (depth - 1,)).unwrap().get().unwrap(),
    ];
    assert_eq!(ways, [ways[0]; 8]);
    ways[0]
}

#[test]
fn tasks_may_wait_for_tasks_of_their_own_full_pool() {
    let all: Vec<_> = (0..4).map(|_| OWN.apply_async(nested, (2,)).unwrap()).collect();
    for result in all {
        assert_eq!(result.get_timeout(SOON), Ok(9));
    }
}

#[test]
fn a_task_that_waits_for_a_while_does_no_other_work_meanwhile() {
    let executor = Arc::new(ThreadPoolExecutor::new(1).unwrap());
    let own = Arc::clone(&executor);
    let waits = move || {
        let other = own.submit(|| thread::current().name().map(str::to_owned)).unwrap();
        (other.result_timeout(suite::A_WHILE), other.running(), other.cancel(), other.result())
    };
    let expected = (Err(TaskError::Timeout), false, true, Err(TaskError::Cancelled));
    assert_eq!(executor.submit(waits).unwrap().result_timeout(SOON), Ok(expected));
}

#[test]
fn only_a_thread_of_the_executor_does_its_work() {
    let executor = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("own").build().unwrap();
    let other = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("other").build().unwrap();
    let gate = Gate::new();
    let port = gate.port();
    executor.submit(move || visit(port, 1)).unwrap();
    let guest = gate.guest();
    let future = executor.submit(|| thread::current().name().unwrap_or_default().to_owned()).unwrap();
    let both = Arc::new(Barrier::new(2));
    let begins = Arc::clone(&both);
    let waits = move || {
        begins.wait();
        (thread::current().name().map(str::to_owned), future.result())
    };
    let told = other.submit(waits).unwrap();
    both.wait();
    assert_eq!(told.result_timeout(suite::A_WHILE), Err(TaskError::Timeout));
    guest.let_go();
    let (waited, worked) = told.result_timeout(SOON).unwrap();
    assert_eq!((waited.as_deref(), worked.as_deref()), (Some("other_0"), Ok("own_0")));
}

#[test]
fn an_initializer_runs_in_each_thread_before_its_tasks() {
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    let count = move || _ = counter.fetch_add(1, SeqCst);
    let executor = ThreadPoolExecutor::builder().max_workers(4).initializer(count).build().unwrap();
    assert_eq!(begun.load(SeqCst), 4);
    assert_eq!(executor.submit(|| 1).unwrap().result(), Ok(1));
}

#[test]
fn a_failing_initializer_is_an_error_from_construction() {
    let alive = Arc::new(());
    let own = Arc::clone(&alive);
    let fail = move || assert!(Arc::strong_count(&own) == 0, "it does not begin");
    let failed = ThreadPoolExecutor::builder().max_workers(2).thread_name_prefix("bad").initializer(fail).build();
    let error = failed.unwrap_err();
    assert!(error.to_string().contains("the initializer panicked"), "{error}");
    let PoolError::Initializer { name, error: TaskError::Panicked { message, .. } } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), message.as_str()), ("bad", "it does not begin"));
    drop(error);
    assert_eq!(Arc::strong_count(&alive), 1, "no thread is left");
}

#[test]
fn a_task_is_tried_again_and_a_timeout_is_refused() {
    let executor = ThreadPoolExecutor::new(1).unwrap();
    let gate = Gate::new();
    let task =
        |retries| executor.task(visit, (gate.port(), 4)).retries(retries).backoff(Duration::from_millis(1)).submit();
    let (second, never) = (task(2).unwrap(), task(1).unwrap());
    gate.guest().fail();
    gate.guest().let_go();
    assert_eq!(second.result(), Ok(4));
    gate.guest().fail();
    gate.guest().fail();
    let error = never.result().unwrap_err();
    assert!(
        matches!(error, TaskError::Panicked { attempts: 2, .. }) && error.to_string().contains("(attempt 2)"),
        "{error}"
    );
    let refused = executor.task(square, (1,)).timeout(SOON).submit();
    assert!(matches!(refused, Err(SubmitError::Option { option: "timeout", .. })), "{refused:?}");
}

#[test]
fn a_thread_that_waits_to_try_a_task_again_does_not_keep_others_from_work() {
    let executor = ThreadPoolExecutor::new(2).unwrap();
    // A panic would take its time to name its frames, and the thread would not wait meanwhile.
    let failing = executor.task(|| suite::Unwritable, ()).retries(1).backoff(3 * SOON).submit().unwrap();
    for _ in 0..1000 {
        assert_eq!(executor.submit(|| ()).unwrap().result_timeout(SOON), Ok(()));
    }
    executor.shutdown_now();
    assert!(matches!(failing.result(), Err(TaskError::Output { .. })));
}

#[test]
fn shutting_down_finishes_all_and_callbacks_follow() {
    let executor = ThreadPoolExecutor::new(2).unwrap();
    let (ends, told) = mpsc::channel();
    for n in 0..50_u64 {
        let ends = ends.clone();
        executor.submit(move || n).unwrap().add_done_callback(move |future| ends.send(future.result()).unwrap());
    }
    executor.shutdown();
    let results: Vec<_> = (0..50).map(|_| told.recv_timeout(SOON).unwrap()).collect();
    assert!(results.iter().all(Result::is_ok));
    assert!(
        matches!(executor.submit(|| ()), Err(SubmitError::Closed { name }) if name.starts_with("ThreadPoolExecutor-"))
    );
    executor.shutdown();
}

#[test]
fn shutting_down_now_cancels_what_has_not_begun() {
    let executor = ThreadPoolExecutor::new(1).unwrap();
    let gate = Gate::new();
    let port = gate.port();
    let futures: Vec<_> = (0..5).map(|id| executor.submit(move || visit(port, id)).unwrap()).collect();
    let guest = gate.guest();
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| executor.shutdown_now());
        assert_eq!(futures[4].result_timeout(SOON), Err(TaskError::Cancelled));
        guest.let_go();
        shutdown.join().unwrap();
    });
    assert_eq!(futures[0].result(), Ok(0));
    assert!(futures[1..].iter().all(procession_pool::Future::cancelled));
}

#[test]
fn an_executor_that_is_dropped_finishes_and_a_pool_does_not() {
    let gate = Gate::new();
    let port = gate.port();
    let executor = ThreadPoolExecutor::new(1).unwrap();
    let kept: Vec<_> = (0..3).map(|id| executor.submit(move || visit(port, id)).unwrap()).collect();
    thread::scope(|scope| {
        let dropped = scope.spawn(move || drop(executor));
        (0..3).for_each(|_| gate.guest().let_go());
        dropped.join().unwrap();
    });
    assert!(kept.iter().all(|future| future.try_result().is_ok()));
    let pool = ThreadPool::new(1).unwrap();
    let lost: Vec<_> = (0..3).map(|id| pool.apply_async(visit, (port, id)).unwrap()).collect();
    let guest = gate.guest();
    drop(pool);
    assert_eq!((lost[1].get(), lost[2].get()), (Err(TaskError::Terminated), Err(TaskError::Terminated)));
    assert_eq!(lost[1].successful(), Some(false));
    guest.let_go();
    assert_eq!(lost[0].get(), Ok(0), "what runs, runs to its end");
}

#[test]
fn an_executor_may_be_dropped_by_one_of_its_own_tasks() {
    let executor = Arc::new(ThreadPoolExecutor::new(1).unwrap());
    let (own, both) = (Arc::clone(&executor), Arc::new(Barrier::new(2)));
    let begins = Arc::clone(&both);
    let future = executor.submit(move || drop((begins.wait(), own))).unwrap();
    drop(executor);
    both.wait();
    assert_eq!(future.result_timeout(SOON), Ok(()));
}

#[test]
fn a_pool_has_all_verbs() {
    let pool = ThreadPool::new(2).unwrap();
    let expected: Vec<u64> = (0..100).map(square).collect();
    assert_eq!(pool.apply(square, (7,)), Ok(49));
    assert_eq!(pool.map(square, 0..100), Ok(expected.clone()));
    assert_eq!(pool.starmap(|a: u64, b: u64| a * b, (0..100).map(|n| (n, n))), Ok(expected.clone()));
    assert_eq!(pool.map_async(square, 0..100).unwrap().get(), Ok(expected.clone()));
    assert_eq!(
        pool.starmap_async(|a: u64, b: u64| a * b, (0..100).map(|n| (n, n))).unwrap().get(),
        Ok(expected.clone())
    );
    assert_eq!(pool.chunked(9).map_async(square, 0..100).unwrap().get(), Ok(expected.clone()));
    assert_eq!(pool.map_async(square, []).unwrap().get(), Ok(Vec::new()));
    assert_eq!(pool.imap(square, 0..100).collect::<Result<Vec<_>, _>>(), Ok(expected));
    assert_eq!(pool.imap_unordered(square, 0..100).filter(Result::is_ok).count(), 100);
    assert!(matches!(pool.join(), Err(PoolError::Open { .. })));
    pool.close();
    assert!(matches!(pool.apply_async(square, (7,)), Err(SubmitError::Closed { .. })));
    assert!(matches!(pool.map_async(square, 0..3), Err(SubmitError::Closed { .. })));
    assert!(matches!(pool.apply(square, (7,)), Err(TaskError::NotSubmitted { .. })));
    pool.join().unwrap();
}

#[test]
fn an_async_result_waits_and_calls_back() {
    let pool = ThreadPool::new(2).unwrap();
    let gate = Gate::new();
    let port = gate.port();
    let call = pool.apply_async(visit, (port, 1)).unwrap();
    let all = pool.starmap_async(visit, (2..4).map(|id| (port, id))).unwrap();
    let (ends, told) = mpsc::channel();
    for result in [&all, &all.clone()] {
        let (good, bad) = (ends.clone(), ends.clone());
        result.on_success(move |values| good.send(Ok(values)).unwrap());
        result.on_error(move |error| bad.send(Err(error)).unwrap());
    }
    let guests = gate.guests(2);
    assert_eq!((call.ready(), call.successful(), call.try_get()), (false, None, Err(TaskError::WouldBlock)));
    assert!(!all.wait_timeout(suite::A_WHILE));
    assert_eq!(all.get_timeout(suite::A_WHILE), Err(TaskError::Timeout));
    for guest in guests {
        guest.let_go();
    }
    gate.guest().let_go();
    assert_eq!((call.get(), call.successful()), (Ok(1), Some(true)));
    assert_eq!(all.get_timeout(SOON), Ok(vec![2, 3]));
    assert_eq!((told.recv_timeout(SOON).unwrap(), told.recv_timeout(SOON).unwrap()), (Ok(vec![2, 3]), Ok(vec![2, 3])));
    let failed = pool.chunked(2).map_async(suite::no_three, 0..10).unwrap();
    let (good, bad) = (ends.clone(), ends);
    failed.on_success(move |values| good.send(Ok(values)).unwrap());
    failed.on_error(move |error| bad.send(Err(error)).unwrap());
    assert!(matches!(told.recv_timeout(SOON).unwrap(), Err(TaskError::Panicked { .. })));
    assert!(matches!(failed.get(), Err(TaskError::Panicked { message, .. }) if message == "three is not wanted"));
    pool.close();
    pool.join().unwrap();
    assert!(told.try_recv().is_err(), "each callback is called once");
}

#[test]
fn the_input_of_an_asynchronous_map_fails_at_the_call() {
    let pool = ThreadPool::new(1).unwrap();
    assert!(matches!(
        pool.map_async(|_: suite::Unwritable| (), [suite::Unwritable]),
        Err(SubmitError::Arguments { .. })
    ));
    let broken = || (0..3_u64).inspect(|&n| assert!(n < 2));
    let call = std::panic::AssertUnwindSafe(|| pool.map_async(square, broken()).map(drop));
    assert!(std::panic::catch_unwind(call).is_err());
    assert_eq!(pool.map(square, 0..3), Ok(vec![0, 1, 4]));
}

#[test]
fn a_join_waits_for_maps_of_other_threads() {
    let pool = ThreadPool::new(2).unwrap();
    let gate = Gate::new();
    let port = gate.port();
    thread::scope(|scope| {
        let results = scope.spawn(|| pool.chunked(1).starmap(visit, (0..40).map(|id| (port, id))));
        let first = gate.guest();
        pool.close();
        let join = scope.spawn(|| pool.join());
        first.let_go();
        (1..39).for_each(|_| gate.guest().let_go());
        let last = gate.guest();
        assert!(!join.is_finished() && !results.is_finished());
        last.let_go();
        assert_eq!(results.join().unwrap(), Ok((0..40).collect()));
        join.join().unwrap().unwrap();
    });
}

#[test]
fn an_iterator_that_nobody_can_advance_does_not_hold_up_a_join() {
    let taken = |mut results: procession_pool::Imap<'_, u64>| {
        let good = results.by_ref().take_while(Result::is_ok).count();
        assert!((1..1000).contains(&good), "{good} were submitted before");
        assert_eq!(results.next(), None);
    };
    let pool = ThreadPool::new(2).unwrap();
    let results = pool.chunked(1).imap(square, 0..1000);
    pool.close();
    pool.join().unwrap();
    taken(results);
    let executor = ThreadPoolExecutor::new(2).unwrap();
    let results = executor.map(square, 0..1000);
    executor.shutdown();
    taken(results);
    // In the middle of reading its input.
    let pool = ThreadPool::new(2).unwrap();
    let joins = |n: &u64| {
        if *n == 500 {
            pool.close();
            pool.join().unwrap();
        }
    };
    let results = pool.chunked(1).map_results(square, (0..1000).inspect(joins)).unwrap();
    assert!((0..500).zip(&results).all(|(n, result)| *result == Ok(n * n)), "{results:?}");
    assert!(results.len() == 1000 && results[500..].iter().all(was_not_submitted), "{results:?}");
}

fn was_not_submitted(result: &Result<u64, TaskError>) -> bool {
    matches!(result, Err(TaskError::NotSubmitted { .. }))
}

#[test]
fn a_map_whose_pool_is_terminated_tells_of_each_item() {
    let gate = Gate::new();
    let port = gate.port();
    let call = |(port, id): (u16, u64)| visit(port, id);
    let terminated_at_two = |pool: &ThreadPool, id: u64| {
        if id == 2 {
            let guest = gate.guest();
            pool.terminate();
            guest.let_go();
        }
        (port, id)
    };
    let pool = ThreadPool::new(1).unwrap();
    let items = (0..20).map(|id| terminated_at_two(&pool, id));
    let results = pool.chunked(1).map_results(call, items).unwrap();
    assert_eq!(results[..2], [Ok(0), Err(TaskError::Terminated)]);
    assert!(results.len() == 20 && results[2..].iter().all(was_not_submitted), "{results:?}");
    // Nobody knows how long this one is.
    let pool = ThreadPool::new(1).unwrap();
    let items = (0..20).filter(|id| *id < 10).map(|id| terminated_at_two(&pool, id));
    let results = pool.chunked(1).map_results(call, items).unwrap();
    assert_eq!(results[..2], [Ok(0), Err(TaskError::Terminated)]);
    assert!(results.len() == 3 && was_not_submitted(&results[2]), "{results:?}");
    let pool = ThreadPool::new(1).unwrap();
    let items = (0..20).map(|id| terminated_at_two(&pool, id));
    assert_eq!(pool.chunked(1).map(call, items), Err(TaskError::Terminated), "the error of the lowest index");
}

#[test]
fn an_executor_that_is_shut_down_now_lets_no_map_go_on() {
    let executor = ThreadPoolExecutor::new(1).unwrap();
    let gate = Gate::new();
    let port = gate.port();
    thread::scope(|scope| {
        let results = scope.spawn(|| executor.map(|port: u16| visit(port, 0), std::iter::repeat(port)).count());
        let guest = gate.guest();
        let shutdown = scope.spawn(|| executor.shutdown_now());
        while executor.submit(|| ()).is_ok() {
            thread::yield_now();
        }
        guest.let_go();
        shutdown.join().unwrap();
        assert!(results.join().unwrap() < 10);
    });
}
