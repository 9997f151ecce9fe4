//! The process that the Rust contestants of group `shared_memory` run in: `sharer 0`. What it is asked is told in
//! `procession_benches::runner`; the words of each request in `run`.
//!
//! # Safety
//! The system calls get a name that ends with a zero, a descriptor that has just been made, and the mapping that they
//! made themselves, which nothing has looked at.

#![expect(unsafe_code, reason = "the bare system calls are the limit that segments are measured against")]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::ExitCode;
use std::ptr;
use std::time::Duration;

use procession::{Context, Shareable, SharedArray, SharedMemory, StartMethod};
use procession_benches::Result;
use procession_benches::runner::{answer_all, timed};

fn main() -> Result<ExitCode> {
    answer_all(0, env!("CARGO_PKG_NAME"), run)?;
    Ok(ExitCode::SUCCESS)
}

/// Does what it is asked so many times, and says how long it took.
fn run(asked: &str, times: u64) -> Result<Duration> {
    match asked.split(' ').collect::<Vec<_>>()[..] {
        ["share", bytes, method] => share(bytes.parse()?, method, times),
        ["create", bytes] => {
            let bytes = bytes.parse()?;
            timed(times, || Ok(SharedMemory::create(bytes)?))
        }
        ["calls", bytes] => {
            let bytes = bytes.parse()?;
            timed(times, || system_calls(bytes))
        }
        [what, bytes, "f64"] => read(what, bytes.parse()?, times, |number| number as f64, |sum: f64, x| sum + x),
        [what, bytes, "u64"] => read(what, bytes.parse()?, times, |number| number as u64, u64::wrapping_add),
        [what, bytes, "u8"] => {
            read(what, bytes.parse()?, times, |number| number as u8, |sum: u64, x: u8| sum + u64::from(x))
        }
        _ => Err("there is no such contestant".into()),
    }
}

/// Starts children that get an array, and joins them; each says what its last element is.
fn share(bytes: usize, method: &str, times: u64) -> Result<Duration> {
    let method = StartMethod::ALL.into_iter().find(|known| known.name() == method).ok_or("no such start method")?;
    let context = Context::new(method);
    let array = SharedArray::<u64>::zeroed(bytes / size_of::<u64>())?;
    array.set(array.len() - 1, 42)?;
    timed(times, || {
        let last = context.start(last, (array.clone(),))?.join()?;
        if last == Some(42) { Ok(()) } else { Err(format!("the last element arrived as {last:?}").into()) }
    })
}

fn last(array: SharedArray<u64>) -> Option<u64> {
    array.get(array.len() - 1).ok()
}

unsafe extern "C" {
    fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
    fn mmap(address: *mut c_void, bytes: usize, protection: c_int, flags: c_int, file: c_int, at: i64) -> *mut c_void;
    fn munmap(address: *mut c_void, bytes: usize) -> c_int;
}

/// `MFD_CLOEXEC`, `PROT_READ | PROT_WRITE`, `MAP_SHARED`, `MAP_FAILED`.
const CLOSE_ON_EXEC: c_uint = 1;
const READ_AND_WRITE: c_int = 3;
const SHARED: c_int = 1;
const FAILED: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// A segment by nothing but what the kernel is asked for.
fn system_calls(bytes: usize) -> Result {
    // SAFETY: the name ends with a zero.
    let file = unsafe { memfd_create(c"bare".as_ptr(), CLOSE_ON_EXEC) };
    if file < 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: the descriptor has just been made, and is nobody else's.
    let file = unsafe { File::from_raw_fd(file) };
    file.set_len(bytes as u64)?;
    // SAFETY: a new mapping, wherever there is room.
    let mapped = unsafe { mmap(ptr::null_mut(), bytes, READ_AND_WRITE, SHARED, file.as_raw_fd(), 0) };
    if mapped == FAILED {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: this very mapping, to which nothing refers.
    match unsafe { munmap(black_box(mapped), bytes) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// Reads elements, which count up, from an array or from a vector.
fn read<T, S>(
    what: &str,
    bytes: usize,
    times: u64,
    make: impl Fn(usize) -> T,
    add: impl Fn(S, T) -> S + Copy,
) -> Result<Duration>
where
    T: Shareable + PartialEq + Default,
    S: Default + PartialEq,
{
    let elements: Vec<T> = (0..bytes / size_of::<T>()).map(make).collect();
    let array = SharedArray::from_slice(&elements)?;
    let mut copy = vec![T::default(); elements.len()];
    let (ours, theirs) = (array.iter().fold(S::default(), add), elements.iter().copied().fold(S::default(), add));
    array.copy_to(&mut copy)?;
    if ours != theirs || copy != elements {
        return Err("the array is not what was put into it".into());
    }
    match what {
        "sum" => timed(times, || Ok(black_box(&array).iter().fold(S::default(), add))),
        "sum-vec" => timed(times, || Ok(black_box(&elements).iter().copied().fold(S::default(), add))),
        "copy" => timed(times, || Ok(array.copy_to(black_box(&mut copy))?)),
        "copy-vec" => timed(times, || {
            black_box(&mut copy).copy_from_slice(black_box(&elements));
            Ok(())
        }),
        _ => Err("there is no such contestant".into()),
    }
}
