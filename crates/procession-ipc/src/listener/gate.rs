//! A listener's hand-shakes: all that are under way, driven by whoever accepts, without a thread of their own.
//!
//! Relies on `attempt.rs` for one of them. Of the threads that accept at once one drives and the others wait for what comes
//! of it. No socket is waited for alone: a set of the kernel's (epoll(7)) tells which can go on, so a peer that is silent
//! costs nobody else anything.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use procession_sys::{Bell, Deadline, Epoll, Interest, StreamListener};

use crate::attempt::{Attempt, Progress, Role};
use crate::handshake::{Agreed, AuthFailure};
use crate::peer::Peer;
use crate::settings::Settings;

/// How many hand-shakes are under way at most. A further peer ends the one that has taken the longest, which is hardly
/// one that means well: those take milliseconds.
pub const HANDSHAKES_MAX: usize = 1024;

/// How many connections are taken in before those that are under way go on.
const ACCEPTED_AT_ONCE: usize = 64;

/// How long nobody is taken in after there was no descriptor left for one.
const SCARCITY_PAUSE: Duration = Duration::from_millis(100);

const LISTENER: u64 = 0;
const BELL: u64 = 1;
const FIRST_ATTEMPT: u64 = 2;

/// What comes of a connection: a hand-shake that was finished, or why not.
pub(super) type Outcome = Result<(Attempt, Agreed), Refusal>;

/// Why there is no connection.
pub(super) enum Refusal {
    Failed(Peer, AuthFailure),
    System(&'static str, io::Error),
}

/// Why nothing came of a wait.
pub(super) enum NoOutcome {
    Timeout,
    Closed,
}

/// The hand-shakes of one process.
pub(super) struct Gate {
    set: Epoll,
    closing: Bell,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    outcomes: VecDeque<Outcome>,
    /// Taken by the thread that drives.
    driver: Option<Driver>,
    /// When the first of those under way is too late.
    first_deadline: Option<Deadline>,
    is_closed: bool,
}

/// Those under way, by their tokens, of which an older one is smaller.
struct Driver {
    attempts: BTreeMap<u64, (Attempt, Interest)>,
    next: u64,
    /// When others are taken in again, after a pause.
    resumes: Option<Deadline>,
}

impl Gate {
    pub(super) fn new(listener: &StreamListener) -> io::Result<Self> {
        let (set, closing) = (Epoll::new()?, Bell::new()?);
        set.add(listener, LISTENER, Interest::Read)?;
        set.add(&closing, BELL, Interest::Read)?;
        let driver = Some(Driver { attempts: BTreeMap::new(), next: FIRST_ATTEMPT, resumes: None });
        Ok(Self { set, closing, state: Mutex::new(State { driver, ..State::default() }), changed: Condvar::new() })
    }

    /// What becomes readable.
    pub(super) fn set(&self) -> &Epoll {
        &self.set
    }

    /// Lets go of what is under way.
    pub(super) fn abandon(&self) {
        self.state.lock().abandon();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Whether there is an outcome, or will be at the next look.
    pub(super) fn is_ready(&self) -> bool {
        let state = self.state.lock();
        let is_late = state.first_deadline.is_some_and(Deadline::has_passed);
        !state.outcomes.is_empty() || state.is_closed || (is_late && state.driver.is_some())
    }

    /// Lets go on what can, without waiting.
    pub(super) fn settle(&self, listener: &StreamListener, settings: &Settings) {
        let mut state = self.state.lock();
        // What is there waits for an `accept`, and so do those who would add to it.
        let driver = if state.outcomes.is_empty() { state.driver.take() } else { None };
        drop(state);
        if let Some(mut driver) = driver {
            let outcomes = driver.drive(self, listener, settings, Deadline::NOW);
            self.give_back(driver, outcomes);
        }
    }

    /// The next outcome.
    pub(super) fn next(
        &self,
        listener: &StreamListener,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<Outcome, NoOutcome> {
        let mut looked = false;
        loop {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(NoOutcome::Closed);
            }
            if let Some(outcome) = state.outcomes.pop_front() {
                return Ok(outcome);
            }
            if looked && deadline.has_passed() {
                return Err(NoOutcome::Timeout);
            }
            looked = true;
            let Some(mut driver) = state.driver.take() else {
                self.wait_for_others(&mut state, deadline);
                continue;
            };
            drop(state);
            let outcomes = driver.drive(self, listener, settings, deadline);
            self.give_back(driver, outcomes);
        }
    }

    fn wait_for_others(&self, state: &mut parking_lot::MutexGuard<'_, State>, deadline: Deadline) {
        match deadline.remaining() {
            Some(remaining) => drop(self.changed.wait_for(state, remaining)),
            None => self.changed.wait(state),
        }
    }

    fn give_back(&self, driver: Driver, outcomes: Vec<Outcome>) {
        let mut state = self.state.lock();
        state.first_deadline = driver.first_deadline();
        state.outcomes.extend(outcomes);
        state.driver = Some(driver);
        if state.is_closed {
            state.abandon();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Ends all waits, and those under way. False if that was done before.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state.lock();
        if mem::replace(&mut state.is_closed, true) {
            return false;
        }
        state.abandon();
        drop(state);
        self.closing.ring();
        self.changed.notify_all();
        true
    }
}

impl State {
    /// Closes whatever is not accepted yet.
    fn abandon(&mut self) {
        self.outcomes.clear();
        if let Some(driver) = &mut self.driver {
            driver.attempts.clear();
        }
    }
}

impl Driver {
    fn first_deadline(&self) -> Option<Deadline> {
        self.attempts.values().next().map(|(attempt, _)| attempt.deadline)
    }

    /// Waits until something can go on, and lets it.
    fn drive(
        &mut self,
        gate: &Gate,
        listener: &StreamListener,
        settings: &Settings,
        deadline: Deadline,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        if let Err(error) = self.resume(&gate.set, listener) {
            outcomes.push(Err(Refusal::System("wait for connections", error)));
        }
        let soon = [self.first_deadline(), self.resumes].into_iter().flatten().fold(deadline, Deadline::min);
        match gate.set.wait(soon) {
            Ok(tokens) => {
                // Those first that have waited longer.
                for &token in tokens.iter().filter(|&&token| token >= FIRST_ATTEMPT) {
                    outcomes.extend(self.advance(&gate.set, token));
                }
                if tokens.contains(&LISTENER) {
                    self.take_in(&gate.set, listener, settings, &mut outcomes);
                }
            }
            Err(error) => outcomes.push(Err(Refusal::System("wait for connections", error))),
        }
        self.end_late(&gate.set, &mut outcomes);
        outcomes
    }

    /// Takes in those that wait to be accepted.
    fn take_in(&mut self, set: &Epoll, listener: &StreamListener, settings: &Settings, outcomes: &mut Vec<Outcome>) {
        for _ in 0..ACCEPTED_AT_ONCE {
            let (socket, address) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Who has gone before it was accepted is nobody.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    outcomes.push(self.make_room(set, listener, error));
                    return;
                }
            };
            let peer = Peer::of(&socket, address);
            if let Err(failure) = settings.check_user(&peer) {
                outcomes.push(Err(Refusal::Failed(peer, failure)));
                continue;
            }
            let deadline = Deadline::after(settings.timeout);
            match Attempt::new(Role::Listening, socket, peer, settings, deadline) {
                Ok(attempt) => outcomes.extend(self.begin(set, attempt)),
                Err(error) => outcomes.push(Err(Refusal::System("begin a hand-shake", error))),
            }
        }
    }

    /// What becomes of a connection for which there is no room: one that has taken too long gives way to the next try, or
    /// there is a pause, as the connection goes on to wait to be accepted.
    fn make_room(&mut self, set: &Epoll, listener: &StreamListener, error: io::Error) -> Outcome {
        if is_scarcity(&error) {
            let is_safe = |(_, (attempt, _)): (&u64, &(Attempt, Interest))| !attempt.safe_until.has_passed();
            if !self.attempts.first_key_value().is_none_or(is_safe)
                && let Some(gave_way) = self.end_oldest(set)
            {
                return gave_way;
            }
            if set.remove(listener).is_ok() {
                self.resumes = Some(Deadline::after(SCARCITY_PAUSE));
            }
        }
        Err(Refusal::System("accept a connection", error))
    }

    /// Ends the pause, when it is over.
    fn resume(&mut self, set: &Epoll, listener: &StreamListener) -> io::Result<()> {
        if self.resumes.is_some_and(Deadline::has_passed) {
            set.add(listener, LISTENER, Interest::Read)?;
            self.resumes = None;
        }
        Ok(())
    }

    fn begin(&mut self, set: &Epoll, mut attempt: Attempt) -> Vec<Outcome> {
        let interest = match attempt.advance() {
            Ok(Progress::Needs(interest)) => interest,
            Ok(Progress::Over(agreed)) => return vec![Ok((attempt, agreed))],
            Err(failure) => return vec![Err(Refusal::Failed(attempt.peer, failure))],
        };
        let mut outcomes = Vec::new();
        if self.attempts.len() == HANDSHAKES_MAX {
            outcomes.extend(self.end_oldest(set));
        }
        match set.add(attempt.socket_fd(), self.next, interest) {
            Ok(()) => {
                self.attempts.insert(self.next, (attempt, interest));
                self.next += 1;
            }
            Err(error) => outcomes.push(Err(Refusal::System("wait for a connection", error))),
        }
        outcomes
    }

    fn advance(&mut self, set: &Epoll, token: u64) -> Option<Outcome> {
        let (attempt, interest) = self.attempts.get_mut(&token)?;
        match attempt.advance() {
            Ok(Progress::Needs(needs)) if needs == *interest => None,
            Ok(Progress::Needs(needs)) => {
                *interest = needs;
                let changed = set.change(attempt.socket_fd(), token, needs);
                changed.err().map(|error| Err(Refusal::System("wait for a connection", error)))
            }
            Ok(Progress::Over(agreed)) => self.take_out(set, token).map(|attempt| Ok((attempt, agreed))),
            Err(failure) => self.fail(set, token, failure),
        }
    }

    fn end_late(&mut self, set: &Epoll, outcomes: &mut Vec<Outcome>) {
        while let Some((&token, (attempt, _))) = self.attempts.first_key_value() {
            if !attempt.deadline.has_passed() {
                return;
            }
            outcomes.extend(self.fail(set, token, AuthFailure::Timeout));
        }
    }

    fn end_oldest(&mut self, set: &Epoll) -> Option<Outcome> {
        let token = *self.attempts.first_key_value()?.0;
        self.fail(set, token, AuthFailure::Crowded)
    }

    fn fail(&mut self, set: &Epoll, token: u64, failure: AuthFailure) -> Option<Outcome> {
        self.take_out(set, token).map(|attempt| Err(Refusal::Failed(attempt.peer, failure)))
    }

    fn take_out(&mut self, set: &Epoll, token: u64) -> Option<Attempt> {
        let (attempt, _) = self.attempts.remove(&token)?;
        // A forked child may have the socket, too, and then closing it does not take it out.
        let _ = set.remove(attempt.socket_fd());
        Some(attempt)
    }
}

/// Whether there is no room for one more: `ENOMEM`, `ENFILE`, `EMFILE`, `ENOBUFS`.
fn is_scarcity(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105))
}
