//! References that are on their way from one process to another.
//!
//! Relies on clients to tell of each before they send it. A ticket holds its object until whoever receives the reference has
//! one of his own: as long as the sender lives, and for [`TICKET_TIME`] more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Entry;
use crate::travel::Ticket;

/// How long a reference that was sent, and not received, holds its object when its sender is gone.
pub const TICKET_TIME: Duration = Duration::from_secs(60);

/// How many references one client may have on their way.
pub const TICKETS_MAX: usize = 65_536;

/// Who sends what the server itself sends.
const SERVER: u64 = 0;

/// The references that are on their way.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    state: Mutex<State>,
    own: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<u64, HashMap<u64, Arc<Entry>>>,
    /// Received before the server was told that they were sent.
    early: HashMap<u64, HashSet<u64>>,
    /// Those of senders that are gone, and until when they hold.
    orphans: Vec<(Instant, u64)>,
}

impl Tickets {
    /// Holds an object; false if the client has too many on their way.
    pub(super) fn issue(&self, ticket: Ticket, entry: Arc<Entry>) -> bool {
        let Ticket { client, number } = ticket;
        let mut state = self.state.lock();
        if state.early.get_mut(&client).is_some_and(|early| early.remove(&number)) {
            return true;
        }
        let held = state.held.entry(client).or_default();
        if held.len() >= TICKETS_MAX {
            return false;
        }
        held.insert(number, entry);
        true
    }

    pub(super) fn issue_own(&self, entry: &Arc<Entry>) -> Ticket {
        let ticket = Ticket { client: SERVER, number: self.own.fetch_add(1, Ordering::Relaxed) };
        let _ = self.issue(ticket, Arc::clone(entry));
        ticket
    }

    /// The object of a ticket, which holds it no longer. A ticket that is not known yet is noted if its sender is there.
    pub(super) fn redeem(&self, ticket: Ticket, is_sender_there: bool) -> Option<Arc<Entry>> {
        let Ticket { client, number } = ticket;
        let mut state = self.state.lock();
        let entry = state.held.get_mut(&client).and_then(|held| held.remove(&number));
        if entry.is_none() && is_sender_there {
            let early = state.early.entry(client).or_default();
            if early.len() < TICKETS_MAX {
                early.insert(number);
            }
        }
        entry
    }

    /// A client is gone; when to look at what it had sent.
    pub(super) fn part(&self, client: u64) -> Option<Instant> {
        let mut state = self.state.lock();
        state.early.remove(&client);
        state.held.get(&client).filter(|held| !held.is_empty())?;
        let until = Instant::now() + TICKET_TIME;
        state.orphans.push((until, client));
        Some(until)
    }

    /// Lets go of what was sent too long ago by those who are gone.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.state.lock();
        let (over, left) = state.orphans.drain(..).partition(|(until, _)| *until <= now);
        state.orphans = left;
        let over: Vec<(Instant, u64)> = over;
        let gone: Vec<_> = over.iter().filter_map(|(_, client)| state.held.remove(client)).collect();
        drop(state);
        drop(gone); // Objects may go with them.
    }
}
