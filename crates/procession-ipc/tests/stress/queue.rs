//! Queues: each item once or not at all, whole, in order of its producer; at most one lost for each that is killed.

use std::fmt::Debug;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use procession_ipc::{GetError, PutError, Queue};
use procession_sys::{Access, MemoryFile, SharedMap, memory_file};
use procession_wire::Descriptor;

use crate::board::{Common, WORKERS_MAX};
use crate::subject::{Place, Subject};
use crate::worker::Worker;

/// How long a worker waits for an item or for room at least, and how much longer at most. If all waited for as long, and
/// began when one of them gave up, their looks and ends would fall on one instant again and again.
const WAIT_MIN: u64 = 55_000;
const WAIT_MORE: u64 = 40_000;

/// Above so many items nobody puts any.
const CROWD: usize = 24;

/// The longest item.
const BYTES_MAX: u64 = 300 << 10;

/// Numbers that each worker's place may give to items.
const NUMBERS: u64 = 1 << 22;

/// Words of the board: of each worker's place the number of its next item; then the kills that were reckoned with.
const DEATHS: usize = WORKERS_MAX;

const PLACES: &[Place] = &[
    Place::either("ring: to put"),
    Place::inside("ring: written"),
    Place::inside("ring: published"),
    Place::inside("ring: to take"),
    Place::inside("ring: read"),
    Place::inside("ring: taken"),
    Place::inside("ring: settled"),
    Place::outside("ring: not told").rare(),
    Place::seldom("ring: nobody woken"),
    Place::seldom("ring: mark cleared"),
    Place::outside("ring: marked"),
    Place::outside("ring: woken").rare(),
    Place::outside("store: to claim").rare(),
    Place::inside("store: segment taken").rare(),
    Place::inside("store: segment begun").rare(),
    Place::inside("store: segment to end").rare(),
    Place::outside("channel: block claimed").rare(),
    Place::outside("channel: body written").rare(),
    Place::inside("channel: block queued").rare(),
    Place::inside("channel: descriptors sent").rare(),
    Place::inside("channel: descriptors seen").rare(),
    Place::inside("channel: block had").rare(),
    Place::inside("channel: descriptors taken").rare(),
    Place::outside("channel: block to free").rare(),
    Place::outside("queue: body to read").rare(),
    // The sides' locks, of which the loop of procession-sync sees to more.
    Place::seldom("lock: marked"),
    Place::seldom("lock: woken"),
    Place::seldom("lock: to take"),
    Place::seldom("lock: taken"),
    Place::seldom("lock: to free"),
    Place::seldom("lock: freed"),
    Place::seldom("lock: freed, not woken"),
    Place::seldom("lock: nobody woken"),
];

/// Where it comes from, its number there, bytes that both tell, and a pipe that has the number in it.
type Item = (usize, u64, Vec<u8>, Option<Descriptor>);

/// A queue, and for each number of each place whether it was had.
#[derive(Debug)]
struct Queues {
    queue: Queue<Item>,
    had: SharedMap,
}

impl Queues {
    fn over(queue: Queue<Item>) -> Self {
        let bytes = NUMBERS / 8 * WORKERS_MAX as u64;
        let file = memory_file("stress", &MemoryFile { bytes, huge_page_bits: None }).expect("a file");
        let had = SharedMap::map(&file, bytes as usize, Access::ReadWrite).expect("a mapping");
        Self { queue, had }
    }

    /// Where it is noted whether an item was had: a word, and a bit in it.
    fn note(&self, place: usize, number: u64) -> (&AtomicU64, u64) {
        assert!(number < NUMBERS, "item {number} of {place}, where no number is so high");
        let at = (place as u64 * NUMBERS + number) / 64 * 8;
        (self.had.atomic_u64(at as usize).expect("a word"), 1 << (number % 64))
    }

    fn turn(&self, worker: &Worker) {
        worker.tells(false);
        // Mostly what can be done at once: else all would wait for most of the time.
        let puts = match self.queue.len() {
            0 => 14,
            len if len >= self.queue.capacity().unwrap_or(CROWD) => 2,
            _ => 8,
        };
        if worker.below(16) < puts { self.put(worker) } else { self.take(worker) }
    }

    fn put(&self, worker: &Worker) {
        let number = worker.board.spare(worker.number).fetch_add(1, SeqCst);
        let bytes = match worker.below(8) {
            0 => 0,
            1 | 2 => worker.below(BYTES_MAX),
            3 => worker.below(16 << 10),
            _ => worker.below(100),
        };
        let carried = (worker.below(4) == 0).then(|| pipe_with(number));
        let item = (worker.number, number, vec![fill(worker.number, number); bytes as usize], carried);
        let put =
            if worker.below(8) == 0 { self.queue.try_put(item) } else { self.queue.put_timeout(item, wait(worker)) };
        match put {
            Ok(()) => {
                worker.had();
                worker.passed();
            }
            // It will never be had.
            Err(PutError::Full((place, number, ..))) => {
                worker.gave_up();
                let (word, bit) = self.note(place, number);
                word.fetch_or(bit, SeqCst);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn take(&self, worker: &Worker) {
        let had = if worker.below(8) == 0 { self.queue.try_get() } else { self.queue.get_timeout(wait(worker)) };
        match had {
            Ok(item) => {
                worker.had();
                self.check(item);
                worker.use_it();
            }
            Err(GetError::Empty | GetError::Timeout) => worker.gave_up(),
            Err(error) => panic!("{error}"),
        }
    }

    fn check(&self, (place, number, bytes, carried): Item) {
        assert!(place < WORKERS_MAX, "nobody's item");
        assert!(bytes == vec![fill(place, number); bytes.len()], "item {number} of {place} is torn");
        if let Some(pipe) = carried {
            let mut word = [0; 8];
            File::from(pipe.as_fd().try_clone_to_owned().unwrap()).read_exact(&mut word).unwrap();
            assert_eq!(u64::from_le_bytes(word), number, "the descriptor of another item");
        }
        let (word, bit) = self.note(place, number);
        assert_eq!(word.fetch_or(bit, SeqCst) & bit, 0, "item {number} of {place} was had twice");
    }

    /// With nobody at it: what is left comes in order; no more is lost than were killed, and no block is used.
    fn is_quiet(&self, worker: &Worker) {
        let drain = || {
            let mut last = [None; WORKERS_MAX];
            while let Ok(item) = self.queue.try_get() {
                let before = last[item.0].replace(item.1);
                assert!(before < Some(item.1), "item {} of {} after {before:?}", item.1, item.0);
                self.check(item);
            }
        };
        drain();
        // Somebody has to come after who died last.
        let number = worker.board.spare(worker.number).fetch_add(1, SeqCst);
        self.queue.try_put((worker.number, number, Vec::new(), None)).expect("there is room");
        drain();
        let begun = |place: usize| worker.board.spare(place).load(SeqCst);
        let is_lost = |&(place, number): &(usize, u64)| {
            let (word, bit) = self.note(place, number);
            word.fetch_or(bit, SeqCst) & bit == 0
        };
        let all = (0..WORKERS_MAX).flat_map(|place| (0..begun(place)).map(move |number| (place, number)));
        let lost = all.filter(is_lost).count() as u64;
        // Each is counted before it is killed, and after.
        let deaths = worker.board.get(Common::Deaths);
        let killed = deaths - worker.board.spare(DEATHS).swap(deaths, SeqCst);
        assert!(lost * 2 <= killed, "{lost} items are lost, and {} workers were killed", killed / 2);
        let usage = self.queue.usage();
        assert!(usage.held == 0 && usage.queued == 0 && usage.bytes == 0 && usage.segments <= 1, "{usage:?}");
        assert!(usage.left <= 2 * WORKERS_MAX, "{usage:?}");
        assert!(self.queue.is_empty());
    }
}

/// How long a worker waits this time.
fn wait(worker: &Worker) -> Duration {
    Duration::from_micros(WAIT_MIN + worker.below(WAIT_MORE))
}

/// What an item is filled with.
fn fill(place: usize, number: u64) -> u8 {
    (number * 8 + place as u64) as u8
}

/// The read end of a pipe with a number in it.
fn pipe_with(number: u64) -> Descriptor {
    use std::io::Write;
    let (read, write) = procession_sys::pipe().expect("a pipe");
    File::from(write).write_all(&number.to_le_bytes()).expect("room");
    read.into()
}

/// A queue without a limit of items.
#[derive(Debug)]
pub(crate) struct Unbounded(Queues);

impl Subject for Unbounded {
    const NAME: &'static str = "queue";
    const PLACES: &'static [&'static [Place]] = &[PLACES];
    const STRANDS: &'static [&'static str] = &["ring: mark cleared"];

    fn new() -> Self {
        Self(Queues::over(Queue::unbounded().expect("a queue")))
    }

    fn turn(&self, worker: &Worker) {
        self.0.turn(worker);
    }

    fn is_quiet(&self, worker: &Worker) {
        self.0.is_quiet(worker);
    }
}

/// One that is full with two.
#[derive(Debug)]
pub(crate) struct Bounded(Queues);

impl Subject for Bounded {
    const NAME: &'static str = "bounded-queue";
    const PLACES: &'static [&'static [Place]] = &[PLACES];
    const STRANDS: &'static [&'static str] = &["ring: mark cleared"];

    fn new() -> Self {
        Self(Queues::over(Queue::bounded(2).expect("a queue")))
    }

    fn turn(&self, worker: &Worker) {
        self.0.turn(worker);
    }

    fn is_quiet(&self, worker: &Worker) {
        self.0.is_quiet(worker);
    }
}
