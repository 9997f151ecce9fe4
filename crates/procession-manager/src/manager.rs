//! Managers: how a server is asked and ended.
//!
//! Relies on `builder.rs` for how it is started and reached, and on [`Remote`] to talk to it.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_ipc::{Address, ToAddress};
use procession_launch::Process;
use procession_sys::Origin;
use serde::de::DeserializeOwned;

use crate::builder::ManagerBuilder;
use crate::codec::Door;
use crate::error::{CallError, ManagerError, Refusal};
use crate::identity::ObjectId;
use crate::info::{ClientInfo, ObjectInfo};
use crate::managed::Managed;
use crate::proxy::{MethodName, Proxy};
use crate::remote::Remote;
use crate::server::{Given, Server, asks};
use crate::shared::Construct;

/// How long a server may take from its start until it serves, unless [`start_timeout`](ManagerBuilder::start_timeout) says
/// otherwise: much longer than a program takes to load, and than what an initializer should.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server that was asked to end may take before it is told to by a signal, and then before it is killed, unless
/// [`shutdown_timeout`](ManagerBuilder::shutdown_timeout) says otherwise.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A server of objects, as whoever started it, or has connected to it, has it.
///
/// # Crashes
/// A server that was started ends with the process that started it, however that ends.
///
/// # Python
/// `multiprocessing.managers.BaseManager`.
pub struct BaseManager {
    remote: Arc<Remote>,
    /// The server's, if it was started here.
    process: Option<Process<()>>,
    /// The process that started or reached it: a fork of that one ends nothing.
    origin: Origin,
    /// Where it listens for programs that are not ours, if it was started here.
    codecs: Vec<Address>,
    /// How long its process may take to end.
    shutdown_timeout: Duration,
}

impl BaseManager {
    /// One whose server runs elsewhere.
    pub(crate) fn of(remote: Arc<Remote>) -> Self {
        let (origin, codecs) = (Origin::here(), Vec::new());
        Self { remote, process: None, origin, codecs, shutdown_timeout: SHUTDOWN_TIMEOUT }
    }

    /// The same with the process of its server, where that listens for programs that are not ours, and how long it may take to end.
    pub(crate) fn started(self, process: Process<()>, codecs: Vec<Address>, shutdown_timeout: Duration) -> Self {
        let remote = Arc::clone(&self.remote);
        Self { remote, process: Some(process), origin: self.origin, codecs, shutdown_timeout }
    }

    /// A manager to be given types, objects, an address and more before it is started.
    #[must_use]
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// Connects to a server that another program has started, or this one.
    ///
    /// # Errors
    /// [`ManagerError::Connect`], [`ManagerError::NoManager`], [`ManagerError::TooManyClients`].
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
    /// The server finds the type by its path, such as `bank::Account`, whatever it was registered as: both programs have it
    /// there.
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
    /// The kind of object is checked here: a plain queue and one whose items are to be done are two kinds, and a type with
    /// `#[shared]` is what it is called there, with its parameters. Of which type its items are is not checked: an item that is
    /// read as another type is [`CallError::Output`], or another value if its bytes make one, and what is put in as another type
    /// is so for who reads it.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NoName`](crate::Refusal::NoName), and with
    /// [`Refusal::OtherKind`](crate::Refusal::OtherKind) for an object that is not what `P` is a proxy of; and what every call
    /// may end with.
    pub fn get<P: Proxy>(&self, name: &str) -> Result<P, CallError> {
        let arguments =
            vec![self.remote.pack(asks::GET, &name.to_owned())?, self.remote.pack(asks::GET, &P::object_kind())?];
        let proxy: P = self.ask(asks::GET, arguments).map(P::from_raw)?;
        self.remote.names.note(proxy.as_raw().object(), name);
        Ok(proxy)
    }

    /// Gives an object of this server a name, under which every client gets it. It lives as long as the server then. Names of
    /// objects are apart from those that types are registered under, which are for whoever makes objects of them: an object may be
    /// called as a type is.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::NameTaken`](crate::Refusal::NameTaken) if another object has it; and what every call
    /// may end with.
    ///
    /// # Python
    /// `register` with a `callable` that returns one object.
    pub fn publish<P: Proxy>(&self, name: &str, object: &P) -> Result<(), CallError> {
        let arguments =
            vec![self.remote.pack(asks::PUBLISH, &name.to_owned())?, self.remote.pack(asks::PUBLISH, object.as_raw())?];
        self.ask::<()>(asks::PUBLISH, arguments)?;
        self.remote.names.note(object.as_raw().object(), name);
        Ok(())
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
    /// A server that this manager has started is waited for: for [`SHUTDOWN_TIMEOUT`], or what
    /// [`shutdown_timeout`](ManagerBuilder::shutdown_timeout) says, then it is terminated, then killed.
    ///
    /// # Errors
    /// What every call may end with, if it was not started here.
    pub fn shutdown(mut self) -> Result<(), CallError> {
        if !self.origin.is_here() || self.process.is_none() {
            return self.ask(asks::SHUTDOWN, Vec::new());
        }
        self.end_own();
        Ok(())
    }

    /// Ends the server that this process has started. One that is stopped, or takes nothing, is not waited for any longer.
    fn end_own(&mut self) {
        if let Some(process) = self.process.take().filter(|_| self.origin.is_here()) {
            self.remote.ask_to_end(self.shutdown_timeout);
            end(&process, self.shutdown_timeout);
        }
    }

    /// Makes an object that every manager can make: `make(managed::queue::<Job>())`.
    ///
    /// # Errors
    /// [`CallError::Refused`] with [`Refusal::Construct`] for what it cannot be made of; and what every call may end with.
    pub fn make<P: Proxy>(&self, object: Managed<P>) -> Result<P, CallError> {
        let (stock, untyped) = (self.remote.pack(asks::MAKE, &object.stock())?, object.untyped());
        let mut arguments = vec![stock];
        arguments.extend(object.packed(asks::MAKE, self.remote.server)?);
        let made = self.ask(asks::MAKE, arguments);
        let made = match (made, untyped) {
            // A server that runs another program has it, too, with values that say themselves what they are.
            (Err(CallError::Refused { refusal: Refusal::NoFunction { .. }, .. }), Some(name)) => {
                let name = self.remote.pack(asks::CREATE, &name.to_owned())?;
                self.ask(asks::CREATE, vec![name, self.remote.pack(asks::CREATE, &())?])
            }
            (made, _) => made,
        };
        made.map(P::from_raw)
    }

    /// Asks the server itself.
    fn ask<R: DeserializeOwned + 'static>(&self, method: MethodName, arguments: Vec<Given>) -> Result<R, CallError> {
        let mut results = self.remote.call(ObjectId::SERVER, method, arguments)?;
        results.pop().unwrap_or_default().result(method)
    }
}

/// Where its server is, and if it was started here what its process is called.
impl fmt::Debug for BaseManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("BaseManager");
        if let Some(process) = &self.process {
            text.field("name", &process.name());
        }
        text.field("address", &format_args!("{}", self.address()));
        if let Some(pid) = self.pid() {
            text.field("pid", &pid);
        }
        text.finish_non_exhaustive()
    }
}

impl Drop for BaseManager {
    fn drop(&mut self) {
        self.end_own();
    }
}

/// Waits for a server that was asked to end, and sees to it.
pub(crate) fn end(process: &Process<()>, timeout: Duration) {
    let has_ended = |ended: Result<Option<_>, _>| ended.is_ok_and(|status: Option<_>| status.is_some());
    if has_ended(process.wait_timeout(timeout)) {
        return;
    }
    let _ = process.terminate();
    if !has_ended(process.wait_timeout(timeout)) {
        kill(process);
    }
}

/// Ends the server's process at once.
pub(crate) fn kill(process: &Process<()>) {
    let _ = process.kill();
    let _ = process.wait();
}

/// A server in this process.
pub struct ManagerServer {
    name: String,
    server: Arc<Server>,
    address: Address,
    doors: Vec<Door>,
}

impl ManagerServer {
    pub(crate) fn new(name: String, server: Arc<Server>, address: Address, doors: Vec<Door>) -> Self {
        Self { name, server, address, doors }
    }

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

impl fmt::Debug for ManagerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, address) = (&self.name, format_args!("{}", self.address));
        f.debug_struct("ManagerServer").field("name", name).field("address", &address).finish_non_exhaustive()
    }
}
