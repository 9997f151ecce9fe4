//! What else there is in Rust: procspawn's pool of processes, rayon's threads, and bare memory.

use std::time::{Duration, Instant};

use procession_benches::Result;
use procession_benches::pool::{BATCH, ITEMS};
use procession_benches::runner::timed;
use procspawn::{Pool, SpawnError};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Runs;
use crate::begun::{Ear, begin};
use crate::work::{LARGE, LONG_CALLS, expected, large, long_call, look, looks, same, square, stamp, sum, work, worked};

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
    let mut number = 0;
    Ok(Box::new(move |times| {
        timed(times, || {
            number += 1;
            same(pool.spawn(number, square).join()?, square(number))
        })
    }))
}

pub(crate) fn round_trip_rayon() -> Result<Runs> {
    let pool = rayon()?;
    let mut number = 0;
    Ok(Box::new(move |times| {
        timed(times, || {
            number += 1;
            same(pool.install(|| square(number)), square(number))
        })
    }))
}

pub(crate) fn batch_procspawn() -> Result<Runs> {
    let pool = procspawn(2)?;
    let expected = sum((0..BATCH).map(square));
    Ok(Box::new(move |times| {
        timed(times, || {
            let tasks: Vec<_> = (0..BATCH).map(|number| pool.spawn(number, square)).collect();
            let results: Vec<u64> = tasks.into_iter().map(procspawn::JoinHandle::join).collect::<Result<_, _>>()?;
            same(sum(results), expected)
        })
    }))
}

pub(crate) fn many_rayon(name: &str) -> Result<Runs> {
    let (pool, function) = (rayon()?, work(name)?);
    let expected = expected(function);
    Ok(Box::new(move |times| {
        timed(times, || {
            let results: Vec<u64> = pool.install(|| (0..ITEMS).into_par_iter().map(function).collect());
            same(sum(results), expected)
        })
    }))
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
    let mut number = 0_u8;
    Ok(Box::new(move |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            number = number.wrapping_add(1);
            let bytes = large(number);
            let began = Instant::now();
            let looked = pool.spawn(bytes, |bytes: Vec<u8>| look(&bytes)).join()?;
            took += began.elapsed();
            same(looked, looks(number))?;
        }
        Ok(took)
    }))
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
    let pool = rayon()?;
    let expected = sum((0..LONG_CALLS).map(long_call));
    Ok(Box::new(move |times| {
        timed(times, || {
            let results: Vec<u64> = pool.install(|| (0..LONG_CALLS).into_par_iter().map(long_call).collect());
            same(sum(results), expected)
        })
    }))
}

pub(crate) fn divided_procspawn() -> Result<Runs> {
    let pool = procspawn(2)?;
    let expected = sum((0..LONG_CALLS).map(long_call));
    Ok(Box::new(move |times| {
        timed(times, || {
            let tasks: Vec<_> = (0..LONG_CALLS).map(|number| pool.spawn(number, long_call)).collect();
            let results: Vec<u64> = tasks.into_iter().map(procspawn::JoinHandle::join).collect::<Result<_, _>>()?;
            same(sum(results), expected)
        })
    }))
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
