//! Waiting on a set of descriptors that changes little: the kernel keeps it (epoll(7)).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::fd::out_of_the_way;
use crate::{Deadline, Interest};

/// How many ready descriptors one wait tells of; the others are told of by the next.
const EVENTS_MAX: usize = 64;

/// A set of descriptors. Its own descriptor is readable while one of them is ready.
///
/// A forked child has the same set, and neither should change it then: the child makes one of its own.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// `EMFILE`, or `EMFILE` and `ENOMEM` by the user's limit of watched descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(out_of_the_way(epoll::create(CreateFlags::CLOEXEC)?)?))
    }

    /// Adds a descriptor, which `token` stands for.
    ///
    /// # Errors
    /// `EEXIST`, `ENOSPC` by the user's limit, `ENOMEM`.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, EventData::new_u64(token), interest.into())?)
    }

    /// Changes what a descriptor is waited for.
    ///
    /// # Errors
    /// `ENOENT` for one that is not in the set.
    pub fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, fd, EventData::new_u64(token), interest.into())?)
    }

    /// Waits for a descriptor until it was told of once, in the set or not yet; with another call, once more. An error or a
    /// hang-up of the peer is told of, too.
    ///
    /// # Errors
    /// `EPERM` for what has no such state, as a file; `ENOSPC` by the user's limit, `ENOMEM`.
    pub fn watch_once(&self, fd: impl AsFd, token: u64, interests: &[Interest]) -> io::Result<()> {
        let flags = interests.iter().map(|&interest| EventFlags::from(interest));
        let flags = flags.fold(EventFlags::ONESHOT, |all, flags| all | flags);
        match epoll::modify(&self.0, fd.as_fd(), EventData::new_u64(token), flags) {
            Err(Errno::NOENT) => Ok(epoll::add(&self.0, fd, EventData::new_u64(token), flags)?),
            done => Ok(done?),
        }
    }

    /// Takes a descriptor out, which is to be done before it is closed if another process may have it, too.
    ///
    /// # Errors
    /// `ENOENT` for one that is not in the set.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, fd)?)
    }

    /// Waits until a descriptor is ready, and tells the tokens of those that are; none after the deadline.
    ///
    /// # Errors
    /// None that Linux knows for a set.
    pub fn wait(&self, deadline: Deadline) -> io::Result<Vec<u64>> {
        let mut room = [MaybeUninit::uninit(); EVENTS_MAX];
        loop {
            match epoll::wait(&self.0, &mut room, deadline.timespec().as_ref()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok((events, _)) => return Ok(events.iter().map(|event| event.data.u64()).collect()),
            }
        }
    }
}

impl From<Interest> for EventFlags {
    fn from(interest: Interest) -> Self {
        match interest {
            Interest::Read => EventFlags::IN,
            Interest::Write => EventFlags::OUT,
        }
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor that becomes readable when somebody says so, until whoever listens makes it silent (eventfd(2)).
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// One that has not rung.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn new() -> io::Result<Self> {
        Ok(Self(out_of_the_way(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)?))
    }

    /// Makes it readable.
    pub fn ring(&self) {
        // A full counter is readable as well.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it silent again, for whoever listens. Never waits.
    pub fn reset(&self) {
        // One that has not rung is silent as it is.
        let _ = rustix::io::read(&self.0, &mut [0; size_of::<u64>()]);
    }
}

/// One that came from another process. What is no bell rings nowhere.
impl From<OwnedFd> for Bell {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll_one;

    #[test]
    fn the_set_tells_which_are_ready_and_is_readable_then() {
        let (set, bell, other) = (Epoll::new().unwrap(), Bell::new().unwrap(), Bell::new().unwrap());
        set.add(&bell, 7, Interest::Read).unwrap();
        set.add(&other, 8, Interest::Read).unwrap();
        assert_eq!(set.wait(Deadline::NOW).unwrap(), []);
        assert!(!poll_one(&set, Interest::Read, Deadline::NOW).unwrap());
        bell.ring();
        assert_eq!(set.wait(Deadline::NEVER).unwrap(), [7]);
        assert!(poll_one(&set, Interest::Read, Deadline::NOW).unwrap());
        set.change(&other, 8, Interest::Write).unwrap();
        assert_eq!(set.wait(Deadline::NEVER).unwrap(), [7, 8]);
        set.remove(&bell).unwrap();
        set.remove(&other).unwrap();
        assert_eq!(set.wait(Deadline::NOW).unwrap(), []);
    }

    #[test]
    fn a_bell_is_silent_again_until_it_rings_anew_whoever_rings() {
        let bell = Bell::new().unwrap();
        let other = Bell::from(bell.as_fd().try_clone_to_owned().unwrap());
        bell.reset();
        for _ in 0..2 {
            other.ring();
            other.ring();
            assert!(poll_one(&bell, Interest::Read, Deadline::NOW).unwrap());
            bell.reset();
            assert!(!poll_one(&bell, Interest::Read, Deadline::NOW).unwrap());
        }
    }

    #[test]
    fn what_is_watched_once_is_told_of_once() {
        let (set, bell) = (Epoll::new().unwrap(), Bell::new().unwrap());
        bell.ring();
        for token in [1, 2] {
            set.watch_once(&bell, token, &[Interest::Read]).unwrap();
            assert_eq!(set.wait(Deadline::NEVER).unwrap(), [token]);
            assert_eq!(set.wait(Deadline::NOW).unwrap(), []);
        }
        set.watch_once(&bell, 3, &[Interest::Read, Interest::Write]).unwrap();
        assert_eq!(set.wait(Deadline::NEVER).unwrap(), [3]);
        assert!(set.watch_once(crate::dev_null().unwrap(), 4, &[Interest::Read]).is_err());
    }
}
