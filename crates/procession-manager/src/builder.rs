//! How a server is started, or reached.
//!
//! Relies on `procession-launch` for its process, and on `birth.rs` for what happens there.

use std::any::type_name;
use std::time::Duration;

use procession_ipc::{Address, RecvError, ToAddress, pipe_simplex};
use procession_launch::calls::{Initializer, NoInitializer};
use procession_launch::{Arguments, AuthKey, Context, PreloadResult, Process, Target, current_process};

use crate::birth::{Plan, Started, initialize, serve};
use crate::codec::{Codec, CodecListener, CodecPlan};
use crate::error::ManagerError;
use crate::limits::Limits;
use crate::managed::{IntoObject, Registered};
use crate::manager::{BaseManager, ManagerServer, SHUTDOWN_TIMEOUT, START_TIMEOUT, end, kill};
use crate::remote::{Place, Remote};
use crate::server::Registration;
use crate::shared::Construct;

/// A manager that is not started yet.
#[derive(Debug)]
pub struct ManagerBuilder {
    name: String,
    context: Context,
    address: Option<Address>,
    key: Option<Vec<u8>>,
    call_timeout: Option<Duration>,
    start_timeout: Duration,
    shutdown_timeout: Duration,
    initializer: Option<Initializer>,
    limits: Limits,
    registrations: Vec<Registration>,
    codecs: Vec<CodecPlan>,
    /// What went wrong first.
    error: Option<ManagerError>,
}

impl Default for ManagerBuilder {
    fn default() -> Self {
        Self {
            name: "BaseManager".to_owned(),
            context: Context::default(),
            address: None,
            key: None,
            call_timeout: None,
            start_timeout: START_TIMEOUT,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            initializer: None,
            limits: Limits::default(),
            registrations: Vec::new(),
            codecs: Vec::new(),
            error: None,
        }
    }
}

impl ManagerBuilder {
    /// What the server's process is called, in errors, too; otherwise as the type of the manager whose builder it is.
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

    /// How long a call may take before it is [`CallError::TimedOut`](crate::CallError::TimedOut); otherwise as long as it takes.
    ///
    /// It begins when the call is made. A time that a method is given, as in `lock_timeout`, or
    /// [`Pending::get_timeout`](crate::Pending::get_timeout) does not make it longer: the shorter one counts. It is for calls of
    /// this process; whoever is sent a proxy has no such time unless it has connected itself, and neither has a method that calls
    /// another object of its server.
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

    /// How long the server may take from its start until it serves, with the initializer; then it is killed, and
    /// [`start`](Self::start) is [`ManagerError::StartTimeout`]. By default [`START_TIMEOUT`]; [`Duration::MAX`] for no limit.
    /// The library's processes that the initializer has started end with it; other programs go on.
    ///
    /// Before there is a process, two things more may take as long each: what the context preloads, all of its functions
    /// together, and the answer of the forkserver, or nursery, that it has forked one. Then `start` is [`ManagerError::Start`],
    /// which says so; with no time at all, too. A server that is run in this process, by [`get_server`](Self::get_server), has no limit.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use procession_manager::{ManagerError, SyncManager};
    ///
    /// fn dawdle() {
    ///     std::thread::sleep(Duration::from_secs(60));
    /// }
    ///
    /// let late = SyncManager::builder().initializer(dawdle, ()).start_timeout(Duration::from_secs(3)).start();
    /// assert!(matches!(late, Err(ManagerError::StartTimeout { .. })));
    /// ```
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How long a server that was asked to end may take before it is told to by a signal, and then before it is killed;
    /// otherwise [`SHUTDOWN_TIMEOUT`]. It is for whoever starts the server.
    ///
    /// # Python
    /// `BaseManager(shutdown_timeout=…)`.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Calls a function in the server's process before it serves. It returns nothing or a `Result<(), E>`; what it builds for
    /// the methods of registered types it keeps in a `static`. [`start`](Self::start) waits for it as long as
    /// [`start_timeout`](Self::start_timeout) says.
    ///
    /// If it fails or panics, `start` is [`ManagerError::Initializer`] with what it said, and there is no server.
    ///
    /// # Python
    /// `BaseManager.start(initializer, initargs)`.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::{ManagerError, SyncManager};
    /// use procession_wire::Fault;
    ///
    /// fn prepare(directory: String) -> Result<(), Fault> {
    ///     Ok(std::env::set_current_dir(directory)?)
    /// }
    ///
    /// let manager = SyncManager::builder().initializer(prepare, ("/".to_string(),)).start()?;
    /// let refused = SyncManager::builder().initializer(prepare, ("/nowhere".to_string(),)).start();
    /// assert!(matches!(refused, Err(ManagerError::Initializer { message, .. }) if message.contains("No such file")));
    /// # drop(manager);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn initializer<F, A>(mut self, function: F, arguments: A) -> Self
    where
        F: Target<A, Output: PreloadResult>,
        A: Arguments,
    {
        match Initializer::new(function, &arguments) {
            Ok(initializer) => self.initializer = Some(initializer),
            Err(NoInitializer::Image(error)) => self.refuse("the initializer".to_owned(), &error),
            Err(NoInitializer::Arguments(error)) => self.refuse("the initializer".to_owned(), &error),
        }
        self
    }

    /// Has clients make objects of this type, by [`BaseManager::create`], which finds it by its path. The name is for programs that
    /// do not have the type: [`Question::Create`](crate::Question::Create).
    ///
    /// A second type of that name, or one by a name that is a type of every manager's, as `dict` and `queue` are, is
    /// [`ManagerError::NameTaken`] when the manager is started.
    #[must_use]
    pub fn register<T: Construct>(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        match Registration::of_type::<T>(name.clone()) {
            Ok(registration) => self.enter(registration),
            Err(error) => self.refuse(name, &error),
        }
        self
    }

    /// Has clients get this one object, by [`BaseManager::get`]: a value of a shared type, of which the server has a copy, or
    /// what [`managed`](crate::managed) describes. It is made when it is asked for first.
    ///
    /// A second object of that name is [`ManagerError::NameTaken`] when the manager is started.
    ///
    /// # Python
    /// `register` with a `callable` that returns one object, as `lambda: queue` does.
    #[must_use]
    pub fn register_object(mut self, name: impl Into<String>, object: impl IntoObject) -> Self {
        let name = name.into();
        match object.registered(name.clone()) {
            Ok(Registered(registration)) => self.enter(registration),
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

    /// Registers something, if its name is free.
    fn enter(&mut self, registration: Registration) {
        match registration.name_taken_by(&self.registrations) {
            Some(by) => {
                self.fail(ManagerError::NameTaken { name: self.name.clone(), registered: registration.name, by });
            }
            None => self.registrations.push(registration),
        }
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
        let (address, limits) = (self.address, self.limits);
        let (registrations, codecs) = (self.registrations, self.codecs);
        let plan = Plan { name: name.clone(), address, key: key.clone(), limits, registrations, codecs };
        let process = self.context.builder(serve, (self.initializer, plan, sender)).name(name.clone()).daemon(true);
        let process = process.patience(Some(self.start_timeout), None).start();
        let process = process.map_err(|error| ManagerError::Start { name: name.clone(), error: Box::new(error) })?;
        let (address, codecs) = match receiver.recv_timeout(self.start_timeout) {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(why)) => {
                end(&process, self.shutdown_timeout);
                return Err(why.into_error(name));
            }
            Err(RecvError::Timeout) if process.is_alive() => {
                kill(&process);
                return Err(ManagerError::StartTimeout { name, pid: process.pid(), after: self.start_timeout });
            }
            Err(error) => {
                end(&process, self.shutdown_timeout); // One that cannot be heard may serve all the same.
                return Err(ManagerError::Ended { name, reason: became(process, &error) });
            }
        };
        let place = Place { address, key: key_of(&key), call_timeout: self.call_timeout };
        let connected = Remote::connect(place);
        match connected {
            Ok(remote) => Ok(BaseManager::of(remote).started(process, codecs, self.shutdown_timeout)),
            Err(error) => {
                kill(&process);
                Err(error)
            }
        }
    }

    /// Connects to a server that is there.
    ///
    /// # Errors
    /// [`ManagerError::Connect`], [`ManagerError::NoManager`], [`ManagerError::TooManyClients`], [`ManagerError::NoAddress`].
    ///
    /// # Python
    /// `BaseManager.connect`.
    pub fn connect(mut self) -> Result<BaseManager, ManagerError> {
        self.check()?;
        let Some(address) = self.address.clone() else { return Err(ManagerError::NoAddress) };
        let place = Place { address, key: key_of(&self.key()), call_timeout: self.call_timeout };
        Ok(BaseManager::of(Remote::connect(place)?))
    }

    /// A server to be run in this process, which has run the initializer then, if there is one.
    ///
    /// # Errors
    /// [`ManagerError`]; nothing is left then.
    ///
    /// # Python
    /// `BaseManager.get_server`.
    pub fn get_server(mut self) -> Result<ManagerServer, ManagerError> {
        self.check()?;
        let key = self.key();
        initialize(self.initializer).map_err(|why| why.into_error(self.name.clone()))?;
        let (limits, registrations, codecs) = (self.limits, self.registrations, self.codecs);
        Plan { name: self.name, address: self.address, key, limits, registrations, codecs }.listen()
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
