//! A process's connection to a server: one, which all its threads' calls share.
//!
//! Relies on `procession-ipc` for the connection. No thread runs for it: of the threads that wait for answers one receives,
//! and puts the others' where they find them; when it has its own, another one goes on. Whoever has to wait before it can
//! send receives, too, so that a server which waits for its answers to be read never waits for this process.

mod parting; // What is waited for at the end of the process.
mod sending; // What goes there, and in which order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use procession_ipc::{Connection, RecvError, SendError};
use procession_sys::{Deadline, Origin};

use crate::frame::{DROPS_MAX, Frame, Packed, Request, Response, bytes_of};
use crate::identity::ObjectId;
use crate::shortage::{self, Said};
use crate::spread::Spreading;

/// How many calls of a process may be on their way to a server that nobody waits for. One more waits until an answer has come.
pub const CALLS_AHEAD_MAX: usize = 1024;

/// How many bytes of such calls may be on their way, but for a single one that is longer.
pub const BYTES_AHEAD_MAX: usize = 32 << 20;

/// How long the server may take nothing of what has begun to go to it.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long the end of a connection, or of a process with all of its connections, waits for answers that nobody else waits for.
const PARTING_TIME_MAX: Duration = Duration::from_secs(1);

/// How long who waits for room receives at most before it looks whether there is some.
const ROOM_LOOK: Duration = Duration::from_millis(50);

/// A connection to a server.
pub(crate) struct Link {
    /// What the server calls this client.
    pub(crate) client: u64,
    connection: Connection<Frame, Frame>,
    origin: Origin,
    calls: AtomicU64,
    state: Mutex<State>,
    /// Told whenever a thread has received, or tried to, for who waits at the end of the process: it may have no `Thread` any more
    /// that could be woken.
    received: Condvar,
    /// Whoever has it sends what the server is to be told first, so that nothing overtakes that.
    first: Mutex<()>,
    silence_max: Duration,
    /// That an answer waits for descriptors.
    short: Said,
}

#[derive(Default)]
struct State {
    /// The calls whose answers nobody has taken.
    asked: HashMap<u64, Asked, Spreading>,
    /// How many of them have no answer yet, and nobody who waits for it.
    dropped: usize,
    ahead: Ahead,
    /// Whether a thread is receiving.
    is_received: bool,
    /// The others that wait.
    parked: BTreeMap<Awaits, Thread>,
    /// References that came with answers nobody took, to be given back.
    unwanted: Vec<(ObjectId, u32)>,
    /// What the server is to be told before anything else, in order: what this process gives back, and has received. There is
    /// one for each call at most, so there are not too many.
    untold: VecDeque<Arc<Frame>>,
    /// How many threads are sending something that does not go at once. They see to `untold` as well.
    senders: usize,
    /// Why there will be no more answers.
    gone: Option<String>,
    /// The process is ending, and has waited for this link.
    has_parted: bool,
}

/// A call that was sent.
struct Asked {
    /// How many bytes it had, if nobody waits for it.
    ahead: Option<usize>,
    is_wanted: bool,
    answer: Option<Response>,
}

/// How much is on its way that nobody waits for.
#[derive(Default)]
struct Ahead {
    calls: usize,
    bytes: usize,
}

/// What a thread waits for, by the number of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Awaits {
    /// That the process may end.
    Parting,
    Answer(u64),
    /// That it may send.
    Room(u64),
}

/// What is asked of an object.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) object: ObjectId,
    pub(crate) method: u64,
    pub(crate) arguments: Vec<Packed>,
}

/// That there will be no more answers; why is in the state.
struct Lost;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The server is gone, or what it says makes no sense.
    Gone(String),
    /// Not in time.
    Late,
    /// The call was not sent, as so many were on their way all the time that nobody waits for.
    Crowded,
    /// The call could not be sent, and the connection is as before.
    Unsent(SendError),
    /// The answer is that of the process which this one was forked from.
    Forked,
}

impl Link {
    pub(crate) fn new(connection: Connection<Frame, Frame>, client: u64) -> Self {
        Self {
            client,
            connection,
            origin: Origin::here(),
            calls: AtomicU64::new(1),
            state: Mutex::default(),
            received: Condvar::new(),
            first: Mutex::default(),
            silence_max: SILENCE_MAX,
            short: Said::default(),
        }
    }

    /// False in a forked copy of the process that connected.
    pub(crate) fn is_own(&self) -> bool {
        self.origin.is_here()
    }

    /// Sends a call whose answer this thread collects next; its number.
    pub(crate) fn ask(&self, question: Question, deadline: Deadline) -> Result<u64, Unanswered> {
        let call = self.next_number();
        self.send_call(call, question, None, deadline)?;
        Ok(call)
    }

    /// Sends a call whose answer is collected some time, or forgotten; its number. Waits while there are too many of these.
    pub(crate) fn ask_ahead(&self, question: Question, deadline: Deadline) -> Result<u64, Unanswered> {
        let (call, bytes) = (self.next_number(), bytes_of(&question.arguments));
        if !self.state.lock().ahead.has_room(bytes) {
            let has_room = self.wait(Awaits::Room(call), deadline, |state| state.ahead.has_room(bytes).then_some(()));
            has_room.map_err(|why| if matches!(why, Unanswered::Late) { Unanswered::Crowded } else { why })?;
            self.take_in_all(); // So that the next one finds more room.
        }
        self.send_call(call, question, Some(bytes), deadline)?;
        Ok(call)
    }

    fn send_call(
        &self,
        call: u64,
        question: Question,
        ahead: Option<usize>,
        deadline: Deadline,
    ) -> Result<(), Unanswered> {
        self.state.lock().begin(call, ahead)?;
        let sent = self.send(&question.about(call, true).write(), deadline);
        if sent.is_err() {
            self.state.lock().end(call);
        }
        sent
    }

    /// Waits for the answer to a call, and takes it: what it hands out is to be [settled](Self::settle). One that has none in
    /// time is given up.
    pub(crate) fn collect(&self, call: u64, object: ObjectId, deadline: Deadline) -> Result<Response, Unanswered> {
        let answer = self.wait(Awaits::Answer(call), deadline, |state| state.take(call));
        if answer.is_err() {
            self.state.lock().forget(call, true); // It may have come this moment.
        }
        if matches!(answer, Err(Unanswered::Late)) {
            self.abandon(call, object);
        }
        answer
    }

    /// Tells whether what the server has handed out by a call can be read. What cannot goes back there, and is not lost.
    pub(crate) fn settle(&self, call: u64, object: ObjectId, is_read: bool) {
        let told = if is_read { Request::Acknowledge { call, object } } else { Request::GiveBack { call, object } };
        self.tell_in_order(told.write());
    }

    /// Tells that nobody waits any more for what a call would return.
    fn abandon(&self, call: u64, object: ObjectId) {
        self.tell_in_order(Request::Abandon { call, object }.write());
    }

    /// Waits until there is an answer to a call, or never will be; false if that is not known in time.
    pub(crate) fn wait_for(&self, call: u64, deadline: Deadline) -> bool {
        let waited = self.wait(Awaits::Answer(call), deadline, |state| state.has_answer(call).then_some(()));
        !matches!(waited, Err(Unanswered::Late))
    }

    /// Has nobody collect the answer to a call. One that `takes` something does not go on to do so.
    pub(crate) fn forget(self: &Arc<Self>, call: u64, object: ObjectId, takes: bool) {
        let mut state = self.state.lock();
        let before = state.dropped;
        let gives_back = state.forget(call, takes);
        let is_dropped = state.dropped > before;
        self.unlock(state);
        if gives_back {
            self.abandon(call, object);
        }
        if is_dropped && self.loses_unread() {
            parting::wait_at_exit(self);
        }
    }

    /// Whether what has arrived at the server is lost with a connection that is closed while answers are on their way: so it is
    /// over TCP.
    fn loses_unread(&self) -> bool {
        !self.connection.carries_descriptors()
    }

    /// A number that this client has not used yet.
    pub(crate) fn next_number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that the server is gone, tells all that wait, and has it know that this client is: it gives on what that has.
    fn lost(&self, reason: &str) -> Unanswered {
        let reason = self.state.lock().lose(reason);
        self.connection.close();
        Unanswered::Gone(reason)
    }

    /// Waits until `done` finds in the state what it looks for; receives meanwhile, if nobody else does.
    fn wait<T>(
        &self,
        what: Awaits,
        deadline: Deadline,
        mut done: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, Unanswered> {
        let mut state = self.state.lock();
        let waited = loop {
            if let Some(done) = done(&mut state) {
                break Ok(done);
            }
            if let Some(reason) = &state.gone {
                break Err(Unanswered::Gone(reason.clone()));
            }
            let left = deadline.remaining();
            let has_come = if state.is_received {
                self.park(&mut state, what, left)
            } else {
                state.is_received = true;
                // Room is made as well by another thread that gives a call up, of which the server says nothing.
                let pause = if matches!(what, Awaits::Room(_)) { Some(ROOM_LOOK) } else { None };
                let time = left.into_iter().chain(pause).min();
                let received = MutexGuard::unlocked(&mut state, || self.receive(time));
                state.is_received = false;
                self.received.notify_all();
                match received {
                    Ok(None) => false,
                    Ok(Some(response)) => {
                        state.take_in(response);
                        true
                    }
                    Err(Lost) => true,
                }
            };
            if !has_come && left == Some(Duration::ZERO) {
                break Err(Unanswered::Late);
            }
        };
        self.unlock(state);
        waited
    }

    /// Waits until another thread has found something; true, as that may be so.
    fn park(&self, state: &mut MutexGuard<'_, State>, what: Awaits, left: Option<Duration>) -> bool {
        if left == Some(Duration::ZERO) {
            return false;
        }
        if what == Awaits::Parting {
            let _ = self.received.wait_for(state, left.unwrap_or(PARTING_TIME_MAX));
            return true;
        }
        state.parked.insert(what, thread::current());
        MutexGuard::unlocked(state, || left.map_or_else(thread::park, thread::park_timeout));
        state.parked.remove(&what);
        true
    }

    /// Takes in the answers that are there, if no other thread does.
    fn take_in_all(&self) {
        let _ = self.wait(Awaits::Room(0), Deadline::NOW, |_| None::<()>);
    }

    /// The next answer; none if there is none in time, and an error if the link is lost with that.
    fn receive(&self, left: Option<Duration>) -> Result<Option<Response>, Lost> {
        let received = left.map_or_else(|| self.connection.recv(), |left| self.connection.recv_timeout(left));
        let reason = match received {
            Ok(frame) => match Response::read(frame) {
                Ok(response) => return Ok(Some(response)),
                Err(malformed) => malformed.to_string(),
            },
            Err(RecvError::Timeout | RecvError::WouldBlock | RecvError::Busy) => return Ok(None),
            Err(RecvError::System { error, .. }) if shortage::is_it(&error) => {
                if self.short.is_due() {
                    tracing::warn!(%error, "a manager's answer waits until this process has descriptors for it");
                }
                thread::park_timeout(left.map_or(shortage::PAUSE, |left| left.min(shortage::PAUSE)));
                return Ok(None);
            }
            Err(error) => error.to_string(),
        };
        let _ = self.lost(&reason); // Who waits finds it in the state.
        Err(Lost)
    }

    /// Lets go of the state: another thread receives, and the server is told of what nobody wanted.
    fn unlock(&self, mut state: MutexGuard<'_, State>) {
        state.hand_over();
        if state.unwanted.is_empty() && state.untold.is_empty() {
            return;
        }
        let unwanted = std::mem::take(&mut state.unwanted);
        drop(state);
        let _ = self.tell_first(Duration::ZERO); // Who sends something next is told of an error.
        for drops in unwanted.chunks(DROPS_MAX) {
            if !self.tell(Request::Drop(drops.to_vec())) {
                self.state.lock().unwanted.extend_from_slice(drops);
            }
        }
    }
}

impl State {
    fn begin(&mut self, call: u64, ahead: Option<usize>) -> Result<(), Unanswered> {
        if let Some(reason) = &self.gone {
            return Err(Unanswered::Gone(reason.clone()));
        }
        self.ahead.add(ahead);
        self.asked.insert(call, Asked { ahead, is_wanted: true, answer: None });
        Ok(())
    }

    /// Knows nothing of a call any more.
    fn end(&mut self, call: u64) {
        if let Some(asked) = self.asked.remove(&call) {
            self.landed(asked.ahead);
        }
    }

    /// A call's answer, if it is there.
    fn take(&mut self, call: u64) -> Option<Response> {
        let answer = self.asked.get_mut(&call)?.answer.take()?;
        self.asked.remove(&call);
        Some(answer)
    }

    fn has_answer(&self, call: u64) -> bool {
        self.asked.get(&call).is_some_and(|asked| asked.answer.is_some())
    }

    /// Has nobody collect an answer; true if the server is to be told.
    fn forget(&mut self, call: u64, takes: bool) -> bool {
        let Some(asked) = self.asked.get_mut(&call) else { return false };
        match asked.answer.take() {
            None if takes => self.end(call),
            None => {
                asked.is_wanted = false;
                self.dropped += 1;
                return false;
            }
            Some(answer) => {
                self.end(call);
                return self.refuse(answer);
            }
        }
        true
    }

    /// Takes what was received to whoever waits for it.
    fn take_in(&mut self, response: Response) {
        let (Response::Return { call, .. } | Response::Refuse { call, .. }) = response;
        // What nobody knows of any more was abandoned, which the server knows or will.
        let ahead = match self.asked.get_mut(&call) {
            Some(asked) if asked.is_wanted => {
                asked.answer = Some(response);
                asked.ahead.take()
            }
            Some(_) => {
                self.refuse(response);
                self.dropped -= 1;
                self.asked.remove(&call).and_then(|asked| asked.ahead)
            }
            None => {
                self.refuse(response);
                None
            }
        };
        self.landed(ahead);
        if let Some(thread) = self.parked.get(&Awaits::Answer(call)) {
            thread.unpark();
        }
    }

    /// Gives back what an answer refers to that nobody wants; true if it has something else that its server wants back.
    fn refuse(&mut self, answer: Response) -> bool {
        let Response::Return { is_claimed, results, .. } = answer else { return false };
        self.unwanted.extend(results.into_iter().flat_map(|packed| packed.references).map(|object| (object, 1)));
        is_claimed
    }

    /// Notes that a call is on its way no more; those go on that wait for room.
    fn landed(&mut self, ahead: Option<usize>) {
        if ahead.is_some() {
            self.ahead.sub(ahead);
            self.parked.range(Awaits::Room(0)..).for_each(|(_, thread)| thread.unpark());
        }
    }

    /// Has another thread receive, if this one did and others wait.
    fn hand_over(&self) {
        if let Some((_, thread)) = self.parked.first_key_value().filter(|_| !self.is_received) {
            thread.unpark();
        }
    }

    /// Notes that the server is gone; why, if that was not known.
    fn lose(&mut self, reason: &str) -> String {
        self.untold.clear();
        self.parked.values().for_each(Thread::unpark);
        self.gone.get_or_insert_with(|| reason.to_owned()).clone()
    }
}

impl Ahead {
    fn has_room(&self, bytes: usize) -> bool {
        self.calls == 0 || self.calls < CALLS_AHEAD_MAX && self.bytes + bytes <= BYTES_AHEAD_MAX
    }

    fn add(&mut self, ahead: Option<usize>) {
        self.calls += usize::from(ahead.is_some());
        self.bytes += ahead.unwrap_or_default();
    }

    fn sub(&mut self, ahead: Option<usize>) {
        self.calls -= usize::from(ahead.is_some());
        self.bytes -= ahead.unwrap_or_default();
    }
}

impl Question {
    fn about(self, call: u64, is_answered: bool) -> Request {
        let Self { object, method, arguments } = self;
        Request::Call { call, object, method, is_answered, arguments }
    }
}

impl Drop for Link {
    /// The answers to calls that nobody waits for are waited for here, for a moment. A link that is not dropped before its process
    /// ends does so at the [exit](parting).
    fn drop(&mut self) {
        if !self.state.get_mut().has_parted {
            self.part(Deadline::after(PARTING_TIME_MAX));
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("connection", &self.connection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
