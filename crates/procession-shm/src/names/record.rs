//! The record of the names that one process owns: a file beside theirs, locked for as long as the process lives.
//!
//! A name is entered before it exists and struck out after it is gone, so whatever the process is killed in the middle
//! of, each name that exists stands in its record. The other way round a record may tell of a name that does not exist,
//! or is another's by now; hence a name is entered with its file's number, and means that file only.
//!
//! The file is [`MAGIC`], then slots of [`SLOT_BYTES`]: the file's number (0: the slot is free), the length of the name,
//! and the name. It appears in its directory locked (flock(2)). The kernel takes the lock away when its last descriptor
//! closes, and only the owner has one.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use procession_sys::{Unshared, effective_user, give_name, pid, random_bytes, unnamed_file, write_at};

use super::name::{Name, SEGMENT_NAME_BYTES_MAX};

/// How the names of records begin.
pub(super) const PREFIX: &str = "procession-names-";

/// How many named segments one process may own: a record stays small enough to be read at once, and a program that needs
/// so many names wants segments without.
pub const NAMED_SEGMENTS_MAX: usize = 4096;

/// What a record begins with.
pub(super) const MAGIC: &[u8; 8] = b"PRCNAM01";

/// The bytes of a file's number, and of a name's length.
const NUMBER_BYTES: usize = 8;
const LENGTH_BYTES: usize = 1;

/// The bytes of a slot: a multiple of eight, so no page ends inside a file's number.
pub(super) const SLOT_BYTES: usize = NUMBER_BYTES + LENGTH_BYTES + SEGMENT_NAME_BYTES_MAX;

/// The longest record.
pub(super) const RECORD_BYTES_MAX: usize = MAGIC.len() + NAMED_SEGMENTS_MAX * SLOT_BYTES;

/// A name that a process owns, and which file it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) number: u64,
    pub(super) name: Name,
}

impl Slot {
    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let name = self.name.as_str().as_bytes();
        bytes[..NUMBER_BYTES].copy_from_slice(&self.number.to_le_bytes());
        bytes[NUMBER_BYTES] = u8::try_from(name.len()).unwrap_or(u8::MAX); // No name is longer.
        bytes[NUMBER_BYTES + LENGTH_BYTES..][..name.len()].copy_from_slice(name);
        bytes
    }

    /// From any bytes at all; `None` for a free slot and for one that no owner writes.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk::<NUMBER_BYTES>()?;
        let (&length, rest) = rest.split_first()?;
        let name = std::str::from_utf8(rest.get(..usize::from(length))?).ok()?;
        let number = u64::from_le_bytes(*number);
        (number != 0).then_some(Self { number, name: Name::new(name).ok()? })
    }
}

/// What stands in a record, whoever wrote it; `None` when it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Slot>> {
    let slots = bytes.strip_prefix(MAGIC)?;
    Some(slots.chunks(SLOT_BYTES).filter_map(Slot::decode).collect())
}

/// How the names of this user's records begin.
pub(super) fn own_prefix() -> String {
    format!("{PREFIX}{}-", effective_user())
}

/// A name for a record of this process, which nobody else's has.
pub(super) fn new_name() -> io::Result<String> {
    Ok(format!("{}{}-{:016x}", own_prefix(), pid(), u64::from_le_bytes(random_bytes()?)))
}

/// The record of this process.
#[derive(Debug)]
pub(super) struct Record {
    file: Unshared,
    slots: Vec<Option<Slot>>,
}

impl Record {
    /// An empty one, which appears locked.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let directory = path.parent().unwrap_or(path);
        let file = File::from(unnamed_file(directory)?);
        file.try_lock()?;
        let record = Self { file: Unshared::new(file.into())?, slots: Vec::new() };
        let file = record.file()?;
        write_at(file, MAGIC, 0)?;
        give_name(file, path)?;
        Ok(record)
    }

    fn file(&self) -> io::Result<BorrowedFd<'_>> {
        self.file.get().ok_or_else(|| io::Error::other("it belongs to the process that this one was forked from"))
    }

    /// Enters a name; `None` when there is no room. `is_alive` tells of a slot whether its name is still that file's:
    /// others may have removed some.
    pub(super) fn enter(&mut self, slot: Slot, is_alive: impl Fn(&Slot) -> bool) -> io::Result<Option<()>> {
        let Some(place) = self.free_place(is_alive)? else { return Ok(None) };
        write_at(self.file()?, &slot.encode(), offset(place))?;
        if place == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[place] = Some(slot);
        Ok(Some(()))
    }

    /// A place for a slot, possibly the one after the last.
    fn free_place(&mut self, is_alive: impl Fn(&Slot) -> bool) -> io::Result<Option<usize>> {
        if let Some(free) = self.slots.iter().position(Option::is_none) {
            return Ok(Some(free));
        }
        if self.slots.len() < NAMED_SEGMENTS_MAX {
            return Ok(Some(self.slots.len()));
        }
        let gone: Vec<usize> =
            (0..self.slots.len()).filter(|&at| !self.slots[at].as_ref().is_some_and(&is_alive)).collect();
        gone.iter().try_for_each(|&place| self.clear(place))?;
        Ok(gone.first().copied())
    }

    /// Strikes out the name of a file, if it is entered.
    pub(super) fn strike_out(&mut self, number: u64) -> io::Result<()> {
        let place = self.slots.iter().position(|slot| slot.as_ref().is_some_and(|slot| slot.number == number));
        place.map_or(Ok(()), |place| self.clear(place))
    }

    fn clear(&mut self, place: usize) -> io::Result<()> {
        write_at(self.file()?, &[0; NUMBER_BYTES], offset(place))?;
        self.slots[place] = None;
        Ok(())
    }
}

/// Where a slot stands.
fn offset(place: usize) -> u64 {
    (MAGIC.len() + place * SLOT_BYTES) as u64
}

#[cfg(test)]
mod tests {
    use super::super::name::DIRECTORY;
    use super::*;

    fn slot(number: u64) -> Slot {
        Slot { number, name: Name::new(&format!("record-test-{number}")).unwrap() }
    }

    /// A record without a name, and what stands in it.
    fn nameless() -> (Record, impl Fn() -> Vec<Slot>) {
        let path = Path::new(DIRECTORY).join(new_name().unwrap());
        let record = Record::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let slots = move || {
            let mut bytes = vec![0; RECORD_BYTES_MAX];
            let len = std::os::unix::fs::FileExt::read_at(&reader, &mut bytes, 0).unwrap();
            read(&bytes[..len]).unwrap()
        };
        (record, slots)
    }

    #[test]
    fn names_are_entered_and_struck_out_and_their_places_used_again() {
        let (mut record, slots) = nameless();
        for number in 1..=3 {
            record.enter(slot(number), |_| true).unwrap().unwrap();
        }
        record.strike_out(2).unwrap();
        record.strike_out(99).unwrap();
        assert_eq!(slots(), [slot(1), slot(3)]);
        record.enter(slot(4), |_| true).unwrap().unwrap();
        assert_eq!(slots(), [slot(1), slot(4), slot(3)]);
    }

    #[test]
    fn a_full_record_takes_more_where_names_are_gone() {
        let (mut record, slots) = nameless();
        for number in 1..=NAMED_SEGMENTS_MAX as u64 {
            record.enter(slot(number), |_| true).unwrap().unwrap();
        }
        assert_eq!(record.enter(slot(5000), |_| true).unwrap(), None);
        record.enter(slot(5000), |slot| slot.number % 2 == 0).unwrap().unwrap();
        assert_eq!(slots().len(), NAMED_SEGMENTS_MAX / 2 + 1);
    }

    #[test]
    fn the_longest_name_fits_a_slot() {
        let slot = Slot { number: u64::MAX, name: Name::new(&"x".repeat(SEGMENT_NAME_BYTES_MAX)).unwrap() };
        assert_eq!(read(&[&MAGIC[..], &slot.encode()].concat()), Some(vec![slot]));
    }

    #[test]
    fn the_book_has_these_places() {
        let page = include_str!("../../../../docs/src/reference/segment-layout.md");
        let magic = String::from_utf8_lossy(MAGIC);
        for row in [
            format!("| 0 | {} | `{magic}` |", MAGIC.len()),
            format!("| {} + {SLOT_BYTES} × i | {NUMBER_BYTES} |", MAGIC.len()),
            format!("| {} + {SLOT_BYTES} × i | {LENGTH_BYTES} |", MAGIC.len() + NUMBER_BYTES),
            format!("| {} + {SLOT_BYTES} × i | {SEGMENT_NAME_BYTES_MAX} |", MAGIC.len() + NUMBER_BYTES + LENGTH_BYTES),
        ] {
            assert!(page.contains(&row), "the page lacks: {row}");
        }
    }
}
