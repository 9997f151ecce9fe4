//! The same work serial, with threads, and with processes: work for the processor, and waiting for a slow service.
//!
//! ```text
//! cargo run --release --example compare
//! ```
//!
//! The same verb, `map`, of a pool of threads and of a pool of processes, which are made before the clock runs.
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
    let parts: Vec<_> = (0..PARTS).map(|part| (limit(part), limit(part + 1))).collect();
    compare(&format!("primes below {NUMBERS}, {} at a time", cpu_count()), count_primes, &parts, cpu_count())?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let listener = Descriptor::from(OwnedFd::from(listener));
    let service = Process::builder(serve, (listener,)).name("service").daemon(true).start()?;
    let questions: Vec<_> = (1..=QUESTIONS).map(|number| (address.clone(), number)).collect();
    compare(&format!("{QUESTIONS} questions to a service, {ASKERS} at a time"), ask, &questions, ASKERS)?;
    service.terminate()?;
    Ok(())
}

/// How many primes there are in a range, found the slow way.
fn count_primes((from, to): (u64, u64)) -> u64 {
    let is_prime = |n: u64| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (from..to).filter(|&n| is_prime(n)).count() as u64
}

/// Asks the service at an address for twice the number. A service that is gone answers nothing, which the sum shows.
fn ask((address, number): (String, u64)) -> u64 {
    let answer = || -> std::io::Result<u64> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&number.to_le_bytes())?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer)?;
        Ok(u64::from_le_bytes(answer))
    };
    answer().unwrap_or(0)
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
fn compare<F, T>(title: &str, work: F, items: &[T], workers: usize) -> procession::Result<()>
where
    F: Target<(T,), Output = u64> + Fn(T) -> u64 + Copy,
    T: Passable + Clone,
{
    let (threads, processes) = (ThreadPool::new(workers)?, Pool::new(workers)?);
    let items = || items.iter().cloned();
    let (expected, serial) = timed(|| Ok(items().map(work).sum()))?;
    let (by_threads, with_threads) = timed(|| Ok(threads.map(work, items())?.iter().sum()))?;
    let (by_processes, with_processes) = timed(|| Ok(processes.map(work, items())?.iter().sum()))?;
    assert!(by_threads == expected && by_processes == expected, "{expected}, {by_threads}, {by_processes}");
    let faster = |time: Duration| serial.as_secs_f64() / time.as_secs_f64();
    println!(
        "{title:<42} {serial:>9.2?} {with_threads:>9.2?} ({:.2} x) {with_processes:>9.2?} ({:.2} x)   result {expected}",
        faster(with_threads),
        faster(with_processes)
    );
    Ok(())
}

fn timed(work: impl FnOnce() -> procession::Result<u64>) -> procession::Result<(u64, Duration)> {
    let began = Instant::now();
    let result = work()?;
    Ok((result, began.elapsed()))
}
