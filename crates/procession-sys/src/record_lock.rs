//! Locks of an open file description on bytes of a file: the kernel drops them with the description's last descriptor.
//!
//! What is locked need not exist: a byte of a file is a number that those who use the file agree upon. Nothing here
//! waits. Two descriptors of the same description never exclude each other; descriptions that [`reopen`](crate::reopen)
//! makes do, also within a process. A forked child, and whoever is sent a descriptor, shares the description. Source:
//! fcntl_locking(2), "Open file description locks".
//!
//! # Safety
//! `fcntl` reads and writes one structure, which stands on the stack here and outlives the call.

#![expect(unsafe_code, reason = "rustix has no locks of open file descriptions")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What a lock excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordLock {
    /// Exclusive locks of others; any number may be shared.
    Shared,
    /// Every lock of others.
    Exclusive,
}

impl RecordLock {
    fn code(self) -> libc::c_int {
        match self {
            Self::Shared => libc::F_RDLCK,
            Self::Exclusive => libc::F_WRLCK,
        }
    }
}

/// Locks the byte `at`, or changes the lock that the description has on it; false when another's lock forbids it.
///
/// # Errors
/// `ENOLCK` when the kernel has no memory for it, `EBADF` for an exclusive lock through a descriptor for reading.
pub fn try_lock_record(file: impl AsFd, at: u64, lock: RecordLock) -> io::Result<bool> {
    match control(file, libc::F_OFD_SETLK, at, lock.code()) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets go of the description's lock on the byte `at`, if it has one.
///
/// # Errors
/// `ENOLCK` when the kernel has no memory for what is left of a range.
pub fn unlock_record(file: impl AsFd, at: u64) -> io::Result<()> {
    control(file, libc::F_OFD_SETLK, at, libc::F_UNLCK).map(drop)
}

/// True while another description has a lock of any kind on the byte `at`.
///
/// # Errors
/// None that Linux knows for an open file.
pub fn is_record_locked(file: impl AsFd, at: u64) -> io::Result<bool> {
    Ok(control(file, libc::F_OFD_GETLK, at, libc::F_WRLCK)? != libc::F_UNLCK)
}

/// One call; gives what the kernel has made of the kind of lock.
fn control(file: impl AsFd, command: libc::c_int, at: u64, kind: libc::c_int) -> io::Result<libc::c_int> {
    let start = i64::try_from(at).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    let mut lock = libc::flock {
        l_type: kind as libc::c_short, // One of three small numbers.
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: 1,
        l_pid: 0, // As the kernel demands of these locks.
    };
    // SAFETY: the descriptor is open while it is borrowed; the structure is initialized, and ours.
    match unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, &raw mut lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(libc::c_int::from(lock.l_type)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, MemoryFile, memory_file, reopen};

    #[test]
    fn descriptions_exclude_each_other_until_the_last_descriptor_is_closed() {
        let first = memory_file("test", &MemoryFile { bytes: 1, huge_page_bits: None }).unwrap();
        let second = reopen(&first, Access::ReadWrite).unwrap();
        let twin = first.try_clone().unwrap();
        let beyond = 1 << 40; // No such byte is needed.
        assert!(try_lock_record(&first, beyond, RecordLock::Exclusive).unwrap());
        assert!(try_lock_record(&twin, beyond, RecordLock::Exclusive).unwrap());
        assert!(!try_lock_record(&second, beyond, RecordLock::Shared).unwrap());
        assert!(try_lock_record(&second, beyond + 1, RecordLock::Exclusive).unwrap());
        assert!(is_record_locked(&second, beyond).unwrap());
        assert!(!is_record_locked(&first, beyond).unwrap(), "one's own lock excludes nobody");
        drop(first);
        assert!(is_record_locked(&second, beyond).unwrap());
        drop(twin);
        assert!(!is_record_locked(&second, beyond).unwrap());
    }

    #[test]
    fn shared_locks_add_up_and_are_let_go_of_one_by_one() {
        let file = memory_file("test", &MemoryFile { bytes: 1, huge_page_bits: None }).unwrap();
        let others = [(); 2].map(|()| reopen(&file, Access::ReadOnly).unwrap());
        for other in &others {
            assert!(try_lock_record(other, 7, RecordLock::Shared).unwrap());
            assert!(try_lock_record(other, 8, RecordLock::Shared).unwrap());
        }
        assert!(!try_lock_record(&file, 7, RecordLock::Exclusive).unwrap());
        unlock_record(&others[0], 7).unwrap();
        assert!(is_record_locked(&file, 7).unwrap());
        unlock_record(&others[1], 7).unwrap();
        assert!(!is_record_locked(&file, 7).unwrap());
        assert!(is_record_locked(&file, 8).unwrap());
        assert!(try_lock_record(&others[0], 9, RecordLock::Exclusive).is_err());
        assert!(try_lock_record(&file, u64::MAX, RecordLock::Shared).is_err());
    }
}
