//! Who has a lock in a server, and the proof of it that a client has.
//!
//! Relies on each acquisition having a number of its own: what a client gives back twice, or a forked copy of it, is nothing.

use procession_sys::Origin;

use crate::error::Refusal;
use crate::proxy::{MethodName, RawProxy};

/// Whether somebody has it.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    holder: Option<Holder>,
    /// How often it was acquired: what tells one holder from the next.
    acquired: u64,
    /// Whether who had it last has died with it, which the next one is told.
    has_died: bool,
}

#[derive(Debug)]
struct Holder {
    /// The client and its call.
    call: (u64, u64),
    acquired: u64,
    /// Whether it was told that the one before it has died.
    was_told: bool,
}

impl Hold {
    pub(crate) fn is_held(&self) -> bool {
        self.holder.is_some()
    }

    /// Gives it to a call: which acquisition that is, and whether the last holder has died.
    pub(crate) fn give(&mut self, call: (u64, u64)) -> (u64, bool) {
        self.acquired += 1;
        let (acquired, was_told) = (self.acquired, std::mem::take(&mut self.has_died));
        self.holder = Some(Holder { call, acquired, was_told });
        (acquired, was_told)
    }

    /// Refuses who does not have it.
    pub(crate) fn check(&self, acquired: u64, (client, _): (u64, u64)) -> Result<(), Refusal> {
        let is_its = |holder: &Holder| holder.acquired == acquired && holder.call.0 == client;
        if self.holder.as_ref().is_some_and(is_its) { Ok(()) } else { Err(Refusal::NotHeld) }
    }

    /// Takes it back from who has it.
    pub(crate) fn release(&mut self, acquired: u64, caller: (u64, u64)) -> Result<(), Refusal> {
        self.check(acquired, caller)?;
        self.holder = None;
        Ok(())
    }

    /// Takes it back if this call was given it, which its client does not want any more; true if so.
    pub(crate) fn abandon(&mut self, call: (u64, u64)) -> bool {
        let holder = self.holder.take_if(|holder| holder.call == call);
        self.has_died |= holder.as_ref().is_some_and(|holder| holder.was_told);
        holder.is_some()
    }

    /// Takes it back if this client, which is gone, has it; true if so.
    pub(crate) fn part(&mut self, client: u64) -> bool {
        let had_it = self.holder.take_if(|holder| holder.call.0 == client).is_some();
        self.has_died |= had_it;
        had_it
    }
}

/// One time that this client has something of an object; it is given back when this is dropped. A forked copy is inert.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) raw: RawProxy,
    release: MethodName,
    pub(crate) acquired: u64,
    origin: Origin,
    is_over: bool,
}

impl Held {
    pub(crate) fn new(raw: &RawProxy, release: MethodName, acquired: u64) -> Self {
        Self { raw: raw.clone(), release, acquired, origin: Origin::here(), is_over: false }
    }

    /// Has nothing given back.
    pub(crate) fn give_up(mut self) {
        self.is_over = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_over || !self.origin.is_here() {
            return;
        }
        let arguments = self.raw.pack(self.release, &self.acquired);
        let released = arguments.and_then(|arguments| self.raw.command(self.release, vec![arguments]));
        if let Err(error) = released {
            tracing::debug!(%error, "nothing is given back"); // A server that is gone has no locks.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_to_a_call_that_is_given_up_comes_back_with_its_news() {
        let mut hold = Hold::default();
        hold.give((1, 1));
        assert!(!hold.abandon((1, 2)) && hold.is_held(), "another call of the same client");
        assert!(hold.part(1));
        assert_eq!(hold.give((2, 1)), (2, true));
        assert!(hold.abandon((2, 1)) && !hold.is_held());
        assert_eq!(hold.give((3, 1)), (3, true), "nobody has been told yet");
        assert!(hold.release(3, (3, 9)).is_ok());
        assert_eq!(hold.give((3, 2)), (4, false));
    }

    #[test]
    fn only_its_holder_gives_it_back_and_once() {
        let mut hold = Hold::default();
        let (acquired, _) = hold.give((1, 1));
        for (acquired, caller) in [(acquired, (2, 1)), (acquired + 1, (1, 2))] {
            assert_eq!(hold.release(acquired, caller), Err(Refusal::NotHeld));
        }
        assert_eq!(hold.release(acquired, (1, 2)), Ok(()));
        assert_eq!(hold.release(acquired, (1, 2)), Err(Refusal::NotHeld));
    }
}
