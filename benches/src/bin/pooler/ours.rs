//! Our contestants.

use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{Future, SharedArray};
use procession_benches::Result;
use procession_benches::pool::{BATCH, ITEMS};
use procession_benches::runner::timed;

use crate::Runs;
use crate::begun::{Ear, begin};
use crate::work::{
    LONG_CALLS, large, long_call, look, looked_at, looks, one_by_one, resident, same, short_call, sleep, square, stamp,
    sum, summed, worked,
};

/// An executor whose workers have done a task each.
pub(crate) fn executor(workers: usize) -> Result<ProcessPoolExecutor> {
    let executor = ProcessPoolExecutor::new(workers)?;
    let tasks = (0..2 * workers).map(|_| executor.submit(long_call, (1,)));
    for task in tasks.collect::<Result<Vec<_>, _>>()? {
        task.result()?;
    }
    Ok(executor)
}

/// The same as a pool.
pub(crate) fn pool(workers: usize) -> Result<Pool> {
    let pool = Pool::new(workers)?;
    pool.chunked(1).map(long_call, 0..2 * workers as u64)?;
    Ok(pool)
}

/// The same as threads.
pub(crate) fn threads(workers: usize) -> Result<ThreadPoolExecutor> {
    let threads = ThreadPoolExecutor::new(workers)?;
    threads.submit(|| square(2))?.result()?;
    Ok(threads)
}

pub(crate) fn made_pool() -> Result {
    let pool = Pool::new(2)?;
    let result = pool.apply(square, (7,))?;
    pool.close();
    pool.join()?;
    same(result, 49)
}

pub(crate) fn made_executor() -> Result {
    let executor = ProcessPoolExecutor::new(2)?;
    let result = executor.submit(square, (7,))?.into_result()?;
    executor.shutdown();
    same(result, 49)
}

pub(crate) fn made_child() -> Result {
    same(Process::start(square, (7,))?.join()?, 49)
}

/// One task after the other.
pub(crate) fn round_trip_executor() -> Result<Runs> {
    let executor = executor(2)?;
    one_by_one(move |number| Ok(executor.submit(square, (number,))?.into_result()?))
}

pub(crate) fn round_trip_pool() -> Result<Runs> {
    let pool = pool(2)?;
    one_by_one(move |number| Ok(pool.apply(square, (number,))?))
}

pub(crate) fn round_trip_threads() -> Result<Runs> {
    let threads = threads(2)?;
    one_by_one(move |number| Ok(threads.submit(move || square(number))?.into_result()?))
}

/// Many tasks at once, which are taken as they complete.
pub(crate) fn batch(executor: impl Executor + 'static) -> Result<Runs> {
    let expected: u64 = (0..BATCH).map(square).sum();
    Ok(Box::new(move |times| {
        timed(times, || {
            let futures = (0..BATCH).map(|number| ExecutorExt::submit(&executor, square, (number,)));
            let futures: Vec<Future<u64>> = futures.collect::<Result<_, _>>()?;
            let results = as_completed(futures).map(Future::into_result);
            same(results.sum::<Result<u64, TaskError>>()?, expected)
        })
    }))
}

/// A map in chunks of one.
pub(crate) fn single_pool() -> Result<Runs> {
    let pool = pool(2)?;
    Ok(summed((0..BATCH).map(square), move || Ok(pool.chunked(1).map(square, 0..BATCH)?)))
}

pub(crate) fn single_executor() -> Result<Runs> {
    let executor = executor(2)?;
    Ok(summed((0..BATCH).map(square), move || Ok(executor.chunked(1).map(square, 0..BATCH)?)))
}

/// A map of many items.
pub(crate) fn many(who: &str, work: &str) -> Result<Runs> {
    if work == "squares" { many_of(who, square) } else { many_of(who, short_call) }
}

fn many_of<F>(who: &str, function: F) -> Result<Runs>
where
    F: procession::Target<(u64,), Output = u64> + Fn(u64) -> u64 + Copy + 'static,
{
    let expected = (0..ITEMS).map(function);
    if who == "threads" {
        let pool = ThreadPool::new(2)?;
        return Ok(summed(expected, move || Ok(pool.map(function, 0..ITEMS)?)));
    }
    let pool = pool(2)?;
    Ok(match who {
        "pool" => summed(expected, move || Ok(pool.map(function, 0..ITEMS)?)),
        "results" => summed(expected, move || Ok(pool.map_results(function, 0..ITEMS)?.into_iter().flatten())),
        "imap" => {
            let expected = sum(expected);
            Box::new(move |times| timed(times, || same(sum(pool.imap(function, 0..ITEMS).flatten()), expected)))
        }
        _ => return Err("there is no such contestant".into()),
    })
}

/// An argument that is copied.
pub(crate) fn large_pool() -> Result<Runs> {
    let pool = pool(2)?;
    looked_at(move |bytes| Ok(pool.apply(|bytes: Vec<u8>| look(&bytes), (bytes,))?))
}

/// The same bytes written into shared memory, which is the argument.
pub(crate) fn large_lent() -> Result<Runs> {
    let pool = pool(2)?;
    let look_at = |bytes: SharedArray<u8>| {
        let part = bytes.len() / 16;
        (bytes.len(), (0..16).map(|at| bytes.get(at * part).map_or(0, u64::from)).sum())
    };
    let shared = SharedArray::from_slice(&large(1))?;
    same(pool.apply(look_at, (shared.clone(),))?, looks(1))?;
    let mut bytes = large(1);
    let mut number = 0_u8;
    Ok(Box::new(move |times| {
        timed(times, || {
            number = number.wrapping_add(1);
            stamp(&mut bytes, number);
            shared.copy_from(&bytes)?;
            same(pool.apply(look_at, (shared.clone(),))?, looks(number))
        })
    }))
}

/// A worker is killed, of two, while it runs a task.
pub(crate) fn killed() -> Result<Runs> {
    let executor = executor(2)?;
    let ear = Ear::new()?;
    Ok(Box::new(move |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let task = executor.submit(begin, (ear.path(),))?;
            let killed = ear.kill()?;
            let began = Instant::now();
            let error = task.result().err();
            took += began.elapsed();
            match error {
                Some(TaskError::WorkerDied { pid, signal: Some(9), .. }) if pid == killed => {}
                other => return Err(format!("the task ended with {other:?}").into()),
            }
            executor.submit(square, (1,))?.result()?; // Two workers are there again.
        }
        Ok(took)
    }))
}

/// The only worker is killed, and the next task is done by another one.
fn replaced(once: impl Fn(&Ear) -> Result<Duration> + 'static) -> Result<Runs> {
    let ear = Ear::new()?;
    Ok(Box::new(move |times| (0..times).map(|_| once(&ear)).sum()))
}

pub(crate) fn replaced_executor() -> Result<Runs> {
    let executor = executor(1)?;
    replaced(move |ear| {
        let task = executor.submit(begin, (ear.path(),))?;
        anew(ear, || task.result().is_err(), || Ok(executor.submit(std::process::id, ())?.into_result()?))
    })
}

pub(crate) fn replaced_pool() -> Result<Runs> {
    let pool = pool(1)?;
    replaced(move |ear| {
        let task = pool.apply_async(begin, (ear.path(),))?;
        anew(ear, || task.get().is_err(), || Ok(pool.apply(std::process::id, ())?))
    })
}

/// Kills the worker of a task that has begun: how long it takes until the next one has said which process it is.
fn anew(ear: &Ear, has_died: impl FnOnce() -> bool, next: impl FnOnce() -> Result<u32>) -> Result<Duration> {
    let killed = ear.kill()?;
    let began = Instant::now();
    let has_died = has_died();
    let pid = next()?;
    let took = began.elapsed();
    same((has_died, pid == killed), (true, false))?;
    Ok(took)
}

/// What each of many tasks takes of a process's memory while they wait, a millisecond for a byte. That process is new each
/// time, so that it has no memory left from before.
pub(crate) fn waiting(tasks: u64, times: u64) -> Result<Duration> {
    let bytes =
        (0..times).map(|_| Process::start(memory_of_waiting, (tasks,))?.join()?.map_err(procession::Error::from));
    let bytes = bytes.map(|bytes| bytes.map_err(Into::into));
    Ok(Duration::from_millis(bytes.sum::<Result<u64>>()?))
}

/// What each of so many tasks takes. Their handles are kept.
fn memory_of_waiting(tasks: u64) -> Result<u64, Fault> {
    let executor = ProcessPoolExecutor::new(1)?;
    executor.submit(square, (1,))?.result()?;
    let first = executor.submit(sleep, ())?;
    let mut futures: Vec<Future<u64>> = Vec::with_capacity(tasks as usize);
    let before = resident()?;
    for number in 0..tasks {
        futures.push(executor.submit(square, (number,))?);
    }
    let bytes = (resident()? - before) / tasks;
    same(first.done() || futures.iter().any(Future::done), false)?;
    executor.kill_workers();
    Ok(bytes)
}

/// Work that two workers divide.
pub(crate) fn divided() -> Result<Runs> {
    let pool = pool(2)?;
    Ok(summed((0..LONG_CALLS).map(long_call), move || Ok(pool.map(long_call, 0..LONG_CALLS)?)))
}

/// A pool of eight that has nothing to do.
pub(crate) fn idle() -> Result<Runs> {
    let pool = pool(8)?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(Box::new(move |times| (0..times).map(|_| worked(&pool.worker_pids())).sum()))
}
