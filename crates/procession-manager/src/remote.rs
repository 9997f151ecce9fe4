//! A server as a process knows it: where it is, the connection, and which of its objects are referred to here.
//!
//! Relies on [`Link`] for calls. The server counts how often it has given a reference to this process; this process counts its
//! proxies, and with the last one of an object gives all of its references back at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use procession_ipc::{Address, Client, Connection, Waitable};
use procession_launch::AuthKey;
use procession_sys::{Deadline, end_when_not_taken};
use procession_wire::{decode_slice, encode};
use serde::{Deserialize, Serialize};

use crate::error::{CallError, ManagerError, Refusal};
use crate::frame::{Frame, GREETING, Packed, Request, Response};
use crate::identity::ObjectId;
use crate::kin::Kin;
use crate::link::{Link, Question, Unanswered};
use crate::names::Names;
use crate::pending::{Sent, To};
use crate::proxy::{MethodName, RawProxy};
use crate::server::{Given, asks};
use crate::travel::{self, Ticket, Traveling};

/// How many references of an object are kept before all but one are given back: they are counted in 32 bits, and so are the
/// server's.
const GIVEN_MAX: u32 = 1 << 30;

/// How long a server that has accepted a connection may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client says first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

/// What a server answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) server: ObjectId,
    /// The client's number.
    pub(crate) client: u64,
}

/// What is needed to connect.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) key: Option<AuthKey>,
    /// How long a call may take.
    pub(crate) call_timeout: Option<Duration>,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) server: ObjectId,
    /// For errors.
    pub(crate) names: Names,
    place: Place,
    link: Mutex<Arc<Link>>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    objects: HashMap<ObjectId, Count>,
    /// Who else may refer to them.
    kin: Kin,
    /// What could not be given back at once.
    drops: Vec<(ObjectId, u32)>,
}

#[derive(Debug, Default)]
struct Count {
    proxies: u32,
    /// How often the server has given a reference.
    given: u32,
    /// Which copies of this process may know it.
    since: u32,
}

impl Remote {
    pub(crate) fn connect(place: Place) -> Result<Arc<Self>, ManagerError> {
        let (link, welcome) = meet(&place)?;
        let link = Mutex::new(Arc::new(link));
        let (names, held) = (Names::default(), Mutex::new(Held::new()));
        let remote = Arc::new(Self { server: welcome.server, names, place, link, held });
        travel::note(&remote);
        Ok(remote)
    }

    pub(crate) fn address(&self) -> &Address {
        &self.place.address
    }

    pub(crate) fn key(&self) -> Option<&AuthKey> {
        self.place.key.as_ref()
    }

    /// A reference that is about to be sent to somebody, of which the server is told first.
    pub(crate) fn send_off(&self, object: ObjectId) -> Result<Traveling, String> {
        let link = self.link()?;
        let number = link.next_number();
        if !link.tell_surely(Request::Ticket { ticket: number, object }) {
            return Err("the server is gone, or takes nothing".to_owned());
        }
        let ticket = Ticket { client: link.client, number };
        Ok(Traveling { server: self.server, address: self.place.address.clone(), object, ticket })
    }

    /// A value for the server.
    pub(crate) fn pack<T: Serialize + 'static>(&self, method: MethodName, value: &T) -> Result<Given, CallError> {
        Given::of(self.server.into(), method, value)
    }

    /// The reference that somebody has sent.
    pub(crate) fn receive(self: &Arc<Self>, traveling: &Traveling) -> Result<RawProxy, CallError> {
        let method = asks::REDEEM;
        let given = self.pack(method, &(traveling.object, traveling.ticket))?;
        self.call(ObjectId::SERVER, method, vec![given])?.pop().unwrap_or_default().result(method)
    }

    /// The connection. A forked child makes one of its own, and tells the server what it refers to.
    fn link(&self) -> Result<Arc<Link>, String> {
        let mut link = self.link.lock();
        if link.is_own() {
            return Ok(Arc::clone(&link));
        }
        let (own, welcome) = meet(&self.place).map_err(|error| error.to_string())?;
        if welcome.server != self.server {
            return Err("another server is at its address now".into());
        }
        let mut held = self.held.lock();
        held.drops.clear();
        let objects: Vec<ObjectId> = held.objects.keys().copied().collect();
        let kept = pack_plain(&objects)?;
        let (question, deadline) = (
            Question { object: ObjectId::SERVER, method: asks::ATTACH.signature, arguments: vec![kept] },
            Deadline::after(GREETING_TIMEOUT),
        );
        let attached = own.ask(question, deadline).and_then(|call| own.collect(call, ObjectId::SERVER, deadline));
        if !matches!(attached, Ok(Response::Return { .. })) {
            return Err("it did not take over the references of a forked process".into());
        }
        held.objects.values_mut().for_each(|count| (count.given, count.since) = (1, 0));
        held.kin = Kin::new(); // The parent need not keep anything for this process any more.
        drop(held);
        *link = Arc::new(own);
        Ok(Arc::clone(&link))
    }

    /// Calls a method; each value that comes back has its references.
    pub(crate) fn call(
        self: &Arc<Self>,
        object: ObjectId,
        method: MethodName,
        arguments: Vec<Given>,
    ) -> Result<Vec<Given>, CallError> {
        self.send(object, method, arguments, Link::ask)?.collect()
    }

    /// Sends a call by `ask`.
    pub(crate) fn send(
        self: &Arc<Self>,
        object: ObjectId,
        method: MethodName,
        arguments: Vec<Given>,
        ask: impl FnOnce(&Link, Question, Deadline) -> Result<u64, Unanswered>,
    ) -> Result<Sent, CallError> {
        let patience = self.place.call_timeout;
        let deadline = patience.map_or(Deadline::NEVER, Deadline::after);
        let (link, call) = self.put(object, method, arguments, |link, question| ask(link, question, deadline))?;
        let to = To::Remote { remote: Arc::clone(self), link, call, object };
        Ok(Sent { method, to, deadline, patience, takes: false })
    }

    /// Sends a call that has no answer, before anything that is sent next, whenever that can go.
    pub(crate) fn command(&self, object: ObjectId, method: MethodName, arguments: Vec<Given>) -> Result<(), CallError> {
        self.put(object, method, arguments, Link::command_in_order).map(drop)
    }

    /// Asks the server to end, without an answer; it may be gone, or take nothing.
    pub(crate) fn ask_to_end(&self, within: Duration) {
        let _ = self.put(ObjectId::SERVER, asks::SHUTDOWN, Vec::new(), |link, question| {
            link.command(question, Deadline::after(within))
        });
    }

    fn put<R>(
        &self,
        object: ObjectId,
        method: MethodName,
        arguments: Vec<Given>,
        put: impl FnOnce(&Link, Question) -> Result<R, Unanswered>,
    ) -> Result<(Arc<Link>, R), CallError> {
        // What the arguments refer to is kept until they are on their way: the server reads nothing before them.
        let mut referred = Vec::new();
        let arguments = arguments.into_iter().map(|given| {
            let (packed, references) = given.into_packed();
            referred.extend(references);
            packed
        });
        let arguments: Vec<Packed> = arguments.collect();
        let failed = |why| self.failed(method, self.place.call_timeout, why);
        let link = self.link().map_err(|reason| failed(Unanswered::Gone(reason)))?;
        self.give_back_later(&link);
        let done = put(&link, Question { object, method: method.signature, arguments }).map_err(failed)?;
        Ok((link, done))
    }

    /// What the answer to a call says.
    pub(crate) fn answered(
        self: &Arc<Self>,
        method: MethodName,
        patience: Option<Duration>,
        answer: Result<Response, Unanswered>,
    ) -> Result<Vec<Given>, CallError> {
        match answer.map_err(|why| self.failed(method, patience, why))? {
            Response::Return { results, .. } => Ok(results.into_iter().map(|packed| self.adopt(packed)).collect()),
            Response::Refuse { refusal, .. } => Err(match decode_slice(&refusal, Vec::new()) {
                Ok(refusal) => CallError::refused(method.name, self.place.address.to_string(), refusal),
                Err(error) => CallError::Output { method: method.name, error },
            }),
        }
    }

    fn failed(&self, method: MethodName, patience: Option<Duration>, why: Unanswered) -> CallError {
        let (method, server) = (method.name, self.place.address.to_string());
        match why {
            Unanswered::Gone(reason) => CallError::Disconnected { method, server, reason },
            Unanswered::Late => CallError::TimedOut { method, server, after: patience.unwrap_or_default() },
            Unanswered::Crowded => CallError::Crowded { method, server, after: patience.unwrap_or_default() },
            Unanswered::Unsent(error) => CallError::Unsent { method, server, error },
            Unanswered::Forked => CallError::Forked { method, server },
        }
    }

    /// Makes proxies of the references that came with a value.
    fn adopt(self: &Arc<Self>, mut packed: Packed) -> Given {
        let names = std::mem::take(&mut packed.references);
        let message = Some(packed.into_message());
        if names.is_empty() {
            return Given { message, ..Given::default() };
        }
        let mut held = self.held.lock();
        let since = held.kin.generation();
        let Held { objects, drops, .. } = &mut *held;
        let adopted = names.into_iter().map(|object| {
            let count = objects.entry(object).or_insert(Count { since, ..Count::default() });
            drops.extend(count.add().map(|surplus| (object, surplus)));
            RawProxy::adopted(Arc::clone(self), object)
        });
        Given { message, references: adopted.collect(), ..Given::default() }
    }

    /// Counts one more proxy of an object that there are proxies of.
    pub(crate) fn keep(&self, object: ObjectId) {
        self.held.lock().objects.entry(object).or_default().proxies += 1;
    }

    /// Counts one less.
    pub(crate) fn let_go(&self, object: ObjectId) {
        let mut held = self.held.lock();
        let Some(count) = held.objects.get_mut(&object) else { return };
        count.proxies -= 1;
        if count.proxies > 0 {
            return;
        }
        let (given, since) = (count.given, count.since);
        held.objects.remove(&object);
        if held.kin.keeps(object, given, since) {
            return;
        }
        held.drops.push((object, given));
        // In a forked child that has not connected itself there is nobody to tell: it has been given nothing.
        if let Some(link) = self.link.try_lock().filter(|link| link.is_own()) {
            held.tell(&link);
        }
    }

    fn give_back_later(&self, link: &Link) {
        let mut held = self.held.lock();
        let kept = held.kin.take_back();
        held.drops.extend(kept);
        if !held.drops.is_empty() {
            held.tell(link);
        }
    }
}

impl Count {
    /// Counts a proxy that was given; how many references there are too many of by now, if any.
    fn add(&mut self) -> Option<u32> {
        (self.proxies, self.given) = (self.proxies + 1, self.given + 1);
        if self.given < GIVEN_MAX {
            return None;
        }
        let surplus = self.given - 1;
        self.given = 1;
        Some(surplus)
    }
}

impl Held {
    fn new() -> Self {
        Self { objects: HashMap::new(), kin: Kin::new(), drops: Vec::new() }
    }

    /// Gives back what is to be given back, if that can be said without a wait.
    fn tell(&mut self, link: &Link) {
        while !self.drops.is_empty() {
            let some = self.drops.len().min(crate::frame::DROPS_MAX);
            let drops = self.drops[..some].to_vec();
            if !link.tell(Request::Drop(drops)) {
                return;
            }
            self.drops.drain(..some);
        }
    }
}

fn pack_plain<T: Serialize + 'static>(value: &T) -> Result<Packed, String> {
    encode(value).map(|message| Packed::of(message, Vec::new())).map_err(|error| error.to_string())
}

/// Connects and greets.
fn meet(place: &Place) -> Result<(Link, Welcome), ManagerError> {
    let Place { address, key, .. } = place;
    let builder = Client::builder(address.clone())
        .map_err(|error| ManagerError::Connect { address: address.to_string(), error })?;
    let builder = match key {
        Some(key) => builder.authkey(key.as_bytes()),
        None => builder.without_authkey(),
    };
    let connection: Connection<Frame, Frame> =
        builder.connect().map_err(|error| ManagerError::Connect { address: address.to_string(), error })?;
    // A server whose machine is gone is noticed by whoever asks it something, as it notices clients.
    let _ = end_when_not_taken(connection.watch().fd);
    let greeted = greet(&connection).map_err(|why| why.about(address))?;
    Ok((Link::new(connection, greeted.client), greeted))
}

/// Why nobody was welcome.
enum Unwelcome {
    /// There are so many clients.
    Full(u64),
    NoManager(String),
}

impl Unwelcome {
    fn because(error: &dyn std::fmt::Display) -> Self {
        Self::NoManager(error.to_string())
    }

    fn about(self, address: &Address) -> ManagerError {
        let address = address.to_string();
        match self {
            Self::Full(limit) => ManagerError::TooManyClients { address, limit },
            Self::NoManager(reason) => ManagerError::NoManager { address, reason },
        }
    }
}

fn greet(connection: &Connection<Frame, Frame>) -> Result<Welcome, Unwelcome> {
    let name = procession_launch::current_process().name().to_owned();
    let hello = greeting(&Hello { pid: procession_sys::pid(), name }).map_err(Unwelcome::NoManager)?;
    connection.send(&hello).map_err(|error| Unwelcome::because(&error))?;
    let answer = connection.recv_timeout(GREETING_TIMEOUT).map_err(|error| Unwelcome::because(&error))?;
    read_greeting(&answer).ok_or_else(|| unwelcome(answer))
}

/// What a first frame says that is no greeting.
fn unwelcome(answer: Frame) -> Unwelcome {
    if let Ok(Response::Refuse { refusal, .. }) = Response::read(answer)
        && let Ok(refusal) = decode_slice::<Refusal>(&refusal, Vec::new())
    {
        return match refusal {
            Refusal::Limit { limit, .. } => Unwelcome::Full(limit),
            other => Unwelcome::because(&other),
        };
    }
    Unwelcome::NoManager("it does not speak as managers of this version do".to_owned())
}

/// A first frame.
pub(crate) fn greeting<T: Serialize + 'static>(value: &T) -> Result<Frame, String> {
    let message = encode(value).map_err(|error| error.to_string())?;
    Ok(Frame { bytes: [&GREETING, message.bytes()].concat(), descriptors: Vec::new() })
}

/// What a first frame says, if it is one.
pub(crate) fn read_greeting<T: serde::de::DeserializeOwned + 'static>(frame: &Frame) -> Option<T> {
    let bytes = frame.bytes.strip_prefix(&GREETING)?;
    decode_slice(bytes, Vec::new()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_was_given_very_often_is_given_back_but_for_one_reference() {
        let mut count = Count { proxies: 1, given: GIVEN_MAX - 2, since: 0 };
        assert_eq!(count.add(), None);
        assert_eq!(count.add(), Some(GIVEN_MAX - 1));
        assert_eq!((count.proxies, count.given), (3, 1));
        assert_eq!(count.add(), None);
        assert_eq!((count.proxies, count.given), (4, 2));
    }
}
