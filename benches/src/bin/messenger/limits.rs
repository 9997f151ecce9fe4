//! The limits: memory that two processes share, and the kernel's way to wake one, with nothing around them.
//!
//! Relies on slots and arrays for the memory. Nobody survives the death of the other here, and nothing grows.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

use procession_benches::Result;
use procession_benches::runner::timed;
use procession_shm::SharedArray;
use procession_shm::arena::Slot;
use procession_sys::{Deadline, futex_wait, futex_wake};
use serde::{Deserialize, Serialize};

use crate::way::{Item, LARGE, Put, Take, Way};

/// A cache line that one process writes and the other looks at.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Line(Slot);

impl Line {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Slot::allocate(2 * size_of::<AtomicU64>(), 0)?))
    }
}

/// One end of it, and how often it was used.
struct LineEnd(Slot, u64);

impl Way for Line {
    type Item = u64;

    fn producer(self) -> Result<impl Put<u64>> {
        Ok(LineEnd(self.0, 0))
    }

    fn consumer(self) -> Result<impl Take<u64>> {
        Ok(LineEnd(self.0, 0))
    }
}

impl Put<u64> for LineEnd {
    fn put(&mut self, item: &u64) -> Result {
        self.1 += 1;
        let words = self.0.words();
        words[1].store(*item, Relaxed);
        words[0].store(self.1, Release);
        Ok(())
    }
}

impl Take<u64> for LineEnd {
    fn take<R>(&mut self, look: impl FnOnce(&u64) -> R) -> Result<R> {
        self.1 += 1;
        let words = self.0.words();
        while words[0].load(Acquire) != self.1 {
            spin_loop();
        }
        Ok(look(&words[1].load(Relaxed)))
    }
}

/// The same, but who takes sleeps, and who puts wakes it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Futex(Slot);

impl Futex {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Slot::allocate(2 * size_of::<AtomicU64>(), 0)?))
    }
}

/// One end of it, and how often it was used.
struct FutexEnd(Slot, u32);

impl Way for Futex {
    type Item = u64;

    fn producer(self) -> Result<impl Put<u64>> {
        Ok(FutexEnd(self.0, 0))
    }

    fn consumer(self) -> Result<impl Take<u64>> {
        Ok(FutexEnd(self.0, 0))
    }
}

impl Put<u64> for FutexEnd {
    fn put(&mut self, item: &u64) -> Result {
        let word = self.0.atomic_u32(0)?;
        self.0.words()[1].store(*item, Relaxed);
        word.fetch_add(1, Release);
        futex_wake(word, 1)?;
        Ok(())
    }
}

impl Take<u64> for FutexEnd {
    fn take<R>(&mut self, look: impl FnOnce(&u64) -> R) -> Result<R> {
        let word = self.0.atomic_u32(0)?;
        while word.load(Acquire) == self.1 {
            futex_wait(word, self.1, Deadline::NEVER)?;
        }
        self.1 = self.1.wrapping_add(1);
        Ok(look(&self.0.words()[1].load(Relaxed)))
    }
}

/// How many numbers are under way at most, wherever that has to be said: more of them make nobody faster.
pub(crate) const NUMBERS_UNDER_WAY: usize = 1024;

/// How many large messages are under way at most, here and wherever that can be said.
pub(crate) const UNDER_WAY: usize = 8;

/// Memory for as many messages, which one process copies in and another out of it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Blocks {
    memory: SharedArray<u8>,
    put: Slot,
    taken: Slot,
}

impl Blocks {
    pub(crate) fn new() -> Result<Self> {
        let count = || Slot::allocate(size_of::<AtomicU64>(), 0);
        Ok(Self { memory: SharedArray::zeroed(UNDER_WAY * LARGE)?, put: count()?, taken: count()? })
    }

    /// Where the message of a number stands.
    fn place(number: u64) -> usize {
        number as usize % UNDER_WAY * LARGE
    }
}

struct BlocksEnd {
    blocks: Blocks,
    message: Vec<u8>,
}

impl Way for Blocks {
    type Item = Vec<u8>;

    fn producer(self) -> Result<impl Put<Vec<u8>>> {
        Ok(BlocksEnd { blocks: self, message: Vec::new() })
    }

    fn consumer(self) -> Result<impl Take<Vec<u8>>> {
        Ok(BlocksEnd { blocks: self, message: vec![0; LARGE] })
    }
}

impl Put<Vec<u8>> for BlocksEnd {
    fn put(&mut self, item: &Vec<u8>) -> Result {
        let Blocks { memory, put, taken } = &self.blocks;
        let number = put.words()[0].load(Relaxed);
        while number - taken.words()[0].load(Acquire) == UNDER_WAY as u64 {
            spin_loop();
        }
        memory.write(Blocks::place(number), item)?;
        put.words()[0].store(number + 1, Release);
        Ok(())
    }
}

impl Take<Vec<u8>> for BlocksEnd {
    fn take<R>(&mut self, look: impl FnOnce(&Vec<u8>) -> R) -> Result<R> {
        let Blocks { memory, put, taken } = &self.blocks;
        let number = taken.words()[0].load(Relaxed);
        while put.words()[0].load(Acquire) == number {
            spin_loop();
        }
        memory.read(Blocks::place(number), &mut self.message)?;
        taken.words()[0].store(number + 1, Release);
        Ok(look(&self.message))
    }
}

/// One process copies a message into as much memory, one place after the other: each is copied once.
pub(crate) fn copied(times: u64) -> Result<Duration> {
    let mut message: Vec<u8> = Vec::blank();
    let mut places = vec![message.clone(); UNDER_WAY];
    let mut number = 0;
    timed(times, || {
        let place = &mut places[number as usize % UNDER_WAY];
        message.set_number(number);
        black_box(&mut *place).copy_from_slice(black_box(&message));
        number += 1;
        let arrived = black_box(place).number() == Some(number - 1);
        if arrived { Ok(()) } else { Err("the copy is not what was copied".into()) }
    })
}

/// The clock is waited for by looking at it for so long, because who sleeps wakes later than it wanted.
const LATE_MAX: Duration = Duration::from_millis(1);

/// Takes as long as so many large messages at 1 GiB a second: a promise of so much, and not of a ratio to somebody.
///
/// Says what the clock says, as any other contestant: the arithmetic of who measures fails where all runs are equal.
pub(crate) fn gib_a_second(times: u64) -> Duration {
    let began = Instant::now();
    let takes = Duration::from_secs_f64(times as f64 * LARGE as f64 / f64::from(1 << 30));
    thread::sleep(takes.saturating_sub(LATE_MAX));
    while began.elapsed() < takes {
        spin_loop();
    }
    began.elapsed()
}
