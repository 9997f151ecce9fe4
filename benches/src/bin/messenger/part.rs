//! What is done with a way: items go through it, or two ways carry one number to and fro.
//!
//! Relies on [`gang`](procession_benches::gang) for the processes; the one that measures takes part.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use std::{fs, thread};

use procession_benches::Result;
use procession_benches::gang::{Member, Others};
use procession_sys::monotonic_nanos;
use serde::{Deserialize, Serialize};

use crate::way::{Item, Put, Take, Way};

/// Does its work so many times, and says how long that took.
pub(crate) type Runs = Box<dyn FnMut(u64) -> Result<Duration>>;

/// What has been started, by what was asked for.
pub(crate) type Started = HashMap<String, Runs>;

/// In a run of so few every byte is looked at: the first ones, which do not count.
const LOOKED_THROUGH_MAX: u64 = 2;

/// Puts numbered items.
#[derive(Serialize, Deserialize)]
#[serde(bound = "W: Way")]
struct Producer<W>(W);

impl<W: Way> Member for Producer<W> {
    fn join(self, _: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        let mut end = self.0.producer()?;
        let mut item = W::Item::blank();
        Ok(move |times| {
            for number in 0..times {
                item.set_number(number);
                end.put(&item)?;
            }
            Ok((0..times).sum())
        })
    }
}

/// Takes them; if there is one producer and one consumer, in their order.
#[derive(Serialize, Deserialize)]
#[serde(bound = "W: Way")]
struct Consumer<W> {
    way: W,
    in_order: bool,
}

impl<W: Way> Member for Consumer<W> {
    fn join(self, _: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        let mut end = self.way.consumer()?;
        Ok(move |times| {
            let mut sum = 0;
            for at in 0..times {
                let looked = end.take(|item: &W::Item| {
                    let whole = times > LOOKED_THROUGH_MAX || item.is_whole();
                    item.number().filter(|_| whole)
                })?;
                let number = looked.ok_or("an item has arrived damaged")?;
                if number >= times || (self.in_order && number != at) {
                    return Err(format!("item {number} has arrived as number {at} of {times}").into());
                }
                sum += number;
            }
            Ok(sum)
        })
    }
}

/// So many items go from processes that put to as many that take.
pub(crate) fn stream<W: Way>(way: W, pairs: u64) -> Result<Runs> {
    let mut others = Others::new();
    let in_order = pairs == 1;
    for _ in 0..pairs {
        others.start(Producer(way.clone()))?;
    }
    for _ in 1..pairs {
        others.start(Consumer { way: way.clone(), in_order })?;
    }
    let mut consume = Consumer { way, in_order }.join(0)?;
    others.wait_until_ready()?;
    Ok(Box::new(move |times| {
        let each = times.div_ceil(pairs);
        others.ask(each)?;
        let began = Instant::now();
        let own: u64 = consume(each)?;
        let answers = others.answers()?;
        let took = began.elapsed();
        let (put, taken) = answers.split_at(pairs as usize);
        if put.iter().sum::<u64>() != own + taken.iter().sum::<u64>() {
            return Err("what was taken is not what was put".into());
        }
        Ok(took.mul_f64(times as f64 / (each * pairs) as f64))
    }))
}

/// Sends back what comes.
#[derive(Serialize, Deserialize)]
#[serde(bound = "W: Way")]
struct Echo<W>([W; 2]);

impl<W: Way<Item = u64>> Member for Echo<W> {
    fn join(self, _: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        let [there, back] = self.0;
        let (mut there, mut back) = (there.consumer()?, back.producer()?);
        Ok(move |times| {
            for _ in 0..times {
                let number = there.take(|number| *number)?;
                back.put(&number)?;
            }
            Ok(times)
        })
    }
}

/// A number goes to another process and comes back.
pub(crate) fn round_trip<W: Way<Item = u64>>(ways: [W; 2]) -> Result<Runs> {
    let mut others = Others::new();
    others.start(Echo(ways.clone()))?;
    let [there, back] = ways;
    let (mut there, mut back) = (there.producer()?, back.consumer()?);
    others.wait_until_ready()?;
    Ok(Box::new(move |times| {
        others.ask(times)?;
        let began = Instant::now();
        for number in 0..times {
            there.put(&number)?;
            let answer = back.take(|answer| *answer)?;
            if answer != number {
                return Err(format!("{number} has come back as {answer}").into());
            }
        }
        others.answers()?;
        Ok(began.elapsed())
    }))
}

/// How long each side waits before it puts: longer than anybody who waits goes on looking before it sleeps.
const PAUSE: Duration = Duration::from_micros(300);

/// One of so many round trips is made: most of their time is not counted.
const ASLEEP_SHARE: u64 = 16;

/// Of so few round trips it is not asked who slept.
const FEW: u64 = 16;

/// How often this process has given up its processor by itself, because it slept or waited.
fn times_asleep() -> Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.ok_or("the kernel does not tell how often a thread slept")?.trim().parse()?)
}

/// Fails if who made so many round trips since then has slept hardly more often than it paused. Some of the items may be
/// there before anybody waits for them, if the machine has other things to do; of few that may be all.
fn has_slept(since: u64, made: u64) -> Result {
    let slept = times_asleep()? - since;
    let enough = made < FEW || slept >= made + made / 4;
    if enough { Ok(()) } else { Err(format!("slept {slept} times in {made} round trips, each with a pause").into()) }
}

/// Puts what time it is, when the other side is asleep.
fn put_time(end: &mut impl Put<u64>) -> Result {
    thread::sleep(PAUSE);
    end.put(&monotonic_nanos())
}

/// How long ago that was, as soon as it has arrived.
fn take_age(end: &mut impl Take<u64>, since: u64) -> Result<u64> {
    let time = end.take(|time| *time)?;
    let age = monotonic_nanos().checked_sub(time).filter(|_| time >= since);
    age.ok_or_else(|| "a time has arrived that nobody has just put".into())
}

/// Takes a time, and sends another; answers how long those that have come took.
#[derive(Serialize, Deserialize)]
#[serde(bound = "W: Way")]
struct Sleeper<W>([W; 2]);

impl<W: Way<Item = u64>> Member for Sleeper<W> {
    fn join(self, _: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        let [there, back] = self.0;
        let (mut there, mut back) = (there.consumer()?, back.producer()?);
        Ok(move |times| {
            let slept = times_asleep()?;
            let mut ages = 0;
            let mut since = 0;
            for _ in 0..times {
                ages += take_age(&mut there, since)?;
                since = monotonic_nanos();
                put_time(&mut back)?;
            }
            has_slept(slept, times)?;
            Ok(ages)
        })
    }
}

/// The same round trip, but whoever waits has fallen asleep. Only the way counts, not the pause before it.
pub(crate) fn asleep<W: Way<Item = u64>>(ways: [W; 2]) -> Result<Runs> {
    let mut others = Others::new();
    others.start(Sleeper(ways.clone()))?;
    let [there, back] = ways;
    let (mut there, mut back) = (there.producer()?, back.consumer()?);
    others.wait_until_ready()?;
    Ok(Box::new(move |times| {
        let made = times.div_ceil(ASLEEP_SHARE);
        others.ask_at_once(made)?;
        let slept = times_asleep()?;
        let mut ages = 0;
        for _ in 0..made {
            let since = monotonic_nanos();
            put_time(&mut there)?;
            ages += take_age(&mut back, since)?;
        }
        has_slept(slept, made)?;
        ages += others.answers()?.iter().sum::<u64>();
        Ok(Duration::from_nanos(ages).mul_f64(times as f64 / made as f64))
    }))
}
