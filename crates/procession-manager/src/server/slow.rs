//! Those who read slowly: what waits for them is sent by one thread, which waits for none of them.
//!
//! Relies on connections that send as far as it goes. A socket tells when it takes more. Memory that is shared with a client
//! does not, so that is looked at again after a pause, which grows while nothing is taken.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use procession_ipc::Waitable;
use procession_sys::{Bell, Deadline, Epoll, Interest};

use super::seat::bury_aside;
use super::{Client, graves};
use crate::patience::Patience;

/// How long a client may read nothing while answers wait for it before it is put out.
pub const UNREAD_TIME_MAX: Duration = Duration::from_secs(60);

/// How many answers one client is sent before it is another's turn.
pub(super) const BURST: u64 = 16;

/// How long a client is left alone that has just taken something, and whose memory does not tell.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// How long one is left alone at most.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What the bell is called among what is watched; clients' numbers are others.
const BELL: u64 = 0;

/// Those for whom something waits.
pub(super) struct Slow {
    /// Their sockets, and the bell.
    watched: Epoll,
    /// Rings when there is something else to be looked at.
    bell: Bell,
    state: Mutex<State>,
    /// Told when nothing waits any more.
    done: Condvar,
    silence_max: Duration,
}

#[derive(Default)]
struct State {
    /// Those whom the thread does not know yet.
    added: Vec<Arc<Client>>,
    /// Whether there is a thread, or will be.
    is_served: bool,
}

/// Somebody for whom something waits.
struct Late {
    client: Arc<Client>,
    /// How many answers it was sent since it is late.
    answers: u64,
    patience: Patience,
    pause: Duration,
    /// When it is looked at again, whatever its socket tells.
    again: Instant,
}

impl Slow {
    pub(super) fn new() -> io::Result<Self> {
        let (watched, bell) = (Epoll::new()?, Bell::new()?);
        watched.add(&bell, BELL, Interest::Read)?;
        Ok(Self { watched, bell, state: Mutex::default(), done: Condvar::new(), silence_max: UNREAD_TIME_MAX })
    }

    /// Has somebody sent what waits for it; true if a thread is to [`serve`](Self::serve).
    pub(super) fn add(&self, client: Arc<Client>) -> bool {
        let mut state = self.state.lock();
        state.added.push(client);
        let is_served = mem::replace(&mut state.is_served, true);
        drop(state);
        if is_served {
            self.bell.ring();
        }
        !is_served
    }

    /// Sends what waits for anybody, until nothing does.
    pub(super) fn serve(&self) {
        let mut late = HashMap::new();
        while self.take_in(&mut late) {
            late.retain(|_, late: &mut Late| late.again > Instant::now() || self.go_on(late));
            let Some(again) = late.values().map(|late| late.again).min() else { continue };
            let until = Deadline::after(again.saturating_duration_since(Instant::now()));
            for number in self.watched.wait(until).unwrap_or_default() {
                if number == BELL {
                    self.bell.reset();
                } else if let Some(late) = late.get_mut(&number) {
                    late.again = Instant::now();
                }
            }
        }
    }

    /// Takes in those who were added; false if nobody is there, and the thread's work is done.
    fn take_in(&self, late: &mut HashMap<u64, Late>) -> bool {
        let mut state = self.state.lock();
        let added = mem::take(&mut state.added);
        late.extend(added.into_iter().map(|client| (client.number(), Late::new(client, self.silence_max))));
        if late.is_empty() {
            state.is_served = false;
            self.done.notify_all();
        }
        !late.is_empty()
    }

    /// Sends somebody what goes now; false if nothing waits any more, or it has read nothing for too long.
    fn go_on(&self, late: &mut Late) -> bool {
        let begun = Instant::now();
        // What ends with an answer that cannot be sent may take long: another thread sees to that.
        let (answers, graves) = graves::put_off(|| late.client.flush());
        if !graves.is_empty() {
            bury_aside(graves);
        }
        let is_given_up = answers.is_some_and(|answers| !late.is_patient(answers));
        if is_given_up {
            late.client.give_up();
        }
        let connection = &late.client.connection;
        let Some(answers) = answers.filter(|_| !is_given_up) else {
            let _ = self.watched.remove(connection.watch().fd);
            return false;
        };
        let now = Instant::now();
        late.pause = if answers > 0 { PAUSE_MIN } else { (late.pause * 2).min(PAUSE_MAX) };
        // Once, as it may be closed by others, and would be told of for ever.
        let tells = !connection.carries_descriptors()
            && self.watched.watch_once(connection.watch().fd, late.client.number(), &[Interest::Write]).is_ok();
        late.again = match answers {
            BURST.. => now,
            _ if tells => now + PAUSE_MAX,
            // To offer something is to copy it: half of the time goes into what is in vain at most.
            0 => now + late.pause.max(now - begun),
            _ => now + late.pause,
        };
        true
    }

    /// Has everybody looked at now.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Waits until nothing waits for anybody, or a time has come.
    pub(super) fn wait_until(&self, until: Instant) {
        let mut state = self.state.lock();
        while state.is_served && !self.done.wait_until(&mut state, until).timed_out() {}
    }
}

impl Late {
    fn new(client: Arc<Client>, silence_max: Duration) -> Self {
        let patience = Patience::new(silence_max, client.connection.sent_bytes());
        Self { client, answers: 0, patience, pause: PAUSE_MIN, again: Instant::now() }
    }

    /// Whether it is waited for any longer, when it was sent so many answers more.
    fn is_patient(&mut self, answers: u64) -> bool {
        self.answers += answers;
        // Of memory no bytes are counted: only what goes whole does.
        let sent = self.client.connection.sent_bytes() + self.answers;
        !self.patience.until(sent).has_passed()
    }
}

#[cfg(test)]
mod tests;
