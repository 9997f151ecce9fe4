//! Managers: how a server is started, reached and ended.
//!
//! Relies on `procession-launch` for its process, and on [`Remote`] to talk to it.

use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

use procession_ipc::{Address, Listener, RecvError, Sender, ToAddress, pipe_simplex};
use procession_launch::{AuthKey, Context, Process, current_process};
use procession_sys::{Disposition, Signal, set_disposition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, CodecError, CodecListener, CodecPlan, Door};
use crate::error::{CallError, ManagerError, Refusal};
use crate::identity::ObjectId;
use crate::info::{ClientInfo, ObjectInfo};
use crate::limits::Limits;
use crate::proxy::{MethodName, Proxy};
use crate::remote::{Place, Remote};
use crate::server::{Given, Registration, Registry, Server, asks};
use crate::shared::{Construct, Shared};
use crate::stock::Stock;
use crate::value::conversions_of;

/// How long a server that was asked to end may take before it is told to by a signal, and then before it is killed.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// What a started server says.
type Started = Result<(Address, Vec<Address>), String>;

/// A server of objects, as whoever started it, or has connected to it, has it.
///
/// # Crashes
/// A server that was started ends with the process that started it, however that ends.
///
/// # Python
/// `multiprocessing.managers.BaseManager`.
#[derive(Debug)]
pub struct BaseManager {
    remote: Arc<Remote>,
    /// The server's, if it was started here.
    process: Option<Process<()>>,
    /// Where it listens for programs that are not ours, if it was started here.
    codecs: Vec<Address>,
}

impl BaseManager {
    /// A manager to be given types, objects, an address and more before it is started.
    #[must_use]
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// Connects to a server that another program has started, or this one.
    ///
    /// # Errors
    /// [`ManagerError::Connect`], [`ManagerError::NoManager`].
    pub fn connect(address: impl ToAddress, authkey: impl AsRef<[u8]>) -> Result<Self, ManagerError> {
        Self::builder().address(address).authkey(authkey).connect()
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.remote.address()
    }

    /// Where the server listens for programs that are not ours, in the order of [`ManagerBuilder::codec`]; nothing if it was
    /// not started here.
    #[must_use]
    pub fn codec_addresses(&self) -> &[Address] {
        &self.codecs
    }

    /// The number of the server's process, if this manager has started it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid())
    }

    /// Makes an object of a registered type: calls its `new` with these arguments, a tuple, in the server.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NoName`](crate::Refusal::NoName) for a type that is not registered, and with
    /// [`Refusal::Construct`](crate::Refusal::Construct) for what `new` said; and what every call may end with.
    pub fn create<T: Construct>(&self, arguments: T::Arguments) -> Result<T::Proxy, CallError> {
        let arguments = [
            self.remote.pack(asks::CREATE, &type_name::<T>().to_owned())?,
            self.remote.pack(asks::CREATE, &arguments)?,
        ];
        self.ask(asks::CREATE, arguments.into()).map(T::Proxy::from_raw)
    }

    /// A proxy of the object that is registered, or was published, under this name.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NoName`](crate::Refusal::NoName); and what every call may end with.
    pub fn get<P: Proxy>(&self, name: &str) -> Result<P, CallError> {
        let name = self.remote.pack(asks::GET, &name.to_owned())?;
        self.ask(asks::GET, vec![name]).map(P::from_raw)
    }

    /// Gives an object of this server a name, under which every client gets it. It lives as long as the server then.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NameTaken`](crate::Refusal::NameTaken); and what every call may end with.
    ///
    /// # Python
    /// `register` with a `callable` that returns one object.
    pub fn publish<P: Proxy>(&self, name: &str, object: &P) -> Result<(), CallError> {
        let arguments =
            vec![self.remote.pack(asks::PUBLISH, &name.to_owned())?, self.remote.pack(asks::PUBLISH, object.as_raw())?];
        self.ask(asks::PUBLISH, arguments)
    }

    /// How many objects the server has.
    ///
    /// # Errors
    /// What every call may end with.
    pub fn number_of_objects(&self) -> Result<u64, CallError> {
        self.ask(asks::COUNT, Vec::new())
    }

    /// What the server has, and how much each is used: those that were called most, at most [`INFOS_MAX`](crate::INFOS_MAX).
    ///
    /// # Errors
    /// What every call may end with.
    ///
    /// # Python
    /// `BaseManager._debug_info`, which shows references only.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let jobs = manager.queue::<String>()?;
    /// jobs.put(&"sweep".to_string())?;
    /// let objects = manager.objects()?;
    /// assert_eq!((objects[0].type_name.as_str(), objects[0].calls, objects[0].references), ("queue", 1, 1));
    /// println!("{}", objects[0]); // 5bd0…: queue: 1 references, 1 calls in 2.1µs, 0 waiting
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn objects(&self) -> Result<Vec<ObjectInfo>, CallError> {
        self.ask(asks::OBJECTS, Vec::new())
    }

    /// Who is connected to the server, this process among them: those that have called most, at most
    /// [`INFOS_MAX`](crate::INFOS_MAX).
    ///
    /// # Errors
    /// What every call may end with.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let clients = manager.clients()?;
    /// assert_eq!((clients.len(), clients[0].pid), (1, std::process::id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clients(&self) -> Result<Vec<ClientInfo>, CallError> {
        self.ask(asks::CLIENTS, Vec::new())
    }

    /// Ends the server. What it has is lost, and every call of every client is an error from then on.
    ///
    /// A server that this manager has started is waited for: for [`SHUTDOWN_TIMEOUT`], then it is terminated, then killed.
    ///
    /// # Errors
    /// What every call may end with, if it was not started here.
    pub fn shutdown(mut self) -> Result<(), CallError> {
        let asked = self.ask::<()>(asks::SHUTDOWN, Vec::new());
        match self.process.take() {
            Some(process) => {
                end(&process);
                Ok(())
            }
            None => asked,
        }
    }

    /// Makes an object that every manager can make.
    pub(crate) fn make<P: Proxy, A: Serialize + 'static>(&self, stock: Stock, of: &A) -> Result<P, CallError> {
        let arguments = vec![self.remote.pack(asks::MAKE, &stock)?, self.remote.pack(asks::MAKE, of)?];
        self.ask(asks::MAKE, arguments).map(P::from_raw)
    }

    /// The same for one that needs functions of this program; from a server that runs another one, the untyped object.
    pub(crate) fn make_typed<P: Proxy, A: Serialize + 'static>(
        &self,
        stock: Stock,
        name: &str,
        of: &A,
    ) -> Result<P, CallError> {
        match self.make(stock, of) {
            Err(CallError::Refused { refusal: Refusal::NoFunction { .. }, .. }) => {
                let arguments =
                    vec![self.remote.pack(asks::CREATE, &name.to_owned())?, self.remote.pack(asks::CREATE, &())?];
                self.ask(asks::CREATE, arguments).map(P::from_raw)
            }
            made => made,
        }
    }

    /// The same for a single value.
    pub(crate) fn make_value<P, T>(&self, value: &T) -> Result<P, CallError>
    where
        P: Proxy,
        T: Serialize + DeserializeOwned + 'static,
    {
        let conversions = conversions_of::<T>();
        let arguments = vec![
            self.remote.pack(asks::MAKE, &Stock::Value)?,
            self.remote.pack(asks::MAKE, value)?,
            self.remote.pack(asks::MAKE, &conversions)?,
        ];
        self.ask(asks::MAKE, arguments).map(P::from_raw)
    }

    /// Asks the server itself.
    fn ask<R: DeserializeOwned + 'static>(&self, method: MethodName, arguments: Vec<Given>) -> Result<R, CallError> {
        let mut results = self.remote.call(ObjectId::SERVER, method, arguments)?;
        results.pop().unwrap_or_default().result(method)
    }
}

impl Drop for BaseManager {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            let _ = self.ask::<()>(asks::SHUTDOWN, Vec::new()); // It has ended, then.
            end(&process);
        }
    }
}

/// Waits for a server that was asked to end, and sees to it.
fn end(process: &Process<()>) {
    let has_ended = |ended: Result<Option<_>, _>| ended.is_ok_and(|status: Option<_>| status.is_some());
    if has_ended(process.wait_timeout(SHUTDOWN_TIMEOUT)) {
        return;
    }
    let _ = process.terminate();
    if !has_ended(process.wait_timeout(SHUTDOWN_TIMEOUT)) {
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// A manager that is not started yet.
#[derive(Debug)]
pub struct ManagerBuilder {
    name: String,
    context: Context,
    address: Option<Address>,
    key: Option<Vec<u8>>,
    call_timeout: Option<Duration>,
    limits: Limits,
    registrations: Vec<Registration>,
    codecs: Vec<CodecPlan>,
    /// What went wrong first.
    error: Option<ManagerError>,
}

impl Default for ManagerBuilder {
    fn default() -> Self {
        Self {
            name: "SyncManager".to_owned(),
            context: Context::default(),
            address: None,
            key: None,
            call_timeout: None,
            limits: Limits::default(),
            registrations: Vec::new(),
            codecs: Vec::new(),
            error: None,
        }
    }
}

impl ManagerBuilder {
    /// What the server's process is called.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How the server's process is started.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Where the server listens; otherwise at a Unix address of its own, which only processes of this user reach.
    #[must_use]
    pub fn address(mut self, address: impl ToAddress) -> Self {
        match address.to_address() {
            Ok(address) => self.address = Some(address),
            Err(error) => self.fail(ManagerError::Address { error }),
        }
        self
    }

    /// The secret that clients and server prove to each other; otherwise the program's own, which its processes have.
    #[must_use]
    pub fn authkey(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// How long a call may take before it is [`CallError::TimedOut`]; otherwise as long as it takes.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// How much the server takes from its clients; otherwise what [`Limits`] says by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Has clients make objects of this type, by [`BaseManager::create`]. The name is for clients that do not have the type.
    #[must_use]
    pub fn register<T: Construct>(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        match Registration::of_type::<T>(name.clone()) {
            Ok(registration) => self.registrations.push(registration),
            Err(error) => self.refuse(name, &error),
        }
        self
    }

    /// Has clients get this one object, by [`BaseManager::get`]. The server has a copy of what is given.
    #[must_use]
    pub fn register_object<T>(mut self, name: impl Into<String>, object: T) -> Self
    where
        T: Shared + Serialize + DeserializeOwned,
    {
        let name = name.into();
        match Registration::of_object(name.clone(), &object) {
            Ok(registration) => self.registrations.push(registration),
            Err(error) => self.refuse(name, &error),
        }
        self
    }

    /// Has the server listen for programs that are not ours, too, which speak as this codec does and know the same key.
    ///
    /// The codec is made in the server's process. [`BaseManager::codec_addresses`] tells where it is reached.
    #[must_use]
    pub fn codec<C: Codec + Default>(mut self, listener: CodecListener) -> Self {
        match CodecPlan::of::<C>(listener) {
            Ok(plan) => self.codecs.push(plan),
            Err(error) => self.refuse(type_name::<C>().to_owned(), &error),
        }
        self
    }

    fn refuse(&mut self, registered: String, reason: &dyn std::fmt::Display) {
        let (name, reason) = (self.name.clone(), reason.to_string());
        self.fail(ManagerError::Registration { name, registered, reason });
    }

    fn fail(&mut self, error: ManagerError) {
        self.error.get_or_insert(error);
    }

    fn check(&mut self) -> Result<(), ManagerError> {
        self.error.take().map_or(Ok(()), Err)
    }

    fn key(&self) -> Vec<u8> {
        self.key.clone().unwrap_or_else(|| current_process().authkey().as_bytes().to_vec())
    }

    /// Starts the server in a process of its own, and connects to it.
    ///
    /// # Errors
    /// [`ManagerError`]; nothing is left then.
    ///
    /// # Python
    /// `BaseManager.start`.
    pub fn start(mut self) -> Result<BaseManager, ManagerError> {
        self.check()?;
        let name = self.name.clone();
        let (receiver, sender) = pipe_simplex::<Started>().map_err(|error| ManagerError::System {
            name: name.clone(),
            step: "be heard",
            error,
        })?;
        let key = self.key();
        let plan = Plan {
            name: name.clone(),
            address: self.address.clone(),
            key: key.clone(),
            limits: self.limits,
            registrations: self.registrations,
            codecs: self.codecs,
        };
        let process = self.context.builder(serve, (plan, sender)).name(name.clone()).daemon(true);
        let process =
            process.start().map_err(|error| ManagerError::Start { name: name.clone(), error: Box::new(error) })?;
        let (address, codecs) = match receiver.recv() {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(reason)) => return Err(ManagerError::Ended { name, reason }),
            Err(error) => return Err(ManagerError::Ended { name, reason: became(process, &error) }),
        };
        let place = Place { address, key: key_of(&key), call_timeout: self.call_timeout };
        let connected = Remote::connect(place);
        match connected {
            Ok(remote) => Ok(BaseManager { remote, process: Some(process), codecs }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// Connects to a server that is there.
    ///
    /// # Errors
    /// [`ManagerError::Connect`], [`ManagerError::NoManager`], [`ManagerError::NoAddress`].
    ///
    /// # Python
    /// `BaseManager.connect`.
    pub fn connect(mut self) -> Result<BaseManager, ManagerError> {
        self.check()?;
        let Some(address) = self.address.clone() else { return Err(ManagerError::NoAddress) };
        let place = Place { address, key: key_of(&self.key()), call_timeout: self.call_timeout };
        Ok(BaseManager { remote: Remote::connect(place)?, process: None, codecs: Vec::new() })
    }

    /// A server to be run in this process.
    ///
    /// # Errors
    /// [`ManagerError`]; nothing is left then.
    ///
    /// # Python
    /// `BaseManager.get_server`.
    pub fn get_server(mut self) -> Result<ManagerServer, ManagerError> {
        self.check()?;
        let key = self.key();
        let (limits, registrations, codecs) = (self.limits, self.registrations, self.codecs);
        Plan { name: self.name, address: self.address, key, limits, registrations, codecs }.listen()
    }
}

/// A server in this process.
pub struct ManagerServer {
    name: String,
    server: Arc<Server>,
    address: Address,
    doors: Vec<Door>,
}

impl ManagerServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where it listens for programs that are not ours, in the order of [`ManagerBuilder::codec`].
    #[must_use]
    pub fn codec_addresses(&self) -> Vec<Address> {
        self.doors.iter().map(|door| door.listener.address().clone()).collect()
    }

    /// Serves until a client shuts it down.
    ///
    /// # Errors
    /// [`ManagerError::System`] when it cannot have a thread.
    pub fn serve_forever(self) -> Result<(), ManagerError> {
        let name = self.name;
        let opened = self.doors.into_iter().try_for_each(|door| self.server.open(door));
        opened.and_then(|()| self.server.run()).map_err(|error| ManagerError::System {
            name,
            step: "start a thread",
            error,
        })
    }
}

impl std::fmt::Debug for ManagerServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagerServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What a server is to be, on its way to its process.
#[derive(Serialize, Deserialize)]
struct Plan {
    name: String,
    address: Option<Address>,
    key: Vec<u8>,
    limits: Limits,
    registrations: Vec<Registration>,
    codecs: Vec<CodecPlan>,
}

impl Plan {
    fn listen(self) -> Result<ManagerServer, ManagerError> {
        let Self { name, address, key, limits, registrations, codecs } = self;
        let listener = match address {
            Some(address) => Listener::bind(address),
            None => Listener::temporary(),
        };
        let listener = listener.map_err(|error| ManagerError::Listen { name: name.clone(), error })?.authkey(&key);
        let address = listener.address().clone();
        let registry = Registry::new(registrations).map_err(|error| ManagerError::Registration {
            name: name.clone(),
            registered: "what it has".into(),
            reason: error.to_string(),
        })?;
        let doors = codecs.into_iter().map(|codec| codec.open(&key, &limits)).collect::<Result<_, _>>();
        let doors =
            doors.map_err(|error: CodecError| ManagerError::Codec { name: name.clone(), reason: error.to_string() })?;
        let server = Server::new(&name, listener, registry, limits)?;
        Ok(ManagerServer { name, server, address, doors })
    }
}

/// The server's process.
fn serve(plan: Plan, started: Sender<Started>) {
    // Ctrl-C is for who started it: what clients do when they end must still find its objects.
    set_disposition(Signal::INT, Disposition::Ignore);
    match plan.listen() {
        Ok(server) => {
            let _ = started.send(&Ok((server.address().clone(), server.codec_addresses()))); // Whoever started it has ended otherwise.
            drop(started);
            if let Err(error) = server.serve_forever() {
                tracing::error!(%error, "a manager's server ends");
            }
        }
        Err(error) => drop(started.send(&Err(error.to_string()))),
    }
}

fn key_of(bytes: &[u8]) -> Option<AuthKey> {
    AuthKey::new(bytes).ok()
}

/// What has become of a server that said nothing.
fn became(process: Process<()>, error: &RecvError) -> String {
    match process.join() {
        Ok(()) => error.to_string(),
        Err(error) => error.to_string(),
    }
}
