//! Files in a directory that others write to as well: made whole before they get their name, and opened without trust.
//!
//! Relies on `/proc`, through which a file without a name is given one (open(2), `O_TMPFILE`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::fd::out_of_the_way;
use crate::{Access, Deadline};

/// A new, empty file in the file system of `directory`, without a name there, which its owner alone may open. It is
/// gone with its last descriptor unless [`give_name`] gives it a name.
///
/// # Errors
/// `ENOENT`, `EACCES`, `EMFILE`, `ENOSPC`, and `EOPNOTSUPP` for a file system that has no such files.
pub fn unnamed_file(directory: &Path) -> io::Result<OwnedFd> {
    let owner = Mode::RUSR | Mode::WUSR;
    let file = out_of_the_way(rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, owner)?)?;
    rustix::fs::fchmod(&file, owner)?; // Whatever the process's umask says.
    Ok(file)
}

/// Gives a file of [`unnamed_file`] its name. It appears at once with everything that has been done to it.
///
/// # Errors
/// `EEXIST` when there is a file of this name, `ENOENT` without `/proc`, `ENOSPC`.
pub fn give_name(file: impl AsFd, path: &Path) -> io::Result<()> {
    let own = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Ok(rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Opens a regular file by a name that may be anything: a link is not followed, a device or pipe is not waited for.
///
/// # Errors
/// `ENOENT`, `EACCES`, `EMFILE`; `InvalidData` for what is no regular file.
pub fn open_regular(path: &Path, access: Access) -> io::Result<OwnedFd> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidData, "it is no regular file");
    let careful = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, access.rights() | careful, Mode::empty());
    let file = opened.map_err(|error| match error {
        // A socket, a directory and a link are refused before they can be looked at.
        Errno::NXIO | Errno::ISDIR | Errno::LOOP => no_file(),
        other => other.into(),
    })?;
    let file = out_of_the_way(file)?;
    if is_regular(&file)? { Ok(file) } else { Err(no_file()) }
}

/// True for a regular file.
///
/// # Errors
/// None that Linux knows for an open file.
pub fn is_regular(file: impl AsFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::RegularFile)
}

/// Writes all of `bytes` into a file, from `at` on.
///
/// # Errors
/// `ENOSPC`; then a part of them may have been written.
pub fn write_at(file: impl AsFd, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        written += rustix::io::retry_on_intr(|| rustix::io::pwrite(&file, &bytes[written..], at + written as u64))?;
    }
    Ok(())
}

/// How long a pause is between two attempts at a directory's lock.
const DIRECTORY_PAUSE: Duration = Duration::from_millis(1);

/// Holds a directory for this process alone, among all that ask by this call, until the descriptor is closed (flock(2)).
///
/// # Errors
/// `TimedOut` after the deadline, `ENOTDIR`, `EACCES`, `ENOENT`.
pub fn lock_directory(path: &Path, deadline: Deadline) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = out_of_the_way(rustix::fs::open(path, flags, Mode::empty())?)?;
    loop {
        match rustix::fs::flock(&directory, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(Errno::AGAIN) if deadline.has_passed() => return Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::AGAIN | Errno::INTR) => std::thread::sleep(DIRECTORY_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_appears_whole_and_for_its_owner() {
        let directory = Path::new("/dev/shm");
        let path = directory.join(format!("procession-sys-named-{}", crate::pid()));
        let file = unnamed_file(directory).unwrap();
        crate::set_file_size(&file, 3).unwrap();
        give_name(&file, &path).unwrap();
        assert_eq!(give_name(&file, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.mode() & 0o777), (3, 0o600));
        let again = open_regular(&path, Access::ReadWrite).unwrap();
        assert_eq!(crate::file_identity(&again).unwrap(), crate::file_identity(&file).unwrap());
        fs::remove_file(&path).unwrap();
        assert_eq!(open_regular(&path, Access::ReadOnly).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        for (path, access) in [
            ("/dev/null", Access::ReadOnly),
            ("/proc/self/exe", Access::ReadOnly),
            ("/", Access::ReadOnly),
            ("/", Access::ReadWrite),
        ] {
            assert_eq!(open_regular(path.as_ref(), access).unwrap_err().kind(), io::ErrorKind::InvalidData, "{path}");
        }
    }
}
