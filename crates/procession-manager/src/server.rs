//! The server: its objects, its clients, and what it does with their requests.
//!
//! Relies on `seat.rs` for the threads that run it, and on `client.rs` for who is connected.

mod client;
mod entry;
mod registry;
mod seat;
mod tickets;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use procession_ipc::Listener;
use procession_wire::{EncodeError, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::client::{Caller, Client, Reply};
pub use self::client::{UNREAD_BYTES_MAX, UNREAD_TIME_MAX};
pub(crate) use self::entry::Entry;
pub(crate) use self::registry::{Registration, Registry};
use self::seat::Seat;
pub use self::seat::{CLIENTS_MAX, THREADS_MAX};
pub(crate) use self::seat::{is_in_place, own_server};
use self::tickets::Tickets;
pub use self::tickets::{TICKET_TIME, TICKETS_MAX};
use crate::error::{CallError, ManagerError, Refusal};
use crate::frame::{Packed, Request};
use crate::host::Hosting;
use crate::identity::ObjectId;
use crate::proxy::{MethodName, RawProxy};
use crate::scope;
use crate::spread::Spreading;
use crate::stock::Stock;
use crate::travel::{Ticket, Traveling};

/// How many objects of a server have names.
pub const NAMES_MAX: usize = 65_536;

/// A value that a server has been given, with what it refers to.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) message: Option<Message>,
    pub(crate) references: Vec<RawProxy>,
}

impl Given {
    /// One that has been written for a server.
    pub(crate) fn written(
        method: MethodName,
        written: Result<(Message, Vec<RawProxy>), EncodeError>,
    ) -> Result<Self, CallError> {
        let (message, references) = written.map_err(|error| CallError::Arguments { method: method.name, error })?;
        Ok(Self { message: Some(message), references })
    }

    /// The value, in the server.
    pub(crate) fn read<T: DeserializeOwned + 'static>(self) -> Result<T, Refusal> {
        let (message, references) = self.into_parts();
        scope::unpack(message, references).map_err(|error| Refusal::Arguments { reason: error.to_string() })
    }

    /// The value that a call has returned.
    pub(crate) fn result<T: DeserializeOwned + 'static>(self, method: MethodName) -> Result<T, CallError> {
        let (message, references) = self.into_parts();
        scope::unpack(message, references).map_err(|error| CallError::Output { method: method.name, error })
    }

    /// What goes in a frame, and what it refers to, which is to be kept until it has arrived.
    pub(crate) fn into_packed(self) -> (Packed, Vec<RawProxy>) {
        let (message, references) = self.into_parts();
        let names = references.iter().map(RawProxy::object).collect();
        (Packed::of(message, names), references)
    }

    fn into_parts(self) -> (Message, Vec<RawProxy>) {
        (self.message.unwrap_or_else(|| Message::from_parts(Vec::new(), Vec::new())), self.references)
    }
}

impl From<Taken> for Given {
    fn from(Taken { message, references }: Taken) -> Self {
        Self { message: Some(message), references }
    }
}

/// A value that a server gives, with what it refers to.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) message: Message,
    pub(crate) references: Vec<RawProxy>,
}

impl Taken {
    pub(crate) fn of<T: Serialize + 'static>(server: ObjectId, value: &T) -> Result<Self, Refusal> {
        Self::packed(scope::pack(server, value))
    }

    /// One that borrows, and is no vector of numbers.
    pub(crate) fn of_lent<T: Serialize + ?Sized>(server: ObjectId, value: &T) -> Result<Self, Refusal> {
        Self::packed(scope::pack_lent(server, value))
    }

    fn packed(packed: Result<(Message, Vec<RawProxy>), EncodeError>) -> Result<Self, Refusal> {
        let (message, references) = packed.map_err(|error| Refusal::Output { reason: error.to_string() })?;
        Ok(Self { message, references })
    }
}

/// The object of a reference that has come to the process which is its server; none in any other.
pub(crate) fn redeem_here(traveling: &Traveling) -> Option<Result<Arc<Entry>, Refusal>> {
    let server = own_server().filter(|server| server.id == traveling.server)?;
    Some(server.redeem(traveling.object, traveling.ticket))
}

/// What clients may ask the server itself.
pub(crate) mod asks {
    use crate::proxy::MethodName;

    pub(crate) const CREATE: MethodName = MethodName::internal("create");
    pub(crate) const MAKE: MethodName = MethodName::internal("make");
    pub(crate) const GET: MethodName = MethodName::internal("get");
    pub(crate) const PUBLISH: MethodName = MethodName::internal("publish");
    pub(crate) const REDEEM: MethodName = MethodName::internal("redeem");
    pub(crate) const ATTACH: MethodName = MethodName::internal("attach");
    pub(crate) const SHUTDOWN: MethodName = MethodName::internal("shutdown");
    pub(crate) const OBJECTS: MethodName = MethodName::internal("number_of_objects");
}

/// A server.
pub(crate) struct Server {
    /// What it is called.
    pub(crate) id: ObjectId,
    listener: Listener,
    registry: Registry,
    objects: Mutex<HashMap<ObjectId, Weak<Entry>, Spreading>>,
    /// The objects that were registered, once they are asked for.
    singles: Mutex<HashMap<String, Arc<Entry>>>,
    clients: Mutex<HashMap<u64, Arc<Client>>>,
    timers: Mutex<BinaryHeap<Reverse<(Instant, ObjectId)>>>,
    is_ending: AtomicBool,
    tickets: Tickets,
    seat: Seat,
}

impl Server {
    pub(crate) fn new(name: &str, listener: Listener, registry: Registry) -> Result<Arc<Self>, ManagerError> {
        let failed = |step| move |error| ManagerError::System { name: name.to_owned(), step, error };
        let id = ObjectId::random().map_err(failed("name itself"))?;
        let seat = Seat::new(&listener).map_err(failed("watch its connections"))?;
        Ok(Arc::new(Self {
            id,
            listener,
            registry,
            objects: Mutex::default(),
            singles: Mutex::default(),
            clients: Mutex::default(),
            timers: Mutex::default(),
            is_ending: AtomicBool::new(false),
            tickets: Tickets::default(),
            seat,
        }))
    }

    /// Serves until it is told to end.
    pub(crate) fn run(self: &Arc<Self>) -> std::io::Result<()> {
        let served = self.seat.run(self);
        self.clients.lock().clear();
        served
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Makes an object known.
    pub(crate) fn host(self: &Arc<Self>, host: Arc<dyn Hosting>) -> Result<Arc<Entry>, Refusal> {
        let id = ObjectId::random().map_err(|error| Refusal::Construct { reason: error.to_string() })?;
        let entry = Arc::new(Entry::new(id, self, host));
        self.objects.lock().insert(id, Arc::downgrade(&entry));
        Ok(entry)
    }

    fn forget(&self, object: ObjectId) {
        self.objects.lock().remove(&object);
    }

    /// Has an object told when a time has come.
    fn wake_at(&self, wake: Instant, entry: &Arc<Entry>) {
        self.timers.lock().push(Reverse((wake, entry.id())));
    }

    /// Tells the objects whose time has come; when the next one's does.
    fn tick(&self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let mut timers = self.timers.lock();
            let &Reverse((wake, object)) = timers.peek()?;
            if wake > now {
                return Some(wake);
            }
            timers.pop();
            drop(timers);
            if object == ObjectId::SERVER {
                self.tickets.tick(now);
            }
            if let Ok(entry) = self.find(object) {
                entry.tick(now);
            }
        }
    }

    fn find(&self, object: ObjectId) -> Result<Arc<Entry>, Refusal> {
        self.objects.lock().get(&object).and_then(Weak::upgrade).ok_or(Refusal::NoObject { object })
    }

    /// Does what a client asks. What may take long is told to `seat`, so that somebody else leads meanwhile.
    fn handle(self: &Arc<Self>, client: &Arc<Client>, request: Request) {
        match request {
            Request::Call { call, object, method, is_answered, arguments } => {
                let caller = Caller::of_client(client, call, is_answered);
                match arguments.into_iter().map(|packed| self.given(packed)).collect::<Result<Vec<_>, _>>() {
                    Ok(arguments) if object == ObjectId::SERVER => self.ask(client, method, arguments, caller),
                    Ok(arguments) => self.call(object, method, arguments, caller),
                    Err(refusal) => caller.give(Err(refusal)),
                }
            }
            Request::Drop(drops) => client.let_go(&drops),
            Request::Ticket { ticket, object } => self.send_off(client, ticket, object),
            Request::Acknowledge { call, object } => self.settle(object, (client.number(), call), true),
            Request::Abandon { call, object } => self.settle(object, (client.number(), call), false),
        }
    }

    fn call(&self, object: ObjectId, method: u64, arguments: Vec<Given>, caller: Caller) {
        match self.find(object) {
            Ok(entry) => entry.call(method, arguments, caller),
            Err(refusal) => caller.give(Err(refusal)),
        }
    }

    /// A client has the answer to a call, or does not want it any more.
    fn settle(&self, object: ObjectId, call: (u64, u64), is_received: bool) {
        if let Ok(entry) = self.find(object) {
            entry.settle(call, is_received);
        }
    }

    /// A value that has come, and what it refers to.
    fn given(&self, mut packed: Packed) -> Result<Given, Refusal> {
        let references = std::mem::take(&mut packed.references);
        let references = references.into_iter().map(|object| self.find(object).map(RawProxy::local));
        let references = references.collect::<Result<_, _>>()?;
        Ok(Given { message: Some(packed.into_message()), references })
    }

    /// What the server itself is asked.
    fn ask(self: &Arc<Self>, client: &Client, method: u64, arguments: Vec<Given>, caller: Caller) {
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next().unwrap_or_default();
        let answer = if method == asks::CREATE.signature {
            next().read::<String>().and_then(|name| self.create(&name, next()))
        } else if method == asks::MAKE.signature {
            next().read::<Stock>().and_then(|stock| self.share(crate::stock::make(stock, next())?))
        } else if method == asks::GET.signature {
            next().read::<String>().and_then(|name| self.single(&name))
        } else if method == asks::PUBLISH.signature {
            next().read::<String>().and_then(|name| self.publish(name, next()))
        } else if method == asks::REDEEM.signature {
            next()
                .read::<(ObjectId, Ticket)>()
                .and_then(|(object, ticket)| Taken::of(self.id, &RawProxy::local(self.redeem(object, ticket)?)))
        } else if method == asks::ATTACH.signature {
            next().read::<Vec<ObjectId>>().and_then(|objects| self.attach(client, objects))
        } else if method == asks::OBJECTS.signature {
            Taken::of(self.id, &(self.objects.lock().len() as u64))
        } else if method == asks::SHUTDOWN.signature {
            self.is_ending.store(true, Ordering::Relaxed);
            Taken::of(self.id, &())
        } else {
            Err(Refusal::NoMethod { object: "server".into(), method: format!("{method:016x}") })
        };
        caller.give(answer.map(|taken| vec![taken]));
    }

    /// A client sends a reference to somebody.
    fn send_off(&self, client: &Client, number: u64, object: ObjectId) {
        let ticket = Ticket { client: client.number(), number };
        let Ok(entry) = self.find(object) else { return };
        if !self.tickets.issue(ticket, entry) {
            tracing::warn!(
                client = client.hello.pid,
                limit = TICKETS_MAX,
                "a proxy that was sent holds nothing, as there are so many"
            );
        }
    }

    /// Somebody has received a reference.
    fn redeem(&self, object: ObjectId, ticket: Ticket) -> Result<Arc<Entry>, Refusal> {
        let is_sender_there = self.clients.lock().contains_key(&ticket.client);
        self.tickets
            .redeem(ticket, is_sender_there)
            .filter(|entry| entry.id() == object)
            .map_or_else(|| self.find(object), Ok)
    }

    fn create(self: &Arc<Self>, name: &str, arguments: Given) -> Result<Taken, Refusal> {
        self.share(self.registry.make(name, arguments)?)
    }

    /// A first reference to a new object.
    fn share(self: &Arc<Self>, host: Arc<dyn Hosting>) -> Result<Taken, Refusal> {
        let entry = self.host(host)?;
        Taken::of(self.id, &RawProxy::local(entry))
    }

    fn single(self: &Arc<Self>, name: &str) -> Result<Taken, Refusal> {
        let mut singles = self.singles.lock();
        if let Some(entry) = singles.get(name) {
            return Taken::of(self.id, &RawProxy::local(Arc::clone(entry)));
        }
        let entry = self.host(self.registry.object(name)?)?;
        singles.insert(name.to_owned(), Arc::clone(&entry));
        Taken::of(self.id, &RawProxy::local(entry))
    }

    /// Gives an object a name, if that is free.
    fn publish(&self, name: String, object: Given) -> Result<Taken, Refusal> {
        let object: RawProxy = object.read()?;
        let entry =
            object.into_entry().ok_or_else(|| Refusal::Arguments { reason: "it is another server's".into() })?;
        let mut singles = self.singles.lock();
        if singles.contains_key(&name) || self.registry.has_object(&name) {
            return Err(Refusal::NameTaken { name });
        }
        if singles.len() >= NAMES_MAX {
            return Err(Refusal::Limit { of: "names".into(), limit: NAMES_MAX as u64 });
        }
        singles.insert(name, entry);
        Taken::of(self.id, &())
    }

    /// Gives references to what a client says that it refers to, as one that was forked does.
    fn attach(&self, client: &Client, objects: Vec<ObjectId>) -> Result<Taken, Refusal> {
        for object in objects {
            if let Ok(entry) = self.find(object) {
                client.hold(entry);
            }
        }
        Taken::of(self.id, &())
    }

    /// Somebody has connected and greeted.
    fn welcome(&self, client: Arc<Client>) {
        self.clients.lock().insert(client.number(), client);
    }

    /// A client is gone: what it held is let go.
    fn farewell(&self, client: &Client) {
        self.clients.lock().remove(&client.number());
        client.let_all_go();
        if let Some(until) = self.tickets.part(client.number()) {
            self.timers.lock().push(Reverse((until, ObjectId::SERVER)));
        }
        let objects: Vec<Weak<Entry>> = self.objects.lock().values().cloned().collect();
        objects.iter().filter_map(Weak::upgrade).for_each(|entry| entry.part(client.number()));
    }
}
