//! Pools and executors: many calls in processes that are there already.

use std::sync::OnceLock;
use std::time::Instant;

use procession::prelude::*;

use crate::unexpected;

fn square(n: u64) -> u64 {
    n * n
}

/// What each worker has built before its first task.
static GREETING: OnceLock<String> = OnceLock::new();

fn prepare(greeting: String) {
    GREETING.get_or_init(|| greeting);
}

pub(crate) fn maps() -> procession::Result<()> {
    let pool = Pool::builder().processes(2).initializer(prepare, ("hello".to_string(),)).build()?;
    println!("  one call: {}; its worker was prepared: {:?}", pool.apply(square, (7,))?, pool.apply(greeting, ())?);
    println!("  tuples: {:?}", pool.starmap(|a: u64, b: u64| a + b, [(1, 2), (3, 4)])?);
    let began = Instant::now();
    let squares = pool.map(square, 0..1_000_000)?;
    println!("  {} squares in {:.0?}, in chunks that follow the tasks' time", squares.len(), began.elapsed());
    let first: Result<Vec<u64>, TaskError> = pool.imap(square, 0..).take(5).collect(); // An endless input.
    println!("  the first of all: {:?}", first?);
    let each = pool.map_results(|n: u64| 12 / n, 0..4)?;
    println!("  each has its own end: {:?}", each.iter().map(Result::is_ok).collect::<Vec<_>>());
    let later = pool.map_async(square, 0..10)?;
    later.on_success(|squares| println!("  a callback was told of {} squares", squares.len()));
    println!("  and the last of them is {:?}", later.get()?.last());
    pool.close();
    Ok(pool.join()?)
}

fn greeting() -> Option<String> {
    GREETING.get().cloned()
}

pub(crate) fn futures() -> procession::Result<()> {
    let executor = ProcessPoolExecutor::new(2)?;
    let nap = |milliseconds: u64| {
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    };
    let futures = [30, 10, 20].map(|milliseconds| executor.submit(nap, (milliseconds,)));
    let futures = futures.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (done, pending) = wait_futures(futures.clone(), ReturnWhen::FirstCompleted);
    println!("  after the first there are {} done and {} pending", done.len(), pending.len());
    for future in as_completed(futures) {
        println!("  {} ms are over", future.result()?);
    }
    let threads = ThreadPoolExecutor::new(2)?;
    let captured = "a closure that captures".to_string();
    println!("  in a thread: {:?}", threads.submit(move || captured.len())?.result()?);
    executor.shutdown();
    Ok(())
}

/// Takes its worker down at one of its numbers.
fn fragile(n: u64) -> u64 {
    if n == 3 {
        std::process::abort();
    }
    n
}

pub(crate) fn crash() -> procession::Result<()> {
    let pool = Pool::builder().processes(2).stderr_tail(false).build()?;
    let mut results = pool.map_results(fragile, 0..8)?;
    println!("  {} of 8 have their results", results.iter().filter(|result| result.is_ok()).count());
    match results.swap_remove(3) {
        Err(error @ TaskError::WorkerDied { .. }) => println!("  one has none: {error}"),
        other => return Err(unexpected(other)),
    }
    println!("  the pool goes on: {}", pool.apply(square, (5,))?);
    Ok(())
}

pub(crate) fn options() -> procession::Result<()> {
    let executor = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(100).build()?;
    let stuck = executor.task(|| std::thread::sleep(Duration::from_secs(60)), ()).timeout(Duration::from_millis(20));
    let stuck = stuck.submit()?;
    let later = executor.submit(square, (2,))?;
    let urgent = executor.task(square, (3,)).priority(1).retries(2).submit()?;
    println!("  {}", stuck.result().map_or_else(|error| error.to_string(), |()| "it has ended".into()));
    println!("  the urgent one: {}, the other: {}", urgent.result()?, later.result()?);
    let unwanted = executor.submit(|| std::thread::sleep(Duration::from_secs(60)), ())?;
    println!("  killed: {}, {:?}", unwanted.kill(), unwanted.result());
    Ok(())
}
