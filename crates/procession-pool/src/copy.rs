//! Copies of a process that a task has forked behind the library's back, and that came back from the task: two processes that
//! run the same one would be nobody's to tell apart.
//!
//! Relies on [`Origin`], which knows a copy. A copy has one thread, and finds the locks of others as these had them: it takes
//! none of them on its way out.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use procession_sys::{Origin, exit_now};

/// The exit code of a copy that came back: that of a panic, so that whoever waits for it sees that it was no good.
const COPY_EXIT_CODE: i32 = 1;

/// Ends this process if it is a copy of the one that the task was begun in.
#[inline]
pub(crate) fn end_a_copy(origin: Origin) {
    if !origin.is_here() {
        end_this_copy(origin.pid());
    }
}

/// Ends a copy without anything that ends a process: hooks and buffers are the other one's.
#[cold]
fn end_this_copy(origin: u32) -> ! {
    let pid = procession_sys::pid();
    let said = format!("a task in process {origin} has forked, and its copy {pid} came back from it: it ends here\n");
    if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
        // It may be a pipe that nobody reads.
        let _ = File::from(stderr).write_all(said.as_bytes());
    }
    exit_now(COPY_EXIT_CODE)
}
