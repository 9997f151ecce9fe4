//! The one thread that a process of ours may have: it reads what children say while the program does other things.
//!
//! Relies on nonblocking sources. It is started by the first child whose output or log somebody wants, and sleeps in
//! `poll` from then on, until this process is to fork, which it can with one thread only: then it ends if it has nothing to
//! read. It belongs to the process that started it: a fork has its memory, not its thread, and starts one of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use procession_sys::{Deadline, SignalMask, pid, pipe, poll_readable, set_nonblocking};

/// Something that the pump reads.
pub(crate) trait Source: AsFd + Send + Sync {
    /// Takes a bounded part of what has come. Never waits for more.
    fn advance(&self) -> Advance;
}

/// What a source has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// Perhaps more.
    More,
    /// Nothing now.
    Nothing,
    /// Nothing ever.
    End,
}

/// The pump of one process.
struct Pump {
    owner: u32,
    inbox: Mutex<Inbox>,
    /// A byte here wakes the thread.
    wake: File,
    /// Counts what the thread has done, so that whoever waits for it sees whether it is stuck.
    steps: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread has been asked.
#[derive(Default)]
struct Inbox {
    new: Vec<Arc<dyn Source>>,
    drains: Vec<Drain>,
    /// It is to end if it has nothing to read.
    rests: Vec<Arc<Ticket>>,
    /// It ends, and reads nothing any more.
    is_over: bool,
}

/// A wish to have a source drained.
struct Drain {
    /// None for all of them.
    source: Option<Arc<dyn Source>>,
    ticket: Arc<Ticket>,
}

/// Told when a source is drained.
#[derive(Default)]
struct Ticket {
    done: Mutex<bool>,
    told: Condvar,
}

impl Ticket {
    fn tell(&self) {
        *self.done.lock() = true;
        self.told.notify_all();
    }
}

static PUMP: Mutex<Option<Arc<Pump>>> = Mutex::new(None);

/// The signals that a fault of the thread's own raises; it blocks all others, which are for the program's threads:
/// SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
const OWN_SIGNALS: [u32; 6] = [4, 5, 6, 7, 8, 11];

/// How often a source is advanced for one drain: more than any socket's buffer holds packets, so what a child said
/// before its end is among it, and less than for ever, should somebody else go on writing.
const DRAIN_STEPS_MAX: usize = 256;

/// How long whoever waits for a drain watches a pump that does nothing: a subscriber may wait for a lock that the very
/// thread holds that waits here.
const STUCK_MAX: Duration = Duration::from_secs(2);

/// How long the thread sleeps when the system cannot poll for it.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// Has the pump read this source until its end; starts it if this process has none.
pub(crate) fn add(source: Arc<dyn Source>) -> io::Result<()> {
    let mut current = PUMP.lock();
    let running = current.as_ref().filter(|pump| pump.owner == pid()).filter(|pump| !pump.inbox.lock().is_over);
    let pump = match running {
        Some(pump) => Arc::clone(pump),
        None => Arc::clone(current.insert(Pump::start()?)),
    };
    pump.inbox.lock().new.push(source);
    pump.wake();
    Ok(())
}

/// Ends the thread if it has nothing to read; the next source starts another one.
pub(crate) fn rest() {
    let Some(pump) = own().filter(|pump| !pump.is_here()) else { return };
    let ticket = Arc::new(Ticket::default());
    pump.inbox.lock().rests.push(Arc::clone(&ticket));
    pump.wake();
    if !pump.wait_for(&ticket, Deadline::NEVER) || !pump.inbox.lock().is_over {
        return;
    }
    PUMP.lock().take_if(|current| Arc::ptr_eq(current, &pump));
    let thread = pump.thread.lock().take();
    if let Some(thread) = thread {
        let _ = thread.join(); // It catches every panic.
    }
}

/// The pump of this process, if it has one.
fn own() -> Option<Arc<Pump>> {
    PUMP.lock().as_ref().filter(|pump| pump.owner == pid()).map(Arc::clone)
}

/// True when this process's own pump reads its children's output.
pub(crate) fn is_running() -> bool {
    own().is_some()
}

/// Waits until the thread has taken all from the source that is there now; false when it had not by the deadline, or
/// is stuck.
///
/// For what only that thread may read. It returns at once when called by that thread.
pub(crate) fn drain(source: Arc<dyn Source>, deadline: Deadline) -> bool {
    wait_for_drain(Some(source), deadline)
}

/// The same for every source, at this process's end: some are of children that nobody waits for.
pub(crate) fn drain_all() {
    wait_for_drain(None, Deadline::NEVER);
}

fn wait_for_drain(source: Option<Arc<dyn Source>>, deadline: Deadline) -> bool {
    let Some(pump) = own() else { return true };
    if pump.is_here() {
        return false;
    }
    let ticket = Arc::new(Ticket::default());
    {
        let mut inbox = pump.inbox.lock();
        if inbox.is_over {
            return true;
        }
        inbox.drains.push(Drain { source, ticket: Arc::clone(&ticket) });
    }
    pump.wake();
    pump.wait_for(&ticket, deadline)
}

impl Pump {
    /// Starts the thread.
    fn start() -> io::Result<Arc<Self>> {
        let (woken, wake) = pipe()?;
        set_nonblocking(&woken)?;
        set_nonblocking(&wake)?;
        let pump = Arc::new(Self {
            owner: pid(),
            inbox: Mutex::default(),
            wake: wake.into(),
            steps: AtomicU64::new(0),
            thread: Mutex::new(None),
        });
        let shared = Arc::clone(&pump);
        // A new thread has the mask of the one that starts it.
        let mask = SignalMask::current();
        let own = OWN_SIGNALS.iter().fold(0, |bits, signal| bits | 1 << (signal - 1));
        SignalMask::from_bits(mask.bits() | !own).install();
        let started =
            thread::Builder::new().name("procession-pump".to_owned()).spawn(move || shared.run(&File::from(woken)));
        mask.install();
        *pump.thread.lock() = Some(started?);
        Ok(pump)
    }

    /// True in its thread.
    fn is_here(&self) -> bool {
        self.thread.lock().as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id())
    }

    /// Waits until the thread has done what was asked; false when it had not by the deadline, or is stuck.
    fn wait_for(&self, ticket: &Ticket, deadline: Deadline) -> bool {
        let mut done = ticket.done.lock();
        while !*done {
            let steps = self.steps.load(Ordering::Relaxed);
            let patience = deadline.remaining().map_or(STUCK_MAX, |left| left.min(STUCK_MAX));
            let timed_out = ticket.told.wait_for(&mut done, patience).timed_out();
            if timed_out && (deadline.has_passed() || steps == self.steps.load(Ordering::Relaxed)) {
                return *done;
            }
        }
        true
    }

    /// Ends the thread's sleep.
    fn wake(&self) {
        let _ = (&self.wake).write(&[0]); // A full pipe wakes it as well.
    }

    /// The thread.
    fn run(&self, woken: &File) {
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        loop {
            let ready = wait(woken, &sources);
            if ready[0] {
                let _ = (&*woken).read(&mut [0; 64]);
                if self.open_mail(&mut sources) {
                    return;
                }
            }
            let mut ready = ready[1..].iter();
            // What was added just now has not been polled.
            sources.retain(|source| !ready.next().is_some_and(|&ready| ready) || self.step(&**source) != Advance::End);
        }
    }

    /// Does what the thread was asked; true if it is to end.
    fn open_mail(&self, sources: &mut Vec<Arc<dyn Source>>) -> bool {
        let Inbox { new, drains, rests, .. } = std::mem::take(&mut *self.inbox.lock());
        sources.extend(new);
        for Drain { source, ticket } in drains {
            for source in source.iter().chain(sources.iter().filter(|_| source.is_none())) {
                let _ = (0..DRAIN_STEPS_MAX).find(|_| self.step(&**source) != Advance::More);
            }
            ticket.tell();
        }
        if rests.is_empty() {
            return false;
        }
        // Children that have ended leave nothing to read, whether or not that was seen by now.
        sources.retain(|source| self.step(&**source) != Advance::End);
        let mut inbox = self.inbox.lock();
        inbox.is_over = sources.is_empty() && inbox.new.is_empty() && inbox.drains.is_empty();
        let is_over = inbox.is_over;
        drop(inbox);
        rests.iter().for_each(|ticket| ticket.tell());
        is_over
    }

    /// Advances a source. A panic in it is the program's own, of its subscriber; the next step may fare better.
    fn step(&self, source: &dyn Source) -> Advance {
        let advance = panic::catch_unwind(AssertUnwindSafe(|| source.advance()));
        self.steps.fetch_add(1, Ordering::Relaxed);
        advance.unwrap_or(Advance::More)
    }
}

/// Sleeps until somebody wakes the thread, which is the first of what this tells, or a source can be read.
fn wait(woken: &File, sources: &[Arc<dyn Source>]) -> Vec<bool> {
    let fds: Vec<BorrowedFd<'_>> =
        std::iter::once(woken.as_fd()).chain(sources.iter().map(|source| source.as_fd())).collect();
    poll_readable(&fds, Deadline::NEVER).unwrap_or_else(|_| {
        thread::park_timeout(POLL_PAUSE); // No memory, or RLIMIT_NOFILE was lowered below what is open.
        vec![true; fds.len()]
    })
}
