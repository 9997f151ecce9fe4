//! What the tasks of group `pool` do, and what has to come of it.

use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{fs, thread};

use procession_benches::Result;
use procession_benches::runner::timed;

use crate::Runs;

/// The number that a task is given comes back as its square.
pub(crate) fn square(number: u64) -> u64 {
    number.wrapping_mul(number)
}

/// Takes about 100 ns: so many steps, each of which waits for the one before it.
const STEPS: u64 = 200;

/// A short call.
pub(crate) fn short_call(number: u64) -> u64 {
    (0..STEPS).fold(number, |sum, step| black_box(sum).wrapping_mul(3) ^ step)
}

/// How many short calls a task of about 100 us makes.
const CALLS: u64 = 1000;

/// A task for a processor.
pub(crate) fn long_call(number: u64) -> u64 {
    (0..CALLS).fold(number, |sum, _| short_call(sum))
}

/// How many of these are divided.
pub(crate) const LONG_CALLS: u64 = 400;

/// A function for many items, and what they must come to.
pub(crate) fn work(name: &str) -> Result<fn(u64) -> u64> {
    match name {
        "squares" => Ok(square),
        "calls" => Ok(short_call),
        _ => Err("there is no such work".into()),
    }
}

pub(crate) fn sum(numbers: impl IntoIterator<Item = u64>) -> u64 {
    // Each weighs by its place, so that a wrong order is seen.
    (1..).zip(numbers).fold(0, |sum: u64, (place, number): (u64, u64)| sum.wrapping_add(number.wrapping_mul(place)))
}

/// Gets the results, which have to be these, in this order.
pub(crate) fn summed<R: IntoIterator<Item = u64>>(
    expected: impl IntoIterator<Item = u64>,
    mut results: impl FnMut() -> Result<R> + 'static,
) -> Runs {
    let expected = sum(expected);
    Box::new(move |times| timed(times, || same(sum(results()?), expected)))
}

/// Has one number after the other squared.
pub(crate) fn one_by_one(mut once: impl FnMut(u64) -> Result<u64> + 'static) -> Result<Runs> {
    let mut number = 0;
    Ok(Box::new(move |times| {
        timed(times, || {
            number += 1;
            same(once(number)?, square(number))
        })
    }))
}

/// Has a large argument looked at, which is made before the clock runs.
pub(crate) fn looked_at(mut once: impl FnMut(Vec<u8>) -> Result<(usize, u64)> + 'static) -> Result<Runs> {
    same(once(large(1))?, looks(1))?;
    let mut number = 0_u8;
    Ok(Box::new(move |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            number = number.wrapping_add(1);
            let bytes = large(number);
            let began = Instant::now();
            let looked = once(bytes)?;
            took += began.elapsed();
            same(looked, looks(number))?;
        }
        Ok(took)
    }))
}

/// Refuses what is not what it must be.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(result: T, expected: T) -> Result {
    if result == expected { Ok(()) } else { Err(format!("{result:?} came instead of {expected:?}").into()) }
}

/// The bytes of a large argument.
pub(crate) const LARGE: usize = 64 << 20;

/// How many of its parts are looked at.
const PARTS: usize = 16;

/// A large argument with this number in it.
pub(crate) fn large(number: u8) -> Vec<u8> {
    let mut bytes = vec![1; LARGE];
    stamp(&mut bytes, number);
    bytes
}

/// Writes a number into each part.
pub(crate) fn stamp(bytes: &mut [u8], number: u8) {
    bytes.iter_mut().step_by(LARGE / PARTS).for_each(|byte| *byte = number);
}

/// What is said of a large argument: its length, and the numbers in its parts added up.
pub(crate) fn look(bytes: &[u8]) -> (usize, u64) {
    (bytes.len(), bytes.iter().step_by(LARGE / PARTS).map(|byte| u64::from(*byte)).sum())
}

/// What has to be said of one with this number.
pub(crate) fn looks(number: u8) -> (usize, u64) {
    (LARGE, u64::from(number) * PARTS as u64)
}

/// A task that goes on until it is killed.
pub(crate) fn sleep() {
    thread::sleep(Duration::from_secs(600));
}

/// How long an idle pool is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long processors work in 1,000 s for this process and for these others.
pub(crate) fn worked(others: &[u32]) -> Result<Duration> {
    let before = processor_time(others)?;
    thread::sleep(LOOK);
    let took = processor_time(others)?.saturating_sub(before);
    Ok(took.mul_f64(1000.0 / LOOK.as_secs_f64()))
}

fn processor_time(others: &[u32]) -> Result<Duration> {
    let mut nanos = 0;
    for pid in others.iter().chain([&std::process::id()]) {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += stat.split(' ').next().ok_or("the kernel tells no times")?.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// How many bytes of this process's memory are there.
pub(crate) fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the kernel tells no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}
