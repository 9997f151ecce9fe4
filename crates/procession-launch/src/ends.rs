//! The normal end of a process, step by step, and the ways to ask for it.
//!
//! A normal end begins when `main` or a child's target returns or panics, or somebody calls `exit`. Relies on
//! `hooks` for what is to be run and on `registry` for the children. One thread ends the process; who comes second
//! waits, so that the first one's exit code is the process's.

use std::io;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use procession_sys::{at_exit, current_thread, exit_now, pid};

use crate::current::is_copy;
use crate::{fork, hooks, registry};

/// How far the end of this process has come.
struct End {
    /// Whose end it is: a forked child has its parent's memory, but an end of its own.
    owner: u32,
    /// libc will call us.
    is_prepared: bool,
    /// The thread that ends the process.
    finisher: Option<usize>,
    /// The exit code that the finisher will leave with, unless libc knows it.
    code: Option<i32>,
    /// The finisher has nothing left to do.
    is_done: bool,
    /// libc runs its exit handlers, ours among them, so nobody else can leave by `std::process::exit` any more.
    in_handler: bool,
    /// The threads that asked for an exit: none of them will ever return.
    leaving: Vec<usize>,
}

impl End {
    const fn of(owner: u32) -> Self {
        Self {
            owner,
            is_prepared: false,
            finisher: None,
            code: None,
            is_done: false,
            in_handler: false,
            leaving: Vec::new(),
        }
    }
}

static END: Mutex<End> = Mutex::new(End::of(0));

/// Wakes who waits for another thread's end of the process, or for a thread that may ask for one.
static CHANGED: Condvar = Condvar::new();

/// The end of this very process.
fn own() -> MutexGuard<'static, End> {
    let mut end = END.lock();
    if end.owner != pid() {
        *end = End::of(pid());
    }
    end
}

/// Sees to it that this process's normal end will be noticed.
pub(crate) fn prepare() -> io::Result<()> {
    let mut end = own();
    if !end.is_prepared {
        at_exit(end_of_libc)?;
        end.is_prepared = true;
    }
    Ok(())
}

/// Waits at most so long for a thread to ask for an exit, after which it cannot be joined. True if it has.
pub(crate) fn is_leaving(thread: usize, within: Duration) -> bool {
    let is_leaving = |end: &End| thread == current_thread() || end.leaving.contains(&thread);
    let mut end = own();
    if !is_leaving(&end) {
        CHANGED.wait_for(&mut end, within);
    }
    is_leaving(&end)
}

/// Ends this process early but normally, with the exit code `code & 0xff`, which is what the kernel keeps.
///
/// What happens is what happens when `main` or a child's target returns, with another exit code and without a result:
/// threads given to [`join_at_exit`](crate::join_at_exit) are joined, exit hooks run (see
/// [`at_exit`](crate::at_exit)), daemon children are terminated, other children are waited for, standard output is
/// flushed. Destructors of values on the stacks do not run.
///
/// Any thread may call it, in the main process as well. If several do, or another thread is ending the process already,
/// the first one's code counts, and the others stop where they are. A hook that calls it goes on with what is left of
/// the end, and then its own code counts; what the target has returned by then is still its result.
///
/// Unlike `std::process::exit` it is right in every child, whatever its start method: a forked child has inherited its
/// parent's exit handlers of libc, and this does not run them. A parent that waits gets
/// [`JoinError::Exited`](crate::JoinError::Exited) with the code, also for code 0.
///
/// Python's `sys.exit`, except that Python unwinds first, and that texts as codes have no counterpart: a target that
/// fails returns a `Result`.
///
/// # Examples
/// ```
/// use procession_launch::{JoinError, Process};
///
/// fn give_up() {
///     procession_launch::exit(3)
/// }
///
/// let child = Process::start(give_up, ())?;
/// assert!(matches!(child.join(), Err(JoinError::Exited { code: 3, .. })));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn exit(code: i32) -> ! {
    let me = current_thread();
    {
        let mut end = own();
        end.leaving.push(me);
        CHANGED.notify_all();
        if *end.finisher.get_or_insert(me) == me {
            end.code = Some(code);
        }
    }
    finish();
    if is_copy() || own().in_handler {
        leave_now(code);
    }
    std::process::exit(code)
}

/// Flushes and leaves without the exit handlers of libc.
fn leave_now(code: i32) -> ! {
    fork::flush_streams();
    exit_now(code)
}

/// The normal end: threads, hooks, children, late hooks; if a hook calls this, all that is left of it. Only flushing
/// and the exit itself are left to be done then.
///
/// It happens once in a process. If another thread is at it, this never returns: that thread ends the process.
pub(crate) fn finish() {
    let me = current_thread();
    if *own().finisher.get_or_insert(me) != me {
        loop {
            thread::park();
        }
    }
    run_all(); // Finds nothing when it has been done.
    own().is_done = true;
    CHANGED.notify_all();
}

/// What libc calls at a normal end, whoever asked for it: `main` has returned, or somebody has called its `exit`.
extern "C" fn end_of_libc() {
    let me = current_thread();
    let mut end = own();
    end.in_handler = true;
    if *end.finisher.get_or_insert(me) == me {
        drop(end);
        return finish();
    }
    // Another thread was first. It cannot leave by way of libc, which is busy here, so either of us leaves for it.
    while !end.is_done {
        CHANGED.wait(&mut end);
    }
    let code = end.code;
    drop(end);
    if let Some(code) = code {
        leave_now(code);
    }
}

/// The steps, until nothing is left: a hook may add hooks, threads and children.
fn run_all() {
    loop {
        while let Some(task) = hooks::next(hooks::EARLY) {
            task.run();
        }
        registry::end_children();
        match hooks::next_or_close() {
            Some(task) => task.run(),
            None => return,
        }
    }
}
