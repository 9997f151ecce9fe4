//! What processes share: memory, values, locks.

use std::process::Command;
use std::thread;
use std::time::Instant;

use procession::prelude::*;
use serde::{Deserialize, Serialize};

use crate::unexpected;

/// Fills a part of an array with the square roots of the indices that it has there.
fn square_roots(mut part: SharedPart<f64>) -> Result<(), Fault> {
    let mut indices = part.range();
    part.for_each_block(|numbers| {
        for (number, index) in numbers.iter_mut().zip(&mut indices) {
            *number = (index as f64).sqrt();
        }
    })?;
    Ok(())
}

/// How many numbers of a table are below a bound.
fn count_below(table: FrozenArray<f64>, bound: f64) -> usize {
    table.partition_point(|&number| number < bound)
}

pub(crate) fn shared_memory() -> procession::Result<()> {
    let numbers = SharedArray::<f64>::zeroed(4_000_000)?;
    let began = Instant::now();
    let mut workers = Vec::new();
    for part in numbers.split_into(cpu_count())? {
        workers.push(Process::start(square_roots, (part,))?);
    }
    for worker in workers {
        worker.join()??;
    }
    println!("  {} processes filled 32 MB of one array in {:.0?}", cpu_count(), began.elapsed());

    let table = numbers.freeze()?; // For ever, in all processes: a slice.
    let below = Process::start(count_below, (table.clone(), 1000.0))?.join()?;
    println!("  a child found {below} numbers below {} in it, without a copy", table[below]);

    let name = format!("tour-{}", current_process().pid());
    let list = ShareableList::create_named(&name, ["Ada".into(), 36.into(), None::<f64>.into()])?;
    match Command::new("python3").args(["-c", CELEBRATE, &name]).output() {
        Ok(output) => print!("  Python reads {}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => println!("  no Python reads the list: {error}"),
    }
    println!("  and this process reads {:?}", list.to_vec()?);
    Ok(list.unlink()?)
}

/// What Python does to a list of ours, whose name it is not to remove.
const CELEBRATE: &str = "
import sys
from multiprocessing import resource_tracker, shared_memory
people = shared_memory.ShareableList(name=sys.argv[1])
resource_tracker.unregister(people.shm._name, 'shared_memory')
print(list(people))
people[1] += 1
";

/// What the workers of a section have in common.
#[derive(Clone, Serialize, Deserialize)]
struct Together {
    barrier: Barrier,
    sum: Value<u64>,
    counts: RawArray<u32>,
    licenses: Semaphore,
}

fn add_together(all: Together, number: usize) -> Result<bool, Fault> {
    let turn = all.barrier.wait()?; // Until all are there.
    for addend in 1..=1000 {
        *all.sum.lock()? += addend;
        all.counts.fetch_add(number, 1)?; // One step, without a lock.
    }
    let _permit = all.licenses.acquire()?; // Two at a time.
    Ok(turn.is_leader())
}

pub(crate) fn shared_state() -> procession::Result<()> {
    let (barrier, licenses) = (Barrier::new(4)?, Semaphore::new(2)?);
    let all = Together { barrier, sum: Value::new(0)?, counts: RawArray::zeroed(4)?, licenses };
    let mut workers = Vec::new();
    for number in 0..4 {
        workers.push(Process::start(add_together, (all.clone(), number))?);
    }
    let mut leaders = 0;
    for worker in workers {
        leaders += u32::from(worker.join()??);
    }
    println!("  four processes added up {} in {:?} steps; {leaders} came last", all.sum.get()?, all.counts.to_vec()?);
    Ok(())
}

fn hold(lock: Lock, held: Event) -> Result<(), Fault> {
    let _guard = lock.lock()?;
    held.set();
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

pub(crate) fn killed_holder() -> procession::Result<()> {
    let (lock, held) = (Lock::new()?, Event::new()?);
    let child = Process::start(hold, (lock.clone(), held.clone()))?;
    held.wait()?;
    println!("  held: {:?}", lock.holder());
    child.kill()?;
    match lock.lock() {
        Err(error @ LockError::OwnerDied(_)) => println!("  this process has it, and is told: {error}"),
        other => return Err(unexpected(other.map(drop))),
    }
    println!("  nobody is told twice: {:?}", lock.lock().map(drop));
    Ok(())
}
