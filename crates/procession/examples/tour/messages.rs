//! What processes tell each other: queues, pipes, and connections of strangers.

use std::time::Instant;

use procession::prelude::*;

use crate::processes::count_primes;
use crate::unexpected;

/// Counts primes in the ranges that it takes, until nobody puts any more; returns how many those were.
fn count_ranges(ranges: Consumer<(u32, u32)>, counts: Producer<usize>) -> Result<u32, Fault> {
    let mut taken = 0;
    while let Ok((from, to)) = ranges.get() {
        counts.put(count_primes(from, to))?;
        taken += 1;
    }
    Ok(taken)
}

/// Each range is taken by one of two children. Nobody is told the end.
pub(crate) fn queues() -> procession::Result<()> {
    let (to_do, ranges) = Queue::<(u32, u32)>::bounded(5)?.split()?;
    let (to_tell, counts) = Queue::<usize>::unbounded()?.split()?;
    let first = Process::start(count_ranges, (ranges.clone(), to_tell.clone()))?;
    let second = Process::start(count_ranges, (ranges, to_tell))?; // This process puts ranges and takes counts.
    for part in 0..20 {
        to_do.put((2 + part * 1000, 1002 + part * 1000))?; // Waits while five are there.
    }
    drop(to_do);
    let mut primes = 0;
    while let Ok(count) = counts.get() {
        primes += count;
    }
    println!("  one child took {} ranges, the other {}: {primes} primes", first.join()??, second.join()??);
    Ok(())
}

fn work_off(jobs: JoinableQueue<u32>) -> Result<(), Fault> {
    while jobs.get_timeout(Duration::from_secs(10))? > 0 {
        jobs.task_done()?;
    }
    Ok(jobs.task_done()?)
}

pub(crate) fn joinable_queue() -> procession::Result<()> {
    let jobs = JoinableQueue::<u32>::unbounded()?;
    let child = Process::start(work_off, (jobs.clone(),))?;
    for job in (0..100).rev() {
        jobs.put(job)?; // The last one, 0, ends the child.
    }
    let unfinished = jobs.unfinished();
    jobs.join()?;
    println!("  {unfinished} jobs were left when the last had been put, and none is now");
    Ok(child.join()??)
}

/// Takes what it is asked by a connection, and answers.
fn answer(questions: Connection<f64, Vec<f64>>) -> Result<(), Fault> {
    while let Ok(numbers) = questions.recv() {
        questions.send(&numbers.iter().sum())?;
    }
    Ok(())
}

pub(crate) fn pipes() -> procession::Result<()> {
    let (ours, theirs) = pipe::<Vec<f64>, f64>()?;
    let child = Process::start(answer, (theirs,))?;
    let numbers = vec![0.5; 1_000_000];
    let began = Instant::now();
    ours.send(&numbers)?;
    println!("  8 MB there and the answer {} back in {:.1} ms", ours.recv()?, began.elapsed().as_secs_f64() * 1e3);

    let (receiver, sender) = pipe_simplex::<Queue<String>>()?;
    let queue = Queue::unbounded()?;
    sender.send(&queue)?; // A queue in a message, as any handle.
    receiver.recv()?.put("it is the same queue".to_string())?;
    println!("  a queue went through a pipe: {}", queue.get()?);

    drop(sender);
    let waiting: [&dyn Waitable; 4] = [&receiver, &queue, &ours, &child];
    println!("  ready of a pipe without a sender, an empty queue, a pipe, a child: {:?}", wait_ready(waiting)?);
    drop(ours);
    Ok(child.join()??)
}

/// Any program that has the address, and perhaps the key.
fn dial(address: Address, key: String) -> Result<u64, Fault> {
    Ok(Client::connect::<(), u64>(address, key)?.recv()?)
}

pub(crate) fn strangers() -> procession::Result<()> {
    let listener = Listener::bind("127.0.0.1:0")?.authkey("a secret");
    let start = |key: &str| Process::start(dial, (listener.address().clone(), key.to_string()));
    let friend = start("a secret")?;
    listener.accept::<u64, ()>()?.send(&42)?;
    println!("  who came to {} was told {}", listener.address(), friend.join()??);
    let guesser = start("a guess")?;
    match (listener.accept::<u64, ()>(), guesser.join()?) {
        (Err(here), Err(there)) => println!("  here: {here}\n  there: {there:#}"),
        other => return Err(unexpected(other)),
    }
    Ok(())
}
