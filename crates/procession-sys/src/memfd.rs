//! Memory files: bytes written once, sealed, and read by whoever gets the descriptor.
//!
//! # Safety
//! A mapping is handed out as `&[u8]` only when the kernel confirms the seals against shrinking, growing and
//! writing: then no process can change or remove a byte of it, and reading it never faults.

#![expect(unsafe_code, reason = "maps sealed files, which nobody can change")]

use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};

/// The seals that make a file's bytes constant.
const CONSTANT: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// A memory file that holds the parts one after the other and can never change again.
///
/// # Errors
/// `ENOMEM`, `EMFILE`, or `EFBIG` beyond the process's limit of file sizes.
pub fn sealed_file(name: &str, parts: &[&[u8]]) -> io::Result<OwnedFd> {
    // The kernel would not only refuse to write beyond the limit but kill this process (SIGXFSZ).
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if limit.is_some_and(|limit| len as u64 > limit) {
        return Err(rustix::io::Errno::FBIG.into());
    }
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(fd);
    for part in parts {
        file.write_all(part)?;
    }
    rustix::fs::fcntl_add_seals(&file, CONSTANT | SealFlags::SEAL)?;
    Ok(file.into())
}

/// The bytes of a sealed memory file.
#[derive(Debug)]
pub struct Mapping(memmap2::Mmap);

/// Maps the first `len` bytes of a file that a peer sent, if it is a sealed memory file of at least that size.
///
/// # Errors
/// `InvalidData` when it is not, `ENOMEM`.
pub fn map_sealed(file: impl AsFd, len: u64) -> io::Result<Mapping> {
    let seals = rustix::fs::fcntl_get_seals(&file)
        .map_err(|_| invalid("a descriptor that is no memory file came as a message's body"))?;
    if !seals.contains(CONSTANT) {
        return Err(invalid("a message's body came in a memory file that is not sealed"));
    }
    let size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
    let len_fits = usize::try_from(len).ok().filter(|_| len <= size);
    let len = len_fits.ok_or_else(|| invalid("a message's body is shorter than its header says"))?;
    // SAFETY: the seals that were just checked can never be removed, so the mapped bytes exist and stay as they are
    // for as long as the mapping does, whatever any other process does.
    let mapping = unsafe { memmap2::MmapOptions::new().len(len).map(&file.as_fd()) };
    Ok(Mapping(mapping?))
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What a peer that lies about a body gets.
fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_one() {
        let file = sealed_file("test", &[b"ab", b"", b"cd"]).unwrap();
        assert_eq!(&*map_sealed(&file, 4).unwrap(), b"abcd");
        assert!(std::fs::File::from(file).write_all(b"x").is_err());
    }

    #[test]
    fn what_a_hostile_peer_sends_is_refused() {
        let unsealed = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert_eq!(map_sealed(&unsealed, 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let null = crate::dev_null().unwrap();
        assert_eq!(map_sealed(&null, 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let short = sealed_file("test", &[b"ab"]).unwrap();
        assert_eq!(map_sealed(&short, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(map_sealed(&short, u64::MAX).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
