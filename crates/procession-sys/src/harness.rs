//! What a test harness asks of the kernel, and a library never does: limits, and planted nuisances.
//!
//! # Safety
//! Of the handlers installed here one does nothing, so it is async-signal-safe; the other is the test's, which is there to
//! show that what it does may be done in a handler. The one descriptor closed by number is a
//! standard stream, which std's handles take for an end of file. The environment is changed only in a process that was seen to
//! have one thread; a copy is made in such a one, or where the test has the other threads wait.

#![expect(unsafe_code, reason = "installs a signal handler, closes a standard stream, forks, sets a variable")]

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::process::{Pid, Resource, Rlimit};
use rustix::thread::CpuSet;

use crate::SignalMask;

/// Sends any signal to whoever has the number `pid` now, which is for tests that know the process is still there.
///
/// # Errors
/// `ESRCH` when there is none, `EINVAL` for a number that is no signal's.
pub fn send_signal(pid: u32, number: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    let signal = rustix::process::Signal::from_named_raw(number).ok_or(rustix::io::Errno::INVAL)?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Sends any signal to every process of a group, as a terminal does.
///
/// # Errors
/// As [`send_signal`].
pub fn send_signal_to_group(group: u32, number: i32) -> io::Result<()> {
    let group = i32::try_from(group).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    let signal = rustix::process::Signal::from_named_raw(number).ok_or(rustix::io::Errno::INVAL)?;
    Ok(rustix::process::kill_process_group(group, signal)?)
}

/// Takes the next of these signals, all of which the calling thread blocks, and returns its number.
///
/// # Errors
/// `EINVAL` when there is no such signal.
pub fn take_signal(of: SignalMask) -> io::Result<i32> {
    let (set, mut number) = (of.to_set(), 0);
    // SAFETY: both point to locals of the right type.
    match unsafe { libc::sigwait(&raw const set, &raw mut number) } {
        0 => Ok(number),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// What a process can be made to run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarcity {
    /// Descriptors (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Memory, by addresses (`RLIMIT_AS`).
    AddressSpace,
    /// The largest core file (`RLIMIT_CORE`).
    CoreFile,
    /// The largest file (`RLIMIT_FSIZE`).
    File,
}

/// Sets this process's soft limit and returns the one before; `None` means no limit.
///
/// # Errors
/// `EINVAL` above the hard limit.
pub fn limit(what: Scarcity, wanted: Option<u64>) -> io::Result<Option<u64>> {
    let resource = match what {
        Scarcity::OpenFiles => Resource::Nofile,
        Scarcity::AddressSpace => Resource::As,
        Scarcity::CoreFile => Resource::Core,
        Scarcity::File => Resource::Fsize,
    };
    let before = rustix::process::getrlimit(resource);
    rustix::process::setrlimit(resource, Rlimit { current: wanted, maximum: before.maximum })?;
    Ok(before.current)
}

/// The processors that the calling thread may run on.
///
/// # Errors
/// `EPERM` where a filter forbids the question.
pub fn processors() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect())
}

/// Lets the calling thread run on these processors only.
///
/// # Errors
/// `EINVAL` when it may run on none of them.
pub fn run_on(processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    processors.iter().for_each(|&processor| set.set(processor));
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// The processor time that this process has used, with all its threads.
#[must_use]
pub fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // Neither is negative.
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Takes the close-on-exec mark off a descriptor, as careless libraries make them.
///
/// # Errors
/// None for an open descriptor.
pub fn keep_on_exec(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, FdFlags::empty())?)
}

/// Closes standard input (0), output (1) or error (2), as some daemons do.
///
/// # Panics
/// When `at` is above 2.
pub fn close_standard_stream(at: i32) {
    assert!((0..3).contains(&at), "{at} is no standard stream");
    // SAFETY: nothing owns these numbers, and std's handles take their being closed for an end of file.
    unsafe { libc::close(at) };
}

/// Makes `number`'s signal interrupt what a thread waits for, and do nothing else: a handler without `SA_RESTART`.
///
/// # Errors
/// `EINVAL` for SIGKILL, SIGSTOP and numbers that are no signal's.
pub fn interrupt_waits(number: i32) -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: all-zero is a valid `sigaction` (default action, empty mask, no flags).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    // SAFETY: the action is fully set; the handler does nothing.
    let result = unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the signal's handler call `handler`, on whichever thread it interrupts; waits that it interrupts go on.
///
/// # Errors
/// As [`interrupt_waits`].
pub fn run_in_handler(number: i32, handler: extern "C" fn(i32)) -> io::Result<()> {
    // SAFETY: all-zero is a valid `sigaction` (default action, empty mask, no flags).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is fully set; that its handler does only what handlers may is what the test is about.
    let result = unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Forks as a program's own code may, without a word to this library, and returns twice: 0 in the copy, and its number here,
/// where it is to be waited for.
///
/// # Errors
/// `WouldBlock` in a process with a second thread, of which the copy would be half; `EAGAIN` at the limit of processes.
pub fn fork_and_go_on() -> io::Result<u32> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // SAFETY: takes no pointer, and in a process of one thread the copy may run what it likes.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        copy => Ok(copy.unsigned_abs()),
    }
}

/// The same in a process with threads, of which the copy has the one that forks. A lock that another one had is never let go
/// there: to be called while the others sleep in a wait.
///
/// # Errors
/// `EAGAIN` at the limit of processes.
pub fn fork_beside_threads() -> io::Result<u32> {
    // SAFETY: takes no pointer. The copy may run what the threads that it lacks were not in the middle of, and these wait.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        copy => Ok(copy.unsigned_abs()),
    }
}

/// Sets a variable of this process's own environment.
///
/// # Errors
/// `WouldBlock` in a process with a second thread, which could be reading the environment.
pub fn set_variable(name: &str, value: &str) -> io::Result<()> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // SAFETY: this process has one thread, so nobody reads the environment while it changes.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}
