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
    /// Its pidfd has said so.
    Pidfd,
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
fn remove(directory: &Path, slot: &Slot, device: u64) -> bool {
    names_its_file(directory, slot, device) && fs::remove_file(directory.join(slot.name.as_str())).is_ok()
}

/// True if the file of this name is the one that was written down.
pub(super) fn names_its_file(directory: &Path, slot: &Slot, device: u64) -> bool {
    let found = fs::symlink_metadata(directory.join(slot.name.as_str()));
    found.is_ok_and(|found| found.is_file() && (found.dev(), found.ino()) == (device, slot.number))
}
