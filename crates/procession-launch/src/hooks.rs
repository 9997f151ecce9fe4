//! What a process runs at its normal end: exit hooks, and the ends of threads that it waits for.
//!
//! Relies on `ends` to run them. All of it belongs to the process that registered it: a forked child has its parent's
//! hooks in memory, runs none of them, and leaves what they captured alone.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::RangeFrom;
use std::os::unix::thread::JoinHandleExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem};

use parking_lot::{Mutex, MutexGuard};
use procession_sys::pid;

use crate::current::current_process;
use crate::ends;

/// The priorities of the hooks that run before the children are ended. The others run afterwards.
pub(crate) const EARLY: RangeFrom<i32> = 0..;

/// How long the end of a process sleeps at most before it looks again whether a thread that it waits for has ended.
const THREAD_LOOK: Duration = Duration::from_millis(10);

/// The first such sleep; each is twice as long as the one before.
const THREAD_LOOK_FIRST: Duration = Duration::from_micros(100);

/// What a hook runs.
type Run = Box<dyn FnOnce() + Send>;

/// Where a hook stands among the others: the one with the greatest place runs next.
type Place = (i32, u64);

/// What is to be run at the end of this process.
struct Hooks {
    /// The process that registered them.
    owner: u32,
    /// The number of the newest.
    last: u64,
    hooks: BTreeMap<Place, Run>,
    threads: Vec<Box<dyn Joinable>>,
    /// The end has come so far that nothing more is taken.
    is_closed: bool,
}

impl Hooks {
    const fn of(owner: u32) -> Self {
        Self { owner, last: 0, hooks: BTreeMap::new(), threads: Vec::new(), is_closed: false }
    }
}

static HOOKS: Mutex<Hooks> = Mutex::new(Hooks::of(0));

/// Those of this very process.
fn own() -> MutexGuard<'static, Hooks> {
    let mut hooks = HOOKS.lock();
    if hooks.owner != pid() {
        // What they captured is the parent's: a destructor here might remove its files.
        mem::forget(mem::replace(&mut *hooks, Hooks::of(pid())));
    }
    hooks
}

/// Runs `hook` at this process's normal end, with priority 0: before its children are ended.
///
/// As [`at_exit_with_priority`], which tells when and in which order. Python's `atexit.register`.
///
/// # Panics
/// When no memory is left.
///
/// # Examples
/// ```
/// let directory = std::env::temp_dir().join(format!("scratch-{}", std::process::id()));
/// std::fs::create_dir(&directory)?;
/// procession_launch::at_exit(move || {
///     let _ = std::fs::remove_dir_all(directory);
/// });
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn at_exit(hook: impl FnOnce() + Send + 'static) -> ExitHook {
    at_exit_with_priority(0, hook)
}

/// Runs `hook` once at this process's normal end, unless it is cancelled before.
///
/// The order is: threads given to [`join_at_exit`]; the hooks of priority 0 and above; SIGTERM to daemon children, and
/// the ends of all children; the hooks below 0; the flushing of standard output. Among the hooks the highest priority
/// runs first, and among equal ones the newest. A hook may register hooks and threads, and start and join children:
/// before the next hook runs, the threads are joined, and once the children have been ended, so are new ones.
///
/// The end is normal when `main` or a child's target returns or panics, and after [`exit`](crate::exit()) and
/// `std::process::exit`. Hooks do not run when the process is killed by a signal, aborts, calls `_exit` or executes
/// another program. They run in the process that registered them only, never in its children.
///
/// A hook that panics is reported on standard error and the others run (with `panic = "abort"` in the main process
/// there is no way on). Hooks run one after the other on the thread that ends the process; where that is the
/// end of `main` or `std::process::exit`, the values of `thread_local!` of that thread are gone already. A hook must
/// not call `std::process::exit`, which aborts then; [`exit`](crate::exit()) works.
///
/// After the last hook has run, nothing is taken any more: the handle is not active, and the hook has been dropped.
///
/// Python's `multiprocessing.util.Finalize` with `exitpriority`.
///
/// # Panics
/// When no memory is left.
///
/// # Examples
/// ```
/// use procession_launch::{Process, Stdio, at_exit, at_exit_with_priority};
/// # use std::io::Read;
///
/// fn work() {
///     at_exit_with_priority(-1, || println!("third"));
///     at_exit(|| println!("second"));
///     at_exit(|| println!("first"));
/// }
///
/// let child = Process::builder(work, ()).stdout(Stdio::pipe()).start()?;
/// let mut said = String::new();
/// child.take_stdout().map(|mut pipe| pipe.read_to_string(&mut said));
/// assert_eq!(said, "first\nsecond\nthird\n");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn at_exit_with_priority(priority: i32, hook: impl FnOnce() + Send + 'static) -> ExitHook {
    prepare();
    let mut hooks = own();
    hooks.last += 1;
    let place = (priority, hooks.last);
    if !hooks.is_closed {
        hooks.hooks.insert(place, Box::new(hook));
    }
    ExitHook { owner: hooks.owner, place }
}

/// Makes this process wait for a thread at its normal end, before the first exit hook runs.
///
/// A Rust program ends without waiting for its threads; one that must finish what it does is given here. There is no
/// limit to the wait. What the thread returns is dropped; its panic has been printed already. A thread that calls
/// [`exit`](crate::exit()) itself is not waited for; one that calls `std::process::exit` while the process is ending
/// already would be waited for without end.
///
/// Python's threads that are not daemons.
///
/// # Panics
/// When no memory is left.
///
/// # Examples
/// ```
/// use procession_launch::{Process, join_at_exit};
///
/// fn work() {
///     join_at_exit(std::thread::spawn(|| println!("in order, although `work` has returned")));
/// }
///
/// Process::start(work, ())?.join()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn join_at_exit<T: Send + 'static>(thread: JoinHandle<T>) {
    prepare();
    let mut hooks = own();
    if !hooks.is_closed {
        hooks.threads.push(Box::new(thread));
    }
}

/// Sees to it that the end will be noticed.
fn prepare() {
    if let Err(error) = ends::prepare() {
        panic!("cannot register an exit handler: {error}");
    }
}

/// A hook that was registered with [`at_exit`] or [`at_exit_with_priority`]. Dropping it leaves the hook in place.
#[derive(Debug)]
pub struct ExitHook {
    owner: u32,
    place: Place,
}

impl ExitHook {
    /// Takes the hook back; true if it will not run because of this. False when it has run, is running, or was
    /// cancelled, and in a forked child, whose parent's hook it is.
    #[expect(clippy::must_use_candidate, reason = "what came of it is known without, unless threads race")]
    pub fn cancel(&self) -> bool {
        self.take().is_some()
    }

    /// Whether the hook is still to run.
    #[must_use]
    pub fn is_active(&self) -> bool {
        let hooks = own();
        hooks.owner == self.owner && hooks.hooks.contains_key(&self.place)
    }

    /// Runs the hook now and not at the end; true if this ran it. A panic of the hook is the caller's.
    #[expect(clippy::must_use_candidate, reason = "what came of it is known without, unless threads race")]
    pub fn run_now(&self) -> bool {
        let Some(hook) = self.take() else { return false };
        hook();
        true
    }

    /// The hook, if it is still there and this process's own.
    fn take(&self) -> Option<Run> {
        let mut hooks = own();
        if hooks.owner == self.owner { hooks.hooks.remove(&self.place) } else { None }
    }
}

/// A step of the end.
pub(crate) enum Task {
    /// A thread is to be waited for.
    Join(Box<dyn Joinable>),
    /// A hook is to be run.
    Run(Run),
}

/// Takes what is to be done next: a thread, or else the first hook of these priorities.
pub(crate) fn next(priorities: RangeFrom<i32>) -> Option<Task> {
    own().take(priorities.start)
}

/// The same of all priorities; takes nothing more if nothing is left.
pub(crate) fn next_or_close() -> Option<Task> {
    let mut hooks = own();
    let task = hooks.take(i32::MIN);
    hooks.is_closed = task.is_none();
    task
}

impl Hooks {
    fn take(&mut self, lowest: i32) -> Option<Task> {
        if let Some(thread) = self.threads.pop() {
            return Some(Task::Join(thread));
        }
        let first = self.hooks.last_entry().filter(|first| first.key().0 >= lowest)?;
        Some(Task::Run(first.remove()))
    }
}

impl Task {
    /// Does it. Nothing that it does harms the next.
    pub(crate) fn run(self) {
        let (what, outcome) = match self {
            Task::Run(hook) => ("an exit hook", catch_unwind(AssertUnwindSafe(hook))),
            Task::Join(thread) => ("what a joined thread returned", catch_unwind(AssertUnwindSafe(|| wait(thread)))),
        };
        if let Err(payload) = outcome {
            say_panicked(what, payload);
        }
    }
}

/// Says whose panic it was that the panic hook has just printed.
fn say_panicked(what: &str, payload: Box<dyn Any + Send>) {
    let me = current_process();
    let _ = writeln!(io::stderr(), "process {:?} (pid {}): {what} panicked; its end goes on", me.name(), me.pid());
    mem::forget(payload); // Its destructor is not to be trusted either.
}

/// Waits until the thread has ended, or has asked for this process's end itself.
fn wait(thread: Box<dyn Joinable>) {
    let mut look = THREAD_LOOK_FIRST;
    while !thread.has_ended() {
        if ends::is_leaving(thread.number(), look) {
            return;
        }
        look = THREAD_LOOK.min(look * 2);
    }
    thread.take();
}

/// A thread, whatever it returns.
pub(crate) trait Joinable: Send {
    /// libc's handle of it.
    fn number(&self) -> usize;
    /// True when it will not run for long.
    fn has_ended(&self) -> bool;
    /// Waits for it, and drops what it returned.
    fn take(self: Box<Self>);
}

impl<T: Send> Joinable for JoinHandle<T> {
    fn number(&self) -> usize {
        self.as_pthread_t() as usize
    }

    fn has_ended(&self) -> bool {
        self.is_finished()
    }

    fn take(self: Box<Self>) {
        if let Err(payload) = self.join() {
            mem::forget(payload); // Printed when it panicked; its destructor might panic again.
        }
    }
}
