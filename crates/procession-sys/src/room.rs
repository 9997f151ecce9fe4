//! Memory for large values, in large pages where the kernel gives any.
//!
//! # Safety
//! The advice that is given changes how memory is backed, never what is in it, and it is given for whole pages within memory
//! that the caller has for itself.

#![expect(unsafe_code, reason = "madvise takes an address")]

use std::mem::MaybeUninit;

use rustix::mm::{Advice, madvise};

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

#[cold]
fn advise(start: *mut u8, bytes: usize) {
    let before = start.align_offset(HUGE_PAGE_BYTES);
    let whole = bytes.saturating_sub(before) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if whole > 0 {
        // SAFETY: from the first large page's beginning on so many bytes are the caller's, and their content stays.
        let _ = unsafe { madvise(start.wrapping_add(before).cast(), whole, Advice::LinuxHugepage) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
