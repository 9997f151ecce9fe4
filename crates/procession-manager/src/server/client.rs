//! A client as its server knows it: what it holds, and how it is answered.
//!
//! Relies on a connection. What a client does not read does not hold up others: its answers wait in line, up to a limit, and
//! are sent by the thread of `slow.rs`.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{PipeWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use procession_ipc::{Connection, SendError};
use procession_sys::Deadline;

use super::slow::BURST;
use super::{Entry, Server, Site, Taken, graves};
use crate::error::Refusal;
use crate::frame::{Frame, Malformed, Packed, Response};
use crate::host::Answer;
use crate::identity::ObjectId;
use crate::info::ClientInfo;
use crate::proxy::RawProxy;
use crate::remote::Hello;

/// How many bytes of answers may wait for a client to read them. An answer for which there is no room beside others is a
/// [`Refusal::Limit`] of its call, and what it would have given stays where it is.
pub const UNREAD_BYTES_MAX: usize = 256 << 20;

/// How many may wait before it has to read some, or else nothing more that it asks is done.
const UNREAD_BYTES_WAIT: usize = 16 << 20;

/// The same of descriptors, which the server has too few of.
const UNREAD_DESCRIPTORS_WAIT: usize = 256;

/// Who asks for references when it has as many as it may is refused. What it takes out of objects is not, as it would be
/// lost; whoever has so many times as much as it may is put out.
pub(super) const REFERENCES_TIMES: usize = 2;

/// The number of the server itself: no client has it.
const OWN: u64 = 0;

/// Somebody who is connected.
pub(crate) struct Client {
    number: u64,
    pub(super) hello: Hello,
    pub(super) connection: Connection<Frame, Frame>,
    server: Weak<Server>,
    server_id: ObjectId,
    /// What it refers to, and how often it was given that.
    held: Mutex<HashMap<ObjectId, (Arc<Entry>, u32)>>,
    /// To how many objects.
    references: AtomicUsize,
    /// More it is not given.
    references_max: usize,
    /// How many requests to the server itself are carried out for it.
    asks: AtomicUsize,
    calls: AtomicU64,
    outbox: Mutex<Outbox>,
    /// Set when it is to be put out.
    is_out: AtomicBool,
    /// Set when nobody is there any more to be answered. What it has asked before is done all the same.
    is_deaf: AtomicBool,
    /// The request of it that is carried out, and that another one could still overtake; 0 for none.
    request: AtomicU64,
}

#[derive(Default)]
struct Outbox {
    waiting: VecDeque<Outgoing>,
    /// Of those that wait, and of the one that has begun.
    bytes: usize,
    /// Of one that has waited, and has begun to go.
    begun: usize,
    /// Those of the answers that wait.
    descriptors: usize,
    /// Whether something waits, to which the thread for those who read slowly sees.
    is_late: bool,
}

/// What becomes of an answer that has waited.
enum Step {
    Whole,
    /// The connection has the rest of it.
    Begun,
    /// It waits on, or what is said in its place does.
    Waits(Outgoing),
    Failed(SendError),
}

/// An answer on its way, and what is given back when it cannot be sent.
#[derive(Debug)]
struct Outgoing {
    frame: Frame,
    call: u64,
    object: ObjectId,
    references: Vec<ObjectId>,
    is_refusal: bool,
}

impl Client {
    pub(super) fn new(number: u64, hello: Hello, connection: Connection<Frame, Frame>, server: &Arc<Server>) -> Self {
        let references_max = server.limits.references.saturating_mul(REFERENCES_TIMES);
        Self {
            number,
            hello,
            connection,
            server: Arc::downgrade(server),
            server_id: server.id,
            held: Mutex::default(),
            references: AtomicUsize::new(0),
            references_max,
            asks: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            outbox: Mutex::default(),
            is_out: AtomicBool::new(false),
            is_deaf: AtomicBool::new(false),
            request: AtomicU64::new(0),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    pub(super) fn be_put_out(&self) {
        self.is_out.store(true, Ordering::Relaxed);
    }

    pub(super) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// To how many objects it refers.
    pub(super) fn references(&self) -> usize {
        self.references.load(Ordering::Relaxed)
    }

    /// Counts a request to the server itself as long as the guard is there: it may give one reference.
    pub(super) fn asks(&self) -> Asks<'_> {
        self.asks.fetch_add(1, Ordering::Relaxed);
        Asks(self)
    }

    /// To how many objects it may refer when it has the answers to what it asks now.
    pub(super) fn references_at_most(&self) -> usize {
        self.references() + self.asks.load(Ordering::Relaxed)
    }

    /// What is known of it.
    pub(super) fn info(&self) -> ClientInfo {
        ClientInfo {
            number: self.number,
            pid: self.hello.pid,
            name: self.hello.name.clone(),
            references: self.references() as u64,
            calls: self.calls.load(Ordering::Relaxed),
        }
    }

    /// Nothing else that it asks is looked at before [`let_go_on`](Self::let_go_on) with the same number.
    pub(super) fn hold_up(&self, request: u64) {
        self.request.store(request, Ordering::SeqCst);
    }

    pub(super) fn let_go_on(&self, request: u64) {
        let _ = self.request.compare_exchange(request, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(super) fn is_held_up(&self) -> bool {
        self.request.load(Ordering::SeqCst) != 0
    }

    /// Notes that it was given a reference.
    pub(super) fn hold(&self, entry: Arc<Entry>) {
        let mut held = self.held.lock();
        let count = &mut held.entry(entry.id()).or_insert((entry, 0)).1;
        *count = count.saturating_add(1);
        self.references.store(held.len(), Ordering::Relaxed);
        if held.len() > self.references_max && !self.is_out.swap(true, Ordering::Relaxed) {
            tracing::warn!(client = self.hello.pid, limit = self.references_max, "who refers to too much is put out");
        }
    }

    /// Takes references back. What nobody refers to any more goes, when the lock is not held.
    pub(super) fn let_go(&self, drops: &[(ObjectId, u32)]) {
        let mut gone = Vec::new();
        let mut held = self.held.lock();
        for (object, count) in drops {
            let Some((_, given)) = held.get_mut(object) else { continue };
            *given = given.saturating_sub(*count);
            if *given == 0 {
                gone.extend(held.remove(object).map(|(entry, _)| entry));
            }
        }
        self.references.store(held.len(), Ordering::Relaxed);
        drop(held);
        graves::let_go(gone);
    }

    /// Takes all back.
    pub(super) fn let_all_go(&self) {
        let held = std::mem::take(&mut *self.held.lock());
        graves::let_go(held.into_values().map(|(entry, _)| entry).collect());
    }

    /// Has it put out, because of what it sent.
    pub(super) fn expel(&self, malformed: &Malformed) {
        tracing::warn!(client = self.hello.pid, %malformed, "a client is put out");
        self.be_put_out();
    }

    /// Sends an answer, now or as soon as those before it have gone; false if the thread for those who read slowly is to be told
    /// of the client.
    fn send(&self, answer: Outgoing) -> bool {
        let mut outbox = self.outbox.lock();
        if self.is_deaf.load(Ordering::Relaxed) {
            return true;
        }
        if outbox.is_late {
            return self.queue(outbox, answer);
        }
        match self.connection.begin(&answer.frame, Duration::ZERO) {
            Ok(is_whole) => {
                // A socket may have taken a part of it.
                outbox.is_late = !is_whole;
                is_whole
            }
            Err(SendError::Timeout | SendError::Busy) => self.queue(outbox, answer),
            Err(error) => {
                drop(outbox);
                match self.take_back_unsent(answer, &error) {
                    Some(refusal) => self.send(refusal),
                    None => self.put_out(&error),
                }
            }
        }
    }

    /// Has an answer wait until those before it have gone.
    fn queue(&self, mut outbox: MutexGuard<'_, Outbox>, answer: Outgoing) -> bool {
        let bytes = outbox.bytes + answer.frame.bytes.len();
        let has_room = bytes <= UNREAD_BYTES_MAX || outbox.waiting.is_empty();
        if !has_room && !answer.is_refusal {
            drop(outbox);
            let of = "bytes of answers that wait for one client (`UNREAD_BYTES_MAX`)".to_owned();
            let refusal = Refusal::Limit { of, limit: UNREAD_BYTES_MAX as u64 };
            return self.send(self.take_back(answer, &refusal));
        }
        outbox.bytes = bytes;
        outbox.descriptors += answer.frame.descriptors.len();
        outbox.waiting.push_back(answer);
        std::mem::replace(&mut outbox.is_late, true)
    }

    fn put_out(&self, error: &SendError) -> bool {
        tracing::debug!(client = self.hello.pid, %error, "a client cannot be answered any more");
        if matches!(error, SendError::Disconnected) {
            self.is_deaf.store(true, Ordering::Relaxed);
        } else {
            self.be_put_out();
        }
        true
    }

    /// Takes back what an answer gives; what its client is told instead. Nobody may have the outbox: others are perhaps given it.
    fn take_back(&self, answer: Outgoing, refusal: &Refusal) -> Outgoing {
        let Outgoing { call, object, references, .. } = answer;
        tracing::warn!(client = self.hello.pid, %refusal, "an answer cannot be sent");
        let references: Vec<(ObjectId, u32)> = references.into_iter().map(|object| (object, 1)).collect();
        self.let_go(&references);
        if let Some(entry) = self.server.upgrade().and_then(|server| server.find(object).ok()) {
            undelivered(entry, (self.number, call));
        }
        Outgoing::new(refused(call, refusal), object)
    }

    /// The same for an answer that cannot be sent, if that is because of the answer and not of the connection.
    fn take_back_unsent(&self, answer: Outgoing, error: &SendError) -> Option<Outgoing> {
        use SendError::{Descriptors, Encode, System, TooLarge};
        let is_its_own = matches!(error, Descriptors { .. } | Encode(_) | System { .. } | TooLarge { .. });
        let refusal = || Refusal::Output { reason: error.to_string() };
        (is_its_own && !answer.is_refusal).then(|| self.take_back(answer, &refusal()))
    }

    /// Sends what waits, as far as that goes now, and no more than [`BURST`] answers: how many. None if nothing waits any more.
    pub(super) fn flush(&self) -> Option<u64> {
        let (mut outbox, mut count) = (self.outbox.lock(), 0);
        // What an answer has left that was sent in part comes first.
        let mut sent = MutexGuard::unlocked(&mut outbox, || self.connection.finish(Duration::ZERO));
        while sent.is_ok() {
            outbox.land();
            if count == BURST {
                return Some(count);
            }
            let answer = outbox.take_next()?;
            count += 1;
            let step = MutexGuard::unlocked(&mut outbox, || self.go_on(answer));
            sent = match step {
                Step::Whole => Ok(()),
                Step::Begun => Err(SendError::Timeout),
                Step::Waits(answer) => {
                    count -= 1;
                    outbox.put_back(answer);
                    Err(SendError::Timeout)
                }
                Step::Failed(error) => Err(error),
            };
        }
        match sent {
            Err(SendError::Timeout | SendError::Busy) | Ok(()) => Some(count),
            Err(error) => {
                *outbox = Outbox::default();
                self.put_out(&error);
                None
            }
        }
    }

    /// Sends an answer that has waited, or else that it cannot be sent, as far as that goes now.
    fn go_on(&self, answer: Outgoing) -> Step {
        match self.connection.begin(&answer.frame, Duration::ZERO) {
            Ok(true) => Step::Whole,
            Ok(false) => Step::Begun,
            Err(SendError::Timeout | SendError::Busy) => Step::Waits(answer),
            Err(error) => match self.take_back_unsent(answer, &error) {
                Some(refusal) => self.go_on(refusal), // That is sent, or waits, or the connection has ended.
                None => Step::Failed(error),
            },
        }
    }

    /// Waits no more until it has read what waits for it, and has it put out.
    pub(super) fn give_up(&self) {
        *self.outbox.lock() = Outbox::default();
        self.put_out(&SendError::Timeout);
    }

    /// Whether anything is read of what it asks: not before its last request has its place, and not while many of its answers
    /// wait for it. So it can ask for more than it reads, and is not put out for that.
    pub(super) fn may_ask(&self) -> bool {
        !self.is_held_up() && !self.is_out() && self.outbox.lock().is_short()
    }

    fn answer(self: &Arc<Self>, (call, object): (u64, ObjectId), telling: Telling, answer: Answer) {
        let response = match (telling, answer) {
            (Telling::Nothing, Ok(_)) => return,
            (Telling::Nothing, Err(refusal)) => {
                return tracing::warn!(client = self.hello.pid, %refusal, "what a client asked for was not done");
            }
            (telling, Ok(results)) => Response::Return {
                call,
                is_claimed: telling == Telling::Claim,
                results: results.into_iter().map(|taken| self.pack(taken)).collect(),
            },
            (_, Err(refusal)) => refused(call, &refusal),
        };
        if !self.send(Outgoing::new(response, object))
            && let Some(server) = self.server.upgrade()
        {
            server.send_slowly(self);
        }
    }

    /// A value for it, whose references it holds from now on.
    fn pack(&self, Taken { message, references, .. }: Taken) -> Packed {
        let names = references.iter().map(RawProxy::object).collect();
        references.into_iter().filter_map(RawProxy::into_entry).for_each(|entry| self.hold(entry));
        Packed::of(message, names)
    }
}

impl Outbox {
    /// Whether little enough waits that more may be asked.
    fn is_short(&self) -> bool {
        self.bytes <= UNREAD_BYTES_WAIT && self.descriptors <= UNREAD_DESCRIPTORS_WAIT
    }

    /// What is sent next; none if nothing waits any more.
    fn take_next(&mut self) -> Option<Outgoing> {
        let next = self.waiting.pop_front();
        self.is_late = next.is_some();
        self.begun = next.as_ref().map_or(0, |answer| answer.frame.bytes.len());
        self.descriptors -= next.as_ref().map_or(0, |answer| answer.frame.descriptors.len());
        next
    }

    /// Notes that the one which had begun has gone.
    fn land(&mut self) {
        self.bytes = self.bytes.saturating_sub(std::mem::take(&mut self.begun));
    }

    /// Has one wait again that could not begin.
    fn put_back(&mut self, answer: Outgoing) {
        self.land();
        self.bytes += answer.frame.bytes.len();
        self.descriptors += answer.frame.descriptors.len();
        self.waiting.push_front(answer);
    }
}

/// Objects, and calls that cannot be told what they were given there.
type Undelivered = VecDeque<(Arc<Entry>, (u64, u64))>;

thread_local! {
    /// What this thread has objects take back.
    static UNDELIVERED: RefCell<Option<Undelivered>> = const { RefCell::new(None) };
}

/// Has an object take back what it gave to a call that cannot be told. Whoever is given it next may be unable to take it as
/// well: that is done after this one, and not within it, as there may be many.
fn undelivered(entry: Arc<Entry>, call: (u64, u64)) {
    let is_within = UNDELIVERED.with_borrow_mut(|waiting| {
        let is_within = waiting.is_some();
        waiting.get_or_insert_default().push_back((entry, call));
        is_within
    });
    if is_within {
        return;
    }
    while let Some((entry, call)) = UNDELIVERED.with_borrow_mut(|waiting| waiting.as_mut()?.pop_front()) {
        entry.undelivered(call);
    }
    UNDELIVERED.set(None);
}

impl Outgoing {
    fn new(response: Response, object: ObjectId) -> Self {
        let (call, references, is_refusal) = match &response {
            Response::Return { call, results, .. } => {
                (*call, results.iter().flat_map(|packed| packed.references.iter().copied()).collect(), false)
            }
            Response::Refuse { call, .. } => (*call, Vec::new(), true),
        };
        Self { frame: response.write(), call, object, references, is_refusal }
    }
}

/// That a request to the server itself is carried out.
pub(super) struct Asks<'a>(&'a Client);

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        self.0.asks.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn refused(call: u64, refusal: &Refusal) -> Response {
    let refusal = procession_wire::encode(refusal).map(|message| message.into_parts().0).unwrap_or_default();
    Response::Refuse { call, refusal }
}

/// Who is to be told what a call returns.
#[derive(Debug)]
pub(crate) struct Caller {
    site: Site,
    to: To,
    telling: Telling,
    /// Whether the thread that calls does nothing else before it has the answer.
    waits: bool,
}

/// What a client is told of a call of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    Nothing,
    Answer,
    /// The answer, and it is to say that it has that.
    Claim,
}

#[derive(Debug)]
enum To {
    /// A client, and its call of this object.
    Client(Arc<Client>, (u64, ObjectId)),
    /// A thread of the server, for this call of its own or of a guest.
    Here(Answers, (u64, u64)),
}

/// What a thread of the server is answered by. It is told as well when there will be no answer.
#[derive(Debug)]
struct Answers(Arc<Reply>);

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Where a thread of the server waits.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    state: Mutex<Told>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    answer: Option<(Answer, bool)>,
    /// Whether no answer will come any more.
    is_over: bool,
    /// What is written to when there is an answer, or will be none.
    bell: Option<Arc<PipeWriter>>,
}

impl Reply {
    /// The answer, and whether it is to be said that it has arrived. If there is none yet, one byte comes out of the bell
    /// when there is, or never will be.
    pub(super) fn take_or_ring(&self, bell: &Arc<PipeWriter>) -> Option<(Answer, bool)> {
        let mut state = self.state.lock();
        let answer = state.answer.take();
        if answer.is_none() {
            state.bell = Some(Arc::clone(bell));
            if state.is_over {
                self.tell(state);
            }
        }
        answer
    }

    /// The answer, and whether it is to be said that it has arrived, after the bell or a wait; none if there will be none.
    pub(crate) fn take(&self) -> Option<(Answer, bool)> {
        self.state.lock().answer.take()
    }

    fn give(&self, answer: Answer, is_claimed: bool) {
        let mut state = self.state.lock();
        state.answer = Some((answer, is_claimed));
        self.tell(state);
    }

    /// Tells that there will be no answer, unless there was one.
    fn end(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        self.tell(state);
    }

    fn tell(&self, mut state: MutexGuard<'_, Told>) {
        let bell = state.bell.take();
        drop(state);
        self.told.notify_one();
        if let Some(bell) = bell {
            let _ = (&*bell).write_all(&[0]); // Who listened is gone otherwise.
        }
    }

    /// Waits until there is an answer, and leaves it where it is, or never will be; false if that is not known by then.
    pub(crate) fn wait_until(&self, until: Deadline) -> bool {
        let mut state = self.state.lock();
        while state.answer.is_none() && !state.is_over && !until.has_passed() {
            match until.remaining() {
                Some(left) => drop(self.told.wait_for(&mut state, left)),
                None => self.told.wait(&mut state),
            }
        }
        state.answer.is_some() || state.is_over
    }
}

impl Caller {
    pub(super) fn of_client(client: &Arc<Client>, call: u64, object: ObjectId, is_answered: bool) -> Self {
        let site = Site::of(client.server_id, object);
        let telling = if is_answered { Telling::Answer } else { Telling::Nothing };
        Self { site, to: To::Client(Arc::clone(client), (call, object)), telling, waits: false }
    }

    /// A thread of the server, whose calls have numbers as a client's have.
    pub(crate) fn here(site: Site) -> (Self, Arc<Reply>) {
        static CALLS: AtomicU64 = AtomicU64::new(1);
        Self::guest(site, (OWN, CALLS.fetch_add(1, Ordering::Relaxed)))
    }

    /// A thread of the server that waits for somebody else, who has a number as clients have.
    pub(super) fn guest(site: Site, call: (u64, u64)) -> (Self, Arc<Reply>) {
        let reply = Arc::<Reply>::default();
        (Self { site, to: To::Here(Answers(Arc::clone(&reply)), call), telling: Telling::Answer, waits: false }, reply)
    }

    /// The same, who does nothing else before he has the answer.
    pub(super) fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    /// Whether the thread that calls does nothing else before it has the answer.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// Whom answers are written for.
    pub(crate) fn site(&self) -> Site {
        self.site
    }

    /// The client's number.
    pub(crate) fn client(&self) -> u64 {
        self.call().0
    }

    /// The client's number and its call's.
    pub(crate) fn call(&self) -> (u64, u64) {
        match &self.to {
            To::Client(client, (call, _)) => (client.number(), *call),
            To::Here(_, call) => *call,
        }
    }

    /// Gives something that is the client's only when it says that it has it.
    pub(crate) fn claiming(self) -> Self {
        let is_told = self.telling != Telling::Nothing;
        Self { telling: if is_told { Telling::Claim } else { Telling::Nothing }, ..self }
    }

    pub(crate) fn give(self, answer: Answer) {
        match self.to {
            To::Client(client, call) => client.answer(call, self.telling, answer),
            To::Here(answers, _) => answers.0.give(answer, self.telling == Telling::Claim),
        }
    }

    /// Says that the object has ended without an answer. A thread of the server hears that without words.
    pub(crate) fn orphan(self) {
        if let To::Client(_, (_, object)) = self.to {
            self.give(Err(Refusal::NoObject { object }));
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("number", &self.number).field("hello", &self.hello).finish_non_exhaustive()
    }
}
