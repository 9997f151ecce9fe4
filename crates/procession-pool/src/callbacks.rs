//! The thread that runs callbacks: one for each process, started at the first need.
//!
//! Relies on nothing of the pool. A callback is the user's code: it may panic, wait, submit and cancel, none of which may
//! happen in the thread that ends tasks.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;
use procession_launch::at_exit_with_priority;
use procession_sys::pid;

/// A callback with what it is called with.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The name of the thread.
const NAME: &str = "procession-callbacks";

/// Of exit hooks: after those that end pools, whose tasks may have callbacks.
const LAST: i32 = -100;

/// One process's thread, and those of the processes that were forked from it: a forked child has none of its parent's.
struct Own {
    pid: u32,
    line: Mutex<Option<Line>>,
    forked: OnceLock<Box<Self>>,
}

/// The way to a thread that runs.
struct Line {
    sender: Sender<Job>,
    thread: ThreadId,
}

impl Own {
    fn new() -> Self {
        Self { pid: pid(), line: Mutex::new(None), forked: OnceLock::new() }
    }
}

/// The thread of the process that asks.
fn own() -> &'static Own {
    static FIRST: OnceLock<Own> = OnceLock::new();
    let pid = pid();
    let mut own = FIRST.get_or_init(Own::new);
    while own.pid != pid {
        own = own.forked.get_or_init(|| Box::new(Own::new()));
    }
    own
}

/// Runs the job on the thread for callbacks, after those that were given earlier; if there can be no such thread, here.
pub(crate) fn run(job: Job) {
    let mut line = own().line.lock();
    if line.is_none() {
        match start() {
            Ok(started) => *line = Some(started),
            Err(error) => {
                drop(line);
                tracing::error!(%error, "cannot start the thread for callbacks: one runs where its task ends");
                return call(job);
            }
        }
    }
    let Some(Line { sender, .. }) = line.as_ref() else { return };
    // The thread never ends while there is a sender, for it catches every panic.
    let _ = sender.send(job);
}

/// Waits until the callbacks that were given by now have run; does nothing on their own thread. At the end of the program
/// alone: nobody else's callbacks are a reason to wait before.
fn settle() {
    let (done, is_done) = mpsc::channel::<()>();
    match own().line.lock().as_ref() {
        Some(line) if line.thread != thread::current().id() => _ = line.sender.send(Box::new(move || drop(done))),
        _ => return,
    }
    let _ = is_done.recv();
}

fn start() -> std::io::Result<Line> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let run_all = move || jobs.iter().for_each(call);
    let thread = thread::Builder::new().name(NAME.to_owned()).spawn(run_all)?.thread().id();
    at_exit_with_priority(LAST, settle);
    Ok(Line { sender, thread })
}

/// Calls it. The panic's message is printed by the panic hook, as that of any thread.
fn call(job: Job) {
    if panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("a callback panicked; those after it are called all the same");
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("thread", &self.thread).finish_non_exhaustive()
    }
}
