//! Where a listener is bound: addresses, and the socket file that goes with it.
//!
//! Relies on the kernel to say whether somebody is behind a socket file, and on a lock of the directory, so that of two that
//! find one abandoned the second does not remove the first one's new file.

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
    match bind_one(&SocketAddress::Path(directory.join("socket")), backlog) {
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
    let name = format!("procession-{number:016x}");
    let make = |parent: PathBuf| {
        let directory = parent.join(&name);
        DirBuilder::new().mode(PRIVATE).create(&directory).map(|()| directory)
    };
    match runtime.map(make) {
        Some(Ok(directory)) => Ok(directory),
        Some(Err(_)) | None => make(std::env::temp_dir()),
    }
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
