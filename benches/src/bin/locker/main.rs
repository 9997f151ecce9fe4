//! The process that the Rust contestants of group `locks` run in: `locker 0`. What it is asked is told in
//! `procession_benches::runner`; the words of each request in `run`.

mod gang; // Processes at the same time.
mod robust; // The C library's mutex.
mod work; // What they do.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use procession_benches::Result;
use procession_benches::runner::{answer_all, timed};
use procession_shm::arena::Slot;
use procession_sync::{Event, Lock};

use crate::gang::Gangs;
use crate::robust::Robust;

fn main() -> Result<ExitCode> {
    let mut gangs = Gangs::new();
    answer_all(0, env!("CARGO_PKG_NAME"), |asked, times| run(&mut gangs, asked, times))?;
    Ok(ExitCode::SUCCESS)
}

/// Does what it is asked so many times, and says how long it took.
fn run(gangs: &mut Gangs, asked: &str, times: u64) -> Result<Duration> {
    let words: Vec<&str> = asked.split(' ').collect();
    match words[..] {
        ["alone", what] => alone(what, times),
        ["set", what] => set(what, times),
        ["set-clear", what] => set_and_clear(what, times),
        ["to-and-fro", "event"] => gang::run(gangs, asked, 2, times, work::Events::new),
        ["to-and-fro", "semaphore"] => gang::run(gangs, asked, 2, times, work::Semaphores::new),
        ["to-and-fro", "line"] => gang::run(gangs, asked, 2, times, work::Line::new),
        ["crowd", "lock", processes] => gang::run(gangs, asked, processes.parse()?, times, work::UnderLock::new),
        ["crowd", "robust", processes] => gang::run(gangs, asked, processes.parse()?, times, work::UnderRobust::new),
        ["count", "value", processes] => gang::run(gangs, asked, processes.parse()?, times, work::Counted::new),
        ["count", "raw", processes] => gang::run(gangs, asked, processes.parse()?, times, work::Raw::new),
        ["count", "bare", processes] => gang::run(gangs, asked, processes.parse()?, times, work::Bare::new),
        _ => Err("there is no such contestant".into()),
    }
}

/// A lock that nobody else is at, and that a second look finds taken while it is.
fn alone(what: &str, times: u64) -> Result<Duration> {
    match what {
        "lock" => {
            let lock = Lock::new()?;
            let guard = lock.lock()?;
            expect(lock.try_lock().is_err())?;
            drop(guard);
            timed(times, || {
                drop(black_box(&lock).lock()?);
                Ok(())
            })
        }
        "robust" => {
            let mutex = Robust::new()?;
            expect(mutex.with(|| mutex.is_held())??)?;
            timed(times, || black_box(&mutex).with(|| ()))
        }
        "std" => {
            let mutex = Mutex::new(());
            let guard = mutex.lock();
            expect(mutex.try_lock().is_err())?;
            drop(guard);
            timed(times, || {
                drop(black_box(&mutex).lock().map_err(|_| "somebody has panicked")?);
                Ok(())
            })
        }
        "parking_lot" => {
            let mutex = parking_lot::Mutex::new(());
            let guard = mutex.lock();
            expect(mutex.is_locked())?;
            drop(guard);
            timed(times, || {
                drop(black_box(&mutex).lock());
                Ok(())
            })
        }
        _ => Err("there is no such lock".into()),
    }
}

/// An event, or a word of shared memory, that is set again and again.
fn set(what: &str, times: u64) -> Result<Duration> {
    if what == "event" {
        let event = Event::new()?;
        let took = timed(times, || {
            black_box(&event).set();
            Ok(())
        });
        expect(event.is_set())?;
        return took;
    }
    let slot = Slot::allocate(size_of::<AtomicU64>(), 0)?;
    let word = &slot.words()[0];
    let took = timed(times, || {
        black_box(word).store(1, SeqCst);
        Ok(())
    });
    expect(word.load(SeqCst) == 1)?;
    took
}

/// The same, cleared after each time.
fn set_and_clear(what: &str, times: u64) -> Result<Duration> {
    if what == "event" {
        let event = Event::new()?;
        let took = timed(times, || {
            black_box(&event).set();
            black_box(&event).clear();
            Ok(())
        });
        expect(!event.is_set())?;
        return took;
    }
    let slot = Slot::allocate(size_of::<AtomicU64>(), 0)?;
    let word = &slot.words()[0];
    let took = timed(times, || {
        black_box(word).store(1, SeqCst);
        black_box(word).store(0, SeqCst);
        Ok(())
    });
    expect(word.load(SeqCst) == 0)?;
    took
}

fn expect(is_so: bool) -> Result {
    if is_so { Ok(()) } else { Err("it did not do what it is for".into()) }
}
