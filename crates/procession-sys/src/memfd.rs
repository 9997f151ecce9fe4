//! Memory files: bytes written once, sealed, and read by whoever gets the descriptor; and files that stay writable but
//! can never become shorter, for memory that processes share.
//!
//! # Safety
//! A mapping is handed out as `&[u8]` only when the kernel confirms the seals against shrinking, growing and
//! writing: then no process can change or remove a byte of it, and reading it never faults.

#![expect(unsafe_code, reason = "maps sealed files, which nobody can change")]

use std::io::{self, Write};
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

use crate::Access;

/// The seals that make a file's bytes constant.
const CONSTANT: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// A memory file that holds the parts one after the other and can never change again.
///
/// # Errors
/// `ENOMEM`, `EMFILE`, or `EFBIG` beyond the process's limit of file sizes.
pub fn sealed_file(name: &str, parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    check_file_limit(len as u64)?;
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(fd);
    for part in parts {
        file.write_all(part)?;
    }
    rustix::fs::fcntl_add_seals(&file, CONSTANT | SealFlags::SEAL)?;
    Ok(file.into())
}

/// Where `memfd_create` expects the size of huge pages (`MFD_HUGE_SHIFT`).
const HUGE_PAGE_SHIFT: u32 = 26;

/// What a memory file that stays writable is to be.
#[derive(Clone, Copy, Debug)]
pub struct MemoryFile {
    /// Its size in bytes.
    pub bytes: u64,
    /// Of huge pages of two to the power of this many bytes, which the system must have set aside.
    pub huge_page_bits: Option<u32>,
}

/// A new memory file of zeros, sparse, that can never become shorter, and whose descriptor is close-on-exec.
///
/// # Errors
/// `EMFILE`, `ENOMEM`, `EFBIG` beyond the process's limit of file sizes or what the kernel can count, `ENODEV` or
/// `EINVAL` where there are no huge pages of that size.
pub fn memory_file(name: &str, file: &MemoryFile) -> io::Result<OwnedFd> {
    check_file_limit(file.bytes)?;
    let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    if let Some(bits) = file.huge_page_bits {
        flags |= MemfdFlags::HUGETLB | MemfdFlags::from_bits_retain(bits << HUGE_PAGE_SHIFT);
    }
    let fd = rustix::fs::memfd_create(name, flags)?;
    set_file_size(&fd, file.bytes)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK)?;
    Ok(fd)
}

/// True for a memory file that can never become shorter.
pub fn never_shrinks(file: impl AsFd) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

/// True for a file of huge pages: the system has only so many of these, and a process that touches one when they have run
/// out is killed (`SIGBUS`). None of a peer's is worth that.
///
/// # Errors
/// None that Linux knows for an open file.
pub fn has_huge_pages(file: impl AsFd) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type == HUGE_PAGE_FILES)
}

/// True for a memory file that can never change again.
pub fn never_changes(file: impl AsFd) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(CONSTANT))
}

/// Makes a memory file constant for ever, whoever holds it.
///
/// # Errors
/// `EBUSY` while it is mapped writable anywhere, `EPERM` for a file that allows no seals.
pub fn seal_constant(file: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(file, CONSTANT)?)
}

/// Bytes in a file.
///
/// # Errors
/// None that Linux knows for an open file.
pub fn file_size(file: impl AsFd) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

/// Which file a descriptor is of: no two that exist at the same time have the same device and number.
///
/// # Errors
/// As [`file_size`].
pub fn file_identity(file: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Makes a file this long; new bytes are zero, and take no memory before they are written.
///
/// # Errors
/// `EFBIG` beyond the process's limit of file sizes, `EPERM` for a file that is sealed against it.
pub fn set_file_size(file: impl AsFd, bytes: u64) -> io::Result<()> {
    check_file_limit(bytes)?;
    Ok(rustix::fs::ftruncate(file, bytes)?)
}

/// The length that a file has when it is made this long: as much, or whole huge pages where it is of such.
///
/// # Errors
/// `EFBIG` for more than a file can have.
pub fn whole_pages(file: impl AsFd, bytes: u64) -> io::Result<u64> {
    let system = rustix::fs::fstatfs(file)?;
    let page = if system.f_type == HUGE_PAGE_FILES { system.f_bsize.unsigned_abs() } else { 1 };
    bytes.checked_next_multiple_of(page).ok_or_else(|| rustix::io::Errno::FBIG.into())
}

/// Has the kernel set memory aside for the first `bytes` of a file in memory, which has them then, so that writing them
/// cannot fail later.
///
/// Of its usual pages the kernel gives as many as are asked for, and when there are no more it does not refuse but ends
/// processes, whosever they are. So this asks before whether they are there.
///
/// # Errors
/// `ENOSPC` when the file system has not that much room, `ENOMEM` when the system has not that much memory.
pub fn reserve_file(file: impl AsFd, bytes: u64) -> io::Result<()> {
    let file = file.as_fd();
    let has = u64::try_from(rustix::fs::fstat(file)?.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES);
    reserve_part(file, 0..bytes, bytes.saturating_sub(has))
}

/// As [`reserve_file`], for `bytes` from `start` on: what a sparse file is to use next. A file that ends before becomes
/// longer.
///
/// It asks for as much memory as if the file had none of it yet.
///
/// # Errors
/// As [`reserve_file`], and `EFBIG` for a range that no file can have.
pub fn reserve_range(file: impl AsFd, start: u64, bytes: u64) -> io::Result<()> {
    let end = start.checked_add(bytes).ok_or(rustix::io::Errno::FBIG)?;
    reserve_part(file.as_fd(), start..end, bytes)
}

/// Gives the memory of `bytes` from `start` on back to the system: they are zero when they are next read, by whomever,
/// and the file stays as long as it is. What does not fill a page is made zero and keeps it.
///
/// Source: fallocate(2), "Deallocating file space".
///
/// # Errors
/// `EPERM` for a file that is sealed against writing, `EFBIG` for a range that no file can have, `ENOMEM`.
pub fn release_range(file: impl AsFd, start: u64, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    allocate(file.as_fd(), FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, start, bytes)
}

/// Sets memory aside for a range of which the file lacks `wanted` bytes, as far as is known.
fn reserve_part(file: BorrowedFd<'_>, range: Range<u64>, wanted: u64) -> io::Result<()> {
    check_file_limit(range.end)?;
    let system = rustix::fs::fstatfs(file)?;
    // One of memory files without names has no size.
    if system.f_blocks > 0 && wanted > system.f_bavail.saturating_mul(system.f_bsize.unsigned_abs()) {
        return Err(rustix::io::Errno::NOSPC.into());
    }
    let counted_apart = system.f_type == HUGE_PAGE_FILES;
    for start in range.clone().step_by(RESERVE_STEP as usize) {
        let left = range.end - start;
        let missing = wanted.min(left);
        if !counted_apart && missing > UNASKED_BYTES_MAX && crate::available_memory()? < missing {
            return Err(rustix::io::Errno::NOMEM.into());
        }
        allocate(file, FallocateFlags::empty(), start, RESERVE_STEP.min(left))?;
    }
    Ok(())
}

/// What is set aside without asking first, which takes longer than setting aside as much: so little is always there, or
/// the system ends processes at the next write anyway.
const UNASKED_BYTES_MAX: u64 = 1 << 20;

/// What files' blocks are counted in, whatever the file system's are.
const BLOCK_BYTES: u64 = 512;

/// The kind of file system that huge pages come from (`HUGETLBFS_MAGIC`): they are set aside beforehand, and refused when
/// there are none left.
const HUGE_PAGE_FILES: rustix::fs::FsWord = 0x9584_58f6;

/// Memory is set aside in steps of this many bytes, and looked for before each.
const RESERVE_STEP: u64 = 256 << 20;

fn allocate(file: BorrowedFd<'_>, flags: FallocateFlags, start: u64, bytes: u64) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(file, flags, start, bytes) {
            Err(rustix::io::Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// A file's description of its own for the same file: another offset, other locks, and perhaps fewer rights.
///
/// # Errors
/// `ENOENT` without `/proc`, `EACCES`, `EMFILE`.
pub fn reopen(file: impl AsFd, access: Access) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file.as_fd()));
    Ok(rustix::fs::open(path, access.rights() | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?)
}

/// The kernel would not only refuse to write beyond the limit but kill this process (SIGXFSZ).
fn check_file_limit(bytes: u64) -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_some_and(|limit| bytes > limit) || i64::try_from(bytes).is_err() {
        return Err(rustix::io::Errno::FBIG.into());
    }
    Ok(())
}

/// The bytes of a sealed memory file.
#[derive(Debug)]
pub struct Mapping(memmap2::Mmap);

/// Maps the first `len` bytes of a file that a peer sent, if it is a sealed memory file of at least that size.
///
/// The mapping is private, which of bytes that nobody changes is the same: a shared one of a file that is sealed against
/// writing is refused before Linux 6.7 (`EPERM`), unless the descriptor is for reading alone.
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
    let mapping = unsafe { memmap2::MmapOptions::new().len(len).no_reserve_swap().map_copy_read_only(&file.as_fd()) };
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
    fn no_memory_file_is_left_to_other_programs() {
        let file = memory_file("test", &MemoryFile { bytes: 10, huge_page_bits: None }).unwrap();
        let again = [Access::ReadOnly, Access::ReadWrite].map(|access| reopen(&file, access).unwrap());
        for file in [file, sealed_file("test", &[b"ab"]).unwrap()].iter().chain(&again) {
            assert_eq!(rustix::io::fcntl_getfd(file).unwrap(), rustix::io::FdFlags::CLOEXEC);
        }
    }

    #[test]
    fn what_is_reserved_in_several_steps_is_all_there() {
        const BYTES: u64 = RESERVE_STEP + 1;
        let file = memory_file("test", &MemoryFile { bytes: BYTES, huge_page_bits: None }).unwrap();
        reserve_file(&file, BYTES).unwrap();
        let has = rustix::fs::fstat(&file).unwrap().st_blocks.unsigned_abs() * BLOCK_BYTES;
        assert!(has >= BYTES && file_size(&file).unwrap() == BYTES, "{has}");
    }

    #[test]
    fn a_range_is_reserved_and_released_and_nothing_beside_it() {
        const PAGE: u64 = 4096;
        let file = memory_file("test", &MemoryFile { bytes: 8 * PAGE, huge_page_bits: None }).unwrap();
        let has = || rustix::fs::fstat(&file).unwrap().st_blocks.unsigned_abs() * BLOCK_BYTES / PAGE;
        reserve_range(&file, 2 * PAGE, 3 * PAGE).unwrap();
        assert_eq!(has(), 3);
        crate::write_at(&file, &[7; 100], 4 * PAGE).unwrap();
        release_range(&file, 2 * PAGE, 2 * PAGE + 50).unwrap();
        assert_eq!((has(), file_size(&file).unwrap()), (1, 8 * PAGE));
        let mut left = [0; 100];
        rustix::io::pread(&file, &mut left, 4 * PAGE).unwrap();
        assert_eq!((&left[..50], &left[50..]), ([0; 50].as_slice(), [7; 50].as_slice()));
        for (start, bytes) in [(0, 0), (u64::MAX / 2, 0)] {
            reserve_range(&file, start, bytes).unwrap();
            release_range(&file, start, bytes).unwrap();
        }
        assert!(reserve_range(&file, u64::MAX, 1).is_err() && release_range(&file, u64::MAX / 2, PAGE).is_err());
        assert_eq!(file_size(&file).unwrap(), 8 * PAGE);
    }

    #[test]
    fn more_than_there_is_is_refused_before_it_is_taken() {
        let bytes = 1 << 50;
        let file = memory_file("test", &MemoryFile { bytes, huge_page_bits: None }).unwrap();
        let error = reserve_range(&file, 4096, bytes / 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_blocks, 0);
    }

    #[test]
    fn a_file_of_huge_pages_has_whole_ones() {
        const HUGE: u64 = 2 << 20;
        let usual = memory_file("usual", &MemoryFile { bytes: 10, huge_page_bits: None }).unwrap();
        assert_eq!(whole_pages(&usual, 11).unwrap(), 11);
        // Its length alone takes none of the pages that the system has set aside. Some systems know none.
        let Ok(huge) = memory_file("huge", &MemoryFile { bytes: HUGE, huge_page_bits: Some(21) }) else { return };
        for (asked, given) in [(1, HUGE), (HUGE, HUGE), (HUGE + 1, 2 * HUGE)] {
            assert_eq!(whole_pages(&huge, asked).unwrap(), given);
        }
        assert!(whole_pages(&huge, u64::MAX).is_err());
        assert!(set_file_size(&huge, HUGE + 1).is_err());
        set_file_size(&huge, 2 * HUGE).unwrap();
    }

    #[test]
    fn a_sealed_file_is_mapped_as_every_kernel_allows_it() {
        let file = sealed_file("every-kernel", &[b"ab"]).unwrap();
        let mapping = map_sealed(&file, 2).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.starts_with(&format!("{:x}-", mapping.as_ptr().addr()))).unwrap();
        assert!(line.contains(" r--p ") && line.contains("every-kernel"), "{line}");
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
