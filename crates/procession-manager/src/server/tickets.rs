//! References that are on their way from one process to another.
//!
//! Relies on clients to tell of each before they send it. A ticket holds its object until whoever receives the reference has
//! one of his own: as long as the sender lives, and for [`TICKET_TIME`] more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Entry, graves};
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

/// What one client has sent, by its own numbers.
type Sent = HashMap<u64, Arc<Entry>>;

/// The references that are on their way.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    state: Mutex<State>,
    own: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// What those have sent who are there.
    held: HashMap<u64, Sent>,
    /// Received before the server was told that they were sent, and of what.
    early: HashMap<u64, HashMap<u64, ObjectId>>,
    /// What those have sent who are gone.
    left: HashMap<u64, Sent>,
    /// How many references that are.
    left_count: usize,
    /// Until when they hold, and whose they are; the first to go comes first.
    orphans: VecDeque<(Instant, u64)>,
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
        let replaced = held.insert(number, entry);
        drop(state);
        drop(replaced); // Its object may go with it.
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
    pub(super) fn redeem(
        &self,
        ticket: Ticket,
        object: ObjectId,
        is_sender_there: impl FnOnce() -> bool,
    ) -> Option<Arc<Entry>> {
        let Ticket { client, number } = ticket;
        let mut state = self.state.lock();
        let State { held, early, left, left_count, .. } = &mut *state;
        if let Some(sent) = held.get_mut(&client)
            && sent.contains_key(&number)
        {
            return take(sent, number, object);
        }
        if let Some(sent) = left.get_mut(&client) {
            let entry = take(sent, number, object);
            *left_count = left_count.saturating_sub(usize::from(entry.is_some()));
            return entry;
        }
        // Asked with the lock held: what is noted of a sender that is just leaving is forgotten by its `part`, which follows.
        if is_sender_there() {
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
        let sent = state.held.remove(&client).filter(|sent| !sent.is_empty())?;
        let until = Instant::now() + TICKET_TIME;
        state.left_count += sent.len();
        state.left.insert(client, sent);
        state.orphans.push_back((until, client));
        let mut gone = Vec::new();
        while state.left_count > LEFT_MAX && !state.orphans.is_empty() {
            gone.extend(state.let_go_first());
        }
        drop(state);
        graves::let_go(gone);
        Some(until)
    }

    /// Lets go of what was sent too long ago by those who are gone.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        while state.orphans.front().is_some_and(|(until, _)| *until <= now) {
            gone.extend(state.let_go_first());
        }
        drop(state);
        graves::let_go(gone);
    }
}

impl State {
    /// What the sender has sent that is gone for longest.
    fn let_go_first(&mut self) -> impl Iterator<Item = Arc<Entry>> + use<> {
        let gone = self.orphans.pop_front().and_then(|(_, client)| self.left.remove(&client)).unwrap_or_default();
        self.left_count = self.left_count.saturating_sub(gone.len());
        gone.into_values()
    }
}

/// The object of a ticket, if it is this one.
fn take(sent: &mut Sent, number: u64, object: ObjectId) -> Option<Arc<Entry>> {
    let is_it = sent.get(&number)?.id() == object;
    is_it.then(|| sent.remove(&number)).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::rig;
    use super::*;

    fn is_empty(tickets: &Tickets) -> bool {
        let State { held, early, left, left_count, orphans } = &*tickets.state.lock();
        let sent = held.values().chain(left.values()).map(HashMap::len).sum::<usize>();
        (sent, early.len(), *left_count, orphans.len()) == (0, 0, 0, 0)
    }

    #[test]
    fn a_sender_may_leave_while_what_it_has_sent_is_received() {
        let (server, tickets) = (rig::server(), Tickets::default());
        let (entry, ticket) = (rig::object(&server), |number| Ticket { client: 7, number });
        (0..3).for_each(|number| assert!(tickets.issue(ticket(number), Arc::clone(&entry))));
        let redeem = |number, is_there| tickets.redeem(ticket(number), entry.id(), || is_there);
        assert!(redeem(0, false).is_some(), "it is not known any more, and has not parted yet");
        let until = tickets.part(7).unwrap();
        assert!(redeem(0, false).is_none(), "once");
        assert!(redeem(1, false).is_some());
        assert_eq!(tickets.state.lock().left_count, 1);
        tickets.tick(until);
        assert!(redeem(2, false).is_none() && is_empty(&tickets));
        assert_eq!(Arc::strong_count(&entry), 1);
    }

    #[test]
    fn nothing_is_noted_of_who_has_left() {
        let (server, tickets) = (rig::server(), Tickets::default());
        let (entry, ticket) = (rig::object(&server), Ticket { client: 7, number: 1 });
        assert!(tickets.redeem(ticket, entry.id(), || true).is_none(), "it is early");
        assert_eq!(tickets.part(7), None);
        assert!(tickets.redeem(ticket, entry.id(), || false).is_none() && is_empty(&tickets));
    }

    #[test]
    fn a_number_that_is_used_again_holds_its_last_object() {
        let (server, tickets) = (rig::server(), Tickets::default());
        let (first, second, ticket) = (rig::object(&server), rig::object(&server), Ticket { client: 7, number: 1 });
        assert!(tickets.issue(ticket, Arc::clone(&first)) && tickets.issue(ticket, Arc::clone(&second)));
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 2));
        assert!(tickets.redeem(ticket, first.id(), || true).is_none());
        assert!(tickets.redeem(ticket, second.id(), || true).is_some());
    }
}
