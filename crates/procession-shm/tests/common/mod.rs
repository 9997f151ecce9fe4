//! What the tests of shared memory share: every start method, and pipes that tell the order.
//!
//! Relies on `procession_wire::Descriptor` to carry a pipe's end into a child, so that order is told and never guessed.

#![expect(dead_code, reason = "each test file uses its own part of this one")]

pub(crate) mod owner;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use procession_launch::{Arguments, Context, Process, StartMethod, Target};
use procession_wire::Descriptor;

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

/// What a Python program prints, and nothing else: neither it nor its own tracker may complain. `None` where there is no
/// Python.
pub(crate) fn python(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("python3");
    command.arg("-c").arg(program).args(arguments).stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("left out: there is no python3");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}
