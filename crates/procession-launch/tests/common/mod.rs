//! What the process tests share: every start method, pipes that may be arguments, and targets that many cases need.
//!
//! Relies on `procession_wire::Descriptor` to carry a pipe's end into a child, so that order is told and never guessed.

#![expect(dead_code, reason = "each test file uses its own part of this one")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use procession_launch::{Arguments, Context, Process, StartMethod, Target};
use procession_sys::{Deadline, PidFd};
use procession_testkit::{ProcessInfo, children_of};
use procession_wire::Descriptor;

/// The numbers of the signals that `procession_sys::Signal` has no names for, the same on x86-64 and arm64.
pub(crate) const SIGUSR1: i32 = 10;
pub(crate) const SIGCONT: i32 = 18;
pub(crate) const SIGSTOP: i32 = 19;

/// What must have happened by then, or never will: ten times the second in which processes end with their owner.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Every start method with the label of its cases.
pub(crate) fn methods() -> Vec<(&'static str, StartMethod)> {
    StartMethod::ALL.map(|method| (method.name(), method)).to_vec()
}

/// The start methods whose children begin without this process's memory and descriptors, threads or none.
pub(crate) fn fresh_methods() -> Vec<(&'static str, StartMethod)> {
    methods().into_iter().filter(|(_, method)| *method != StartMethod::Fork).collect()
}

/// Starts and joins one child of each kind, so that lifeline, server and exit handler exist.
pub(crate) fn warm_up() {
    for (_, method) in methods() {
        start(method, || (), ()).join().expect("a child that does nothing");
    }
}

/// Starts a child that must start.
pub(crate) fn start<F, A>(method: StartMethod, target: F, arguments: A) -> Process<F::Output>
where
    F: Target<A>,
    A: Arguments,
{
    Context::new(method).start(target, arguments).unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// A pipe: its read end, and its write end. Both may be arguments.
pub(crate) fn pipe() -> (Descriptor, Descriptor) {
    let (read, write) = procession_sys::pipe().expect("a pipe");
    (read.into(), write.into())
}

/// The file behind a descriptor.
pub(crate) fn file(descriptor: Descriptor) -> File {
    File::from(descriptor.into_owned().expect("a descriptor to own"))
}

/// Another descriptor of the same file.
pub(crate) fn again(descriptor: &Descriptor) -> OwnedFd {
    descriptor.as_fd().try_clone_to_owned().expect("a duplicate")
}

/// Writes a byte.
pub(crate) fn tell(to: &Descriptor) {
    File::from(again(to)).write_all(b".").expect("a reader");
}

/// Waits for a byte, which `tell` writes.
pub(crate) fn hear(from: &Descriptor) {
    File::from(again(from)).read_exact(&mut [0]).expect("a byte");
}

/// Everything that is written until the last write end closes.
pub(crate) fn rest(from: Descriptor) -> String {
    let mut text = String::new();
    file(from).read_to_string(&mut text).expect("text");
    text
}

/// What is written up to the end of the line: not later, for copies of this process have its write ends.
pub(crate) fn line(from: Descriptor) -> String {
    // Byte by byte, as what follows the line is somebody else's to read.
    let (mut from, mut text, mut byte) = (file(from), Vec::new(), [0]);
    while !text.ends_with(b"\n") && from.read(&mut byte).expect("a line") > 0 {
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("text")
}

/// A target that ends by a signal only.
pub(crate) fn block() {
    loop {
        std::thread::park();
    }
}

/// A target that says when it runs, then ends by a signal only.
pub(crate) fn tell_and_block(to: Descriptor) {
    tell(&to);
    block();
}

/// A target that runs until it hears a byte, or the end of whoever would write it.
pub(crate) fn wait_for(from: Descriptor) {
    let _ = file(from).read(&mut [0]);
}

/// The forkserver of the process with this number, if it has one.
pub(crate) fn server_of(pid: u32) -> Option<ProcessInfo> {
    children_of(pid).into_iter().find(|child| child.name == "forkserver" && !child.is_zombie())
}

/// Waits until the process, which must not end, is in this state, as the kernel spells it.
pub(crate) fn wait_for_state(pid: u32, state: char) {
    let started = Instant::now();
    loop {
        let process = procession_testkit::process(pid).filter(|process| !process.is_zombie());
        let process = process.unwrap_or_else(|| panic!("process {pid} has ended"));
        if process.state == state {
            return;
        }
        assert!(started.elapsed() < SOON, "not in state {state}: {process}");
        std::thread::yield_now();
    }
}

/// Holds processes by descriptors, so that their ends can be waited for whoever reaps them.
pub(crate) fn hold(processes: &[ProcessInfo]) -> Vec<(ProcessInfo, PidFd)> {
    let held = processes.iter().map(|process| (process.clone(), PidFd::open(process.pid)));
    held.map(|(process, held)| (process, held.expect("a process that runs"))).collect()
}

/// Waits until all of them have ended. They must within the fence.
pub(crate) fn assert_all_end(held: &[(ProcessInfo, PidFd)]) {
    let deadline = Deadline::after(SOON);
    for (process, held) in held {
        assert!(held.wait_ended(deadline).expect("a wait"), "still there: {process}");
    }
}
