//! The server: its objects, its clients, and what it does with their requests.
//!
//! Relies on `seat.rs` for the threads that run it, and on `client.rs` for who is connected.

mod client; // Who is connected,
mod entry; // What there is,
mod graves; // and how it ends.
mod guests; // Who comes from other programs,
mod pace; // and how often each may ask.
mod registry;
mod tickets;

mod lead; // Who waits for requests and reads them,
mod seat; // and carries them out,
mod slow; // who is slow to read what comes of that,
mod standby; // what others do meanwhile,
mod within; // and what each is in the middle of.

#[cfg(test)]
mod rig; // Servers that nobody runs.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use procession_ipc::Listener;

pub use self::client::UNREAD_BYTES_MAX;
pub(crate) use self::client::{Caller, Client, Reply};
pub(crate) use self::entry::Entry;
pub(crate) use self::graves::bury;
use self::guests::Guests;
pub use self::guests::{GUESTS_MAX, QUESTIONS_AHEAD_MAX, REPLY_TIME_MAX};
pub(crate) use self::registry::{Registration, Registry};
use self::seat::Seat;
pub(crate) use self::seat::{is_in_place, own_server};
use self::slow::Slow;
pub use self::slow::UNREAD_TIME_MAX;
use self::standby::Standby;
pub use self::standby::THREADS_MAX;
use self::tickets::Tickets;
pub use self::tickets::{TICKET_TIME, TICKETS_MAX};
pub(crate) use self::within::{enter, is_within};
use crate::error::{ManagerError, Refusal};
use crate::frame::{Packed, Request};
use crate::host::Hosting;
use crate::identity::ObjectId;
use crate::info::{ClientInfo, INFOS_MAX, ObjectInfo};
use crate::limits::{self, Limits};
use crate::proxy::RawProxy;
use crate::spread::Spreading;
use crate::stock::{Charge, Stock};
use crate::travel::{Ticket, Traveling};
use crate::value::Form;
pub(crate) use crate::value::{Given, Site, Taken};

/// How many objects of a server have names.
pub const NAMES_MAX: usize = 65_536;

/// How long a server that ends waits for others: for its guests' threads, and for clients that have not read all answers yet.
const END_TIME: Duration = Duration::from_secs(1);

/// What a client has too many of.
const REFERENCES: &str = "objects that one client refers to (`Limits::references`)";

/// Those of which there is most, at most [`INFOS_MAX`].
fn most<T>(mut infos: Vec<T>, count: impl Fn(&T) -> u64) -> Vec<T> {
    infos.sort_by_key(|info| Reverse(count(info)));
    infos.truncate(INFOS_MAX);
    infos
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
    pub(crate) const REDEEM: MethodName = MethodName::internal("redeem").shown("the receipt of a proxy");
    pub(crate) const ATTACH: MethodName = MethodName::internal("attach");
    pub(crate) const SHUTDOWN: MethodName = MethodName::internal("shutdown");
    pub(crate) const COUNT: MethodName = MethodName::internal("number_of_objects");
    pub(crate) const OBJECTS: MethodName = MethodName::internal("objects");
    pub(crate) const CLIENTS: MethodName = MethodName::internal("clients");
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
    /// What the names take that clients have given; they stay as long as the server.
    names: Mutex<Vec<Charge>>,
    clients: Mutex<HashMap<u64, Arc<Client>>>,
    /// When which object is to be told of the time, each once.
    timers: Mutex<BTreeSet<(Instant, ObjectId)>>,
    is_ending: AtomicBool,
    tickets: Tickets,
    guests: Guests,
    limits: Limits,
    seat: Seat,
    slow: Slow,
    standby: Standby,
}

impl Server {
    pub(crate) fn new(
        name: &str,
        listener: Listener,
        registry: Registry,
        limits: Limits,
    ) -> Result<Arc<Self>, ManagerError> {
        let failed = |step| move |error| ManagerError::System { name: name.to_owned(), step, error };
        let id = ObjectId::random(Form::Native).map_err(failed("name itself"))?;
        crate::stock::set_limits(&limits);
        let seat = Seat::new(&listener, &limits).map_err(failed("watch its connections"))?;
        let slow = Slow::new().map_err(failed("watch its connections"))?;
        Ok(Arc::new(Self {
            id,
            listener,
            registry,
            objects: Mutex::default(),
            singles: Mutex::default(),
            names: Mutex::default(),
            clients: Mutex::default(),
            timers: Mutex::default(),
            is_ending: AtomicBool::new(false),
            tickets: Tickets::default(),
            guests: Guests::default(),
            limits,
            seat,
            slow,
            standby: Standby::new(),
        }))
    }

    /// Serves until it is told to end.
    pub(crate) fn run(self: &Arc<Self>) -> std::io::Result<()> {
        let served = self.serve();
        self.close_doors();
        // An object may keep a client that it is to answer, and that holds the object.
        let clients = std::mem::take(&mut *self.clients.lock());
        clients.values().for_each(|client| client.let_all_go());
        served
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Makes an object known.
    pub(crate) fn host(self: &Arc<Self>, host: Arc<dyn Hosting>) -> Result<Arc<Entry>, Refusal> {
        let id = ObjectId::random(host.form()).map_err(|error| Refusal::Construct { reason: error.to_string() })?;
        let entry = Arc::new(Entry::new(id, self, host));
        let mut objects = self.objects.lock();
        let count = objects.len() as u64 + 1;
        let checked = limits::check("objects (`Limits::objects`)", count, self.limits.objects as u64);
        if checked.is_ok() {
            objects.insert(id, Arc::downgrade(&entry));
        }
        drop(objects); // Its end takes this lock.
        checked.map(|()| entry)
    }

    fn forget(&self, object: ObjectId, wake: Option<Instant>) {
        self.objects.lock().remove(&object);
        if let Some(wake) = wake {
            self.timers.lock().remove(&(wake, object));
        }
    }

    /// Has an object told when a time has come, in place of another time.
    fn wake_at(&self, object: ObjectId, wake: Instant, instead: Option<Instant>) {
        let mut timers = self.timers.lock();
        if let Some(instead) = instead {
            timers.remove(&(instead, object));
        }
        timers.insert((wake, object));
    }

    /// Tells the objects whose time has come; when the next one's does.
    fn tick(&self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let mut timers = self.timers.lock();
            let &(wake, object) = timers.first()?;
            if wake > now {
                return Some(wake);
            }
            timers.pop_first();
            drop(timers);
            if object == ObjectId::SERVER {
                self.tickets.tick(now);
            }
            if let Ok(entry) = self.find(object) {
                entry.tick(now);
            }
        }
    }

    pub(crate) fn find(&self, object: ObjectId) -> Result<Arc<Entry>, Refusal> {
        self.objects.lock().get(&object).and_then(Weak::upgrade).ok_or(Refusal::NoObject { object })
    }

    /// Does what a client asks. What may take long is told to `seat`, so that somebody else leads meanwhile.
    fn handle(self: &Arc<Self>, client: &Arc<Client>, request: Request) {
        match request {
            Request::Call { call, object, method, is_answered, arguments } => {
                let caller = Caller::of_client(client, call, object, is_answered);
                client.count_call();
                match self.take(arguments, object.form()) {
                    Ok(arguments) if object == ObjectId::SERVER => self.ask(client, method, arguments, caller),
                    Ok(arguments) => self.call(object, method, arguments, caller),
                    Err(refusal) => caller.give(Err(refusal)),
                }
            }
            Request::Drop(drops) => client.let_go(&drops),
            Request::Ticket { ticket, object } => self.send_off(client, ticket, object),
            Request::Acknowledge { call, object } => self.settle(object, (client.number(), call), true),
            Request::Abandon { call, object } => self.settle(object, (client.number(), call), false),
            Request::GiveBack { call, object } => {
                if let Ok(entry) = self.find(object) {
                    entry.undelivered((client.number(), call));
                }
            }
        }
    }

    /// What a call came with.
    fn take(&self, arguments: Vec<Packed>, form: Form) -> Result<Vec<Given>, Refusal> {
        let bytes = arguments.iter().map(|packed| packed.bytes.len() as u64).sum();
        limits::check("bytes of a request (`Limits::request_bytes`)", bytes, self.limits.request_bytes)?;
        arguments.into_iter().map(|packed| self.given(packed, form)).collect()
    }

    fn call(&self, object: ObjectId, method: u64, arguments: Vec<Given>, caller: Caller) {
        let found = self.find(object).and_then(|entry| self.has_room(entry.is_users()).map(|()| entry));
        match found {
            Ok(entry) => entry.call(method, arguments, caller),
            Err(refusal) => caller.give(Err(refusal)),
        }
    }

    /// Refuses what may take long when there are few threads left.
    fn has_room(&self, is_users: bool) -> Result<(), Refusal> {
        let limit = THREADS_MAX as u64;
        match self.standby.has_room(is_users) {
            true => Ok(()),
            false => Err(Refusal::Limit { of: "calls that take long at once".into(), limit }),
        }
    }

    /// A client has the answer to a call, or does not want it any more.
    fn settle(&self, object: ObjectId, call: (u64, u64), is_received: bool) {
        if let Ok(entry) = self.find(object) {
            entry.settle(call, is_received);
        }
    }

    /// A value that has come, and what it refers to.
    fn given(&self, mut packed: Packed, form: Form) -> Result<Given, Refusal> {
        let references = std::mem::take(&mut packed.references);
        let references = references.into_iter().map(|object| self.find(object).map(RawProxy::local));
        let references = references.collect::<Result<_, _>>()?;
        Ok(Given { message: Some(packed.into_message()), references, form })
    }

    /// What the server itself is asked.
    fn ask(self: &Arc<Self>, client: &Client, method: u64, arguments: Vec<Given>, caller: Caller) {
        let counted = client.asks();
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next().unwrap_or_default();
        let limit = self.limits.references as u64;
        let may_refer = || limits::check(REFERENCES, client.references_at_most() as u64, limit);
        let answer = if method == asks::CREATE.signature {
            may_refer()
                .and_then(|()| self.has_room(true))
                .and_then(|()| next().read::<String>())
                .and_then(|name| self.create(&name, next()))
        } else if method == asks::MAKE.signature {
            may_refer()
                .and_then(|()| next().read::<Stock>())
                .and_then(|stock| self.share(crate::stock::make(stock, next(), next())?))
        } else if method == asks::GET.signature {
            may_refer().and_then(|()| next().read::<String>()).and_then(|name| self.single(&name, next()))
        } else if method == asks::PUBLISH.signature {
            next().read::<String>().and_then(|name| self.publish(name, next()))
        } else if method == asks::REDEEM.signature {
            may_refer()
                .and_then(|()| next().read::<(ObjectId, Ticket)>())
                .and_then(|(object, ticket)| Taken::of(self.id, &RawProxy::local(self.redeem(object, ticket)?)))
        } else if method == asks::ATTACH.signature {
            next().read::<Vec<ObjectId>>().and_then(|objects| self.attach(client, objects))
        } else if method == asks::COUNT.signature {
            Taken::of(self.id, &self.count())
        } else if method == asks::OBJECTS.signature {
            Taken::of(self.id, &self.object_infos())
        } else if method == asks::CLIENTS.signature {
            Taken::of(self.id, &self.client_infos())
        } else if method == asks::SHUTDOWN.signature {
            Taken::of(self.id, &())
        } else {
            Err(Refusal::NoMethod { object: "server".into(), method: format!("{method:016x}") })
        };
        drop(counted); // Before the client has the answer, and may ask again.
        caller.give(answer.map(|taken| vec![taken]));
        // When that was told: all connections are closed then.
        if method == asks::SHUTDOWN.signature {
            self.is_ending.store(true, Ordering::Relaxed);
        }
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
        let is_sender_there = || self.clients.lock().contains_key(&ticket.client);
        self.tickets.redeem(ticket, object, is_sender_there).map_or_else(|| self.find(object), Ok)
    }

    /// How many objects there are.
    fn count(&self) -> u64 {
        self.objects.lock().len() as u64
    }

    fn create(self: &Arc<Self>, name: &str, arguments: Given) -> Result<Taken, Refusal> {
        self.share(self.make(name, arguments)?)
    }

    /// Makes an object of a type that is registered, or that every manager has: then it holds data.
    fn make(&self, name: &str, arguments: Given) -> Result<Arc<dyn Hosting>, Refusal> {
        if self.registry.has_type(name) {
            return self.registry.make(name, arguments);
        }
        let made = crate::stock::make_untyped(name, arguments, self.id)?;
        made.ok_or_else(|| Refusal::NoName { name: name.to_owned() })
    }

    /// A first reference to a new object.
    fn share(self: &Arc<Self>, host: Arc<dyn Hosting>) -> Result<Taken, Refusal> {
        let entry = self.host(host)?;
        Taken::of(self.id, &RawProxy::local(entry))
    }

    fn single(self: &Arc<Self>, name: &str, wanted: Given) -> Result<Taken, Refusal> {
        let entry = self.named(name)?;
        registry::check_kind(name, entry.type_name(), wanted)?;
        Taken::of(self.id, &RawProxy::local(entry))
    }

    /// The object of a name.
    fn named(self: &Arc<Self>, name: &str) -> Result<Arc<Entry>, Refusal> {
        let known = || self.singles.lock().get(name).cloned();
        if let Some(entry) = known() {
            return Ok(entry);
        }
        let Some(single) = self.registry.object(name) else {
            // Somebody else may have had it meanwhile.
            return known().ok_or_else(|| Refusal::NoName { name: name.to_owned() });
        };
        self.has_room(false)?;
        let mut single = single.lock(); // As long as it is made, others wait who want the same.
        if let Some(entry) = known() {
            return Ok(entry);
        }
        let entry = self.host(single.host()?)?;
        self.singles.lock().insert(name.to_owned(), Arc::clone(&entry));
        self.registry.forget(name);
        Ok(entry)
    }

    fn publish(&self, name: String, object: Given) -> Result<Taken, Refusal> {
        let object: RawProxy = object.read()?;
        let entry =
            object.into_entry().ok_or_else(|| Refusal::Arguments { reason: "it is another server's".into() })?;
        self.name(name, entry)?;
        Taken::of(self.id, &())
    }

    /// Gives an object a name, if that is free.
    fn name(&self, name: String, entry: Arc<Entry>) -> Result<(), Refusal> {
        let mut singles = self.singles.lock();
        if singles.contains_key(&name) || self.registry.object(&name).is_some() {
            return Err(Refusal::NameTaken { name });
        }
        if singles.len() >= NAMES_MAX {
            return Err(Refusal::Limit { of: "names".into(), limit: NAMES_MAX as u64 });
        }
        self.names.lock().push(Charge::checked(name.len())?);
        singles.insert(name, entry);
        Ok(())
    }

    /// Gives references to what a client says that it refers to, as one that was forked does.
    fn attach(&self, client: &Client, objects: Vec<ObjectId>) -> Result<Taken, Refusal> {
        limits::check(REFERENCES, (client.references() + objects.len()) as u64, self.limits.references as u64)?;
        for object in objects {
            if let Ok(entry) = self.find(object) {
                client.hold(entry);
            }
        }
        Taken::of(self.id, &())
    }

    /// The objects, those that were called most.
    fn object_infos(&self) -> Vec<ObjectInfo> {
        let entries: Vec<Weak<Entry>> = self.objects.lock().values().cloned().collect();
        let infos = entries.iter().filter_map(Weak::upgrade).map(|entry| entry.info()).collect();
        most(infos, |info: &ObjectInfo| info.calls)
    }

    /// The clients, those that have called most.
    fn client_infos(&self) -> Vec<ClientInfo> {
        let infos = self.clients.lock().values().map(|client| client.info()).collect();
        most(infos, |info: &ClientInfo| info.calls)
    }

    /// Somebody has connected and greeted.
    fn welcome(&self, client: Arc<Client>) {
        self.clients.lock().insert(client.number(), client);
    }

    /// A client is gone: what it held is let go.
    fn farewell(&self, client: &Client) {
        self.clients.lock().remove(&client.number());
        client.let_all_go();
        self.part(client.number());
    }

    /// Nobody is called by this number any more: what somebody had by it is given up.
    fn part(&self, client: u64) {
        if let Some(until) = self.tickets.part(client) {
            self.wake_at(ObjectId::SERVER, until, None);
        }
        let objects: Vec<Weak<Entry>> = self.objects.lock().values().cloned().collect();
        objects.iter().filter_map(Weak::upgrade).for_each(|entry| entry.part(client));
    }
}
