//! One worker as its pool sees it: the process, its desk, and what it was offered.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use procession_launch::{JoinError, Process};
use procession_wire::frame::Frame;

use crate::call::{FAULT, Fault, Item, Parcel, Reply, tell_fault};
use crate::desk::{Desk, NotDrained, Received, Seq};
use crate::error::{PoolError, TaskError, said};
use crate::supervisor::TaskId;
use crate::text::Text;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) desk: Desk,
    pub(super) process: Process<()>,
    /// What it was offered and has not reported all of, in order.
    pub(super) offers: VecDeque<Offer>,
    pub(super) is_ready: bool,
    /// It was killed since it was not ready in time.
    pub(super) is_late: bool,
    /// What it says of its initializer.
    beginning: Reply,
    /// How much it had written to its standard error, and when that was asked.
    said: (u64, Duration),
}

/// For how long it is not asked again how much a worker has written: a system call for each task would be felt where these take a
/// few microseconds.
const SAID_AGE_MAX: Duration = Duration::from_micros(100);

/// What the last worker that ended says of why the next one may not do better.
#[derive(Debug, thiserror::Error)]
pub(super) enum LastWords {
    /// It was not even started.
    #[error(transparent)]
    Unstarted(PoolError),
    #[error("{0}")]
    Died(TaskError),
    #[error(
        "worker process {pid} was not ready within {after:?}, and was killed: see `start_timeout`{}",
        said(stderr.as_deref())
    )]
    Late { pid: u32, after: Duration, stderr: Option<Text> },
}

/// A task on a worker's desk.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) seq: Seq,
    pub(super) task: TaskId,
    /// How much its worker had written to its standard error before.
    pub(super) said_before: u64,
    /// What it has reported.
    pub(super) reply: Reply,
}

impl Member {
    pub(super) fn new(desk: Desk, process: Process<()>) -> Self {
        Self {
            desk,
            process,
            offers: VecDeque::new(),
            is_ready: false,
            is_late: false,
            beginning: Reply::default(),
            said: (0, Duration::ZERO),
        }
    }

    /// True if something is to come from it.
    pub(super) fn is_expected(&self) -> bool {
        !self.is_ready || !self.offers.is_empty()
    }

    /// True if it has something to tell.
    #[inline]
    pub(super) fn has_news(&mut self) -> bool {
        self.is_expected() && self.desk.has_news()
    }

    /// True if it has finished something.
    #[inline]
    pub(super) fn has_finished(&mut self) -> bool {
        self.is_expected() && self.desk.has_finished()
    }

    /// Takes what it has reported off its desk.
    ///
    /// # Errors
    /// What is there makes no sense, or cannot be received now.
    #[inline]
    pub(super) fn drain(&mut self) -> Result<(), NotDrained> {
        let Self { desk, offers, beginning, .. } = self;
        desk.drain(&mut |seq, bytes| {
            let offer = offers.iter_mut().find(|offer| offer.seq == seq);
            let reply = offer.map_or(&mut *beginning, |offer| &mut offer.reply);
            reply.bytes.extend_from_slice(bytes);
        })
        .map(drop)
    }

    /// The next task whose report is complete, in order.
    pub(super) fn finished(&mut self) -> Option<Offer> {
        loop {
            let seq = self.desk.finished()?;
            if let Some(at) = self.offers.iter().position(|offer| offer.seq == seq) {
                let mut offer = self.offers.remove(at)?;
                self.unpack(&mut offer);
                return Some(offer);
            }
        }
    }

    /// Why it cannot work, if it says so.
    pub(super) fn refusal(&self) -> Option<TaskError> {
        match self.beginning.items().next::<()>()? {
            Item::Fault(fault) => Some(fault.into()),
            _ => None,
        }
    }

    /// The task that it was in the middle of when it died, with what it has reported of that.
    pub(super) fn interrupted(&mut self) -> Option<Offer> {
        let seq = self.desk.running()?;
        let at = self.offers.iter().position(|offer| offer.seq == seq)?;
        let mut offer = self.offers.remove(at)?;
        self.unpack(&mut offer);
        Some(offer)
    }

    fn unpack(&mut self, offer: &mut Offer) {
        let parcels = self.desk.take_parcels(offer.seq);
        offer.reply.parcels.extend(parcels.into_iter().map(unpacked));
    }

    /// How much it has written to its standard error, or had a moment ago.
    pub(super) fn said(&mut self, now: Duration) -> u64 {
        if now >= self.said.1 + SAID_AGE_MAX {
            self.said = (self.process.stderr_position(), now);
        }
        self.said.0
    }

    /// What it died of, for the task that it was running, with what it said after a position.
    pub(super) fn cause_of_death(self, said_before: u64) -> TaskError {
        let _ = self.process.wait(); // If it cannot be waited for, `join` says so.
        let stderr = self.process.stderr_tail_since(said_before);
        let (name, pid) = (self.process.name().into(), self.process.pid());
        let died = |signal, exitcode, core_dumped, stderr: Option<String>| TaskError::WorkerDied {
            name,
            pid,
            signal,
            exitcode,
            core_dumped,
            stderr: stderr.map(Text::from),
            attempts: 1,
            given_up: false,
        };
        match self.process.join() {
            Err(JoinError::Panicked { name, pid, message, location, backtrace, .. }) => {
                TaskError::panicked(name, pid, message, location, backtrace, 1)
            }
            Err(JoinError::Signaled { signal, status, .. }) => {
                died(Some(signal), status.exitcode(), status.core_dumped(), stderr)
            }
            Err(JoinError::Exited { code, .. }) => died(None, code, false, stderr),
            Err(error) => died(None, 1, false, Some(error.to_string())),
            Ok(()) => died(None, 0, false, stderr),
        }
    }
}

impl AsFd for Member {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

impl Offer {
    /// What there is of a task that could not be offered.
    pub(super) fn refused(task: TaskId, fault: &Fault) -> Self {
        let mut reply = Reply::default();
        tell_fault(&mut reply, fault, Vec::new());
        Self { seq: 0, task, said_before: 0, reply }
    }

    /// True if it is a single call that failed.
    pub(super) fn has_failed(&self) -> bool {
        self.reply.items().tag() == Some(FAULT)
    }
}

/// A parcel that can be read. One that cannot be mapped is empty, which no item is: it is told as what cannot be decoded.
fn unpacked(frame: Frame) -> Parcel {
    match Received::from_frame(frame) {
        Ok(Received { body, descriptors }) => Parcel { body: Box::new(body), descriptors },
        Err(_) => Parcel { body: Box::new([]), descriptors: Vec::new() },
    }
}
