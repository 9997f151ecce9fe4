//! Bytes from one place to another, while other processes may change those at both.
//!
//! # Safety
//! The instructions that copy are ones that the compiler does not look into, or volatile accesses, so it assumes nothing of
//! what others do meanwhile. The callers vouch for the places.

#![expect(unsafe_code, reason = "copies memory that other processes change")]

use std::mem::MaybeUninit;

/// Copies bytes of which one side, or both, may be changed by other processes meanwhile.
///
/// # Safety
/// As many bytes can be read at `from` and written at `into`, and the two do not overlap.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: what the caller vouches for.
    let done = unsafe { copy_most(from, into, len) };
    let (from, into, len) = (from.wrapping_add(done), into.wrapping_add(done), len - done);
    let words = len / size_of::<Word>();
    for at in 0..words {
        // SAFETY: within the bytes that the caller vouches for.
        let word = unsafe { from.cast::<Word>().wrapping_add(at).read_volatile() };
        // SAFETY: as above.
        unsafe { into.cast::<Word>().wrapping_add(at).write_volatile(word) };
    }
    let done = words * size_of::<Word>();
    // SAFETY: what is left of the bytes that the caller vouches for.
    unsafe { copy_bytes(from.wrapping_add(done), into.wrapping_add(done), len - done) };
}

/// Copies a few bytes one by one.
///
/// # Safety
/// As for [`copy`].
#[inline]
unsafe fn copy_bytes(from: *const u8, into: *mut u8, len: usize) {
    for at in 0..len {
        // SAFETY: within the bytes that the caller vouches for.
        let byte = unsafe { from.wrapping_add(at).cast::<MaybeUninit<u8>>().read_volatile() };
        // SAFETY: as above.
        unsafe { into.wrapping_add(at).cast::<MaybeUninit<u8>>().write_volatile(byte) };
    }
}

/// Copies below this many bytes are made 64 bytes at a time, which starts faster; those above by the string instruction,
/// which is then the fastest.
#[cfg(target_arch = "x86_64")]
const STRING_COPY_MIN: usize = 1024;

/// From so many bytes on a copy goes past the caches, which takes two thirds of the time: the processor does not read what it
/// is going to overwrite. What is shorter is often still in a cache when it is read.
pub(crate) const STREAM_COPY_MIN: usize = 16 << 20;

/// A copy past the caches takes a line from each of four pages in turn: the memory's banks then work side by side.
#[cfg(target_arch = "x86_64")]
const STREAM_BLOCK: usize = 4 * PAGE;

#[cfg(target_arch = "x86_64")]
const PAGE: usize = 4096;

#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Where the bytes go to a place that lies less than this behind where they come from, within pages, the string
/// instruction takes one for a load of what was just stored, and slows down: on an AMD EPYC to a thirtieth.
#[cfg(target_arch = "x86_64")]
const STRING_COPY_DISTANCE_MIN: usize = 64;

/// Copies all bytes but a few at the end, and says how many.
///
/// # Safety
/// As for [`copy`].
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_most(from: *const u8, into: *mut u8, len: usize) -> usize {
    if len >= STREAM_COPY_MIN {
        // SAFETY: as the caller vouches, and there is more than a line.
        return unsafe { copy_past_the_caches(from, into, len) };
    }
    let distance = into.addr().wrapping_sub(from.addr()) % PAGE;
    if len >= STRING_COPY_MIN && (distance == 0 || distance >= STRING_COPY_DISTANCE_MIN) {
        // SAFETY: the instruction reads and writes what the caller vouches for; the direction flag is clear by the ABI.
        unsafe {
            std::arch::asm!("rep movsb", inout("rcx") len => _, inout("rdi") into => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        return len;
    }
    let steps = len / LINE;
    if steps > 0 {
        // SAFETY: reads and writes so many times 64 bytes, all of which the caller vouches for, at any alignment.
        unsafe {
            std::arch::asm!(
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "movups [{into}], {a}",
                "movups [{into} + 16], {b}",
                "movups [{into} + 32], {c}",
                "movups [{into} + 48], {d}",
                "add {from}, 64",
                "add {into}, 64",
                "dec {steps}",
                "jnz 2b",
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                from = inout(reg) from => _, into = inout(reg) into => _, steps = inout(reg) steps => _,
                options(nostack)
            );
        }
    }
    steps * LINE
}

/// Copies all bytes but a few at the end, and says how many. Whoever sees what is written after that sees them, too.
///
/// # Safety
/// As for [`copy`], and there are as many as a line has.
#[cfg(target_arch = "x86_64")]
#[cold]
#[inline(never)]
unsafe fn copy_past_the_caches(from: *const u8, into: *mut u8, len: usize) -> usize {
    let head = into.align_offset(LINE).min(len); // These stores take whole lines alone.
    // SAFETY: the first of the bytes that the caller vouches for.
    unsafe { copy_bytes(from, into, head) };
    let blocks = (len - head) / STREAM_BLOCK;
    if blocks == 0 {
        return head;
    }
    // SAFETY: reads and writes so many blocks, all of which the caller vouches for; what is written is at multiples of a line.
    unsafe {
        std::arch::asm!(
            "2:",
            "mov {lines:e}, 64",
            "3:",
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movntdq [{into}], {a}",
            "movntdq [{into} + 16], {b}",
            "movntdq [{into} + 32], {c}",
            "movntdq [{into} + 48], {d}",
            "movups {a}, [{from} + 4096]",
            "movups {b}, [{from} + 4112]",
            "movups {c}, [{from} + 4128]",
            "movups {d}, [{from} + 4144]",
            "movntdq [{into} + 4096], {a}",
            "movntdq [{into} + 4112], {b}",
            "movntdq [{into} + 4128], {c}",
            "movntdq [{into} + 4144], {d}",
            "movups {a}, [{from} + 8192]",
            "movups {b}, [{from} + 8208]",
            "movups {c}, [{from} + 8224]",
            "movups {d}, [{from} + 8240]",
            "movntdq [{into} + 8192], {a}",
            "movntdq [{into} + 8208], {b}",
            "movntdq [{into} + 8224], {c}",
            "movntdq [{into} + 8240], {d}",
            "movups {a}, [{from} + 12288]",
            "movups {b}, [{from} + 12304]",
            "movups {c}, [{from} + 12320]",
            "movups {d}, [{from} + 12336]",
            "movntdq [{into} + 12288], {a}",
            "movntdq [{into} + 12304], {b}",
            "movntdq [{into} + 12320], {c}",
            "movntdq [{into} + 12336], {d}",
            "add {from}, 64",
            "add {into}, 64",
            "dec {lines:e}",
            "jnz 3b",
            "add {from}, 12288",
            "add {into}, 12288",
            "dec {blocks}",
            "jnz 2b",
            "sfence", // These stores are in no order with others.
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            from = inout(reg) from.wrapping_add(head) => _, into = inout(reg) into.wrapping_add(head) => _,
            lines = out(reg) _, blocks = inout(reg) blocks => _,
            options(nostack)
        );
    }
    head + blocks * STREAM_BLOCK
}

/// Nothing: other processors copy word by word.
///
/// # Safety
/// As for [`copy`].
#[cfg(not(target_arch = "x86_64"))]
#[inline]
unsafe fn copy_most(_: *const u8, _: *mut u8, _: usize) -> usize {
    0
}

/// A word that may stand anywhere.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Word(MaybeUninit<u64>);

/// Makes bytes zero that other processes may change meanwhile.
///
/// # Safety
/// As many bytes can be written at `into`.
pub(crate) unsafe fn clear(into: *mut u8, len: usize) {
    let words = len / size_of::<Word>();
    for at in 0..words {
        // SAFETY: within the bytes that the caller vouches for.
        unsafe { into.cast::<Word>().wrapping_add(at).write_volatile(Word(MaybeUninit::new(0))) };
    }
    for at in words * size_of::<Word>()..len {
        // SAFETY: within the bytes that the caller vouches for.
        unsafe { into.wrapping_add(at).write_volatile(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: usize = 64;
    const BLOCK: usize = 16 << 10;

    /// Copies so many bytes from a place that far behind a line's beginning to another, and back.
    fn arrive(bytes: &[u8], from: usize, into: usize, len: usize) {
        let mut room = vec![0xff; len + 2 * LINE];
        let into = room.as_ptr().align_offset(LINE) + into;
        let bytes = &bytes[bytes.as_ptr().align_offset(LINE) + from..][..len];
        // SAFETY: both are slices of that length, or longer, and do not overlap.
        unsafe { copy(bytes.as_ptr(), room[into..into + len].as_mut_ptr(), len) };
        assert!(room[into..into + len] == *bytes, "{len} bytes from {from} to {into}");
        assert!(room[..into].iter().chain(&room[into + len..]).all(|&byte| byte == 0xff), "{len} bytes, and others");
    }

    #[test]
    fn what_goes_past_the_caches_arrives_whole_wherever_it_stands() {
        let bytes: Vec<u8> = (0..STREAM_COPY_MIN + 2 * BLOCK + 2 * LINE).map(|at| (at % 251) as u8).collect();
        for len in [0, 1, 63, BLOCK - 1, BLOCK, 2 * BLOCK].map(|more| STREAM_COPY_MIN + more) {
            for (from, into) in [(0, 0), (1, 0), (0, 1), (63, 17), (16, 48)] {
                arrive(&bytes, from, into, len);
            }
        }
        arrive(&bytes, 3, 5, STREAM_COPY_MIN - 1);
    }
}
