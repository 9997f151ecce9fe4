//! A client as its server knows it: what it holds, and how it is answered.
//!
//! Relies on a connection. What a client does not read does not hold up others: its answers wait in line, up to a limit, and
//! a thread aside sends them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use procession_ipc::{Connection, SendError};
use procession_sys::Deadline;

use super::{Entry, Taken};
use crate::error::Refusal;
use crate::frame::{Frame, Malformed, Packed, Response};
use crate::host::Answer;
use crate::identity::ObjectId;
use crate::proxy::RawProxy;
use crate::remote::Hello;

/// How many bytes of answers may wait for a client that does not read them. One that has more waiting is put out.
pub const UNREAD_BYTES_MAX: usize = 256 << 20;

/// How many may wait before it has to read some, or else nothing more that it asks is done.
const UNREAD_BYTES_WAIT: usize = 16 << 20;

/// How long a client may read nothing while answers wait for it before it is put out.
pub const UNREAD_TIME_MAX: Duration = Duration::from_secs(60);

/// Somebody who is connected.
pub(crate) struct Client {
    number: u64,
    pub(super) hello: Hello,
    pub(super) connection: Connection<Frame, Frame>,
    server: ObjectId,
    /// What it refers to, and how often it was given that.
    held: Mutex<HashMap<ObjectId, (Arc<Entry>, u32)>>,
    outbox: Mutex<Outbox>,
    /// Told when it has read something of what waits.
    has_read: Condvar,
    /// Set when it is to be put out.
    is_out: AtomicBool,
    /// The request of it that is carried out, and that another one could still overtake; 0 for none.
    request: AtomicU64,
}

#[derive(Default)]
struct Outbox {
    waiting: VecDeque<Frame>,
    bytes: usize,
    /// Whether a thread is sending.
    is_sent: bool,
}

impl Client {
    pub(super) fn new(number: u64, hello: Hello, connection: Connection<Frame, Frame>, server: ObjectId) -> Self {
        let (held, outbox, has_read) = (Mutex::default(), Mutex::default(), Condvar::new());
        let (is_out, request) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { number, hello, connection, server, held, outbox, has_read, is_out, request }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
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
        self.held.lock().entry(entry.id()).or_insert((entry, 0)).1 += 1;
    }

    /// Takes references back. What nobody refers to any more goes, when the lock is not held.
    pub(super) fn let_go(&self, drops: &[(ObjectId, u32)]) {
        let mut gone = Vec::new();
        let mut held = self.held.lock();
        for (object, count) in drops {
            let Some((_, given)) = held.get_mut(object) else { continue };
            *given = given.saturating_sub(*count);
            if *given == 0 {
                gone.extend(held.remove(object));
            }
        }
        drop(held);
        drop(gone);
    }

    /// Takes all back.
    pub(super) fn let_all_go(&self) {
        drop(std::mem::take(&mut *self.held.lock()));
    }

    /// Has it put out, because of what it sent.
    pub(super) fn expel(&self, malformed: &Malformed) {
        tracing::warn!(client = self.hello.pid, %malformed, "a client is put out");
        self.is_out.store(true, Ordering::Relaxed);
    }

    /// Sends a frame, now or as soon as those before it have gone; false if another thread is to see to that.
    fn send(&self, frame: Frame) -> bool {
        let mut outbox = self.outbox.lock();
        if outbox.is_sent || !outbox.waiting.is_empty() {
            return self.queue(&mut outbox, frame);
        }
        match self.connection.begin(&frame, Duration::ZERO) {
            Ok(true) => true,
            // A socket has taken a part of it.
            Ok(false) => false,
            Err(SendError::Timeout | SendError::Busy) => self.queue(&mut outbox, frame),
            Err(error) => self.put_out(&error),
        }
    }

    fn queue(&self, outbox: &mut Outbox, frame: Frame) -> bool {
        outbox.bytes += frame.bytes.len();
        if outbox.bytes > UNREAD_BYTES_MAX {
            self.is_out.store(true, Ordering::Relaxed);
            tracing::warn!(client = self.hello.pid, limit = UNREAD_BYTES_MAX, "a client that does not read is put out");
            return true;
        }
        outbox.waiting.push_back(frame);
        outbox.is_sent
    }

    fn put_out(&self, error: &SendError) -> bool {
        if let SendError::Descriptors { .. } | SendError::TooLarge { .. } = error {
            tracing::warn!(client = self.hello.pid, %error, "an answer cannot be sent");
        }
        self.is_out.store(true, Ordering::Relaxed);
        true
    }

    /// Sends what waits; may take as long as the client takes to read.
    pub(super) fn flush(&self) {
        let mut outbox = self.outbox.lock();
        if outbox.is_sent {
            return;
        }
        outbox.is_sent = true;
        // What an answer has left that was sent in part comes first.
        let mut sent = MutexGuard::unlocked(&mut outbox, || self.connection.finish(UNREAD_TIME_MAX));
        while sent.is_ok()
            && let Some(frame) = outbox.waiting.pop_front()
        {
            sent = MutexGuard::unlocked(&mut outbox, || self.connection.send_timeout(&frame, UNREAD_TIME_MAX));
            outbox.bytes = outbox.bytes.saturating_sub(frame.bytes.len());
            self.has_read.notify_all();
        }
        if let Err(error) = sent {
            self.put_out(&error);
            *outbox = Outbox { is_sent: true, ..Outbox::default() };
        }
        outbox.is_sent = false;
        self.has_read.notify_all();
    }

    /// Waits while many of its answers wait for it, before anything else that it asks is done: so it can ask for more than it
    /// reads, and is not put out for that.
    pub(super) fn wait_for_reading(self: &Arc<Self>) {
        let mut outbox = self.outbox.lock();
        while outbox.bytes > UNREAD_BYTES_WAIT && !self.is_out() {
            if outbox.is_sent {
                self.has_read.wait(&mut outbox);
            } else {
                MutexGuard::unlocked(&mut outbox, || self.flush());
            }
        }
    }

    fn answer(self: &Arc<Self>, call: u64, telling: Telling, answer: Answer) {
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
        if !self.send(response.write()) {
            super::seat::aside(self);
        }
    }

    /// A value for it, whose references it holds from now on.
    fn pack(&self, Taken { message, references }: Taken) -> Packed {
        let names = references.iter().map(RawProxy::object).collect();
        references.into_iter().filter_map(RawProxy::into_entry).for_each(|entry| self.hold(entry));
        Packed::of(message, names)
    }

    pub(super) fn server(&self) -> ObjectId {
        self.server
    }
}

fn refused(call: u64, refusal: &Refusal) -> Response {
    let refusal = procession_wire::encode(refusal).map(|message| message.into_parts().0).unwrap_or_default();
    Response::Refuse { call, refusal }
}

/// Who is to be told what a call returns.
#[derive(Debug)]
pub(crate) enum Caller {
    /// A client, its call, and what it is told.
    Client(Arc<Client>, u64, Telling),
    /// A thread of the server itself.
    Here(ObjectId, Arc<Reply>),
}

/// What a client is told of a call of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    Nothing,
    Answer,
    /// The answer, and it is to say that it has that.
    Claim,
}

/// Where a thread of the server itself waits.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    answer: Mutex<Option<Answer>>,
    told: Condvar,
}

impl Reply {
    pub(crate) fn wait(&self) -> Answer {
        let mut answer = self.answer.lock();
        loop {
            if let Some(answer) = answer.take() {
                return answer;
            }
            self.told.wait(&mut answer);
        }
    }

    /// Waits for an answer, and leaves it where it is; false if there is none by then.
    pub(crate) fn wait_until(&self, until: Deadline) -> bool {
        let mut answer = self.answer.lock();
        while answer.is_none() && !until.has_passed() {
            match until.remaining() {
                Some(left) => drop(self.told.wait_for(&mut answer, left)),
                None => self.told.wait(&mut answer),
            }
        }
        answer.is_some()
    }
}

impl Caller {
    pub(super) fn of_client(client: &Arc<Client>, call: u64, is_answered: bool) -> Self {
        Self::Client(Arc::clone(client), call, if is_answered { Telling::Answer } else { Telling::Nothing })
    }

    pub(super) fn here(server: ObjectId) -> (Self, Arc<Reply>) {
        let reply = Arc::<Reply>::default();
        (Self::Here(server, Arc::clone(&reply)), reply)
    }

    /// The server whose object is called.
    pub(crate) fn server(&self) -> ObjectId {
        match self {
            Self::Client(client, ..) => client.server(),
            Self::Here(server, _) => *server,
        }
    }

    /// The client's number; none within the server.
    pub(crate) fn client(&self) -> Option<u64> {
        match self {
            Self::Client(client, ..) => Some(client.number()),
            Self::Here(..) => None,
        }
    }

    /// The client's number and its call's; none within the server.
    pub(crate) fn call(&self) -> Option<(u64, u64)> {
        match self {
            Self::Client(client, call, _) => Some((client.number(), *call)),
            Self::Here(..) => None,
        }
    }

    /// Gives something that is the client's only when it says that it has it.
    pub(crate) fn claiming(self) -> Self {
        match self {
            Self::Client(client, call, Telling::Answer) => Self::Client(client, call, Telling::Claim),
            other => other,
        }
    }

    pub(crate) fn give(self, answer: Answer) {
        match self {
            Self::Client(client, call, telling) => client.answer(call, telling, answer),
            Self::Here(_, reply) => {
                *reply.answer.lock() = Some(answer);
                reply.told.notify_one();
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("number", &self.number).field("hello", &self.hello).finish_non_exhaustive()
    }
}
