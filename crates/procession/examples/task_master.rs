//! Hands out work to processes that come from anywhere: a task queue and a result queue in a manager.
//!
//! ```text
//! cargo run --release --example task_master -- [--address 127.0.0.1:50000] [--key SECRET] [--tasks 200] [--workers 0]
//! cargo run --release --example task_worker -- [--address 127.0.0.1:50000] [--key SECRET]    # in other terminals
//! ```
//!
//! The workers may run on other machines, if the address is one that they reach; kill some, by `kill -9`, and start others.
//! What a dead worker was doing goes to the next one, so every task is done and none is lost. With `--workers N` the master
//! starts N itself, and kills the first of them in the middle of its work.
//!
//! A task is a range of numbers; its result, how many of them are primes.

use std::collections::BTreeMap;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use procession::prelude::*;

#[path = "tasks/common.rs"]
mod common;

use common::{Done, RESULTS, Range, TASKS, address, key, option, work};

/// How many numbers a task has.
const NUMBERS: u64 = 20_000;

fn main() -> procession::Result<()> {
    let number = |name: &str| option(name).map(|text| text.parse::<u64>().expect("a number stands there"));
    let (count, helpers) = (number("--tasks").unwrap_or(200), number("--workers").unwrap_or(0));
    let builder = SyncManager::builder().address(address()).authkey(key());
    let builder = builder.register_object(TASKS, managed::joinable_queue::<Range>());
    let manager: SyncManager = builder.register_object(RESULTS, managed::queue::<Done>()).start()?.into();
    let (tasks, results): (JoinableQueueProxy<Range>, QueueProxy<Done>) = (manager.get(TASKS)?, manager.get(RESULTS)?);
    println!("workers are welcome at {}", manager.address());

    let begun = Instant::now();
    for n in 0..count {
        tasks.put(&Range { begin: n * NUMBERS, end: (n + 1) * NUMBERS })?;
    }
    let workers = start_workers(helpers, &manager)?;
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} tasks, {eta} left").expect("a valid template");
    let progress = ProgressBar::new(count).with_style(style);
    // Who is killed between his result and `task_done` leaves a task that is done twice.
    let (mut counts, mut by_worker) = (BTreeMap::new(), BTreeMap::<u32, u64>::new());
    while (counts.len() as u64) < count {
        let Done { begin, count: primes, pid } = results.get()?;
        if counts.insert(begin, primes).is_none() {
            *by_worker.entry(pid).or_default() += 1;
            progress.inc(1);
        }
        if counts.len() as u64 == count / 4
            && let Some(first) = workers.first()
        {
            first.kill()?;
        }
    }
    progress.finish_and_clear();
    tasks.join()?; // Every task was taken, and is done.
    let primes: u64 = counts.values().sum();
    println!("{primes} primes below {}, in {:.2?}", count * NUMBERS, begun.elapsed());
    for (pid, count) in by_worker {
        println!("process {pid}: {count} tasks");
    }
    manager.shutdown()?; // All workers hear of it, and end.
    workers.iter().try_for_each(|worker| worker.wait().map(drop))?;
    Ok(())
}

fn start_workers(count: u64, manager: &SyncManager) -> procession::Result<Vec<Process<()>>> {
    let address = manager.address().to_string();
    let worker = |address: String, key: String| {
        let _ = work(&address, &key); // Until the master kills it, or is gone.
    };
    (0..count).map(|_| Ok(Process::start(worker, (address.clone(), key()))?)).collect()
}
