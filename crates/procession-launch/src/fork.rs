//! The start method `fork`: a copy of this process.
//!
//! # Safety
//! A fork copies one thread. That this process has no other is proven here, or promised by whoever calls
//! `fork_unchecked`. The streams and the environment are replaced in the copy, which has one thread, before it runs
//! anything of the program's.

#![expect(unsafe_code, reason = "forks, and replaces descriptors 0 to 2 and the environment of the copy")]

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession_boot::{open_lifeline, own_lifeline, tie_to_lifeline};
use procession_sys::{
    Deadline, PacketSocket, dev_null, flush_c_streams, is_single_threaded, keep_pages_at_fork, leave_out_exit_handlers,
    open_standard_streams, place, replace_environment,
};
use procession_wire::Message;

use crate::body::{self, Outcome};
use crate::builder::{Builder, Forked, Plan};
use crate::child::{Child, Pipes, Reaper};
use crate::context::{Context, StartMethod};
use crate::ends::exit;
use crate::error::StartError;
use crate::passable::Passable;
use crate::process::Process;
use crate::protocol::{GO, Line};
use crate::stdio::{ChildEnd, ChildEnds};
use crate::{current, pump, registry};

impl Context {
    /// Starts a child that is a copy of this process and runs `closure`, whatever it captures: its memory is copied.
    ///
    /// The context's own start method does not matter, and with a nursery's context it is still this process that is
    /// forked: a closure that captures cannot be sent to a nursery. What the closure captured is dropped here when the child has
    /// been forked, and in the child when the closure returns. Everything else of this process is there in the child
    /// too, descriptors among it, but is never dropped there: the child ends with `_exit` after its exit hooks, and runs
    /// no exit handler of this process's and no destructor. (`std::process::exit` in it does run those of the thread's
    /// own `thread_local!` values; [`exit`](crate::exit()) does not.) What `print!` and C's streams held back is written before the
    /// fork; a `BufWriter` of the program's own must be flushed by the program.
    ///
    /// # Errors
    /// [`StartError::Threads`] when this process has another thread: whatever lock that held would stay held in the child
    /// for ever. `#[test]` functions always run beside another thread. [`StartError::System`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use procession_launch::{Context, StartMethod};
    ///
    /// let words = vec!["a".to_string(), "b".to_string()];
    /// let child = Context::new(StartMethod::Fork).fork(move || words.concat())?;
    /// assert_eq!(child.join()?, "ab");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn fork<F, R>(&self, closure: F) -> Result<Process<R>, StartError>
    where
        F: FnOnce() -> R,
        R: Passable,
    {
        self.fork_builder(closure).start()
    }

    /// The same without asking whether this process has other threads.
    ///
    /// # Errors
    /// [`StartError::System`].
    ///
    /// # Safety
    /// No other thread holds a lock that the child needs: not the allocator's (glibc sees to its own), not one of the
    /// program's libraries', and none is inside a call of this crate. Otherwise the child waits for ever.
    pub unsafe fn fork_unchecked<F, R>(&self, closure: F) -> Result<Process<R>, StartError>
    where
        F: FnOnce() -> R,
        R: Passable,
    {
        self.fork_builder(closure).start_unproven()
    }

    /// A child as [`Context::fork`] starts it, to be described further.
    pub fn fork_builder<F, R>(&self, closure: F) -> Builder<Forked<F>, ()>
    where
        F: FnOnce() -> R,
        R: Passable,
    {
        Builder::new(Forked(closure), ()).start_method(StartMethod::Fork)
    }
}

/// How long a process that seems to have several threads is asked again: one that was joined takes a moment to go. Those
/// that have none of its code left to run are waited for longer.
pub(crate) const THREADS_GONE_MAX: Duration = Duration::from_millis(10);

/// The exit code of a copy that could not become a child.
const REFUSED: i32 = 255;

/// Who says that this process has one thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The kernel must.
    Needed,
    /// Whoever called an unsafe function vouches that other threads do no harm.
    CallersWord,
}

/// Starts a copy of this process that runs `target`.
///
/// It runs nothing before it is held by a pidfd and told so: a start that fails half-way has run nothing.
pub(crate) fn start(
    plan: &Plan,
    proof: Proof,
    ends: ChildEnds,
    pipes: Pipes,
    target: impl FnOnce() -> Outcome,
) -> Result<Child, StartError> {
    if proof == Proof::Needed {
        prove_one_thread(&plan.name)?;
    }
    let setup = plan.setup(plan.open_directory()?, None)?;
    let (ours, theirs) = PacketSocket::pair().map_err(plan.failed("make its socket"))?;
    let mut lifeline = Some(open_own_lifeline(plan)?);
    cheapen_forks();
    flush_streams();
    let mut both = Some((ours, theirs, pipes));
    let copy = || {
        let Some((_, theirs, _)) = both.take() else { return REFUSED };
        let line = Arc::new(Line::new(theirs));
        let code = match become_copy(lifeline.take()).and_then(|()| place_streams(&ends)) {
            Ok(()) => {
                change_environment(plan);
                body::run_copy(&line, setup, target)
            }
            Err(error) => body::refuse(&line, format!("it cannot begin as a copy of its parent: {error}")),
        };
        exit(code)
    };
    // SAFETY: this process has one thread, or somebody vouched for the others.
    let pid = unsafe { procession_sys::fork(copy) }.map_err(plan.failed("fork it"))?;
    let Some((ours, theirs, pipes)) = both else { unreachable!("only the copy takes them") };
    drop((theirs, ends, lifeline));
    hold(plan, pid, Line::new(ours), pipes)
}

/// Takes hold of the copy, and lets it begin.
fn hold(plan: &Plan, pid: u32, line: Line, pipes: Pipes) -> Result<Child, StartError> {
    let pidfd = plan.hold(pid, "hold it by a pidfd")?;
    let child = Child::new(plan.about(pid), pidfd, line, Reaper::Own, pipes);
    let sent = child.line().send(GO, &Message::default());
    plan.told(child, sent, "tell it to begin")
}

/// Has the copies of a process that forks more than once begin with the pages of its code mapped.
fn cheapen_forks() {
    static FORKS: AtomicU32 = AtomicU32::new(0);
    if FORKS.fetch_add(1, Ordering::Relaxed) == 1 {
        let _ = keep_pages_at_fork(); // Where it is forbidden, each copy has its page faults.
    }
}

/// Refuses unless the calling thread is the only one.
pub(crate) fn prove_one_thread(name: &str) -> Result<(), StartError> {
    pump::rest();
    match is_single_threaded(Deadline::after(THREADS_GONE_MAX)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StartError::Threads { name: name.to_owned(), reads_output: pump::is_running() }),
        Err(error) => {
            let step = "count this process's threads";
            Err(StartError::System { name: name.to_owned(), step, error })
        }
    }
}

/// Writes out what is held back for standard output: the copy would write it once more. What cannot be written now
/// cannot be written later either.
pub(crate) fn flush_streams() {
    let _ = io::stdout().flush();
    flush_c_streams();
}

/// What every copy does first: lives as long as its parent, and lets go of what is its parent's.
pub(crate) fn become_copy(lifeline: Option<OwnedFd>) -> io::Result<()> {
    current::become_copy();
    lifeline.map_or(Ok(()), tie_to_lifeline)?;
    let_go_of_parents()
}

/// This process's lifeline as one copy of it needs it: opened before the fork, as a new process's `/proc` is slow.
pub(crate) fn open_own_lifeline(plan: &Plan) -> Result<OwnedFd, StartError> {
    let own = own_lifeline().map_err(|error| StartError::Image { name: plan.name.clone(), error })?;
    open_lifeline(own).map_err(plan.failed("open its lifeline"))
}

/// Leaves to the parent what is the parent's: its children and its exit handlers.
pub(crate) fn let_go_of_parents() -> io::Result<()> {
    registry::disown();
    leave_out_exit_handlers()
}

/// Puts the child's ends in the place of the copied streams.
fn place_streams(ends: &ChildEnds) -> io::Result<()> {
    open_standard_streams()?;
    let null = dev_null()?;
    for (at, end) in (0..).zip(ends) {
        let end = match end {
            ChildEnd::Inherited => continue,
            ChildEnd::Null => null.as_fd(),
            ChildEnd::Own(end) => end.as_fd(),
        };
        // SAFETY: 0, 1 and 2 are the standard streams, which whoever uses them looks up by number.
        unsafe { place(end, at) }?;
    }
    Ok(())
}

/// Gives the copy its own environment.
fn change_environment(plan: &Plan) {
    if !plan.env.is_empty() {
        let environment = plan.env.apply(std::env::vars_os().collect());
        // SAFETY: the copy has one thread.
        unsafe { replace_environment(&environment) };
    }
}
