//! Where a listener is bound: addresses, and the socket file that goes with it.
//!
//! Relies on the kernel to say whether somebody is behind a socket file, which is how a file that a killed process has left
//! is known, and on a lock of the directory, so that of two that find one abandoned the second does not remove the first
//! one's new file.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession_sys::{Deadline, SocketAddress, StreamListener, is_abandoned_socket, lock_directory, random_bytes};

use crate::Address;

/// How long others may hold the directory's lock: they need microseconds.
const TAKE_OVER_TIME: Duration = Duration::from_secs(1);

/// Only the owner can look in.
const PRIVATE: u32 = 0o700;

/// What a private directory's name begins with; sixteen hexadecimal digits follow.
const PREFIX: &str = "procession-";

/// What the socket in it is called.
const SOCKET: &str = "socket";

/// How many entries of the directory of directories are looked at for what killed processes have left, each time.
const SWEPT_MAX: usize = 4096;

/// A socket file, which is removed with its listener, and perhaps its directory.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    owner: u32,
    directory: Option<PathBuf>,
}

/// Listens at the first of the addresses that can be had.
pub(super) fn bind(address: &Address, backlog: u32) -> io::Result<(StreamListener, Option<SocketFile>)> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for resolved in address.resolve()? {
        match bind_one(&resolved, backlog) {
            Ok(bound) => return Ok(bound),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Listens at a path in a new directory that nobody else can look into.
pub(super) fn bind_private(backlog: u32) -> io::Result<(StreamListener, Option<SocketFile>)> {
    let directory = private_directory()?;
    match bind_one(&SocketAddress::Path(directory.join(SOCKET)), backlog) {
        Ok((listener, mut file)) => {
            file.iter_mut().for_each(|file| file.directory = Some(directory.clone()));
            Ok((listener, file))
        }
        Err(error) => {
            let _ = fs::remove_dir(directory);
            Err(error)
        }
    }
}

fn private_directory() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|directory| directory.is_absolute());
    let number = u64::from_ne_bytes(random_bytes()?);
    let name = format!("{PREFIX}{number:016x}");
    let make = |parent: PathBuf| {
        sweep(&parent);
        let directory = parent.join(&name);
        DirBuilder::new().mode(PRIVATE).create(&directory).map(|()| directory)
    };
    match runtime.map(make) {
        Some(Ok(directory)) => Ok(directory),
        Some(Err(_)) | None => make(std::env::temp_dir()),
    }
}

/// Removes the private directories in which nobody listens any more: their processes were killed, or ended without a word.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.take(SWEPT_MAX).filter(|entry| is_private_name(&entry.file_name())) {
        let socket = entry.path().join(SOCKET);
        // One that was just made has no socket yet, and somebody else's cannot be looked into.
        if is_abandoned_socket(&socket).unwrap_or(false) {
            let _ = fs::remove_file(socket).and_then(|()| fs::remove_dir(entry.path()));
        }
    }
}

fn is_private_name(name: &OsStr) -> bool {
    let digits = name.as_encoded_bytes().strip_prefix(PREFIX.as_bytes());
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

fn bind_one(address: &SocketAddress, backlog: u32) -> io::Result<(StreamListener, Option<SocketFile>)> {
    let SocketAddress::Path(path) = address else { return Ok((StreamListener::bind(address, backlog)?, None)) };
    let listener = match StreamListener::bind(address, backlog) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => take_over(address, path, backlog, error)?,
        other => other?,
    };
    let file =
        SocketFile { identity: identity(path)?, path: absolute(path), owner: procession_sys::pid(), directory: None };
    Ok((listener, Some(file)))
}

/// Listens in the place of a listener that is gone and has left its file, if it is so.
fn take_over(address: &SocketAddress, path: &Path, backlog: u32, in_use: io::Error) -> io::Result<StreamListener> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(_lock) = lock_directory(directory, Deadline::after(TAKE_OVER_TIME)) else { return Err(in_use) };
    if is_abandoned_socket(path).unwrap_or(false) {
        fs::remove_file(path)?;
    } else if fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket()) {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "there is a file of this name that is no socket"));
    }
    StreamListener::bind(address, backlog)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Where it is, wherever this process goes.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A forked child has its parent's listener, which goes on.
        if self.owner != procession_sys::pid() {
            return;
        }
        // Somebody may have taken it for another's and put his own in its place.
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_the_killed_have_left_is_removed_and_nothing_else() {
        let parent = std::env::temp_dir().join(format!("swept-{}", procession_sys::pid()));
        let make = |name: &str| {
            let directory = parent.join(name);
            fs::create_dir_all(&directory).unwrap();
            directory
        };
        let [dead, alive, new, own, of_another_name] = [
            make("procession-0123456789abcdef"),
            make("procession-0123456789abcde0"),
            make("procession-0123456789abcde1"),
            make("procession-0123456789abcde2"),
            make("procession-of-somebody"),
        ];
        for directory in [&dead, &of_another_name] {
            drop(UnixListener::bind(directory.join(SOCKET)).unwrap());
        }
        let _listener = UnixListener::bind(alive.join(SOCKET)).unwrap();
        fs::write(own.join(SOCKET), "a file").unwrap();
        sweep(&parent);
        assert!(!dead.exists(), "nobody is there");
        assert!(alive.join(SOCKET).exists(), "somebody listens");
        assert!(new.exists(), "somebody is about to");
        assert!(own.join(SOCKET).exists() && of_another_name.join(SOCKET).exists(), "it is none of ours");
        fs::remove_dir_all(parent).unwrap();
    }
}
