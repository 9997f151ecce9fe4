//! A child as its parent sees it: held by a pidfd, waited for by any thread, reaped once.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use procession_sys::{Deadline, Interest, PidFd, Signal, pid, poll};
use procession_wire::Decoder;

use crate::context::StartMethod;
use crate::error::ControlError;
use crate::forkserver::Server;
use crate::logs::Log;
use crate::protocol::{self, ENDED, Line, REPORT};
use crate::pump::{self, Source};
use crate::registry;
use crate::spin::{CHILD_TIME, spin};
use crate::status::ExitStatus;
use crate::tail::Tail;

/// A handle to a child process, whatever its target returns: what [`active_children`](crate::active_children) lists
/// and what every [`Process`](crate::Process) has under its type.
///
/// A clone is the same child. Any number of threads may wait for it and signal it at once. Dropping every handle lets
/// the child go on; it is reaped by the next start, by `active_children`, or at the end of this process.
///
/// Python's `multiprocessing.Process`, after `start`.
pub struct Child(Arc<Inner>);

/// The registry's hold on a child, which is no handle.
pub(crate) struct Listed(Arc<Inner>);

impl Listed {
    /// A handle.
    pub(crate) fn child(&self) -> Child {
        Child::handle(&self.0)
    }

    /// True when nobody has a handle.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.handles.load(Ordering::Relaxed) == 0
    }
}

/// How many times the status of a served child that has ended is looked for before sleeping: some 50 us.
const STATUS_LOOKS: u32 = 40;

/// How many times in all before it is given up, which takes two seconds: whatever keeps the server. Counted, not timed, for
/// a whole program that is stopped and goes on (Ctrl-Z) has had no time to be told.
const STATUS_LOOKS_MAX: u32 = STATUS_LOOKS + 200;

/// The same of a server that is seen to be stopped, some 50 ms: a pool waits for the ends of many.
const STOPPED_LOOKS_MAX: u32 = STATUS_LOOKS + 5;

/// Whether a server says nothing any more of a child that has ended, after so many looks. One that was stopped for long
/// enough, and is stopped again or still, is not waited for anew.
fn is_given_up(server: &Server, looks: u32) -> bool {
    let looks_max = if server.is_given_up() { STATUS_LOOKS } else { STOPPED_LOOKS_MAX };
    if looks >= looks_max && server.is_stopped() {
        server.give_up();
        return true;
    }
    looks >= STATUS_LOOKS_MAX
}

/// How often a thread looks again for the status of a served child that has ended, if nothing wakes it.
const STATUS_LOOK: Duration = Duration::from_millis(10);

/// What the handles to one child share.
struct Inner {
    /// How many handles there are.
    handles: AtomicUsize,
    /// True once somebody kills its tree.
    tree_is_ending: AtomicBool,
    about: About,
    pidfd: PidFd,
    line: Line,
    reaper: Reaper,
    state: Mutex<State>,
    pipes: Mutex<Pipes>,
}

/// What is known about a child from its start.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// Which of this process's children it is; numbers of processes are used again, these are not.
    pub(crate) serial: u64,
    /// The process that started it: a forked child of that one has the handle in its memory, not the child.
    pub(crate) owner: u32,
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) daemon: bool,
    pub(crate) start_method: StartMethod,
    /// Whether what descends from it stays below it.
    pub(crate) own_tree: bool,
}

/// Who learns from the kernel how the child ended.
pub(crate) enum Reaper {
    /// This process, its parent.
    Own,
    /// The server that forked it, which sends the status over the child's own line.
    Server(Arc<Server>),
}

/// What came of the child so far.
#[derive(Default)]
struct State {
    /// How it ended.
    status: Option<ExitStatus>,
    /// Its report, until somebody takes it.
    report: Option<Decoder>,
}

/// Our ends of the child's piped streams, until somebody takes them, and what is kept of the others.
#[derive(Default)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: Option<PipeReader>,
    pub(crate) stderr: Option<PipeReader>,
    pub(crate) stdout_tail: Option<Tail>,
    pub(crate) stderr_tail: Option<Tail>,
    /// The child's log, until the pump has it,
    pub(crate) log: Option<Arc<Log>>,
    /// and from then on.
    pub(crate) log_read: Weak<Log>,
    /// What the pump is to read, until it does.
    pub(crate) sources: Vec<Arc<dyn Source>>,
}

impl Pipes {
    /// Closes what nobody has taken.
    fn close(&mut self) {
        (self.stdin, self.stdout, self.stderr) = (None, None, None);
    }
}

impl Child {
    /// A child that was just started.
    pub(crate) fn new(about: About, pidfd: PidFd, line: Line, reaper: Reaper, pipes: Pipes) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner {
            handles: AtomicUsize::new(1),
            tree_is_ending: AtomicBool::new(false),
            about,
            pidfd,
            line,
            reaper,
            state,
            pipes: Mutex::new(pipes),
        }))
    }

    /// The process's number. It is nobody else's as long as the child has not been reaped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.about.pid
    }

    /// The process's name: the one it was given, or `Process-N`, or in a child `Process-N:M`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.about.name
    }

    /// Whether this process's normal end terminates the child instead of waiting for it.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.0.about.daemon
    }

    /// How it was started.
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.0.about.start_method
    }

    /// False once the child has ended. Never waits.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let ended = self.0.pidfd.wait_ended(Deadline::NOW).unwrap_or(false);
        if ended && self.is_own() && matches!(self.0.reaper, Reaper::Own) {
            let _ = self.try_wait(); // Reaps it.
        }
        !ended
    }

    /// The exit code, or minus the number of the signal that killed the child; `None` while it runs. Waits no longer
    /// than [`Child::try_wait`] does.
    #[must_use]
    pub fn exitcode(&self) -> Option<i32> {
        self.try_wait().ok().flatten().map(ExitStatus::exitcode)
    }

    /// A descriptor (a pidfd) that becomes readable when the child ends, for `poll` and its like.
    ///
    /// Read nothing from it. It stands for this child for as long as the handle lives, also after its end.
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }

    /// Asks the child to end (SIGTERM). Does nothing to one that has ended.
    ///
    /// # Errors
    /// When the child has become another user's process; in a fork of the process that started it.
    pub fn terminate(&self) -> Result<(), ControlError> {
        self.signal("terminate", Signal::TERM)
    }

    /// Ends the child (SIGKILL). Does nothing to one that has ended.
    ///
    /// # Errors
    /// As [`Child::terminate`].
    pub fn kill(&self) -> Result<(), ControlError> {
        self.signal("kill", Signal::KILL)
    }

    /// Interrupts the child as Ctrl-C does (SIGINT). Does nothing to one that has ended.
    ///
    /// # Errors
    /// As [`Child::terminate`].
    pub fn interrupt(&self) -> Result<(), ControlError> {
        self.signal("interrupt", Signal::INT)
    }

    /// Waits until the child has ended. A signal that this process handles does not end the wait.
    ///
    /// Our end of the child's standard input is closed first, unless it was taken: nothing more could come from it.
    ///
    /// # Errors
    /// When the system refuses to wait, which means a lack of memory; in a fork of the process that started the child.
    pub fn wait(&self) -> Result<ExitStatus, ControlError> {
        drop(self.take_stdin());
        // Without a deadline the wait ends with a status or an error only.
        self.wait_until(Deadline::NEVER).map(|status| status.unwrap_or(ExitStatus::LOST))
    }

    /// How the child ended, or `None` while it runs. Never waits, but for the moment, two seconds
    /// at most, that the forkserver takes to tell how a child ended that has.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, ControlError> {
        self.wait_until(Deadline::NOW)
    }

    /// Waits at most this long; `None` when the child still runs then. A status that is there is returned even if no
    /// time is left.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>, ControlError> {
        self.wait_until(Deadline::after(timeout))
    }

    /// Our end of the child's standard input, if it was started with [`Stdio::pipe`](crate::Stdio::pipe); once.
    #[must_use]
    pub fn take_stdin(&self) -> Option<PipeWriter> {
        self.0.pipes.lock().stdin.take()
    }

    /// Our end of the child's standard output, if it was started with [`Stdio::pipe`](crate::Stdio::pipe); once.
    #[must_use]
    pub fn take_stdout(&self) -> Option<PipeReader> {
        self.0.pipes.lock().stdout.take()
    }

    /// Our end of the child's standard error, if it was started with [`Stdio::pipe`](crate::Stdio::pipe); once.
    #[must_use]
    pub fn take_stderr(&self) -> Option<PipeReader> {
        self.0.pipes.lock().stderr.take()
    }

    /// In a fork of the process that started the child: lets go of what would keep its streams open.
    pub(crate) fn disown(&self) {
        *self.0.pipes.lock() = Pipes::default();
    }

    /// What holds the child.
    pub(crate) fn pidfd(&self) -> &PidFd {
        &self.0.pidfd
    }

    /// Has the pump read what the child writes, if somebody wants to have it. A child that cannot be read from ends.
    pub(crate) fn attach(&self) -> io::Result<()> {
        let (mut sources, log) = {
            let mut pipes = self.0.pipes.lock();
            (std::mem::take(&mut pipes.sources), pipes.log.take())
        };
        if let Some(log) = log {
            log.set_pid(self.pid());
            self.0.pipes.lock().log_read = Arc::downgrade(&log);
            sources.push(log);
        }
        let attached = sources.into_iter().try_for_each(pump::add);
        if attached.is_err() {
            let _ = self.kill();
            let _ = self.0.wait(Deadline::NEVER);
        }
        attached
    }

    /// What is kept of its standard output and error.
    pub(crate) fn tails(&self) -> (Option<Tail>, Option<Tail>) {
        let pipes = self.0.pipes.lock();
        (pipes.stdout_tail.clone(), pipes.stderr_tail.clone())
    }

    /// Sees to it that what the child wrote and logged before its end has arrived. A log that has not by the deadline
    /// goes on arriving.
    fn settle(&self, deadline: Deadline) {
        let (stdout, stderr) = self.tails();
        stdout.iter().chain(&stderr).for_each(Tail::drain);
        let log = self.0.pipes.lock().log_read.upgrade();
        if let Some(log) = log {
            pump::drain(log, deadline);
        }
    }

    /// True for a child that keeps whatever descends from it.
    pub(crate) fn has_own_tree(&self) -> bool {
        self.0.about.own_tree
    }

    /// True for a child with a tree of its own that a signal has ended, so that its tree is nobody's.
    pub(crate) fn has_lost_its_tree(&self) -> bool {
        let killed = || self.try_wait().ok().flatten().is_some_and(|status| status.signal().is_some());
        self.0.about.own_tree && !self.0.tree_is_ending.load(Ordering::Relaxed) && killed()
    }

    /// Remembers that its tree is being killed.
    pub(crate) fn tree_is_ending(&self) {
        self.0.tree_is_ending.store(true, Ordering::Relaxed);
    }

    /// The socket to the child.
    pub(crate) fn line(&self) -> &Line {
        &self.0.line
    }

    /// One more handle.
    fn handle(inner: &Arc<Inner>) -> Self {
        inner.handles.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(inner))
    }

    /// What the registry keeps.
    pub(crate) fn list(&self) -> Listed {
        Listed(Arc::clone(&self.0))
    }

    /// The child's report, once.
    pub(crate) fn take_report(&self) -> Option<Decoder> {
        self.0.state.lock().report.take()
    }

    fn signal(&self, action: &'static str, signal: Signal) -> Result<(), ControlError> {
        self.own(action)?;
        self.0.pidfd.send(signal).map_err(|error| self.failed(action, error))
    }

    /// An error about this child.
    pub(crate) fn failed(&self, action: &'static str, error: io::Error) -> ControlError {
        ControlError { action, name: self.0.about.name.clone(), pid: self.0.about.pid, error }
    }

    fn wait_until(&self, deadline: Deadline) -> Result<Option<ExitStatus>, ControlError> {
        if !self.is_own() && self.0.state.lock().status.is_none() {
            return self.own("wait for").map(|()| None);
        }
        let waited = self.0.wait(deadline).map_err(|error| self.failed("wait for", error));
        if matches!(waited, Ok(Some(_))) {
            registry::leave(self.0.about.serial);
            self.settle(deadline);
        }
        waited
    }

    /// True in the process that started the child.
    fn is_own(&self) -> bool {
        self.0.about.owner == pid()
    }

    /// The error of what only the process that started the child can do, for a fork of that one.
    fn own(&self, action: &'static str) -> Result<(), ControlError> {
        if self.is_own() {
            return Ok(());
        }
        let owner = self.0.about.owner;
        let reason = format!("it is a child of process {owner}, of which this process is a fork");
        Err(self.failed(action, io::Error::other(reason)))
    }

    /// True once the child has been reaped, which this does if it has ended. For the registry itself.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.0.wait(Deadline::NOW), Ok(Some(_)))
    }

    /// Which of this process's children it is.
    pub(crate) fn serial(&self) -> u64 {
        self.0.about.serial
    }
}

/// The [sentinel](Child::sentinel): readable when the child has ended, so that a child can be waited for beside
/// anything else that has a descriptor.
///
/// # Examples
/// ```
/// use procession_launch::Process;
/// use std::os::fd::{AsFd, AsRawFd};
///
/// let child = Process::start(|| (), ())?;
/// assert_eq!(child.as_fd().as_raw_fd(), child.sentinel().as_raw_fd());
/// child.join()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

impl Clone for Child {
    fn clone(&self) -> Self {
        Self::handle(&self.0)
    }
}

impl Drop for Child {
    /// With the last handle our ends of its pipes close: nobody can take them any more.
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.pipes.lock().close();
        }
    }
}

impl Inner {
    fn wait(&self, deadline: Deadline) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.state.lock().status {
            return Ok(Some(status));
        }
        match &self.reaper {
            Reaper::Own => self.wait_own(deadline),
            Reaper::Server(server) => self.wait_served(server, deadline),
        }
    }

    /// Waits for a child of this process.
    fn wait_own(&self, deadline: Deadline) -> io::Result<Option<ExitStatus>> {
        // A copy that does little has ended before this thread would be asleep; what is executed takes longer.
        if self.about.start_method == StartMethod::Fork && !deadline.has_passed() {
            spin(CHILD_TIME, || self.pidfd.wait_ended(Deadline::NOW).unwrap_or(true));
        }
        if !self.pidfd.wait_ended(deadline)? {
            return Ok(None);
        }
        let mut state = self.state.lock();
        if state.status.is_none() {
            // Whatever it sent, it sent before it ended.
            self.drain(&mut state);
            state.status = Some(match self.pidfd.try_reap() {
                Ok(Some(ended)) => ExitStatus::new(ended),
                // Somebody ignores SIGCHLD or waits for any child: the status went there.
                Ok(None) | Err(_) => ExitStatus::LOST,
            });
        }
        Ok(state.status)
    }

    /// Waits for a child of the forkserver. Its status comes over its own line; if the server is killed first, or is
    /// stopped for long, the child's end is still seen through the pidfd, and only the status is lost.
    fn wait_served(&self, server: &Server, deadline: Deadline) -> io::Result<Option<ExitStatus>> {
        if !deadline.has_passed() {
            spin(CHILD_TIME, || self.has_news());
        }
        let mut looks = 0;
        loop {
            // Who could still write is looked at before what was written, so that nothing falls between the two.
            let ended = self.pidfd.wait_ended(Deadline::NOW)?;
            let nothing_will_come = ended && (server.has_ended() || is_given_up(server, looks));
            let read = {
                let mut state = self.state.lock();
                let read = self.drain(&mut state);
                if state.status.is_none() && (nothing_will_come || ended && read == Read::End) {
                    state.status = Some(ExitStatus::LOST);
                }
                if state.status.is_some() {
                    return Ok(state.status);
                }
                read
            };
            looks += u32::from(ended);
            let woken = self.wait_for_news(ended, looks, read, deadline)?;
            // Once its end is known nobody is told that it runs: the server is about to say how it ended.
            if !ended && !woken && deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// True once the child's status has come. Takes what comes before it.
    fn has_news(&self) -> bool {
        let mut state = self.state.lock();
        self.drain(&mut state) == Read::End || state.status.is_some()
    }

    /// Sleeps until there is something new about a served child; false when nothing woke it.
    fn wait_for_news(&self, ended: bool, looks: u32, read: Read, deadline: Deadline) -> io::Result<bool> {
        let (line, end) = ((self.line.as_fd(), Interest::Read), (self.pidfd.as_fd(), Interest::Read));
        let [first, second] = match (ended, read) {
            // Sleeping now would cost more than the status does.
            (true, _) if looks < STATUS_LOOKS => {
                thread::yield_now();
                return Ok(true);
            }
            // Another thread may take the status off the line between our look and our sleep, so look again soon.
            (true, _) => poll([line, line], Deadline::after(STATUS_LOOK))?,
            (false, Read::End) => poll([end, end], deadline)?,
            (false, _) => poll([line, end], deadline)?,
        };
        Ok(first || second)
    }

    /// Takes every frame off the line that is there.
    fn drain(&self, state: &mut State) -> Read {
        loop {
            match self.read_one(state) {
                Read::Frame => {}
                other => return other,
            }
        }
    }

    /// Takes one frame off the line, if there is one.
    fn read_one(&self, state: &mut State) -> Read {
        match self.line.try_receive() {
            Ok(Some(frame)) => {
                let kind = frame.kind;
                match (kind, protocol::decoder(frame)) {
                    (REPORT, Ok(decoder)) => state.report = Some(decoder),
                    (ENDED, Ok(decoder)) => state.status = protocol::decode_ended(decoder).map(ExitStatus::new),
                    _ => {}
                }
                Read::Frame
            }
            Ok(None) => Read::End,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Nothing,
            Err(_) => Read::End,
        }
    }
}

/// What a look at the line found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Frame,
    Nothing,
    End,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { pid, name, .. } = &self.0.about;
        let status = self.0.state.lock().status;
        f.debug_struct("Child").field("name", name).field("pid", pid).field("status", &status).finish()
    }
}
