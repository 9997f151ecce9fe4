//! Removing the names of processes that have ended.
//!
//! Relies on the lock of a record, which ends with its owner. What stands in a directory that everybody writes to is
//! taken for anything until it was checked: a file is a record if it is this user's alone, and what it tells is done only
//! where the file that a name is of still has the number that was written down.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use procession_sys::{Access, effective_user, open_regular};

use super::name::DIRECTORY;
use super::record::{self, RECORD_BYTES_MAX, Slot};
use crate::ShmError;

/// Removes the names that this user's processes have created and left behind, and returns them.
///
/// Nobody needs to call it: when a process that owns names has ended, however that was, a tracker removes them within
/// a second. If the tracker was killed as well, the next process that creates or opens a named segment does this
/// first. A name is removed only if its owner has ended and it still is the owner's segment; whatever other programs
/// have made is left alone. Any number of processes may sweep at the same time, and be killed meanwhile.
///
/// Answers the clean-up of Python's `resource_tracker`. Source: flock(2).
///
/// # Errors
/// [`ShmError::System`] when `/dev/shm` cannot be read. Records that cannot be opened are left out.
///
/// # Examples
/// ```
/// for name in procession_shm::sweep()? {
///     println!("its owner has been killed, and so has the tracker: {name}");
/// }
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub fn sweep() -> Result<Vec<String>, ShmError> {
    sweep_directory(Path::new(DIRECTORY)).map_err(ShmError::system("look for the names of"))
}

/// The same in any directory.
fn sweep_directory(directory: &Path) -> io::Result<Vec<String>> {
    let (prefix, mut removed) = (record::own_prefix(), Vec::new());
    for entry in fs::read_dir(directory)?.flatten() {
        let file_name = entry.file_name();
        let Some(record) = file_name.to_str().filter(|name| name.starts_with(&prefix)) else { continue };
        if let Ok(Swept::Done(names)) = sweep_record(directory, record, Proof::Lock) {
            removed.extend(names);
        }
    }
    Ok(removed)
}

/// How it is known that the owner of a record has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The record's lock must be free.
    Lock,
    /// Its pidfd has said so, or it is this very process, at its end.
    Known,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Swept {
    /// It is gone, and these names with it; or it was no record, and is left alone.
    Done(Vec<String>),
    /// Its owner, or a process that has the owner's descriptors, is alive.
    Held,
}

/// Removes the names in one record, and the record.
pub(super) fn sweep_record(directory: &Path, name: &str, proof: Proof) -> io::Result<Swept> {
    let path = directory.join(name);
    let mut file = File::from(open_regular(&path, Access::ReadOnly)?);
    if proof == Proof::Lock {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(Swept::Held),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
    }
    let record = file.metadata()?; // Now: one that another sweeper was faster with has no name any more.
    if !may_be_record(&record) {
        return Ok(Swept::Done(Vec::new()));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(RECORD_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    let Some(slots) = record::read(&bytes) else { return Ok(Swept::Done(Vec::new())) };
    let removed = slots.iter().filter(|slot| remove(directory, slot, record.dev()));
    let removed = removed.map(|slot| slot.name.as_str().to_owned()).collect();
    // Last: a sweeper that is killed before leaves the rest to the next one.
    fs::remove_file(&path)?;
    Ok(Swept::Done(removed))
}

/// True for a file that only this user's processes can have written.
fn may_be_record(file: &Metadata) -> bool {
    let is_private = file.uid() == effective_user() && file.mode() & 0o077 == 0;
    is_private && file.nlink() == 1 && file.len() <= RECORD_BYTES_MAX as u64
}

/// Removes a name if it is still that of the file; true if this removed it.
///
/// The kernel removes by name alone: whoever removes the name and gives it to another file within the microseconds
/// between the look and the removal loses it.
fn remove(directory: &Path, slot: &Slot, device: u64) -> bool {
    names_its_file(directory, slot, device) && fs::remove_file(directory.join(slot.name.as_str())).is_ok()
}

/// True if the file of this name is the one that was written down.
pub(super) fn names_its_file(directory: &Path, slot: &Slot, device: u64) -> bool {
    let found = fs::symlink_metadata(directory.join(slot.name.as_str()));
    found.is_ok_and(|found| found.is_file() && (found.dev(), found.ino()) == (device, slot.number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{OpenOptionsExt, symlink};
    use std::path::PathBuf;
    use std::thread;

    use proptest::prelude::*;

    use super::super::name::Name;
    use super::super::record::Record;
    use super::*;

    /// A directory of a test's own, where nobody else sweeps.
    struct Place(PathBuf);

    impl Place {
        fn new(test: &str) -> Self {
            let path = Path::new(DIRECTORY).join(format!("procession-sweep-{}-{test}", procession_sys::pid()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        /// A file, and what is written down of it.
        fn segment(&self, name: &str) -> Slot {
            fs::write(self.0.join(name), name).unwrap();
            Slot { number: fs::metadata(self.0.join(name)).unwrap().ino(), name: Name::new(name).unwrap() }
        }

        /// A record of nobody's, with these bytes.
        fn record(&self, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(format!("{}1-record", record::own_prefix()));
            let _ = fs::remove_file(&path);
            let mut options = fs::OpenOptions::new();
            io::Write::write_all(&mut options.write(true).create_new(true).mode(0o600).open(&path).unwrap(), bytes)
                .unwrap();
            path
        }

        /// The bytes of a record with these slots.
        fn bytes(&self, slots: &[Slot]) -> Vec<u8> {
            let path = self.0.join(record::new_name().unwrap());
            let mut record = Record::create(&path).unwrap();
            slots.iter().for_each(|slot| record.enter(slot.clone(), |_| true).unwrap().unwrap());
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(path).unwrap();
            bytes
        }

        fn sweep(&self) -> Vec<String> {
            sweep_directory(&self.0).unwrap()
        }

        fn has(&self, name: &str) -> bool {
            self.0.join(name).exists()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_record_that_is_locked_is_left_alone() {
        let place = Place::new("locked");
        let name = record::new_name().unwrap();
        let mut record = Record::create(&place.0.join(&name)).unwrap();
        record.enter(place.segment("a"), |_| true).unwrap().unwrap();
        assert_eq!(place.sweep(), [""; 0]);
        assert_eq!(sweep_record(&place.0, &name, Proof::Lock).unwrap(), Swept::Held);
        assert!(place.has("a") && place.has(&name));
        drop(record);
        assert_eq!(place.sweep(), ["a"]);
        assert!(!place.has("a") && !place.has(&name));
        assert!(sweep_record(&place.0, &name, Proof::Lock).is_err(), "there is none any more");
    }

    #[test]
    fn what_was_struck_out_or_is_another_file_stays() {
        let place = Place::new("stays");
        let (struck, replaced, gone) = (place.segment("struck"), place.segment("replaced"), place.segment("gone"));
        let mut record = Record::create(&place.0.join(record::new_name().unwrap())).unwrap();
        for slot in [&struck, &replaced, &gone] {
            record.enter(slot.clone(), |_| true).unwrap().unwrap();
        }
        record.strike_out(struck.number).unwrap();
        fs::remove_file(place.0.join("gone")).unwrap();
        fs::write(place.0.join("new"), "").unwrap();
        fs::rename(place.0.join("new"), place.0.join("replaced")).unwrap();
        drop(record);
        assert_eq!(place.sweep(), [""; 0]);
        assert!(place.has("struck") && place.has("replaced"));
    }

    #[test]
    fn what_is_no_record_is_left_alone() {
        let place = Place::new("no-record");
        let bytes = place.bytes(&[place.segment("a")]);
        let path = place.record(&bytes);
        let other = place.0.join("other");
        fs::hard_link(&path, &other).unwrap();
        assert_eq!(place.sweep(), [""; 0], "it has another name as well");
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
        assert_eq!(place.sweep(), [""; 0], "a link");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(place.sweep(), [""; 0], "a directory");
        fs::remove_dir(&path).unwrap();
        let path = place.record(&bytes);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o620)).unwrap();
        assert_eq!(place.sweep(), [""; 0], "others may have written it");
        fs::rename(&path, place.0.join("procession-names-1-record")).unwrap();
        assert_eq!(place.sweep(), [""; 0], "another user's");
        place.record(&vec![0; RECORD_BYTES_MAX + 1]);
        assert_eq!(place.sweep(), [""; 0], "too long");
        assert!(place.has("a"));
        place.record(&bytes);
        assert_eq!(place.sweep(), ["a"]);
    }

    #[test]
    fn a_name_that_is_no_file_is_left_alone() {
        let place = Place::new("no-file");
        let (a, b) = (place.segment("a"), place.segment("b"));
        fs::rename(place.0.join("a"), place.0.join("elsewhere")).unwrap();
        symlink(place.0.join("elsewhere"), place.0.join("a")).unwrap();
        place.record(&place.bytes(&[a, b]));
        assert_eq!(place.sweep(), ["b"]);
        assert!(place.has("a") && place.has("elsewhere"));
    }

    #[test]
    fn sweepers_at_the_same_time_remove_each_name_once() {
        let place = Place::new("many");
        for _ in 0..20 {
            let slots: Vec<Slot> = (0..20).map(|number| place.segment(&format!("segment-{number}"))).collect();
            place.record(&place.bytes(&slots));
            let removed = thread::scope(|scope| {
                let sweepers: Vec<_> = (0..4).map(|_| scope.spawn(|| place.sweep())).collect();
                sweepers.into_iter().map(|sweeper| sweeper.join().unwrap().len()).sum::<usize>()
            });
            assert_eq!(removed, slots.len());
            assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
        }
    }

    /// What is done to a record's bytes.
    fn damage() -> impl Strategy<Value = (Vec<(usize, u8)>, usize, Vec<u8>)> {
        let bytes = prop::collection::vec((0..4000_usize, any::<u8>()), 0..20);
        (bytes, 0..4000_usize, prop::collection::vec(any::<u8>(), 0..600))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_damaged_record_removes_nothing_else((changes, length, more) in damage()) {
            let place = Place::new(&format!("damage-{:?}", thread::current().id()));
            let mut slots = vec![place.segment("owned")];
            for name in ["other", "another"] {
                slots.push(Slot { number: u64::MAX / 3, ..place.segment(name) });
            }
            let mut bytes = place.bytes(&slots);
            bytes.truncate(length.max(1));
            for (at, value) in changes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            bytes.extend(more);
            place.record(&bytes);
            let removed = place.sweep();
            prop_assert!(removed.is_empty() || removed == ["owned"]);
            prop_assert_eq!(place.has("owned"), removed.is_empty());
            prop_assert!(place.has("other") && place.has("another"));
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            record::read(&bytes);
            record::read(&[&record::MAGIC[..], &bytes].concat());
        }
    }
}
