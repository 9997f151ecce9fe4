//! What workers put and take: items that tell where they come from, and of each whether it was had.
//!
//! Relies on the board for the numbers, and on memory of its own for what was had, as nothing that is tested here may tell.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use procession_sys::{Access, MemoryFile, SharedMap, memory_file};
use procession_wire::Descriptor;

use crate::board::{Common, WORKERS_MAX};
use crate::subject::Place;
use crate::worker::Worker;

/// How long a worker waits for an item or for room at least, and how much longer at most. If all waited for as long, and
/// began when one of them gave up, their looks and ends would fall on one instant again and again.
const WAIT_MIN: u64 = 55_000;
const WAIT_MORE: u64 = 40_000;

/// The longest item.
const BYTES_MAX: u64 = 300 << 10;

/// Numbers that each worker's place may give to items.
const NUMBERS: u64 = 1 << 22;

/// Words of the board: of each worker's place the number of its next item; then the kills that were reckoned with.
const DEATHS: usize = WORKERS_MAX;

/// The places of a channel.
pub(crate) const PLACES: &[Place] = &[
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
pub(crate) type Item = (usize, u64, Vec<u8>, Option<Descriptor>);

/// For each number of each place whether it was had.
#[derive(Debug)]
pub(crate) struct Items {
    had: SharedMap,
    /// The number that this process had last of each place, and one more.
    last: [Cell<u64>; WORKERS_MAX],
}

impl Items {
    pub(crate) fn new() -> Self {
        let bytes = NUMBERS / 8 * WORKERS_MAX as u64;
        let file = memory_file("stress", &MemoryFile { bytes, huge_page_bits: None }).expect("a file");
        let had = SharedMap::map(&file, bytes as usize, Access::ReadWrite).expect("a mapping");
        Self { had, last: Default::default() }
    }

    /// Where it is noted whether an item was had: a word, and a bit in it.
    fn bit(&self, place: usize, number: u64) -> (&AtomicU64, u64) {
        assert!(number < NUMBERS, "item {number} of {place}, where no number is so high");
        let at = (place as u64 * NUMBERS + number) / 64 * 8;
        (self.had.atomic_u64(at as usize).expect("a word"), 1 << (number % 64))
    }

    /// Notes that it was had; true if that was known.
    fn note(&self, place: usize, number: u64) -> bool {
        let (word, bit) = self.bit(place, number);
        word.fetch_or(bit, SeqCst) & bit != 0
    }

    /// The next item of a place, of so many bytes.
    pub(crate) fn of_bytes(&self, worker: &Worker, place: usize, bytes: u64) -> Item {
        let number = worker.board.spare(place).fetch_add(1, SeqCst);
        (place, number, vec![fill(place, number); bytes as usize], None)
    }

    /// The worker's next item.
    pub(crate) fn next(&self, worker: &Worker) -> Item {
        let bytes = match worker.below(8) {
            0 => 0,
            1 | 2 => worker.below(BYTES_MAX),
            3 => worker.below(16 << 10),
            _ => worker.below(100),
        };
        let mut item = self.of_bytes(worker, worker.number, bytes);
        item.3 = (worker.below(4) == 0).then(|| pipe_with(item.1));
        item
    }

    /// An item was not put, and never will be had.
    pub(crate) fn was_not_put(&self, place: usize, number: u64) {
        self.note(place, number);
    }

    /// An item was had: the first time, whole, and after all that this process had of that place before.
    pub(crate) fn check(&self, (place, number, bytes, carried): Item) {
        assert!(place < WORKERS_MAX, "nobody's item");
        assert!(bytes == vec![fill(place, number); bytes.len()], "item {number} of {place} is torn");
        if let Some(pipe) = carried {
            let mut word = [0; 8];
            File::from(pipe.as_fd().try_clone_to_owned().unwrap()).read_exact(&mut word).unwrap();
            assert_eq!(u64::from_le_bytes(word), number, "the descriptor of another item");
        }
        let next = self.last[place].replace(number + 1);
        assert!(number >= next, "item {number} of {place} came after {}", next.wrapping_sub(1));
        assert!(!self.note(place, number), "item {number} of {place} was had twice");
    }

    /// When none is left: no more are lost than were killed since this was last asked.
    pub(crate) fn check_lost(&self, worker: &Worker) {
        let begun = |place: usize| worker.board.spare(place).load(SeqCst);
        let all = (0..WORKERS_MAX).flat_map(|place| (0..begun(place)).map(move |number| (place, number)));
        let lost = all.filter(|&(place, number)| !self.note(place, number)).count() as u64;
        // Each is counted before it is killed, and after.
        let deaths = worker.board.get(Common::Deaths);
        let killed = deaths - worker.board.spare(DEATHS).swap(deaths, SeqCst);
        assert!(lost * 2 <= killed, "{lost} items are lost, and {} workers were killed", killed / 2);
    }
}

/// How long a worker waits this time.
pub(crate) fn wait(worker: &Worker) -> Duration {
    Duration::from_micros(WAIT_MIN + worker.below(WAIT_MORE))
}

/// What an item is filled with.
fn fill(place: usize, number: u64) -> u8 {
    (number * 8 + place as u64) as u8
}

/// The read end of a pipe with a number in it.
fn pipe_with(number: u64) -> Descriptor {
    let (read, write) = procession_sys::pipe().expect("a pipe");
    File::from(write).write_all(&number.to_le_bytes()).expect("room");
    read.into()
}
