//! What the tests of shared memory share: every start method, and pipes that tell the order.
//!
//! Relies on `procession_wire::Descriptor` to carry a pipe's end into a child, so that order is told and never guessed.

#![expect(dead_code, reason = "each test file uses its own part of this one")]

pub(crate) mod owner;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use procession_launch::{Arguments, Context, Process, StartMethod, Target};
use procession_sys::fail_points;
use procession_wire::Descriptor;

/// Until when everybody knows of a death: who waits looks every 50 ms, and a machine may stand still for a second or two.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Every start method with the label of its cases.
pub(crate) fn methods() -> Vec<(&'static str, StartMethod)> {
    StartMethod::ALL.map(|method| (method.name(), method)).to_vec()
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

/// Another descriptor of the same file.
fn again(descriptor: &Descriptor) -> OwnedFd {
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

/// Has this thread write a byte when it next goes to sleep because it has to wait: who hears it knows that it waits.
pub(crate) fn tell_when_asleep(to: &Descriptor) {
    let to = again(to).into();
    fail_points::arm("park: sleeps", 0, move || tell(&to));
}

/// The processes that hold this file, as an open descriptor or mapped.
pub(crate) fn holders(inode: u64) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| holds(pid, inode)).collect()
}

/// Whether a process does.
pub(crate) fn holds(pid: u32, inode: u64) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut open = open.filter_map(|fd| fs::metadata(fd.path()).ok());
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let mapped = |line: &str| {
        line.contains("procession-shm") && line.split_ascii_whitespace().nth(4) == Some(&inode.to_string())
    };
    open.any(|file| file.ino() == inode) || maps.lines().any(mapped)
}

/// The number of the one segment that this process maps.
pub(crate) fn only_segment() -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut lines = maps.lines().filter(|line| line.contains("procession-shm"));
    let line = lines.next().expect("a segment");
    assert!(lines.next().is_none(), "only one: {maps}");
    line.split_ascii_whitespace().nth(4).unwrap().parse().unwrap()
}

/// Runs a script with Python, whose `sys.argv[1:]` are the arguments; what it prints, without the last line's end.
pub(crate) fn python(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3").arg("-c").arg(script).args(arguments).output().expect("python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python3: {}\n{errors}", output.status);
    assert!(errors.is_empty(), "python3 complains: {errors}");
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}
