//! Logs: children start at their parent's level, and what they log reaches their parent's subscriber.
//!
//! Relies on `tracing`, and on the [`pump`](crate::pump) to read. A child that forwards has a packet socket for it, which
//! comes with its [`Setup`](crate::protocol::Setup).

mod callsite; // What a record is filtered by.
mod child; // Who sends,
mod lines; // Logs as lines of text.
mod parent; // and who receives.
mod wire; // What a child sends. Read this first.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use procession_sys::PacketSocket;
use procession_wire::Descriptor;
use serde::{Deserialize, Serialize};
use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing::level_filters::LevelFilter;

use crate::builder::Builder;
pub use lines::{LogError, log_to_file, log_to_stderr};
pub(crate) use parent::Log;
pub use wire::{CALLSITE_TEXT_MAX, CALLSITES_MAX, CUT_MARK, FIELD_NAME_MAX, FIELDS_MAX, RECORD_BYTES_MAX, SPANS_MAX};

use child::Forwarder;
use lines::{Destination, Lines};
use wire::{filter_of, number_of_filter};

/// What a child is told about its log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogSetup {
    /// Its parent's level, from 0, OFF, to 5, TRACE.
    level: u8,
    /// Where its records go, if its parent is to have them.
    forward: Option<Descriptor>,
    /// Where its lines go, if its parent writes lines.
    lines: Option<Destination>,
}

/// The level that this process was told by its parent.
static INHERITED: AtomicU8 = AtomicU8::new(NOT_INHERITED);

/// This process has no parent of ours.
const NOT_INHERITED: u8 = u8::MAX;

/// True once there is a guard: to ask for a thread's own value makes it, which costs each child some page faults.
static IS_GUARDED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Keeps a subscriber the target's own where another one is everybody's.
    static GUARD: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

impl<F, A> Builder<F, A> {
    /// What the child logs with `tracing` reaches this process's subscriber: the one that is current when the child
    /// starts.
    ///
    /// Every record and span of every thread of the child arrives, in the child's order, with two more fields:
    /// `process.pid` and `process.name`. Spans are opened, entered, left and closed here as they were there; filters
    /// work, for target, level and fields are the child's. What the child logged before its end has arrived when
    /// [`Child::wait`](crate::Child::wait) returns, however it ended; the spans that it left open are closed then. A
    /// child's child that forwards, too, arrives here with its own number and name.
    ///
    /// The child logs at the level that this process has when it starts ([`log_level`]). It must not install a global
    /// subscriber of its own, as it has one. When this process is slow, the child waits in its logging calls.
    ///
    /// A record has at most [`RECORD_BYTES_MAX`] bytes, beyond which its texts are cut and marked, and
    /// [`FIELDS_MAX`] fields. A child that sends nonsense has its log closed, with one warning that says so.
    ///
    /// The first such child starts a thread in this process, the one of [`Stdio::tail`](crate::Stdio::tail), on which
    /// the subscriber is called. From then on this process is not single-threaded, so it can no longer fork itself.
    ///
    /// A child that is a fork has its parent's memory, with its subscriber in it. If that one is the global default,
    /// which can be set only once, then the forwarding one takes its place in the thread that runs the target; other
    /// threads of the child log to the copy of the parent's.
    ///
    /// Python's `QueueHandler` with a `QueueListener`.
    ///
    /// # Examples
    /// ```
    /// use procession_launch::Process;
    ///
    /// fn work(item: u32) {
    ///     tracing::info!(item, "working");
    /// }
    ///
    /// // With a subscriber installed this logs: INFO working item=7 process.pid=… process.name="worker"
    /// Process::builder(work, (7,)).name("worker").forward_logs().start()?.join()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn forward_logs(mut self) -> Self {
        self.plan_mut().forward_logs = true;
        self
    }
}

/// The level at which this process's parent logged when it started this process; in a process that has no such parent,
/// the level of its own subscriber.
///
/// For a child that installs a subscriber of its own: it logs what its parent logs. A parent without a subscriber
/// hands down what it was given itself, and the main process then [`LevelFilter::OFF`].
///
/// Python's `get_logger().level`.
///
/// # Examples
/// ```
/// use procession_launch::{Process, log_level};
///
/// let child = Process::start(|| log_level().to_string(), ())?;
/// assert_eq!(child.join()?, log_level().to_string());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn log_level() -> LevelFilter {
    filter_of(INHERITED.load(Ordering::Relaxed)).unwrap_or_else(LevelFilter::current)
}

/// The level that this process's children are told.
fn level_to_tell() -> LevelFilter {
    match LevelFilter::current() {
        LevelFilter::OFF => log_level(),
        current => current,
    }
}

/// A log between this process and a child of that name: our end, and the child's.
pub(crate) fn open(name: &str) -> io::Result<(Arc<Log>, Descriptor)> {
    let (ours, theirs) = PacketSocket::pair()?;
    Ok((Arc::new(Log::new(ours, name.to_owned())), Descriptor::from(std::os::fd::OwnedFd::from(theirs))))
}

/// What a child is told, whose end of its log this is.
pub(crate) fn setup(forward: Option<Descriptor>) -> LogSetup {
    LogSetup { level: number_of_filter(level_to_tell()), forward, lines: lines::destination() }
}

/// In the child, on the thread that will run the target: logs as the parent wants it.
pub(crate) fn begin(setup: LogSetup) -> io::Result<()> {
    INHERITED.store(setup.level, Ordering::Relaxed);
    if IS_GUARDED.swap(false, Ordering::Relaxed) {
        GUARD.set(None); // A fork has its parent's.
    }
    if let Some(destination) = &setup.lines {
        lines::hand_down(destination.clone());
    }
    match (setup.forward, setup.lines) {
        (Some(socket), _) => {
            let level = filter_of(setup.level).unwrap_or(LevelFilter::OFF);
            let forwarder = Forwarder::new(socket.into_owned()?.into(), level);
            make_default(&Dispatch::new(forwarder), is_own_forwarder);
        }
        (None, Some(_)) if dispatcher::get_default(Dispatch::is::<Lines>) => {} // A fork has it in its memory.
        (None, Some(destination)) => make_default(&Dispatch::new(Lines::to(&destination)?), Dispatch::is::<Lines>),
        (None, None) => {}
    }
    Ok(())
}

/// True for the subscriber that forwards what this very process logs.
fn is_own_forwarder(current: &Dispatch) -> bool {
    current.downcast_ref::<Forwarder>().is_some_and(Forwarder::is_own)
}

/// Makes it everybody's subscriber, or where there is one already, which a fork has from its parent, this thread's.
fn make_default(dispatch: &Dispatch, is_in_place: fn(&Dispatch) -> bool) {
    let _ = dispatcher::set_global_default(dispatch.clone());
    if !dispatcher::get_default(is_in_place) {
        GUARD.set(Some(dispatcher::set_default(dispatch)));
        IS_GUARDED.store(true, Ordering::Relaxed);
    }
}
