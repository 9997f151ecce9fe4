//! Waiting on many things at once: connections, listeners, queues, processes, sockets and raw descriptors.
//!
//! A thing has a descriptor that becomes readable, which the kernel watches. For an object in shared memory, a [`Source`],
//! that descriptor is only a bell: whether the object is ready its memory says, and the bell rings for whoever has said
//! that it is going to sleep. So a wait goes like this:
//!
//! 1. Look at everything, without waiting. Whatever is ready now is the result.
//! 2. If there is a source: look at sources a little longer, awake, because a bell takes longer than most peers do.
//! 3. Ask each source for its bell, and look again: it may have become ready before it knew that it is to ring.
//! 4. Sleep until a descriptor is readable, then begin again with 1, or 3.
//!
//! A ringer may be killed between making an object ready and ringing, so nobody sleeps longer than [`RECHECK`] without
//! another look. A bell may ring for nothing, also without end when the ringer is hostile, or was stopped in the middle:
//! then it is left out of the sleep for a while, and only looked at.

use std::fmt;
use std::hint::spin_loop;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use procession_sync::RECHECK;
use procession_sys::{Deadline, open_files_max, poll_readable, processor_count};

use crate::error::WaitError;

/// What [`wait_ready`] can wait for.
///
/// That is each object of this crate that messages come from, a [`Listener`](crate::Listener), and everything that has a descriptor: processes, sockets,
/// pipes, timers.
///
/// Ready means that the next `recv`, `get` or `accept` does not wait: there is a message, an item, a connection, or the end
/// of the stream; that a process has ended; that a descriptor can be read, or has hung up. Another process or thread may be faster to take what
/// there is.
pub trait Waitable {
    /// What to look at.
    #[doc(hidden)]
    fn watch(&self) -> Watch<'_>;
}

/// What to look at, and how.
#[doc(hidden)]
#[derive(Debug)]
pub struct Watch<'a> {
    /// What becomes readable.
    pub fd: BorrowedFd<'a>,
    /// What tells more than the descriptor does, for objects in shared memory.
    pub source: Option<&'a dyn Source>,
}

/// An object whose state is in shared memory, and whose descriptor is only a bell.
#[doc(hidden)]
pub trait Source: fmt::Debug {
    /// Whether it is ready now, by its memory alone; cheap.
    fn is_ready(&self) -> bool;
    /// Asks whoever makes it ready to ring the bell once; `is_ready` is looked at again after this.
    fn arm(&self);
    /// After the bell's descriptor was readable: takes away what is not needed. True if the object is ready.
    fn settle(&self) -> io::Result<bool>;
}

/// Waits until at least one of the things is ready, and says which all are, by their positions in the list, in order.
///
/// Things of different kinds may be mixed, and one may be in the list more than once. A signal that this process handles
/// does not end the wait. Where a peer is killed at the moment at which it would tell that it has sent something, that is
/// noticed within 50 ms. While nothing happens a wait costs no processor time, or with queues and connections in the list
/// about a thousandth of one processor's.
///
/// Python's `multiprocessing.connection.wait`.
///
/// Source: poll(2).
///
/// # Errors
/// [`WaitError::Nothing`] for an empty list, [`WaitError::TooMany`] for a list longer than the process's limit of open
/// files, [`WaitError::Thing`] and [`WaitError::System`] when the system refuses.
///
/// # Examples
/// ```
/// use procession_ipc::{Waitable, wait_ready};
/// use std::io::{Write, pipe};
///
/// let ((first, mut to_first), (second, mut to_second)) = (pipe()?, pipe()?);
/// to_second.write_all(b"hello")?;
/// assert_eq!(wait_ready([&first as &dyn Waitable, &second])?, [1]);
/// drop(to_first); // The end of a stream is something to be read, too.
/// assert_eq!(wait_ready([&first as &dyn Waitable, &second])?, [0, 1]);
/// # to_first = to_second;
/// # drop(to_first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait_ready<'a>(things: impl AsRef<[&'a dyn Waitable]>) -> Result<Vec<usize>, WaitError> {
    wait_until(things.as_ref(), Deadline::NEVER)
}

/// Which of the things are ready now, as [`wait_ready`] says it; perhaps none. Never waits.
///
/// # Errors
/// As [`wait_ready`], but an empty list is none: nothing in it is ready.
///
/// # Examples
/// ```
/// use procession_ipc::{Waitable, try_wait_ready};
/// use std::io::pipe;
///
/// let (reader, writer) = pipe()?;
/// assert!(try_wait_ready([&reader as &dyn Waitable])?.is_empty());
/// drop(writer);
/// assert_eq!(try_wait_ready([&reader as &dyn Waitable])?, [0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn try_wait_ready<'a>(things: impl AsRef<[&'a dyn Waitable]>) -> Result<Vec<usize>, WaitError> {
    wait_until(things.as_ref(), Deadline::NOW)
}

/// As [`wait_ready`], for so long at most; none after that. What is ready is told even if no time is left.
///
/// # Errors
/// As [`wait_ready`], but for an empty list this waits until the time is over.
///
/// # Examples
/// ```
/// use procession_ipc::{Waitable, wait_ready_timeout};
/// use std::{io::pipe, time::Duration};
///
/// let (reader, _writer) = pipe()?;
/// let ready = wait_ready_timeout([&reader as &dyn Waitable], Duration::from_millis(1))?;
/// assert!(ready.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait_ready_timeout<'a>(
    things: impl AsRef<[&'a dyn Waitable]>,
    timeout: Duration,
) -> Result<Vec<usize>, WaitError> {
    wait_until(things.as_ref(), Deadline::after(timeout))
}

impl<F: AsFd> Waitable for F {
    fn watch(&self) -> Watch<'_> {
        Watch { fd: self.as_fd(), source: None }
    }
}

/// How long a wait with sources in it stays awake before it sleeps: less than a sleep and a wake-up take.
const AWAKE_TIME: Duration = Duration::from_micros(30);

/// So many times a bell may ring for nothing before it is left out of a sleep.
const FUTILE_BORNE: u32 = 2;

/// How long it is left out at first; twice as long each time, up to [`RECHECK`].
const FUTILE_PAUSE: Duration = Duration::from_millis(1);

fn wait_until(things: &[&dyn Waitable], deadline: Deadline) -> Result<Vec<usize>, WaitError> {
    if things.is_empty() && deadline == Deadline::NEVER {
        return Err(WaitError::Nothing);
    }
    let things = things.iter().map(|thing| Thing { watch: thing.watch(), futile: 0 });
    let mut wait = Wait(things.collect());
    if wait.sources().next().is_none() {
        return wait.look(deadline, |_| true);
    }
    wait.with_sources(deadline)
}

/// One wait's things.
struct Wait<'a>(Vec<Thing<'a>>);

/// One of them.
struct Thing<'a> {
    watch: Watch<'a>,
    /// How many looks in a row have found that its bell rang for nothing.
    futile: u32,
}

impl Thing<'_> {
    fn is_quiet(&self) -> bool {
        self.futile <= FUTILE_BORNE
    }

    /// How long its bell is left out of a sleep.
    fn pause(&self) -> Duration {
        let doublings = self.futile.saturating_sub(FUTILE_BORNE + 1).min(u32::BITS - 1);
        FUTILE_PAUSE.saturating_mul(1 << doublings).min(RECHECK)
    }

    /// Whether it is ready, when its descriptor is readable or is not; not known where that was not looked at.
    fn is_ready(&mut self, readable: Option<bool>) -> io::Result<bool> {
        let Some(source) = self.watch.source else { return Ok(readable == Some(true)) };
        // A bell is silenced even if nobody needs it to know.
        let ready = readable == Some(true) && source.settle()? || source.is_ready();
        match readable {
            Some(true) if !ready => self.futile = self.futile.saturating_add(1),
            Some(_) => self.futile = 0,
            None => {}
        }
        Ok(ready)
    }
}

impl<'a> Wait<'a> {
    fn sources(&self) -> impl Iterator<Item = &'a dyn Source> {
        self.0.iter().filter_map(|thing| thing.watch.source)
    }

    fn is_any_ready(&self) -> bool {
        self.sources().any(Source::is_ready)
    }

    fn with_sources(&mut self, deadline: Deadline) -> Result<Vec<usize>, WaitError> {
        let mut ready = self.look(Deadline::NOW, |_| true)?;
        if ready.is_empty() && deadline != Deadline::NOW && self.stay_awake(deadline) {
            ready = self.look(Deadline::NOW, |_| true)?;
        }
        while ready.is_empty() && !deadline.has_passed() {
            self.sources().for_each(Source::arm);
            // From here on whoever makes one of them ready rings; who did so before has not.
            let end = if self.is_any_ready() { Deadline::NOW } else { deadline };
            ready = self.look_later(end)?;
        }
        Ok(ready)
    }

    /// Looks at sources for a moment; true when one is ready.
    fn stay_awake(&self, deadline: Deadline) -> bool {
        // On the only processor nobody else runs meanwhile.
        if processor_count().unwrap_or(usize::MAX) < 2 {
            return false;
        }
        let until = deadline.min(Deadline::after(AWAKE_TIME));
        while !until.has_passed() {
            if self.is_any_ready() {
                return true;
            }
            spin_loop();
        }
        false
    }

    /// Sleeps until something may be ready, for a while at most, and looks.
    fn look_later(&mut self, deadline: Deadline) -> Result<Vec<usize>, WaitError> {
        let pauses = self.0.iter().filter(|thing| !thing.is_quiet()).map(Thing::pause);
        let Some(pause) = pauses.min() else {
            return self.look(deadline.min(Deadline::after(RECHECK)), |_| true);
        };
        let ready = self.look(deadline.min(Deadline::after(pause)), Thing::is_quiet)?;
        if ready.is_empty() { self.look(Deadline::NOW, |_| true) } else { Ok(ready) }
    }

    /// Waits until one of the descriptors that count is readable, and says what is ready.
    fn look(&mut self, deadline: Deadline, counts: impl Fn(&Thing<'a>) -> bool) -> Result<Vec<usize>, WaitError> {
        let counting: Vec<bool> = self.0.iter().map(counts).collect();
        let counted = self.0.iter().zip(&counting).filter(|(_, counts)| **counts);
        let fds: Vec<BorrowedFd<'_>> = counted.map(|(thing, _)| thing.watch.fd).collect();
        let readable = poll_readable(&fds, deadline).map_err(|error| refused(fds.len(), error))?;
        let (mut readable, mut ready) = (readable.into_iter(), Vec::new());
        for (position, (thing, counts)) in self.0.iter_mut().zip(counting).enumerate() {
            let readable = if counts { readable.next() } else { None };
            if thing.is_ready(readable).map_err(|error| WaitError::Thing { position, error })? {
                ready.push(position);
            }
        }
        Ok(ready)
    }
}

/// What the refusal to wait for so many things means.
#[cold]
fn refused(things: usize, error: io::Error) -> WaitError {
    match open_files_max() {
        Some(things_max) if error.kind() == io::ErrorKind::InvalidInput && things as u64 > things_max => {
            WaitError::TooMany { things, things_max }
        }
        _ => WaitError::System { things, error },
    }
}

#[cfg(test)]
mod tests;
