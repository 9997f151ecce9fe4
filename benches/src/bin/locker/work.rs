//! What the gangs do: take a lock, count, or go to and fro.
//!
//! Relies on slots for memory that processes share; each object has one of its own, and so a cache line.

use std::hint::spin_loop;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use procession_benches::Result;
use procession_shm::arena::Slot;
use procession_sync::{Event, Lock, RawValue, Semaphore, Value};
use serde::{Deserialize, Serialize};

use crate::gang::Work;
use crate::robust::Robust;

/// A number in shared memory.
#[derive(Clone, Serialize, Deserialize)]
struct Number(Slot);

impl Number {
    fn new() -> Result<Self> {
        Ok(Self(Slot::allocate(size_of::<AtomicU64>(), 0)?))
    }

    fn atomic(&self) -> &AtomicU64 {
        &self.0.words()[0]
    }

    fn get(&self) -> u64 {
        self.atomic().load(Relaxed)
    }

    /// As if it were no atomic: two at once would lose one.
    fn add_one(&self) {
        self.atomic().store(self.get() + 1, Relaxed);
    }
}

/// A number that is increased by whoever has our lock.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct UnderLock(Lock, Number);

impl UnderLock {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Lock::new()?, Number::new()?))
    }
}

impl Work for UnderLock {
    fn part(&self, _: usize, times: u64) -> Result {
        for _ in 0..times {
            let _guard = self.0.lock()?;
            self.1.add_one();
        }
        Ok(())
    }

    fn done(&self) -> Result<u64> {
        Ok(self.1.get())
    }
}

/// The same with the C library's mutex.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct UnderRobust(Robust, Number);

impl UnderRobust {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Robust::new()?, Number::new()?))
    }
}

impl Work for UnderRobust {
    fn part(&self, _: usize, times: u64) -> Result {
        (0..times).try_for_each(|_| self.0.with(|| self.1.add_one()))
    }

    fn done(&self) -> Result<u64> {
        Ok(self.1.get())
    }
}

/// A value with a lock of its own.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Counted(Value<u64>);

impl Counted {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Value::new(0)?))
    }
}

impl Work for Counted {
    fn part(&self, _: usize, times: u64) -> Result {
        for _ in 0..times {
            *self.0.lock()? += 1;
        }
        Ok(())
    }

    fn done(&self) -> Result<u64> {
        Ok(self.0.get()?)
    }
}

/// A value without a lock.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Raw(RawValue<u64>);

impl Raw {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RawValue::new(0)?))
    }
}

impl Work for Raw {
    fn part(&self, _: usize, times: u64) -> Result {
        for _ in 0..times {
            self.0.fetch_add(1);
        }
        Ok(())
    }

    fn done(&self) -> Result<u64> {
        Ok(self.0.get())
    }
}

/// The bare instruction.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Bare(Number);

impl Bare {
    pub(crate) fn new() -> Result<Self> {
        Number::new().map(Self)
    }
}

impl Work for Bare {
    fn part(&self, _: usize, times: u64) -> Result {
        for _ in 0..times {
            self.0.atomic().fetch_add(1, AcqRel);
        }
        Ok(())
    }

    fn done(&self) -> Result<u64> {
        Ok(self.0.get())
    }
}

/// Who has gone to and fro how often is told by two numbers, which are looked at when all is over.
#[derive(Clone, Serialize, Deserialize)]
struct Turns([Number; 2]);

impl Turns {
    fn new() -> Result<Self> {
        Ok(Self([Number::new()?, Number::new()?]))
    }

    fn all(&self) -> u64 {
        self.0.iter().map(Number::get).sum()
    }
}

/// Two events: there, and back.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Events([Event; 2], Turns);

impl Events {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self([Event::new()?, Event::new()?], Turns::new()?))
    }
}

impl Work for Events {
    fn part(&self, who: usize, times: u64) -> Result {
        let (own, other) = (&self.0[who], &self.0[1 - who]);
        for _ in 0..times {
            if who == 0 {
                other.set();
            }
            own.wait()?;
            own.clear();
            if who == 1 {
                other.set();
            }
        }
        self.1.0[who].atomic().fetch_add(times, Relaxed);
        Ok(())
    }

    fn done(&self) -> Result<u64> {
        if self.0.iter().any(Event::is_set) { Err("an event was left behind".into()) } else { Ok(self.1.all()) }
    }
}

/// Two semaphores: there, and back.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Semaphores([Semaphore; 2], Turns);

impl Semaphores {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self([Semaphore::new(0)?, Semaphore::new(0)?], Turns::new()?))
    }
}

impl Work for Semaphores {
    fn part(&self, who: usize, times: u64) -> Result {
        let (own, other) = (&self.0[who], &self.0[1 - who]);
        for _ in 0..times {
            if who == 0 {
                other.release(1)?;
            }
            own.acquire()?.forget(); // The permit is used up; the other gives a new one.
            if who == 1 {
                other.release(1)?;
            }
        }
        self.1.0[who].atomic().fetch_add(times, Relaxed);
        Ok(())
    }

    fn done(&self) -> Result<u64> {
        let left = self.0.iter().any(|semaphore| semaphore.available() != 0);
        if left { Err("a permit was left behind".into()) } else { Ok(self.1.all()) }
    }
}

/// Two cache lines, each of which is written by one and looked at by the other.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Line(Turns);

impl Line {
    pub(crate) fn new() -> Result<Self> {
        Turns::new().map(Self)
    }
}

impl Work for Line {
    fn part(&self, who: usize, times: u64) -> Result {
        let (own, other) = (self.0.0[who].atomic(), self.0.0[1 - who].atomic());
        let before = own.load(Relaxed);
        for turn in before + 1..=before + times {
            if who == 0 {
                own.store(turn, Release);
            }
            while other.load(Acquire) != turn {
                spin_loop();
            }
            if who == 1 {
                own.store(turn, Release);
            }
        }
        Ok(())
    }

    fn done(&self) -> Result<u64> {
        Ok(self.0.all())
    }
}
