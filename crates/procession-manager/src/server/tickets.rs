//! References that are on their way from one process to another.
//!
//! Relies on clients to tell of each before they send it. A ticket holds its object until whoever receives the reference has
//! one of his own: as long as the sender lives, and for [`TICKET_TIME`] more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Entry;
use crate::identity::ObjectId;
use crate::travel::Ticket;

/// How long a reference that was sent, and not received, holds its object when its sender is gone.
pub const TICKET_TIME: Duration = Duration::from_secs(60);

/// How many references one client may have on their way.
pub const TICKETS_MAX: usize = 65_536;

/// How many references of clients that are gone may be on their way, all together. Of more the oldest are let go.
const LEFT_MAX: usize = 16 * TICKETS_MAX;

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
    /// Received before the server was told that they were sent, and of what.
    early: HashMap<u64, HashMap<u64, ObjectId>>,
    /// Senders that are gone, and until when what they sent holds; the first to go comes first.
    orphans: VecDeque<(Instant, u64)>,
    /// How many references those have sent.
    left: usize,
}

impl Tickets {
    /// Holds an object; false if the client has too many on their way.
    pub(super) fn issue(&self, ticket: Ticket, entry: Arc<Entry>) -> bool {
        let Ticket { client, number } = ticket;
        let mut state = self.state.lock();
        let early = state.early.get_mut(&client).and_then(|early| early.remove(&number));
        if early == Some(entry.id()) {
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
    ///
    /// Numbers can be guessed and objects cannot: who does not name the object has not received the reference.
    pub(super) fn redeem(&self, ticket: Ticket, object: ObjectId, is_sender_there: bool) -> Option<Arc<Entry>> {
        let Ticket { client, number } = ticket;
        let mut state = self.state.lock();
        let State { held, early, left, .. } = &mut *state;
        if let Some(tickets) = held.get_mut(&client)
            && let Some(entry) = tickets.get(&number)
        {
            let entry = (entry.id() == object).then(|| tickets.remove(&number)).flatten();
            let is_orphan = entry.is_some() && !is_sender_there && client != SERVER;
            *left -= usize::from(is_orphan);
            return entry;
        }
        if is_sender_there {
            let early = early.entry(client).or_default();
            if early.len() < TICKETS_MAX {
                early.insert(number, object);
            }
        }
        None
    }

    /// A client is gone; when to look at what it had sent.
    pub(super) fn part(&self, client: u64) -> Option<Instant> {
        let mut state = self.state.lock();
        state.early.remove(&client);
        let count = state.held.get(&client)?.len();
        let until = Instant::now() + TICKET_TIME;
        state.orphans.push_back((until, client));
        state.left += count;
        let mut gone = Vec::new();
        while state.left > LEFT_MAX {
            gone.push(state.let_go_first());
        }
        drop(state);
        drop(gone); // Objects may go with them.
        Some(until)
    }

    /// Lets go of what was sent too long ago by those who are gone.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        while state.orphans.front().is_some_and(|(until, _)| *until <= now) {
            gone.push(state.let_go_first());
        }
        drop(state);
        drop(gone); // Objects may go with them.
    }
}

impl State {
    /// What the sender has sent that is gone for longest.
    fn let_go_first(&mut self) -> HashMap<u64, Arc<Entry>> {
        let gone = self.orphans.pop_front().and_then(|(_, client)| self.held.remove(&client)).unwrap_or_default();
        self.left -= gone.len();
        gone
    }
}
