//! The process that the Rust contestants of group `start_methods` run in: `starter MIB`, a small program of the kind
//! that starts children, which holds so much memory. What it is asked is told in `procession_benches::runner`.
//!
//! # Safety
//! The bare fork is called by a process with one thread, which is looked up before each run, and its child exits at
//! once.

#![expect(unsafe_code, reason = "the bare fork is the limit that the start methods are measured against")]

use std::ffi::{CString, OsStr};
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use procession::{Context, StartMethod};
use procession_benches::Result;
use procession_benches::runner::{answer_all, timed};
use procession_benches::start_methods::{COMMAND, FORK, POSIX_SPAWN, PROCSPAWN};
use procession_sys::{Ended, Exec, PidFd, exit_now, fork};

/// In the environment of a child that is this image and nothing more: its `main` returns at once.
const RETURN_AT_ONCE: &str = "PROCESSION_BENCH_RETURN";

/// The exit code of the children that cannot return a value: not one that comes about by itself.
const BARE_EXIT: u8 = 7;

fn main() -> Result<ExitCode> {
    procspawn::init();
    if std::env::var_os(RETURN_AT_ONCE).is_some() {
        return Ok(ExitCode::from(BARE_EXIT));
    }
    let mib: usize = std::env::args().nth(1).ok_or("usage: starter MIB")?.parse()?;
    let held = vec![1_u8; mib << 20]; // Written, so it is resident.
    let image = this_image()?;
    answer_all(resident_kib()?, env!("CARGO_PKG_NAME"), |method, times| run(method, times, &image))?;
    black_box(held);
    Ok(ExitCode::SUCCESS)
}

/// Starts and joins so many children, and says how long it took.
fn run(method: &str, times: u64, image: &Exec<'_>) -> Result<Duration> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(format!("{threads} threads in the starting process, where a fork copies one").into());
    }
    match method {
        FORK => timed(times, bare_fork),
        POSIX_SPAWN => timed(times, || bare_spawn(image)),
        COMMAND => timed(times, command),
        PROCSPAWN => timed(times, || Ok(procspawn::spawn((), |()| ()).join()?)),
        ours => {
            let known = StartMethod::ALL.into_iter().find(|method| method.name() == ours);
            let context = Context::new(known.ok_or("there is no such contestant")?);
            timed(times, || Ok(context.start(nothing, ())?.join()?))
        }
    }
}

/// The empty target.
fn nothing() {}

/// One child by `fork` and `waitid`, which exits at once.
fn bare_fork() -> Result {
    // SAFETY: the process has one thread; see the top of this file.
    let child = unsafe { fork(|| exit_now(BARE_EXIT.into())) }?;
    reap(child)
}

/// One child by `posix_spawn` and `waitid`.
fn bare_spawn(image: &Exec<'_>) -> Result {
    reap(image.spawn()?)
}

/// One child by the standard library.
fn command() -> Result {
    let status = Command::new("/proc/self/exe").env(RETURN_AT_ONCE, "1").status()?;
    if status.code() == Some(BARE_EXIT.into()) { Ok(()) } else { Err(format!("the child ended with {status}").into()) }
}

fn reap(child: u32) -> Result {
    match PidFd::open(child)?.reap()? {
        Ended::Exited(code) if code == BARE_EXIT.into() => Ok(()),
        other => Err(format!("the child ended with {other:?}").into()),
    }
}

/// This very image with this process's environment, told to return at once.
fn this_image() -> Result<Exec<'static>> {
    let line = |name: &OsStr, value: &OsStr| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat());
    let own = std::env::vars_os().map(|(name, value)| line(&name, &value));
    let env = own.chain([line(RETURN_AT_ONCE.as_ref(), "1".as_ref())]).collect::<Result<_, _>>()?;
    Ok(Exec::new(c"/proc/self/exe".to_owned(), vec![CString::new("starter")?], env))
}

/// How much of this process's memory is there, as the kernel counts.
fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the kernel tells no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
