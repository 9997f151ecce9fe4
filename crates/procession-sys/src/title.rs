//! The command line that `ps` shows, changed without touching the memory that the arguments stand in.
//!
//! # Safety
//! The kernel is given the addresses that it has already, but for the command line's, which lie in memory that is
//! never freed. Only the end of the heap could change in between, and nothing here allocates after it was read, in a
//! process that was seen to have one thread.

#![expect(unsafe_code, reason = "asks for the heap's end, and tells the kernel where the command line stands")]

use std::fs;
use std::io;

use rustix::process::{PrctlMmMap, configure_virtual_memory_map};

use crate::records;

/// Where addresses stand in `/proc/PID/stat`, counted from the field after the command's name.
const CODE_FIELD: usize = 23;
const STACK_FIELD: usize = 25;
const DATA_FIELD: usize = 42;
const HEAP_FIELD: usize = 44;
const ENVIRONMENT_FIELD: usize = 47;

/// Makes `text` this process's command line in `/proc/PID/cmdline`, hence in `ps`. What the process itself takes for
/// its arguments stays as it is. Each call keeps the text's bytes for good.
///
/// Source: `PR_SET_MM_MAP` in prctl(2).
///
/// # Errors
/// `EINVAL` for a kernel without checkpoint/restore, `EPERM` where a filter forbids it, `WouldBlock` in a process with
/// a second thread, `InvalidInput` for a text with a NUL in it, `InvalidData` when `/proc/self/stat` is not understood.
pub fn set_command_line(text: &[u8]) -> io::Result<()> {
    let line = std::ffi::CString::new(text)?;
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let stat = fs::read("/proc/self/stat")?;
    let addresses: Option<Vec<u64>> =
        records::fields(&stat).map(|fields| fields.iter().map(|field| field.parse().unwrap_or_default()).collect());
    let addresses = addresses.filter(|addresses| addresses.len() > ENVIRONMENT_FIELD + 1);
    let addresses = addresses.ok_or(io::ErrorKind::InvalidData)?;
    let pair = |at: usize| (addresses[at], addresses[at + 1]);
    let (start_code, end_code) = pair(CODE_FIELD);
    let (start_data, end_data) = pair(DATA_FIELD);
    let (env_start, env_end) = pair(ENVIRONMENT_FIELD);
    let line = line.into_bytes_with_nul().leak();
    let arg_start = line.as_ptr().expose_provenance() as u64;
    let map = PrctlMmMap {
        start_code,
        end_code,
        start_data,
        end_data,
        start_brk: addresses[HEAP_FIELD],
        brk: heap_end(),
        start_stack: addresses[STACK_FIELD],
        arg_start,
        arg_end: arg_start + line.len() as u64,
        env_start,
        env_end,
        auxv: std::ptr::null_mut(), // Of no size: stays as it is.
        auxv_size: 0,
        exe_fd: -1, // Stays as it is.
    };
    // SAFETY: see the top of this file.
    Ok(unsafe { configure_virtual_memory_map(&map) }?)
}

/// The address at which the heap ends that `brk` manages.
fn heap_end() -> u64 {
    // SAFETY: an address of zero asks only.
    unsafe { libc::syscall(libc::SYS_brk, 0) }.cast_unsigned()
}
