//! Memory for large values, in large pages where the kernel gives any.
//!
//! # Safety
//! The advice that is given changes how memory is backed, never what is in it, and it is given for whole pages within memory
//! that the caller has for itself.

#![expect(unsafe_code, reason = "madvise takes an address")]

use std::mem::MaybeUninit;

use rustix::io;
use rustix::mm::{Advice, madvise};
use rustix::param::page_size;

use crate::copying::STREAM_COPY_MIN;

/// What a large page holds, where there are any.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// From so many bytes on the advice is worth its system call: with small pages more than half of the time that it takes to
/// fill as much new memory is spent on page faults.
const WORTH_BYTES: usize = 2 * HUGE_PAGE_BYTES;

/// Has the kernel back memory that is going to be written with large pages, if it has some; small memory is left alone.
///
/// It is a hint: with `transparent_hugepage` set to `never` nothing changes. madvise(2).
///
/// # Examples
/// ```
/// let mut bytes: Vec<u8> = Vec::with_capacity(64 << 20);
/// procession_sys::want_huge_pages(bytes.spare_capacity_mut());
/// bytes.resize(64 << 20, 1);
/// ```
#[inline]
pub fn want_huge_pages<T>(room: &mut [MaybeUninit<T>]) {
    if size_of_val(room) >= WORTH_BYTES {
        advise(room.as_mut_ptr().cast(), size_of_val(room));
    }
}

/// From so many bytes on memory is had before it is written: a copy past the caches is slow where they have what has just been
/// made zero.
const POPULATED_MIN: usize = STREAM_COPY_MIN;

/// So much is had at a time: meanwhile other threads get no memory, and signals wait.
const POPULATED_MAX: usize = 32 << 20;

/// The same for memory that is going to be written at once, to its end: large memory is there when this returns.
///
/// It is a hint: a kernel before Linux 5.14, or one that has not as much memory, gives what it has when that is written.
///
/// # Examples
/// ```
/// let mut bytes: Vec<u8> = Vec::with_capacity(64 << 20);
/// procession_sys::populate(bytes.spare_capacity_mut());
/// bytes.resize(64 << 20, 1);
/// ```
#[inline]
pub fn populate<T>(room: &mut [MaybeUninit<T>]) {
    want_huge_pages(room);
    if size_of_val(room) >= POPULATED_MIN {
        let _ = have_pages(room.as_mut_ptr().cast(), size_of_val(room));
    }
}

#[cold]
fn have_pages(start: *mut u8, bytes: usize) -> io::Result<()> {
    let (start, bytes) = whole_pages(start, bytes, page_size());
    for at in (0..bytes).step_by(POPULATED_MAX) {
        let (start, bytes) = (start.wrapping_add(at), POPULATED_MAX.min(bytes - at));
        // SAFETY: from the first page's beginning on so many bytes are the caller's, and their content stays.
        unsafe { madvise(start.cast(), bytes, Advice::LinuxPopulateWrite) }?;
    }
    Ok(())
}

#[cold]
fn advise(start: *mut u8, bytes: usize) {
    let (start, bytes) = whole_pages(start, bytes, HUGE_PAGE_BYTES);
    if bytes > 0 {
        // SAFETY: from the first large page's beginning on so many bytes are the caller's, and their content stays.
        let _ = unsafe { madvise(start.cast(), bytes, Advice::LinuxHugepage) };
    }
}

/// The pages of a size that lie within some memory: where the first begins, and how many bytes they are.
fn whole_pages(start: *mut u8, bytes: usize, page: usize) -> (*mut u8, usize) {
    let before = start.align_offset(page);
    (start.wrapping_add(before), bytes.saturating_sub(before) / page * page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn populated_memory_stays_what_it_is_and_is_there() {
        let len = POPULATED_MIN + HUGE_PAGE_BYTES + 5;
        let mut bytes: Vec<u8> = Vec::with_capacity(len);
        bytes.extend([7; 100]);
        populate(bytes.spare_capacity_mut());
        let room = bytes.spare_capacity_mut();
        let had = have_pages(room.as_mut_ptr().cast(), room.len()); // Which Linux 5.10 cannot do.
        let before = faults();
        bytes.resize(len, 8);
        assert!(faults() - before < 4 || had == Err(io::Errno::INVAL), "{}", faults() - before);
        assert!(bytes[..100].iter().all(|&byte| byte == 7) && bytes[100..].iter().all(|&byte| byte == 8));
        populate::<u64>(&mut []);
    }

    /// How many pages this thread has been given when it touched them. proc_pid_stat(5).
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit(')').next().and_then(|fields| fields.split_whitespace().nth(7)).unwrap().parse().unwrap()
    }

    #[test]
    fn large_memory_stays_what_it_is() {
        let mut bytes: Vec<u8> = Vec::with_capacity(3 * HUGE_PAGE_BYTES + 5);
        bytes.extend([7; 100]);
        want_huge_pages(bytes.spare_capacity_mut());
        bytes.resize(3 * HUGE_PAGE_BYTES + 5, 8);
        assert!(bytes[..100].iter().all(|&byte| byte == 7) && bytes[100..].iter().all(|&byte| byte == 8));
        want_huge_pages::<u64>(&mut []);
    }
}
