//! The same work serial, with threads, and with processes: work for the processor, and waiting for a slow service.
//!
//! ```text
//! cargo run --release --example compare
//! ```
//!
//! In Rust threads compute side by side as processes do, so the times are about the same: a process is taken for what
//! a thread cannot give, memory of its own and an end of its own. The difference of the two columns is what that costs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use procession::prelude::*;
use procession::{Passable, Target};

/// Work for the processor: how many primes there are below this, in so many parts.
const NUMBERS: u64 = 3_000_000;
const PARTS: u64 = 64;

/// Work that waits: so many questions to a service that thinks this long about each.
const QUESTIONS: u64 = 48;
const THINKING: Duration = Duration::from_millis(20);

/// How many questions are under way at a time: waiting takes no processor, so more than there are of those.
const ASKERS: usize = 8;

fn main() -> procession::Result<()> {
    println!("{:<42} {:>9} {:>18} {:>18}", "", "serial", "threads", "processes");

    let limit = |part: u64| NUMBERS * part / PARTS;
    let parts = (0..PARTS).map(|part| (limit(part), limit(part + 1))).collect();
    compare(&format!("primes below {NUMBERS}, {} at a time", cpu_count()), count_primes, parts, cpu_count())?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let listener = Descriptor::from(OwnedFd::from(listener));
    let service = Process::builder(serve, (listener,)).name("service").daemon(true).start()?;
    let questions = (1..=QUESTIONS).map(|number| (address.clone(), number)).collect();
    compare(&format!("{QUESTIONS} questions to a service, {ASKERS} at a time"), ask, questions, ASKERS)?;
    service.terminate()?;
    Ok(())
}

/// How many primes there are in these ranges, found the slow way.
fn count_primes(ranges: Vec<(u64, u64)>) -> u64 {
    let is_prime = |n: u64| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    ranges.into_iter().map(|(from, to)| (from..to).filter(|&n| is_prime(n)).count() as u64).sum()
}

/// Asks the service at each address for twice the number, and adds up what it says. A service that is gone answers
/// nothing, which the sum shows.
fn ask(questions: Vec<(String, u64)>) -> u64 {
    let answer = |address: &str, number: u64| -> std::io::Result<u64> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&number.to_le_bytes())?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer)?;
        Ok(u64::from_le_bytes(answer))
    };
    questions.into_iter().map(|(address, number)| answer(&address, number).unwrap_or(0)).sum()
}

/// The service: thinks about each question, and about several at a time.
fn serve(listener: Descriptor) -> Result<(), Fault> {
    let listener = TcpListener::from(listener.into_owned()?);
    for stream in listener.incoming() {
        let mut stream = stream?;
        thread::spawn(move || {
            let mut number = [0; 8];
            stream.read_exact(&mut number)?;
            thread::sleep(THINKING);
            stream.write_all(&(2 * u64::from_le_bytes(number)).to_le_bytes())
        });
    }
    Ok(())
}

/// Does the work in each way and prints a line.
fn compare<F, T>(title: &str, work: F, items: Vec<T>, workers: usize) -> procession::Result<()>
where
    F: Target<(Vec<T>,), Output = u64> + Fn(Vec<T>) -> u64,
    T: Passable + Clone + Send,
    Vec<T>: Passable,
{
    let (expected, serial) = timed(|| Ok(work(items.clone())))?;
    let (by_threads, threads) = timed(|| Ok(in_threads(work, shares(&items, workers))))?;
    let (by_processes, processes) = timed(|| in_processes(work, shares(&items, workers)))?;
    assert!(by_threads == expected && by_processes == expected, "{expected}, {by_threads}, {by_processes}");
    let faster = |time: Duration| serial.as_secs_f64() / time.as_secs_f64();
    println!(
        "{title:<42} {serial:>9.2?} {threads:>9.2?} ({:.2} x) {processes:>9.2?} ({:.2} x)   result {expected}",
        faster(threads),
        faster(processes)
    );
    Ok(())
}

fn in_threads<F, T>(work: F, shares: Vec<Vec<T>>) -> u64
where
    F: Fn(Vec<T>) -> u64 + Copy + Send,
    T: Send,
{
    thread::scope(|scope| {
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || work(share))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the work does not panic")).sum()
    })
}

/// By hand: a child for each share, then their results.
fn in_processes<F, T>(work: F, shares: Vec<Vec<T>>) -> procession::Result<u64>
where
    F: Target<(Vec<T>,), Output = u64>,
    Vec<T>: Passable,
{
    let mut children = Vec::with_capacity(shares.len());
    for share in shares {
        children.push(Process::start(work, (share,))?);
    }
    let mut sum = 0;
    for child in children {
        sum += child.join()?;
    }
    Ok(sum)
}

/// So many shares, dealt out like cards, since the numbers of a later part take longer.
fn shares<T: Clone>(items: &[T], count: usize) -> Vec<Vec<T>> {
    (0..count).map(|first| items.iter().skip(first).step_by(count).cloned().collect()).collect()
}

fn timed(work: impl FnOnce() -> procession::Result<u64>) -> procession::Result<(u64, Duration)> {
    let began = Instant::now();
    let result = work()?;
    Ok((result, began.elapsed()))
}
