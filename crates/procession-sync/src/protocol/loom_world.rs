//! A kernel for models: words, futexes and deaths, of which `loom` tries every order.
//!
//! Each thread of a model is a process. A process that dies does so at a place that it passes, by unwinding; who sleeps
//! then wakes, as it would in time.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU64};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use procession_shm::arena::Owner;

use super::{Word, World, low};

/// Words in a model.
pub const WORDS: usize = 20;

/// Processes in a model, the first included, and one number that is none's.
const PROCESSES: usize = 5;

impl Word for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    fn add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    fn touch(&self, order: Ordering) -> u64 {
        self.fetch_add(0, order)
    }

    fn exchange(&self, seen: u64, next: u64, success: Ordering, failure: Ordering) -> Result<u64, u64> {
        self.compare_exchange(seen, next, success, failure)
    }
}

/// What becomes of a process.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Nothing.
    Lives,
    /// When it first comes to the place.
    KilledAt(&'static str),
    /// When it first comes to the place and the first word says something else than zero and these bits; nobody looks
    /// again for its sake.
    KilledUnnoticedAt(&'static str, u64),
    /// When it first comes to the place and this is true of the first word; nobody looks again for its sake.
    KilledUnnoticedIf(&'static str, fn(u64) -> bool),
}

/// One sleeper of a futex.
#[derive(Debug)]
struct Asleep {
    word: usize,
    process: u32,
}

/// Who sleeps, and what has happened that sleepers find out in time.
#[derive(Debug, Default)]
struct Sleep {
    asleep: Vec<Asleep>,
    deaths: u32,
}

struct Shared {
    words: [AtomicU64; WORDS],
    sleep: Mutex<Sleep>,
    woken: Condvar,
    dead: [AtomicBool; PROCESSES],
    /// What a lock guards: `loom` objects when two are at it without having met.
    guarded: UnsafeCell<()>,
}

/// The kernel as one process has it.
pub struct Kernel {
    shared: Arc<Shared>,
    process: u32,
    fate: Fate,
    /// How many deaths it has looked again for.
    looked_for: Cell<u32>,
    /// Whether its time is over.
    is_hurried: Cell<bool>,
}

/// How a killed process unwinds.
struct Killed;

/// A process that was started.
#[derive(Debug)]
pub struct Process<R>(JoinHandle<Option<R>>);

impl<R> Process<R> {
    /// What it returned; `None` if it was killed.
    ///
    /// # Panics
    /// If it panicked.
    #[expect(clippy::must_use_candidate, reason = "many models ask only that it ends")]
    pub fn join(self) -> Option<R> {
        self.0.join().expect("it catches what is not its death")
    }
}

/// Tries every order of the steps in which at most so many times a process is interrupted that could go on.
pub fn model(preemptions: usize, run: impl Fn(Kernel) + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let shared = Shared {
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            sleep: Mutex::new(Sleep::default()),
            woken: Condvar::new(),
            dead: std::array::from_fn(|_| AtomicBool::new(false)),
            guarded: UnsafeCell::new(()),
        };
        run(Kernel {
            shared: Arc::new(shared),
            process: 1,
            fate: Fate::Lives,
            looked_for: Cell::new(0),
            is_hurried: Cell::new(false),
        });
    });
}

/// The name of a process in a model.
///
/// # Panics
/// Never.
#[must_use]
pub fn name(process: u32) -> Owner {
    Owner::from_word(1 << 8 | process).expect("a name")
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("process", &self.process).field("fate", &self.fate).finish_non_exhaustive()
    }
}

impl Kernel {
    /// Starts a process, known by a number from 2 on.
    pub fn spawn<R: 'static>(&self, process: u32, fate: Fate, run: impl FnOnce(&Self) -> R + 'static) -> Process<R> {
        let kernel = Self {
            shared: Arc::clone(&self.shared),
            process,
            fate,
            looked_for: Cell::new(0),
            is_hurried: Cell::new(false),
        };
        Process(thread::spawn(move || {
            let ended: Result<R, Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| run(&kernel)));
            match ended {
                Ok(result) => Some(result),
                Err(cause) if cause.is::<Killed>() => None,
                Err(cause) => resume_unwind(cause),
            }
        }))
    }

    /// Which process this is.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// A word.
    pub fn word(&self, which: usize) -> &AtomicU64 {
        &self.shared.words[which]
    }

    /// Several words.
    pub fn words(&self, which: impl std::slice::SliceIndex<[AtomicU64], Output = [AtomicU64]>) -> &[AtomicU64] {
        &self.shared.words[which]
    }

    /// Has no time to wait from now on.
    pub fn hurry(&self) {
        self.is_hurried.set(true);
    }

    /// Has a process sleep on a word that does nothing when it is woken.
    ///
    /// # Panics
    /// If another thread has.
    pub fn put_to_sleep(&self, which: usize, process: u32) {
        self.shared.sleep.lock().expect("nobody panics with it").asleep.push(Asleep { word: which, process });
    }

    /// How many sleep.
    ///
    /// # Panics
    /// If another thread has.
    pub fn asleep(&self) -> usize {
        self.shared.sleep.lock().expect("nobody panics with it").asleep.len()
    }

    /// Touches what a lock guards.
    pub fn touch(&self) {
        self.shared.guarded.with_mut(|_| ());
    }

    /// Looks at what a lock guards, as others may at the same time.
    pub fn look(&self) {
        self.shared.guarded.with(|_| ());
    }

    fn die(&self, is_noticed: bool) -> ! {
        self.shared.dead[self.process as usize].store(true, Ordering::Release);
        if is_noticed {
            let mut sleep = self.shared.sleep.lock().expect("nobody panics with it");
            sleep.deaths += 1;
            sleep.asleep.clear();
            drop(sleep);
            self.shared.woken.notify_all();
        }
        resume_unwind(Box::new(Killed))
    }
}

impl World for Kernel {
    type Word = AtomicU64;

    fn is_alive(&self, owner: Owner) -> bool {
        self.shared.dead.get(owner.number() as usize).is_some_and(|dead| !dead.load(Ordering::Acquire))
    }

    fn spin(&self) -> bool {
        false // It adds no order.
    }

    fn is_over(&self) -> bool {
        self.is_hurried.get()
    }

    fn park(&self, word: &AtomicU64, expected: u32) {
        let which = self.shared.words.iter().position(|known| std::ptr::eq(known, word)).expect("a word of the model");
        let mut sleep = self.shared.sleep.lock().expect("nobody panics with it");
        // Who looked before a death wakes in time to look again, so it need not sleep at all.
        let is_late = self.looked_for.replace(sleep.deaths) != sleep.deaths;
        if is_late || low(word.load(Ordering::SeqCst)) != expected {
            return;
        }
        sleep.asleep.push(Asleep { word: which, process: self.process });
        while sleep.asleep.iter().any(|sleeper| sleeper.process == self.process) {
            sleep = self.shared.woken.wait(sleep).expect("nobody panics with it");
        }
        self.looked_for.set(sleep.deaths);
    }

    fn wake(&self, word: &AtomicU64, count: u32) -> usize {
        let which = self.shared.words.iter().position(|known| std::ptr::eq(known, word)).expect("a word of the model");
        let mut sleep = self.shared.sleep.lock().expect("nobody panics with it");
        let mut woken = 0;
        sleep.asleep.retain(|sleeper| {
            let wakes = sleeper.word == which && woken < count as usize;
            woken += usize::from(wakes);
            !wakes
        });
        self.shared.woken.notify_all();
        woken
    }

    fn at(&self, place: &'static str) {
        match self.fate {
            Fate::KilledAt(wanted) if wanted == place => self.die(true),
            Fate::KilledUnnoticedAt(wanted, mask)
                if wanted == place && self.word(0).load(Ordering::Relaxed) & !mask != 0 =>
            {
                self.die(false);
            }
            Fate::KilledUnnoticedIf(wanted, is_due)
                if wanted == place && is_due(self.word(0).load(Ordering::Relaxed)) =>
            {
                self.die(false);
            }
            _ => {}
        }
    }
}
