//! What only the thread that leads may touch: who is connected, and whose turn it is.
//!
//! Relies on epoll for what all connections have to say, and on the connections' memory for what they have said already.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_ipc::wait::Source;
use procession_ipc::{AcceptError, Connection, Listener, RecvError, Waitable};
use procession_launch::NAME_BYTES_MAX;
use procession_sys::{Deadline, Epoll, Interest, end_when_not_taken, is_hung_up};

use super::client::refused;
use super::pace::Pace;
use super::standby::Job;
use super::{Client, Server};
use crate::error::Refusal;
use crate::frame::Frame;
use crate::remote::{Hello, Welcome, greeting, read_greeting};
use crate::shortage::{self, Said};

/// The time in which a request is carried out; what is due by time is looked at no oftener.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// How long who leads looks at connections before it sleeps: less than a sleep and a wake-up take.
const AWAKE_TIME: Duration = Duration::from_micros(50);

/// How many requests of one client are carried out before another client's turn.
const BURST: usize = 16;

/// What the listener is called among what is watched; clients' numbers are others.
const LISTENER: u64 = 0;

/// How many there may be beside the clients, and beyond their limit, who have not greeted yet.
const STRANGERS_MAX: usize = 64;

/// How long who connects may take to greet.
const GREETING_TIME: Duration = Duration::from_secs(10);

/// How long who leads sleeps at most: whoever was killed when it was to ring is noticed then.
const RECHECK: Duration = Duration::from_millis(50);

/// How often memory is looked at again before the clock is asked and the lead could be passed on, which takes as long.
const QUICK_LOOKS: u32 = 8;

/// The kernel is asked each so many rounds of such looks, which cost less;
const LOOKS_A_POLL: u32 = 32;

/// more often if there are clients of whom memory tells nothing.
const LOOKS_A_POLL_OF_SOCKETS: u32 = 4;

/// Who is connected, and who of them has something to say.
pub(super) struct Lead {
    watched: Epoll,
    clients: HashMap<u64, Arc<Client>>,
    clients_max: usize,
    /// Those that have connected and not greeted yet.
    strangers: HashMap<u64, Stranger>,
    /// Who is read from next, and how many requests in a row were.
    ready: VecDeque<(Arc<Client>, usize)>,
    /// Those of whom nothing is read for now. The kernel does not watch them: it would tell of what they have said again and
    /// again.
    away: HashMap<u64, Arc<Client>>,
    /// How often each may ask.
    pace: Pace,
    /// When there was something last.
    busy: Instant,
    /// When the kernel was asked last, and what is due by time was done.
    polled: Instant,
    /// When those who connect were seen to last.
    accepted: Instant,
    /// How often nobody had anything to say since.
    looks: u32,
    next_number: u64,
    /// How many requests have come.
    requests: u64,
    /// That a request waits for descriptors.
    unread: Said,
    /// That somebody who connects does.
    unaccepted: Said,
}

/// A request that is to be carried out.
pub(super) struct Next {
    pub(super) client: Arc<Client>,
    pub(super) frame: Frame,
    /// Its number.
    pub(super) number: u64,
}

struct Stranger {
    connection: Connection<Frame, Frame>,
    since: Instant,
}

impl Lead {
    pub(super) fn new(listener: &Listener, clients_max: usize, rate: Option<NonZeroU32>) -> io::Result<Self> {
        let watched = Epoll::new()?;
        watched.add(listener.watch().fd, LISTENER, Interest::Read)?;
        Ok(Self {
            watched,
            clients: HashMap::new(),
            clients_max,
            strangers: HashMap::new(),
            ready: VecDeque::new(),
            away: HashMap::new(),
            pace: Pace::new(rate),
            busy: Instant::now(),
            polled: Instant::now(),
            accepted: Instant::now(),
            looks: 0,
            next_number: LISTENER + 1,
            requests: 0,
            unread: Said::default(),
            unaccepted: Said::default(),
        })
    }

    /// The next request; none if there is none for a moment.
    pub(super) fn next(&mut self, server: &Arc<Server>) -> Option<Next> {
        if self.ready.is_empty() {
            self.gather(server);
        }
        // While some always have something to say, others connect, and times come, all the same.
        if self.busy.saturating_duration_since(self.polled) > TICK {
            self.poll(server, false);
        }
        while let Some((client, burst)) = self.ready.pop_front() {
            // Who was served a moment ago mostly has nothing more to say. To receive from it all the same would be to ask the
            // kernel whether it is still there, which is done for all together.
            if burst > 0 && client.connection.watch().source.is_some_and(|source| !source.is_ready()) {
                continue;
            }
            let is_too_often = self.pace.holds_back(client.number());
            if is_too_often {
                self.pace.rest(client.number());
            }
            if is_too_often || !client.may_ask() {
                self.look_away(client);
                continue;
            }
            match client.connection.try_recv() {
                Ok(frame) => {
                    let next = (Arc::clone(&client), burst + 1);
                    if burst < BURST {
                        self.ready.push_front(next);
                    } else {
                        self.ready.push_back((next.0, 0));
                    }
                    self.busy = Instant::now();
                    self.looks = 0;
                    self.requests += 1;
                    self.pace.count(client.number());
                    // Before this thread lets go of the lead, from when on another one may have it.
                    client.hold_up(self.requests);
                    return Some(Next { client, frame, number: self.requests });
                }
                Err(RecvError::WouldBlock | RecvError::Busy) => {}
                Err(RecvError::System { error, .. }) if shortage::is_it(&error) && !is_gone(&client) => {
                    self.leave_alone(client, &error);
                }
                Err(error) => self.part(server, &client, &error),
            }
        }
        None
    }

    /// Finds out who has something to say; sleeps if nobody had for a while.
    fn gather(&mut self, server: &Arc<Server>) {
        self.looks += 1;
        let are_sockets = self.take_those_in_memory();
        let more_looks = if are_sockets { 0 } else { QUICK_LOOKS };
        for _ in 0..more_looks {
            if !self.ready.is_empty() {
                break;
            }
            std::hint::spin_loop();
            self.take_those_in_memory();
        }
        self.look_again();
        if !self.ready.is_empty() {
            return;
        }
        let is_long = self.looks > 1 && self.busy.elapsed() > AWAKE_TIME;
        let looks_a_poll = if are_sockets { LOOKS_A_POLL_OF_SOCKETS } else { LOOKS_A_POLL };
        if is_long || self.looks.is_multiple_of(looks_a_poll) {
            self.poll(server, is_long);
        } else {
            std::hint::spin_loop();
        }
    }

    /// Those whose memory says that they have written; whether there are others, of whom only the kernel knows.
    fn take_those_in_memory(&mut self) -> bool {
        let mut are_sockets = false;
        for (number, client) in &self.clients {
            let source = client.connection.watch().source;
            are_sockets |= source.is_none();
            if source.is_some_and(Source::is_ready) && !self.away.contains_key(number) {
                self.ready.push_back((Arc::clone(client), 0));
            }
        }
        are_sockets
    }

    /// Asks the kernel, and waits for it if `sleeps`; does what is due by time, at most once a [`TICK`] otherwise.
    fn poll(&mut self, server: &Arc<Server>, sleeps: bool) {
        let mut deadline = Deadline::NOW;
        let is_due = sleeps || self.polled.elapsed() > TICK;
        let due = if is_due { server.tick() } else { None };
        if sleeps {
            let sources = self.clients.values().filter_map(|client| client.connection.watch().source);
            sources.for_each(Source::arm);
            self.take_those_in_memory();
            if self.ready.is_empty() {
                let due = [due, self.pace.next()].into_iter().flatten().min();
                let due = due.map(|wake| wake.saturating_duration_since(Instant::now()));
                // Nothing tells when those may ask again who do not rest.
                let is_anybody_away = self.away.keys().any(|number| !self.pace.rests(*number));
                let longest = if is_anybody_away { TICK } else { RECHECK };
                deadline = Deadline::after(due.unwrap_or(longest).min(longest));
            }
        }
        let mut is_knocked = false;
        for number in self.watched.wait(deadline).unwrap_or_default() {
            is_knocked |= number == LISTENER;
            if let Some(client) = self.clients.get(&number) {
                // Whose bell is taken away is asked for another one, which is not worth it while memory is looked at anyway.
                let is_ready = client.connection.watch().source.is_none_or(|source| match is_due {
                    true => source.settle().unwrap_or(true),
                    false => source.is_ready(),
                });
                if is_ready && !self.ready.iter().any(|(other, _)| other.number() == number) {
                    self.ready.push_back((Arc::clone(client), 0));
                }
            } else if self.strangers.contains_key(&number) {
                self.greet(server, number);
            }
        }
        self.look_again();
        // A listener has more to do than it knocks for: it pauses, and gives up who says nothing.
        if is_knocked || self.accepted.elapsed() > TICK {
            self.accept(server);
            self.accepted = Instant::now();
        }
        if is_due {
            self.put_out(server);
            self.polled = Instant::now();
        }
    }

    /// Looks no more at a client of whom nothing is read for now.
    fn look_away(&mut self, client: Arc<Client>) {
        // It may be gone already.
        if self.clients.contains_key(&client.number()) {
            let _ = self.watched.remove(client.connection.watch().fd);
            self.away.insert(client.number(), client);
        }
    }

    /// Reads nothing of a client for a moment, as there are no descriptors for what it has sent. That stays where it is.
    fn leave_alone(&mut self, client: Arc<Client>, error: &io::Error) {
        if self.unread.is_due() {
            let client = client.hello.pid;
            tracing::warn!(client, %error, "what a client asks waits until the server has descriptors for it");
        }
        self.pace.rest_for(client.number(), shortage::PAUSE);
        self.look_away(client);
    }

    /// Looks again at those who may ask again.
    fn look_again(&mut self) {
        if self.away.is_empty() {
            return;
        }
        self.pace.wake();
        let Self { away, pace, .. } = self;
        let back: Vec<_> = away.extract_if(|number, client| !pace.rests(*number) && client.may_ask()).collect();
        for (number, client) in back {
            if let Err(error) = self.watched.add(client.connection.watch().fd, number, Interest::Read) {
                tracing::warn!(%error, client = client.hello.pid, "a client cannot be watched any more");
                client.be_put_out();
            }
            self.ready.push_back((client, 0));
        }
    }

    /// Takes those who have connected.
    fn accept(&mut self, server: &Arc<Server>) {
        loop {
            match server.listener.try_accept::<Frame, Frame>() {
                Ok(connection) => self.admit(server, connection),
                Err(AcceptError::AuthFailed { peer, reason }) => tracing::warn!(%peer, %reason, "a client is refused"),
                Err(AcceptError::WouldBlock) => return,
                // The listener takes nobody in for a moment then.
                Err(AcceptError::System { error, .. }) if shortage::is_it(&error) => {
                    if self.unaccepted.is_due() {
                        tracing::warn!(%error, "who connects waits until the server has descriptors for it");
                    }
                    return;
                }
                Err(error) => return tracing::warn!(%error, "no client can be accepted"),
            }
        }
    }

    fn admit(&mut self, server: &Arc<Server>, connection: Connection<Frame, Frame>) {
        // One more is told so when it has greeted, for which not any number is waited.
        if self.clients.len() + self.strangers.len() >= self.clients_max.saturating_add(STRANGERS_MAX) {
            return self.warn_of_full();
        }
        let number = self.next_number;
        self.next_number += 1;
        if let Some(source) = connection.watch().source {
            source.arm();
        }
        // Who takes nothing is put out, and so is one whose machine is gone: what was sent to that is never taken.
        let _ = end_when_not_taken(connection.watch().fd);
        if let Err(error) = self.watched.add(connection.watch().fd, number, Interest::Read) {
            return tracing::warn!(%error, "a client cannot be watched");
        }
        self.strangers.insert(number, Stranger { connection, since: Instant::now() });
        self.greet(server, number); // It may have spoken before it was watched.
    }

    fn is_full(&self) -> bool {
        self.clients.len() >= self.clients_max
    }

    fn warn_of_full(&self) {
        tracing::warn!(limit = self.clients_max, "a client is refused, as there are so many");
    }

    /// Listens to the first words of who has connected.
    fn greet(&mut self, server: &Arc<Server>, number: u64) {
        let Some(Stranger { connection, since }) = self.strangers.remove(&number) else { return };
        let hello = match connection.try_recv() {
            // No process of ours has a longer name, and each is kept as long as its client is there.
            Ok(frame) => read_greeting::<Hello>(&frame).filter(|hello| hello.name.len() <= NAME_BYTES_MAX),
            // A greeting needs no descriptors: for one that brings some there may be none.
            Err(RecvError::WouldBlock | RecvError::Busy) if since.elapsed() < GREETING_TIME => {
                self.strangers.insert(number, Stranger { connection, since });
                return;
            }
            Err(_) => None,
        };
        let Some(hello) = hello else {
            let _ = self.watched.remove(connection.watch().fd);
            return tracing::warn!("somebody connected who is no client of this version");
        };
        if self.is_full() {
            let _ = self.watched.remove(connection.watch().fd);
            let refusal = Refusal::Limit { of: "clients (`Limits::clients`)".into(), limit: self.clients_max as u64 };
            let _ = connection.send_timeout(&refused(0, &refusal).write(), TICK); // It may be gone.
            return self.warn_of_full();
        }
        let welcome = greeting(&Welcome { server: server.id, client: number });
        // There is room in a new connection.
        let is_welcome = welcome.is_ok_and(|frame| connection.send_timeout(&frame, TICK).is_ok());
        let client = Arc::new(Client::new(number, hello, connection, server));
        if is_welcome {
            self.clients.insert(number, Arc::clone(&client));
            server.welcome(client);
        } else {
            let _ = self.watched.remove(client.connection.watch().fd);
        }
    }

    /// Those that are to be put out, and those that connected and say nothing. What a client has asked last has its place
    /// before it parts: otherwise it could get something after it has given everything up.
    fn put_out(&mut self, server: &Arc<Server>) {
        let is_out = |client: &&Arc<Client>| client.is_out() && !client.is_held_up();
        let out: Vec<Arc<Client>> = self.clients.values().filter(is_out).cloned().collect();
        for client in out {
            self.forget(server, &client);
        }
        let waiting: Vec<u64> = self.strangers.keys().copied().collect();
        for number in waiting {
            self.greet(server, number);
        }
    }

    /// Closes all connections; who had them.
    pub(super) fn hang_up(&mut self) -> Vec<Arc<Client>> {
        self.strangers.drain().for_each(|(_, stranger)| stranger.connection.close());
        self.ready.clear();
        self.away.clear();
        self.clients.drain().map(|(_, client)| client).inspect(|client| client.connection.close()).collect()
    }

    fn part(&mut self, server: &Arc<Server>, client: &Arc<Client>, error: &RecvError) {
        match error {
            RecvError::Disconnected => tracing::debug!(client = client.hello.pid, "a client is gone"),
            error => tracing::warn!(client = client.hello.pid, %error, "a client is put out"),
        }
        self.forget(server, client);
    }

    fn forget(&mut self, server: &Arc<Server>, client: &Arc<Client>) {
        if self.clients.remove(&client.number()).is_some() {
            self.pace.forget(client.number());
            self.away.remove(&client.number());
            let _ = self.watched.remove(client.connection.watch().fd);
            client.connection.close();
            server.standby.give(server, Job::Part(Arc::clone(client)));
        }
    }
}

/// Whether nobody is at the other end any more. What was sent may be left then, and would hide that as long as it cannot be
/// received.
fn is_gone(client: &Client) -> bool {
    is_hung_up(client.connection.watch().fd).unwrap_or(false)
}

#[cfg(test)]
mod tests;
