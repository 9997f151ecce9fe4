//! Guests: connections of programs that are not ours, each served by a thread of its own.
//!
//! Relies on a codec for what they say. A guest has a number as clients have, and what it holds, waits for and was given is
//! its connection's: the end of that gives all back, also while a call waits, as the connection is watched meanwhile. What came
//! before that end is carried out first, whether anybody is there to read the replies or not.

use std::collections::{HashMap, VecDeque};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use procession_ipc::{
    AcceptError, BytesConnection, Listener, RecvError, SendError, Waitable, wait_ready, wait_ready_timeout,
};
use procession_launch::calls::catch_call;
use procession_sys::Deadline;

use super::client::REFERENCES_TIMES;
use super::seat::work_for;
use super::{Caller, END_TIME, Entry, Given, REFERENCES, Server, Site, Taken};
use crate::codec::{Codec, Door, Objects, Question, Reply, Session};
use crate::data::Data;
use crate::error::Refusal;
use crate::host::Answer;
use crate::identity::ObjectId;
use crate::limits;
use crate::proxy::RawProxy;
use crate::value::Form;

/// How many programs that are not ours may be connected at once, by all codecs. One more is told that, and put out.
pub const GUESTS_MAX: usize = 256;

/// How many messages a program that is not ours may send ahead while a call of it waits. One that sends more is put out, if
/// that call does not have its answer within two seconds.
pub const QUESTIONS_AHEAD_MAX: usize = 16;

/// How long such a program may take to read a reply before it is put out.
pub const REPLY_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the call of a guest that has sent too much ahead may wait.
const HASTE_TIME: Duration = Duration::from_secs(2);

/// For how long what a guest has sent before it left is carried out. Then all that it had is given back, as others wait for it;
/// what stands in an object's line by then has its turn there all the same.
const LEAVING_TIME: Duration = Duration::from_millis(800);

/// How long nobody is let in after the system has refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Guests' numbers begin here: no client has one.
const FIRST: u64 = 1 << 63;

/// All guests of a server.
#[derive(Default)]
pub(super) struct Guests {
    state: Mutex<State>,
    gone: Condvar,
}

#[derive(Default)]
struct State {
    listeners: Vec<Arc<Listener>>,
    connections: HashMap<u64, BytesConnection>,
    count: u64,
    threads: usize,
    is_over: bool,
}

impl Server {
    /// Lets programs that are not ours in.
    pub(crate) fn open(self: &Arc<Self>, door: Door) -> io::Result<()> {
        let server = Arc::clone(self);
        self.guests.state.lock().listeners.push(Arc::clone(&door.listener));
        thread::Builder::new().name("manager-guests".into()).spawn(move || server.receive(&door)).map(drop)
    }

    fn receive(self: &Arc<Self>, door: &Door) {
        loop {
            match door.listener.accept_bytes() {
                Ok(connection) => self.admit(connection, &door.codec),
                Err(AcceptError::AuthFailed { peer, reason }) => tracing::warn!(%peer, %reason, "a guest is refused"),
                Err(AcceptError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "no guest can be accepted");
                    thread::park_timeout(PAUSE);
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, connection: BytesConnection, codec: &Arc<dyn Codec>) {
        let Ok(mut session) = catch_call(|| codec.open()) else { return };
        let Some(number) = self.guests.enter(&connection) else {
            let refusal = Refusal::Limit { of: "connections of other programs".into(), limit: GUESTS_MAX as u64 };
            let reply = catch_call(|| session.write(Reply::Refused(refusal))).unwrap_or_default();
            let _ = connection.try_send(&reply); // There is room in a new connection.
            return tracing::warn!(limit = GUESTS_MAX, "a guest is put out, as there are so many");
        };
        let place = Place { server: Arc::clone(self), number };
        let served = thread::Builder::new().name("manager-guest".into()).spawn(move || {
            work_for(&place.server, || match Guest::new(&place, connection, session) {
                Ok(mut guest) => guest.serve(),
                Err(error) => tracing::error!(%error, "a guest cannot be served"),
            });
        });
        if let Err(error) = served {
            tracing::error!(%error, "a server cannot start a thread for a guest");
        }
    }

    /// Puts all guests out, and lets none in.
    pub(super) fn close_doors(&self) {
        let mut state = self.guests.state.lock();
        state.is_over = true;
        state.listeners.drain(..).for_each(|listener| listener.close());
        state.connections.values().for_each(BytesConnection::close);
        let until = Instant::now() + END_TIME;
        while state.threads > 0 && !self.guests.gone.wait_until(&mut state, until).timed_out() {}
    }
}

impl Guests {
    /// A number for one more, if there may be one.
    fn enter(&self, connection: &BytesConnection) -> Option<u64> {
        let mut state = self.state.lock();
        if state.is_over || state.threads >= GUESTS_MAX {
            return None;
        }
        let number = FIRST + state.count;
        state.connections.insert(number, connection.clone());
        state.count += 1;
        state.threads += 1;
        Some(number)
    }

    fn leave(&self, number: u64) {
        let mut state = self.state.lock();
        state.connections.remove(&number);
        state.threads -= 1;
        drop(state);
        self.gone.notify_all();
    }
}

/// That a guest is there. What it had is given up with this, however its thread ends.
struct Place {
    server: Arc<Server>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        work_for(&self.server, || self.server.part(self.number));
        self.server.guests.leave(self.number);
    }
}

/// Somebody who is connected.
struct Guest<'a> {
    server: &'a Arc<Server>,
    number: u64,
    connection: BytesConnection,
    session: Box<dyn Session>,
    /// Messages that came while a call was waiting.
    ahead: VecDeque<Vec<u8>>,
    /// What it refers to, and how often it was given that.
    held: HashMap<ObjectId, (Arc<Entry>, u64)>,
    calls: u64,
    /// What rings when a call that waits has its answer, or will have none.
    bell: (PipeReader, Arc<PipeWriter>),
    /// Until when things are done for it, once nobody is there any more to read replies.
    leaves: Option<Deadline>,
}

/// The connection has ended.
struct Gone;

/// A call that has its answer: the object is to be told whether that has arrived.
struct Open {
    entry: Arc<Entry>,
    call: (u64, u64),
}

impl<'a> Guest<'a> {
    fn new(place: &'a Place, connection: BytesConnection, session: Box<dyn Session>) -> io::Result<Self> {
        let (listens, rings) = io::pipe()?;
        let (server, number, bell) = (&place.server, place.number, (listens, Arc::new(rings)));
        let (ahead, held) = (VecDeque::new(), HashMap::new());
        Ok(Self { server, number, connection, session, ahead, held, calls: 0, bell, leaves: None })
    }

    /// Answers until the connection ends, and everything is done that came before that.
    fn serve(&mut self) {
        while let Some(message) = self.ahead.pop_front().or_else(|| self.connection.recv().ok()) {
            if self.answer(&message).is_err() || self.session.is_over() {
                return;
            }
        }
    }

    /// Answers one message.
    fn answer(&mut self, message: &[u8]) -> Result<(), Gone> {
        let (server, session) = (self.server, &mut self.session);
        let read = catch_call(|| session.read(message, &Objects(server)));
        let question = read.map_err(|panic| gone(&panic.message))?;
        let is_last = matches!(question, Ok(Question::Shutdown));
        let (reply, open) = match question {
            Ok(Question::Call { object, method, arguments }) => self.call(object, &method, &arguments)?,
            Ok(question) => (self.ask(question).unwrap_or_else(Reply::Refused), None),
            Err(reason) => (Reply::Refused(Refusal::Arguments { reason }), None),
        };
        self.hold_all(&reply)?;
        let session = &mut self.session;
        let bytes = catch_call(|| session.write(reply)).map_err(|panic| gone(&panic.message))?;
        let told = self.tell(&bytes);
        if is_last {
            server.is_ending.store(true, Ordering::Relaxed);
        }
        let is_received = told?;
        if let Some(Open { entry, call }) = open {
            entry.settle(call, is_received);
        }
        Ok(())
    }

    /// Sends a reply; false if nobody is there any more to read it.
    fn tell(&mut self, reply: &[u8]) -> Result<bool, Gone> {
        if self.leaves.is_some() {
            return Ok(false);
        }
        match self.connection.send_timeout(reply, REPLY_TIME_MAX) {
            Ok(()) => Ok(true),
            Err(SendError::Disconnected) => {
                self.leave();
                Ok(false)
            }
            Err(_) => Err(Gone),
        }
    }

    /// Does what is no call.
    fn ask(&mut self, question: Question) -> Result<Reply, Refusal> {
        let server = self.server;
        match question {
            Question::Create { type_name, arguments } => {
                self.may_refer()?;
                let arguments = self.given(&Data::tuple(arguments))?;
                let entry = server.host(server.make(&type_name, arguments)?)?;
                Ok(self.give(entry))
            }
            Question::Get { name } => {
                self.may_refer()?;
                let entry = server.named(&name)?;
                Ok(self.give(entry))
            }
            Question::Publish { name, object } => {
                server.name(name, server.find(object)?)?;
                Ok(Reply::Values(Vec::new()))
            }
            Question::Keep { object } => {
                self.may_refer()?;
                self.hold(server.find(object)?);
                Ok(Reply::Values(Vec::new()))
            }
            Question::LetGo { object } => self.let_go(object).map(|()| Reply::Values(Vec::new())),
            Question::Describe { object } => Ok(describe(&*server.find(object)?)),
            Question::Objects => Ok(Reply::Objects(server.object_infos())),
            Question::Count => Ok(Reply::Values(vec![server.count().into()])),
            Question::Hello | Question::Shutdown | Question::Call { .. } => Ok(Reply::Values(Vec::new())),
        }
    }

    /// A value for the server's objects.
    fn given(&self, data: &Data) -> Result<Given, Refusal> {
        let written = Taken::of(self.site(), data).map(Given::from);
        written.map_err(|refusal| Refusal::Arguments { reason: refusal.to_string() })
    }

    fn site(&self) -> Site {
        Site { server: self.server.id, form: Form::Data }
    }

    /// Calls a method, and waits for what it returns.
    fn call(&mut self, object: ObjectId, method: &str, of: &[Data]) -> Result<(Reply, Option<Open>), Gone> {
        self.calls += 1;
        let call = (self.number, self.calls);
        let begun = self.begin(object, method, of);
        let (entry, signature, arguments) = match begun {
            Ok(begun) => begun,
            Err(refusal) => return Ok((Reply::Refused(refusal), None)),
        };
        let (caller, reply) = Caller::guest(self.site(), call);
        entry.call(signature, arguments, caller);
        let (answer, is_claimed) = match reply.take_or_ring(&self.bell.1) {
            Some(answer) => answer,
            None => {
                self.wait(&entry, call)?;
                reply.take().ok_or(Gone)?
            }
        };
        match converted(answer) {
            Ok(values) => Ok((Reply::Values(values), is_claimed.then_some(Open { entry, call }))),
            Err(refusal) => {
                // What the call was given, and cannot be told, is not its own.
                entry.settle(call, false);
                Ok((Reply::Refused(refusal), None))
            }
        }
    }

    fn begin(&self, object: ObjectId, method: &str, of: &[Data]) -> Result<(Arc<Entry>, u64, Vec<Given>), Refusal> {
        let entry = self.server.find(object)?;
        let found = entry.methods().into_iter().find(|(name, _)| *name == method);
        let no_method = || Refusal::NoMethod { object: entry.type_name().to_owned(), method: method.to_owned() };
        let (_, signature) = found.ok_or_else(no_method)?;
        let arguments = of.iter().map(|data| self.given(data)).collect::<Result<_, _>>()?;
        Ok((entry, signature, arguments))
    }

    /// Waits for the bell, and listens whether the guest is still there. If it is not, a call that waits for something is given
    /// up, and what came behind that is not done; one that is only in line comes to its turn.
    fn wait(&mut self, entry: &Arc<Entry>, call: (u64, u64)) -> Result<(), Gone> {
        while self.leaves.is_none() {
            let ready = wait_ready([&self.bell.0 as &dyn Waitable, &self.connection]).map_err(|_| Gone)?;
            if ready.contains(&0) {
                return self.hear();
            }
            match self.connection.try_recv() {
                Ok(message) => self.ahead.push_back(message),
                Err(RecvError::WouldBlock | RecvError::Busy) => {}
                Err(RecvError::Closed) => return Err(Gone),
                Err(_) => self.leave(),
            }
            if self.ahead.len() > QUESTIONS_AHEAD_MAX {
                return self.hear_soon();
            }
        }
        entry.settle(call, false);
        let time = self.leaves.and_then(Deadline::remaining).unwrap_or_default();
        if self.hear_within(time)? { Ok(()) } else { Err(Gone) }
    }

    fn leave(&mut self) {
        self.leaves.get_or_insert_with(|| Deadline::after(LEAVING_TIME));
    }

    /// Takes in that the bell has rung, or waits until it does.
    fn hear(&self) -> Result<(), Gone> {
        (&self.bell.0).read_exact(&mut [0]).map_err(|_| Gone)
    }

    /// The same for a guest that has sent too much ahead, of which nothing is read meanwhile.
    fn hear_soon(&self) -> Result<(), Gone> {
        if self.hear_within(HASTE_TIME)? {
            return Ok(());
        }
        tracing::warn!(limit = QUESTIONS_AHEAD_MAX, "a guest that sends ahead of its replies is put out");
        Err(Gone)
    }

    /// The same for so long at most; false if it has not rung.
    fn hear_within(&self, time: Duration) -> Result<bool, Gone> {
        let ready = wait_ready_timeout([&self.bell.0 as &dyn Waitable], time).map_err(|_| Gone)?;
        if ready.is_empty() { Ok(false) } else { self.hear().map(|()| true) }
    }

    /// Gives a reference.
    fn give(&mut self, entry: Arc<Entry>) -> Reply {
        let reply = describe(&entry);
        self.hold(entry);
        reply
    }

    /// Refuses one reference more than a client may have.
    fn may_refer(&self) -> Result<(), Refusal> {
        limits::check(REFERENCES, self.held.len() as u64 + 1, self.server.limits.references as u64)
    }

    fn hold(&mut self, entry: Arc<Entry>) {
        self.held.entry(entry.id()).or_insert((entry, 0)).1 += 1;
    }

    /// Holds what a reply refers to. It would be lost if it were refused; who has too much by that is put out.
    fn hold_all(&mut self, reply: &Reply) -> Result<(), Gone> {
        let Reply::Values(values) = reply else { return Ok(()) };
        for entry in values.iter().flat_map(Data::objects).filter_map(RawProxy::entry) {
            self.hold(Arc::clone(entry));
        }
        let limit = self.server.limits.references.saturating_mul(REFERENCES_TIMES);
        if self.held.len() > limit {
            tracing::warn!(limit, "a guest that refers to too much is put out");
            return Err(Gone);
        }
        Ok(())
    }

    fn let_go(&mut self, object: ObjectId) -> Result<(), Refusal> {
        let (_, count) = self.held.get_mut(&object).ok_or(Refusal::NotHeld)?;
        *count -= 1;
        if *count == 0 {
            self.held.remove(&object);
        }
        Ok(())
    }
}

/// What a call has returned, for a program that has none of its types.
fn converted(answer: Answer) -> Result<Vec<Data>, Refusal> {
    answer?.into_iter().map(Taken::into_data).collect()
}

fn describe(entry: &Entry) -> Reply {
    let methods = entry.methods().into_iter().map(|(name, _)| name.to_owned()).collect();
    Reply::Object { object: entry.id(), type_name: entry.type_name().to_owned(), methods }
}

fn gone(panic: &str) -> Gone {
    tracing::error!(panic, "a codec has panicked, and its guest is put out");
    Gone
}
