//! The process that the Rust contestants of group `shared_memory` run in: `sharer 0`. What it is asked is told in
//! `procession_benches::runner`; the words of each request in `run`.
//!
//! # Safety
//! The system calls get a name that ends with a zero, a descriptor that has just been made, and the mapping that they
//! made themselves, which nothing has looked at.

#![expect(unsafe_code, reason = "the bare system calls are the limit that segments are measured against")]

use std::any::Any;
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
    let mut held = None;
    answer_all(0, env!("CARGO_PKG_NAME"), |asked, times| run(&mut held, asked, times))?;
    Ok(ExitCode::SUCCESS)
}

/// Does what it is asked so many times, and says how long it took.
fn run(held: &mut Option<Box<dyn Any>>, asked: &str, times: u64) -> Result<Duration> {
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
        ["name", bytes] => {
            let bytes = bytes.parse()?;
            timed(times, || Ok(SharedMemory::create_with_new_name(bytes)?.unlink()?))
        }
        ["open", bytes] => {
            let memory = SharedMemory::create_with_new_name(bytes.parse()?)?;
            let name = memory.name().ok_or("it has no name")?;
            let took = timed(times, || Ok(SharedMemory::open(name)?));
            memory.unlink()?;
            took
        }
        [what, bytes, "f64"] => {
            read(held, [what, bytes], times, |number| number as f64, |sum: f64, number| sum + number)
        }
        [what, bytes, "u64"] => read(held, [what, bytes], times, |number| number as u64, u64::wrapping_add),
        [what, bytes, "u8"] => {
            read(held, [what, bytes], times, |number| number as u8, |sum: u64, number: u8| sum + u64::from(number))
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

/// The same elements three times.
struct Elements<T> {
    array: SharedArray<T>,
    vec: Vec<T>,
    copy: Vec<T>,
}

/// Reads elements, which count up, from an array or from a vector. They are made once, and kept for later requests.
fn read<T, S>(
    held: &mut Option<Box<dyn Any>>,
    [what, bytes]: [&str; 2],
    times: u64,
    make: impl Fn(usize) -> T,
    add: impl Fn(S, T) -> S + Copy,
) -> Result<Duration>
where
    T: Shareable + PartialEq + Default,
    S: Default + PartialEq,
{
    let len = bytes.parse::<usize>()? / size_of::<T>();
    let is_same = |held: &Box<dyn Any>| held.downcast_ref::<Elements<T>>().is_some_and(|held| held.vec.len() == len);
    let held = match held {
        Some(same) if is_same(same) => same,
        other => other.insert(Box::new(elements(len, make)?)),
    };
    let Elements { array, vec, copy } = held.downcast_mut::<Elements<T>>().ok_or("they are of another type")?;
    match what {
        "sum" => timed(times, || Ok(black_box(&*array).iter().fold(S::default(), add))),
        "sum-vec" => timed(times, || Ok(black_box(&*vec).iter().copied().fold(S::default(), add))),
        "copy" => timed(times, || Ok(array.copy_to(black_box(copy))?)),
        "copy-vec" => timed(times, || {
            black_box(&mut *copy).copy_from_slice(black_box(vec));
            Ok(())
        }),
        _ => Err("there is no such contestant".into()),
    }
}

/// So many, of which none is lost.
fn elements<T: Shareable + PartialEq + Default>(len: usize, make: impl Fn(usize) -> T) -> Result<Elements<T>> {
    let vec: Vec<T> = (0..len).map(make).collect();
    let array = SharedArray::from_slice(&vec)?;
    let mut copy = vec![T::default(); len];
    array.copy_to(&mut copy)?;
    if copy != vec || !array.iter().eq(vec.iter().copied()) {
        return Err("the array is not what was put into it".into());
    }
    Ok(Elements { array, vec, copy })
}
