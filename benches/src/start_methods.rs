//! What it costs to start a child and to join it, by each start method and by the bare system calls.
//!
//! # Safety
//! The bare fork is called by a process with one thread, and its child returns at once.

#![expect(unsafe_code, reason = "the bare fork is the limit that the start methods are measured against")]

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use procession::{Context, StartMethod};
use procession_sys::{Exec, PidFd, exit_now, fork};

use crate::rounds::Contestant;

/// In the environment of a bare child: its `main` returns at once.
const RETURN_AT_ONCE: &str = "PROCESSION_BENCH_RETURN";

/// To be asked first thing in `main`.
#[must_use]
pub fn is_bare_child() -> bool {
    std::env::var_os(RETURN_AT_ONCE).is_some()
}

fn nothing() {}

fn start_and_join(method: StartMethod) {
    let child = Context::new(method).start(nothing, ()).expect("the child starts");
    child.join().expect("the child returns");
}

/// One child by `fork` and `waitid`, which exits at once.
fn bare_fork() {
    // SAFETY: the process has one thread; see the top of this file.
    let child = unsafe { fork(|| exit_now(0)) }.expect("a fork");
    PidFd::open(child).and_then(|child| child.reap()).expect("it is reaped");
}

/// One child by `posix_spawn` of this image and `waitid`, whose `main` returns at once.
fn bare_spawn() {
    let line = |name: &OsStr, value: &OsStr| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat());
    let own = std::env::vars_os().map(|(name, value)| line(&name, &value));
    let env = own.chain([line(RETURN_AT_ONCE.as_ref(), "1".as_ref())]).collect::<Result<_, _>>().expect("no NUL");
    let args = vec![CString::new("bare").expect("no NUL")];
    let child = Exec::new(c"/proc/self/exe".to_owned(), args, env).spawn().expect("a spawn");
    PidFd::open(child).and_then(|child| child.reap()).expect("it is reaped");
}

/// `spawn` against its limit.
pub const SPAWN: [Contestant; 2] = [
    Contestant { name: "posix_spawn + wait", run: bare_spawn },
    Contestant { name: "spawn", run: || start_and_join(StartMethod::Spawn) },
];

/// `forkserver` against its limit.
pub const FORKSERVER: [Contestant; 2] = [
    Contestant { name: "fork + wait", run: bare_fork },
    Contestant { name: "forkserver", run: || start_and_join(StartMethod::ForkServer) },
];
