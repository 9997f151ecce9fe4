//! How long a start waits for the server that is to fork the child, and who may call it off.
//!
//! Without any it waits for as long as it takes: a server that was stopped goes on some day. A pool has promises to keep
//! meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use procession_sys::{Bell, Deadline, Interest, poll, poll_one};

use crate::builder::Builder;

/// How long one that may be called off waits for a lock at a time.
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// What a start has. By default there is no end of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience {
    limit: Option<Duration>,
    called_off: Option<Arc<Bell>>,
}

impl<F, A> Builder<F, A> {
    /// How long a start waits for what its forkserver preloads, and then for the answer of that, or of its nursery; and a bell
    /// by which another thread calls it off.
    #[doc(hidden)]
    pub fn patience(mut self, limit: Option<Duration>, called_off: Option<Arc<Bell>>) -> Self {
        self.plan_mut().patience = Patience { limit, called_off };
        self
    }
}

impl Patience {
    /// How long a server may take, for each thing that it does.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Until when a server may answer that is asked now.
    pub(crate) fn deadline(&self) -> Deadline {
        self.limit.map_or(Deadline::NEVER, Deadline::after)
    }

    /// Waits until one of the two is ready.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; when it is called off, an error that says so.
    pub(crate) fn wait(&self, watched: [(BorrowedFd<'_>, Interest); 2], deadline: Deadline) -> io::Result<()> {
        let [first, second] = watched;
        let is_ready = match &self.called_off {
            None => poll(watched, deadline)?.contains(&true),
            Some(bell) => match poll([first, second, (bell.as_fd(), Interest::Read)], deadline)? {
                [false, false, true] => return Err(called_off()),
                ready => ready.contains(&true),
            },
        };
        if is_ready { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    /// Takes a lock that another start may hold for as long as functions are preloaded.
    ///
    /// # Errors
    /// `TimedOut` when the limit is over; when it is called off, an error that says so.
    pub(crate) fn lock<'m, T>(&self, mutex: &'m Mutex<T>) -> io::Result<MutexGuard<'m, T>> {
        if self.limit.is_none() && self.called_off.is_none() {
            return Ok(mutex.lock());
        }
        let deadline = self.deadline();
        loop {
            let look = deadline.remaining().map_or(LOCK_LOOK, |left| left.min(LOCK_LOOK));
            if let Some(guard) = mutex.try_lock_for(look) {
                return Ok(guard);
            }
            if let Some(bell) = &self.called_off
                && poll_one(&**bell, Interest::Read, Deadline::NOW)?
            {
                return Err(called_off());
            }
            if deadline.has_passed() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

/// What a start ends with that is not wanted any more.
fn called_off() -> io::Error {
    io::Error::other("the start was called off")
}

#[cfg(test)]
mod tests {
    use std::hint::spin_loop;
    use std::io::{Read, Write, pipe};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// What comes while the kernel looks from one descriptor to the next is seen, and is nothing else.
    #[test]
    fn what_nobody_can_call_off_is_not_called_off() {
        const TRIES: usize = 200_000;
        // Two threads that share one processor take milliseconds for each try.
        const TIME_MAX: Duration = Duration::from_secs(10);
        static TRY: AtomicUsize = AtomicUsize::new(0);
        static OVER: AtomicBool = AtomicBool::new(false);
        let (mut awaited, mut answers) = pipe().unwrap();
        let (never, _held) = pipe().unwrap();
        let answering = thread::spawn(move || {
            for number in 1..=TRIES {
                while TRY.load(Ordering::Acquire) < number {
                    if OVER.load(Ordering::Acquire) {
                        return;
                    }
                    spin_loop();
                }
                (0..number % 64).for_each(|_| spin_loop()); // Somewhere within the other thread's look.
                answers.write_all(&[1]).unwrap();
            }
        });
        let begun = Instant::now();
        for number in (1..=TRIES).take_while(|_| begun.elapsed() < TIME_MAX) {
            TRY.store(number, Ordering::Release);
            let watched = [(awaited.as_fd(), Interest::Read), (never.as_fd(), Interest::Read)];
            Patience::default().wait(watched, Deadline::NEVER).unwrap();
            awaited.read_exact(&mut [0]).unwrap();
        }
        OVER.store(true, Ordering::Release);
        answering.join().unwrap();
    }
}
