//! The two ends of a queue's socket, of which a handle has one or both: for descriptors, and to know who is still there.
//!
//! Relies on packet sockets. Closing does not take the descriptors away, which other threads may be using: they lead
//! nowhere from then on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use procession_sys::PacketSocket;
use procession_wire::Descriptor;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// One process's ends.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The producers'.
    pub(crate) producers: Option<PacketSocket>,
    /// The consumers'.
    pub(crate) consumers: Option<PacketSocket>,
    is_closed: AtomicBool,
}

/// Which ends a handle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sides {
    Both,
    Producers,
    Consumers,
}

impl Ends {
    pub(crate) fn pair() -> io::Result<Self> {
        let (producers, consumers) = PacketSocket::pair()?;
        producers.set_buffers_max()?;
        Ok(Self::of(Some(producers), Some(consumers)))
    }

    pub(crate) fn of(producers: Option<PacketSocket>, consumers: Option<PacketSocket>) -> Self {
        Self { producers, consumers, is_closed: AtomicBool::new(false) }
    }

    /// The ends that a handle has; `None` for one that has none.
    pub(crate) fn sides(&self) -> Option<Sides> {
        match (&self.producers, &self.consumers) {
            (Some(_), Some(_)) => Some(Sides::Both),
            (Some(_), None) => Some(Sides::Producers),
            (None, Some(_)) => Some(Sides::Consumers),
            (None, None) => None,
        }
    }

    /// What becomes readable when there is an item, of an end that somebody has asked for a bell.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        let end = self.consumers.as_ref().or(self.producers.as_ref());
        end.expect("a handle has an end").as_fd()
    }

    /// Those that there are.
    #[cfg(feature = "async")]
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.producers, &self.consumers].into_iter().flatten().map(AsFd::as_fd)
    }

    /// Other descriptors of these ends.
    pub(crate) fn again(&self, sides: Sides) -> io::Result<Self> {
        let again = |end: &Option<PacketSocket>, is_wanted: bool| {
            let end = end.as_ref().filter(|_| is_wanted);
            end.map(|end| end.as_fd().try_clone_to_owned().and_then(PacketSocket::try_from_fd)).transpose()
        };
        let producers = again(&self.producers, sides != Sides::Consumers)?;
        Ok(Self::of(producers, again(&self.consumers, sides != Sides::Producers)?))
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Acquire)
    }

    /// Lets go of both; false if that was done before.
    pub(crate) fn close(&self) -> bool {
        let was_open = !self.is_closed.swap(true, AcqRel);
        if was_open {
            for end in [&self.producers, &self.consumers].into_iter().flatten() {
                // If it cannot be, the end stays open until the handle is dropped.
                let _ = end.let_go();
            }
        }
        was_open
    }

    /// True if nobody has the producers' end.
    pub(crate) fn are_producers_gone(&self) -> bool {
        self.consumers.as_ref().is_some_and(|end| end.is_hung_up().unwrap_or(false))
    }

    /// True if nobody has the consumers' end.
    pub(crate) fn are_consumers_gone(&self) -> bool {
        self.producers.as_ref().is_some_and(|end| end.is_hung_up().unwrap_or(false))
    }
}

fn descriptor(end: Option<&PacketSocket>) -> io::Result<Option<Descriptor>> {
    end.map(|end| end.as_fd().try_clone_to_owned().map(Descriptor::from)).transpose()
}

impl Serialize for Ends {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_closed() {
            return Err(ser::Error::custom("it was closed in this process"));
        }
        let ends = [&self.producers, &self.consumers].map(|end| descriptor(end.as_ref()));
        let [producers, consumers] = ends;
        let ends = (producers.map_err(ser::Error::custom)?, consumers.map_err(ser::Error::custom)?);
        ends.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (producers, consumers) = <(Option<Descriptor>, Option<Descriptor>)>::deserialize(deserializer)?;
        let end = |end: Option<Descriptor>| {
            let end = end.map(|end| end.into_owned().and_then(PacketSocket::try_from_fd));
            end.transpose().map_err(de::Error::custom)
        };
        Ok(Self::of(end(producers)?, end(consumers)?))
    }
}
