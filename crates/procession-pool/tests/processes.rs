//! Pools and executors of processes: the suite of all executors, and what of their front only processes can show.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

mod suite;

use procession_launch::{Context, StartMethod};
use procession_pool::{Executor, Pool, ProcessPoolExecutor, TaskError};
use suite::*;

fn makers() -> [(&'static str, Make); 2] {
    let executor: Make = |size| {
        let builder = ProcessPoolExecutor::builder().max_workers(size).stderr_tail(false);
        Box::new(builder.build().unwrap()) as Box<dyn Executor>
    };
    let pool: Make = |size| Box::new(Pool::builder().processes(size).stderr_tail(false).build().unwrap());
    [("executor", executor), ("pool", pool)]
}

/// Starts and joins one child, so that what a process has once is there; and lets a callback run, for its thread.
fn warm_up() {
    Context::new(StartMethod::ForkServer).start(|| (), ()).unwrap().join().unwrap();
}

/// Ends its worker at some items.
fn deadly(number: u64) -> u64 {
    if number % 10 == 3 {
        std::process::abort();
    }
    number
}

fn an_item_that_kills_its_worker_is_lost_alone(make: Make) {
    let executor = make(2);
    let check = |results: Vec<Result<u64, TaskError>>| {
        assert_eq!(results.len(), 30);
        for (n, result) in (0..).zip(results) {
            match n % 10 {
                3 => assert!(matches!(result, Err(TaskError::WorkerDied { signal: Some(6), .. })), "{n}: {result:?}"),
                _ => assert_eq!(result, Ok(n)),
            }
        }
    };
    for items in [1, 7, 100] {
        check(procession_pool::ExecutorExt::chunked(&*executor, items).map_results(deadly, 0..30).unwrap());
        check(procession_pool::ExecutorExt::chunked(&*executor, items).imap(deadly, 0..30).collect());
        let unordered = procession_pool::ExecutorExt::chunked(&*executor, items).imap_unordered(deadly, 0..30);
        let mut good: Vec<u64> = unordered.filter_map(Result::ok).collect();
        good.sort_unstable();
        assert_eq!(good, (0..30).filter(|n| n % 10 != 3).collect::<Vec<_>>());
    }
}

fn a_pool_does_all_of_an_asynchronous_map_but_what_kills(_: Make) {
    let pool = Pool::builder().processes(2).stderr_tail(false).build().unwrap();
    assert_eq!(pool.map_async(square, 0..100).unwrap().get(), Ok((0..100).map(square).collect()));
    let died = pool.chunked(8).map_async(deadly, 0..30).unwrap();
    assert!(matches!(died.get(), Err(TaskError::WorkerDied { signal: Some(6), .. })), "{died:?}");
    // The item that dies is the first that fails only because its neighbors have run all the same.
    let gate = Gate::new();
    let port = gate.port();
    let call = |(port, id): (u16, u64)| {
        if id == 1 {
            std::process::abort();
        }
        visit(port, id)
    };
    let rest = pool.chunked(4).map_async(call, (0..4).map(|id| (port, id))).unwrap();
    for id in [0, 2, 3] {
        let guest = gate.guest();
        assert_eq!(guest.id, id);
        guest.let_go();
    }
    assert!(matches!(rest.get(), Err(TaskError::WorkerDied { .. })));
    let panicked = pool.chunked(2).map_async(no_three, 0..5).unwrap();
    assert!(matches!(panicked.get(), Err(TaskError::Panicked { .. })));
    pool.close();
    pool.join().unwrap();
}

macro_rules! cases {
    ($($case:ident)*) => {
        procession_testkit::main! {
            warm_up: warm_up;
            cases for makers(), [
                an_item_that_kills_its_worker_is_lost_alone,
                a_pool_does_all_of_an_asynchronous_map_but_what_kills,
                $($case,)*
            ];
        }
    };
}

with_cases!(cases!());
