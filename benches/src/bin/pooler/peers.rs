//! What else there is in Rust: procspawn's pool of processes, rayon's threads, and bare memory.

use std::time::{Duration, Instant};

use procession_benches::Result;
use procession_benches::pool::{BATCH, ITEMS};
use procession_benches::runner::timed;
use procspawn::{JoinHandle, Pool, SpawnError};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Runs;
use crate::begun::{Ear, begin};
use crate::work::{
    LARGE, LONG_CALLS, large, long_call, look, looked_at, looks, one_by_one, same, square, stamp, sum, summed, work,
    worked,
};

/// A pool whose workers have done a task each.
fn procspawn(workers: usize) -> Result<Pool> {
    let pool = Pool::new(workers)?;
    let tasks: Vec<_> = (0..2 * workers).map(|_| pool.spawn(1, long_call)).collect();
    for task in tasks {
        task.join()?;
    }
    Ok(pool)
}

fn rayon() -> Result<ThreadPool> {
    Ok(ThreadPoolBuilder::new().num_threads(2).build()?)
}

pub(crate) fn made_procspawn() -> Result {
    let pool = Pool::new(2)?;
    let result = pool.spawn(7, square).join()?;
    pool.shutdown();
    same(result, 49)
}

pub(crate) fn round_trip_procspawn() -> Result<Runs> {
    let pool = procspawn(2)?;
    one_by_one(move |number| Ok(pool.spawn(number, square).join()?))
}

pub(crate) fn round_trip_rayon() -> Result<Runs> {
    let pool = rayon()?;
    one_by_one(move |number| Ok(pool.install(|| square(number))))
}

/// A task for each of so many numbers.
fn tasks(numbers: u64, function: fn(u64) -> u64) -> Result<Runs> {
    let pool = procspawn(2)?;
    Ok(summed((0..numbers).map(function), move || {
        let tasks: Vec<_> = (0..numbers).map(|number| pool.spawn(number, function)).collect();
        Ok(tasks.into_iter().map(JoinHandle::join).collect::<Result<Vec<u64>, _>>()?)
    }))
}

/// The results of a function for so many numbers, by threads.
fn parallel(numbers: u64, function: fn(u64) -> u64) -> Result<Runs> {
    let pool = rayon()?;
    Ok(summed((0..numbers).map(function), move || {
        Ok(pool.install(|| (0..numbers).into_par_iter().map(function).collect::<Vec<u64>>()))
    }))
}

pub(crate) fn batch_procspawn() -> Result<Runs> {
    tasks(BATCH, square)
}

pub(crate) fn many_rayon(name: &str) -> Result<Runs> {
    parallel(ITEMS, work(name)?)
}

/// Copies as many bytes as a large argument has, to two places in turn.
pub(crate) fn large_memcpy() -> Runs {
    let mut bytes = large(1);
    let mut places = [vec![1; LARGE], vec![1; LARGE]];
    let mut number = 0_u8;
    Box::new(move |times| {
        timed(times, || {
            number = number.wrapping_add(1);
            stamp(&mut bytes, number);
            let place = &mut places[usize::from(number % 2)];
            place.copy_from_slice(&bytes);
            same(look(place), looks(number))
        })
    })
}

pub(crate) fn large_procspawn() -> Result<Runs> {
    let pool = procspawn(2)?;
    looked_at(move |bytes| Ok(pool.spawn(bytes, |bytes: Vec<u8>| look(&bytes)).join()?))
}

/// Kills the process that runs a task, of so many, and says how long it takes until its task has an error.
fn kill(pool: &Pool, ear: &Ear) -> Result<Duration> {
    let task = pool.spawn(ear.path(), begin);
    ear.kill()?;
    let began = Instant::now();
    let result: Result<(), SpawnError> = task.join();
    let took = began.elapsed();
    same(result.is_err(), true)?;
    Ok(took)
}

pub(crate) fn killed_procspawn() -> Result<Runs> {
    let (pool, ear) = (procspawn(2)?, Ear::new()?);
    Ok(Box::new(move |times| (0..times).map(|_| kill(&pool, &ear)).sum()))
}

pub(crate) fn replaced_procspawn() -> Result<Runs> {
    let (pool, ear) = (procspawn(1)?, Ear::new()?);
    Ok(Box::new(move |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            took += kill(&pool, &ear)?;
            let began = Instant::now();
            let result = pool.spawn(3, square).join()?;
            took += began.elapsed();
            same(result, 9)?;
        }
        Ok(took)
    }))
}

pub(crate) fn divided_serial(times: u64) -> Result<Duration> {
    let expected = sum((0..LONG_CALLS).map(long_call));
    timed(times, || same(sum((0..LONG_CALLS).map(long_call).collect::<Vec<u64>>()), expected))
}

pub(crate) fn divided_rayon() -> Result<Runs> {
    parallel(LONG_CALLS, long_call)
}

pub(crate) fn divided_procspawn() -> Result<Runs> {
    tasks(LONG_CALLS, long_call)
}

pub(crate) fn idle_procspawn() -> Result<Runs> {
    let pool = procspawn(8)?;
    let tasks: Vec<_> = (0..64).map(|_| pool.spawn(1, |number: u64| (long_call(number), std::process::id()))).collect();
    let mut pids = tasks.into_iter().map(|task| Ok(task.join()?.1)).collect::<Result<Vec<u32>>>()?;
    pids.sort_unstable();
    pids.dedup();
    std::thread::sleep(Duration::from_millis(100));
    Ok(Box::new(move |times| {
        let _kept = &pool;
        (0..times).map(|_| worked(&pids)).sum()
    }))
}
