//! One reference to an object: what every proxy is made of.
//!
//! Relies on [`Remote`] for calls, and on `scope.rs` to travel within values.

use std::fmt;
use std::sync::Arc;

use procession_boot::FunctionId;
use procession_sys::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::data::{Referred, read_object, write_object};
use crate::error::CallError;
use crate::host::CLEAR_POISON;
use crate::identity::{CalledObject, ObjectId};
use crate::link::Link;
use crate::pending::{Pending, Read, Sent, To};
use crate::remote::Remote;
use crate::scope;
use crate::server::{self, Entry, Given};
use crate::travel::{self, Traveling};
use crate::value::{Form, Site};

/// What every proxy has.
///
/// `#[shared]` writes this for the proxies that it makes.
pub trait Proxy: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// A proxy that is this reference. Of which type the object is, is told by the first call.
    fn from_raw(raw: RawProxy) -> Self;

    /// What servers call the kind of object that it is a proxy of: one that every manager has, or a type with `#[shared]`.
    #[doc(hidden)]
    #[must_use]
    fn object_kind() -> Option<String> {
        None
    }

    /// The reference.
    fn as_raw(&self) -> &RawProxy;

    /// Has methods called again after one has panicked in the middle of changing the object, for all who refer to it.
    ///
    /// Until then each call is [`Refusal::Poisoned`](crate::Refusal::Poisoned), also those that only look: what the method has
    /// left may be anything that it can have made. Who clears it says that the other methods cope with that.
    ///
    /// # Errors
    /// [`CallError`]: the server is gone, or there is no such object.
    ///
    /// # Python
    /// There is no such thing: the object is used as the method has left it.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::{CallError, Proxy, Refusal, SyncManager, shared};
    ///
    /// struct Account(i64);
    ///
    /// #[shared]
    /// impl Account {
    ///     pub fn new() -> Self {
    ///         Self(0)
    ///     }
    ///
    ///     pub fn deposit(&mut self, amount: i64) -> i64 {
    ///         assert!(amount > 0, "not an amount: {amount}");
    ///         self.0 += amount;
    ///         self.0
    ///     }
    /// }
    ///
    /// let manager = SyncManager::builder().register::<Account>("Account").start()?;
    /// let account = manager.create::<Account>(())?;
    /// assert!(account.deposit(-1).is_err());
    /// assert!(matches!(account.deposit(1), Err(CallError::Refused { refusal: Refusal::Poisoned, .. })));
    /// account.clear_poison()?; // It checks before it changes anything.
    /// assert_eq!(account.deposit(1)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn clear_poison(&self) -> Result<(), CallError> {
        self.as_raw().call_packed(CLEAR_POISON, Vec::new()).map(drop)
    }
}

/// What a call names its method by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodName {
    /// For people: type and method.
    pub name: &'static str,
    /// A hash of name, receiver, arguments and result: what the server knows it by.
    pub signature: u64,
}

impl MethodName {
    /// A method of the server itself, or of an object that it brings.
    pub(crate) const fn internal(name: &'static str) -> Self {
        Self { name, signature: fnv1a(name) }
    }

    /// The same for what nobody calls by that name.
    pub(crate) const fn shown(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
const fn fnv1a(text: &str) -> u64 {
    let (bytes, mut hash, mut at) = (text.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// A reference to an object in a server, which keeps it alive. A clone is another reference to the same object.
///
/// It may be an argument, an item, a result, and a value in an object of the server: then that keeps the other one alive.
pub struct RawProxy {
    home: Home,
    object: ObjectId,
}

/// Where its object is.
enum Home {
    /// In a server that this process is a client of.
    Remote(Arc<Remote>),
    /// In this process, which is the server.
    Local(Arc<Entry>),
}

impl RawProxy {
    /// One that has been counted.
    pub(crate) fn adopted(remote: Arc<Remote>, object: ObjectId) -> Self {
        Self { home: Home::Remote(remote), object }
    }

    /// One in the server itself.
    pub(crate) fn local(entry: Arc<Entry>) -> Self {
        Self { object: entry.id(), home: Home::Local(entry) }
    }

    /// What it refers to, in the server itself.
    pub(crate) fn into_entry(self) -> Option<Arc<Entry>> {
        self.entry().map(Arc::clone)
    }

    /// The object's name.
    #[must_use]
    pub fn object(&self) -> ObjectId {
        self.object
    }

    /// The object, as errors name it.
    pub(crate) fn called(&self) -> Option<CalledObject> {
        match &self.home {
            Home::Remote(remote) => remote.names.called(self.object),
            Home::Local(_) => CalledObject::of(self.object),
        }
    }

    /// Its server's.
    pub(crate) fn server(&self) -> ObjectId {
        match &self.home {
            Home::Remote(remote) => remote.server,
            Home::Local(entry) => entry.server(),
        }
    }

    /// Whom a call's values are written for.
    fn site(&self) -> Site {
        Site::of(self.server(), self.object)
    }

    /// The same, without taking it.
    pub(crate) fn entry(&self) -> Option<&Arc<Entry>> {
        match &self.home {
            Home::Remote(_) => None,
            Home::Local(entry) => Some(entry),
        }
    }

    /// Where its server is, for people.
    pub(crate) fn server_address(&self) -> String {
        match &self.home {
            Home::Remote(remote) => remote.address().to_string(),
            Home::Local(_) => "this process".to_owned(),
        }
    }

    /// Calls a method of the object with arguments, a tuple, and waits for its result. A reference in the tuple is sent as
    /// what it refers to.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call<A, R>(&self, method: MethodName, arguments: &A) -> Result<R, CallError>
    where
        A: Serialize,
        R: DeserializeOwned + 'static,
    {
        one(method, self.call_tuple(method, arguments)?)
    }

    /// Sends a call of a method of the object with arguments, a tuple, and does not wait for its result.
    ///
    /// # Errors
    /// [`CallError`], when it could not be sent.
    pub fn later<A, R>(&self, method: MethodName, arguments: &A) -> Result<Pending<R>, CallError>
    where
        A: Serialize,
        R: DeserializeOwned + 'static,
    {
        self.send_later(method, Given::of_tuple(self.site(), method, arguments)?, one)
    }

    /// Calls a method with arguments, a tuple that the server's object itself uses.
    pub(crate) fn call_tuple<A: Serialize>(&self, method: MethodName, arguments: &A) -> Result<Vec<Given>, CallError> {
        self.call_packed(method, Given::of_tuple(self.site(), method, arguments)?)
    }

    /// The function by which the object's values are compared; none if they are data, which has a rule of its own.
    pub(crate) fn pack_function(
        &self,
        method: MethodName,
        name: impl FnOnce() -> Result<FunctionId, CallError>,
    ) -> Result<Given, CallError> {
        let is_native = self.object.form() == Form::Native;
        self.pack(method, &is_native.then(name).transpose()?)
    }

    /// Calls a method that takes nothing, and returns one value.
    pub(crate) fn ask<R: DeserializeOwned + 'static>(&self, method: MethodName) -> Result<R, CallError> {
        self.one(method, Vec::new())
    }

    /// Calls a method with values that are written already, which returns one.
    pub(crate) fn one<R: DeserializeOwned + 'static>(
        &self,
        method: MethodName,
        arguments: Vec<Given>,
    ) -> Result<R, CallError> {
        self.sent(method, arguments)?.read(one)
    }

    /// The same for one that returns a value or none.
    pub(crate) fn option<R>(&self, method: MethodName, arguments: Vec<Given>) -> Result<Option<R>, CallError>
    where
        R: DeserializeOwned + 'static,
    {
        self.sent(method, arguments)?.read(option)
    }

    /// A value for the object's server.
    pub(crate) fn pack<T: Serialize + 'static>(&self, method: MethodName, value: &T) -> Result<Given, CallError> {
        Given::of(self.site(), method, value)
    }

    /// Calls a method with values that are written already; gives what it returns.
    pub(crate) fn call_packed(&self, method: MethodName, arguments: Vec<Given>) -> Result<Vec<Given>, CallError> {
        self.sent(method, arguments)?.collect()
    }

    /// A call whose answer this thread takes next.
    fn sent(&self, method: MethodName, arguments: Vec<Given>) -> Result<Sent, CallError> {
        match &self.home {
            Home::Remote(remote) => remote.send(self.object, method, arguments, Link::ask),
            Home::Local(entry) => Ok(sent_here(entry, method, arguments, true)),
        }
    }

    /// Sends a call with values that are written already, whose result is read so when somebody asks for it.
    pub(crate) fn send_later<R>(
        &self,
        method: MethodName,
        arguments: Vec<Given>,
        read: Read<R>,
    ) -> Result<Pending<R>, CallError> {
        let sent = match &self.home {
            Home::Remote(remote) => remote.send(self.object, method, arguments, Link::ask_ahead)?,
            Home::Local(entry) => sent_here(entry, method, arguments, false),
        };
        Ok(Pending::new(sent, read))
    }

    /// Calls a method with values that are written already, and does not ask what becomes of it. What this process asks next
    /// comes after it.
    pub(crate) fn command(&self, method: MethodName, arguments: Vec<Given>) -> Result<(), CallError> {
        match &self.home {
            Home::Remote(remote) => remote.command(self.object, method, arguments),
            Home::Local(entry) => sent_here(entry, method, arguments, true).collect().map(drop),
        }
    }
}

/// A call from within the server, whose answer this thread collects at once if it `waits`.
fn sent_here(entry: &Arc<Entry>, method: MethodName, arguments: Vec<Given>, waits: bool) -> Sent {
    let (call, reply) = entry.call_here(method, arguments, waits);
    let to = To::Here { entry: Arc::downgrade(entry), object: entry.id(), call, reply };
    Sent { method, to, deadline: Deadline::NEVER, patience: None, takes: false }
}

/// The value that a call has returned.
pub(crate) fn one<R: DeserializeOwned + 'static>(method: MethodName, mut results: Vec<Given>) -> Result<R, CallError> {
    results.pop().unwrap_or_default().result(method)
}

/// The value that a call has returned, or that there is none.
pub(crate) fn option<R>(method: MethodName, mut results: Vec<Given>) -> Result<Option<R>, CallError>
where
    R: DeserializeOwned + 'static,
{
    results.pop().map(|value| value.result(method)).transpose()
}

/// That a call has returned.
pub(crate) fn nothing(_: MethodName, _: Vec<Given>) -> Result<(), CallError> {
    Ok(())
}

impl Clone for RawProxy {
    fn clone(&self) -> Self {
        let home = match &self.home {
            Home::Remote(remote) => {
                remote.keep(self.object);
                Home::Remote(Arc::clone(remote))
            }
            Home::Local(entry) => Home::Local(Arc::clone(entry)),
        };
        Self { home, object: self.object }
    }
}

impl Drop for RawProxy {
    fn drop(&mut self) {
        if let Home::Remote(remote) = &self.home {
            remote.let_go(self.object);
        }
    }
}

/// The same object.
impl PartialEq for RawProxy {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl Eq for RawProxy {}

impl fmt::Debug for RawProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawProxy").field("object", &self.object).finish_non_exhaustive()
    }
}

/// How a reference is written.
#[derive(Serialize, Deserialize)]
enum Written {
    /// In a call to its server, or in what that returns.
    Within(ObjectId),
    /// Anywhere else.
    Traveling(Traveling),
}

impl Serialize for RawProxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if scope::refer(self).map_err(ser::Error::custom)? {
            if serializer.is_human_readable() && scope::is_converting() {
                return write_object(self.object, serializer);
            }
            return Written::Within(self.object).serialize(serializer);
        }
        let traveling = match &self.home {
            Home::Remote(remote) => remote.send_off(self.object),
            Home::Local(entry) => entry.send_off(),
        };
        let cannot = |error| ser::Error::custom(format!("a proxy cannot be sent: {error}"));
        Written::Traveling(traveling.map_err(cannot)?).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawProxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = if deserializer.is_human_readable() {
            read_object(deserializer)?
        } else {
            Referred::Other(Written::deserialize(deserializer)?)
        };
        let traveling = match written {
            Referred::Object(object) | Referred::Other(Written::Within(object)) => {
                let missing = || de::Error::custom(format!("object {object} was not sent with it"));
                return scope::claim(object).ok_or_else(missing);
            }
            Referred::Other(Written::Traveling(traveling)) => traveling,
        };
        if let Some(entry) = server::redeem_here(&traveling) {
            return Ok(Self::local(entry.map_err(de::Error::custom)?));
        }
        let remote = travel::remote_of(&traveling).map_err(de::Error::custom)?;
        remote.receive(&traveling).map_err(de::Error::custom)
    }
}
