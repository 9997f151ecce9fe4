//! How programs that are not ours ask a server: what a codec makes of their messages, and what it makes messages of.
//!
//! Relies on [`Data`] for values. A codec names things of the world outside, and holds none: objects, who refers to them and
//! who may do what are the server's. [`Question`] and [`Reply`] are plain data, whatever the messages look like.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use procession_boot::{BootError, Entry as Function, FunctionId, function_id, resolve};
use procession_ipc::{Address, AddressError, ListenError, Listener, ToAddress};
use serde::{Deserialize, Serialize};

use crate::data::Data;
use crate::error::Refusal;
use crate::identity::ObjectId;
use crate::info::ObjectInfo;
use crate::limits::Limits;
use crate::proxy::RawProxy;
use crate::server::Server;

/// A language that some other programs speak.
///
/// A server makes one of each in its own process, for the listener that the [builder](crate::ManagerBuilder::codec) names.
pub trait Codec: Send + Sync + 'static {
    /// What speaks to one who has connected, and proved the key.
    fn open(&self) -> Box<dyn Session>;
}

/// One connection of a [`Codec`].
///
/// Messages are whole, as `multiprocessing.connection` frames them: each is a question, and has one reply. What a session panics
/// with ends its connection, and nothing else.
///
/// What has arrived before a connection ends is carried out in order, and the replies that nobody reads go nowhere; but a call
/// that would have to wait is given up then, as is what came behind it. At a Unix address what was sent has arrived; over TCP the
/// program's system throws away what has not when a reply comes that nobody reads: who wants to be sure of a call reads its reply.
pub trait Session: Send {
    /// What a message asks.
    ///
    /// What the message says is hostile until looked at: a session bounds what it takes in memory and recursion.
    ///
    /// # Errors
    /// Why it makes no sense, which comes back as [`Refusal::Arguments`] to be written. The connection goes on.
    fn read(&mut self, message: &[u8], objects: &Objects<'_>) -> Result<Question, String>;

    /// The message that replies.
    fn write(&mut self, reply: Reply) -> Vec<u8>;

    /// Whether the connection is to end, now that this reply is written.
    fn is_over(&self) -> bool {
        false
    }
}

/// What somebody asks of a server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Question {
    /// Nothing: whether it is there. The reply has no values.
    Hello,
    /// To make an object. The reply is a [`Reply::Object`], which the connection holds.
    Create {
        /// A type that is registered; or `dict`, `list`, `set`, `value`, `namespace`, `queue`, `joinable_queue`, `lock`, `rlock`,
        /// `semaphore`, `bounded_semaphore`, `condition`, `event`, `barrier`.
        type_name: String,
        /// What it is made with.
        arguments: Vec<Data>,
    },
    /// For the object that is registered, or was published, under this name: a [`Reply::Object`].
    Get {
        /// The name.
        name: String,
    },
    /// To give an object a name.
    Publish {
        /// The name.
        name: String,
        /// The object.
        object: ObjectId,
    },
    /// To call a method: its results.
    Call {
        /// The object.
        object: ObjectId,
        /// The method, by its name.
        method: String,
        /// What it is called with. Times are in nanoseconds; those of waiting may be null, for as long as it takes.
        arguments: Vec<Data>,
    },
    /// To hold an object once more, for this connection.
    Keep {
        /// The object.
        object: ObjectId,
    },
    /// To let go of an object that this connection was given once.
    LetGo {
        /// The object.
        object: ObjectId,
    },
    /// What an object is: a [`Reply::Object`], which is not held because of that.
    Describe {
        /// The object.
        object: ObjectId,
    },
    /// How many objects there are: one integer.
    Count,
    /// What objects there are: [`Reply::Objects`].
    Objects,
    /// To end the server.
    Shutdown,
}

/// What a server replies.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// What was asked for: most calls have one value or none.
    ///
    /// The objects that these refer to ([`Data::Object`]) are held by the connection from now on, each as often as it was
    /// given, until it lets go or ends.
    Values(Vec<Data>),
    /// An object.
    Object {
        /// Its name.
        object: ObjectId,
        /// Its type.
        type_name: String,
        /// Its methods, by name.
        methods: Vec<String>,
    },
    /// What objects there are: those that were called most, [`INFOS_MAX`](crate::INFOS_MAX) of them.
    Objects(Vec<ObjectInfo>),
    /// Why there is nothing.
    Refused(Refusal),
}

/// The objects of a server, for a session that reads their names.
pub struct Objects<'a>(pub(crate) &'a Arc<Server>);

impl Objects<'_> {
    /// A reference to the object of this name, for an argument. None if there is no such object any more.
    #[must_use]
    pub fn find(&self, object: ObjectId) -> Option<Data> {
        let entry = self.0.find(object).ok()?;
        Some(Data::Object(Box::new(RawProxy::local(entry))))
    }
}

impl fmt::Debug for Objects<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

/// Where a server listens for programs that are not ours, and what it grants them.
#[derive(Debug)]
pub struct CodecListener {
    address: Result<Address, AddressError>,
    is_cpython_allowed: bool,
    is_md5_allowed: bool,
}

impl CodecListener {
    /// At this address; with port 0 at one that the system chooses.
    #[must_use]
    pub fn at(address: impl ToAddress) -> Self {
        Self { address: address.to_address(), is_cpython_allowed: false, is_md5_allowed: false }
    }

    /// As [`Listener::allow_cpython`], which tells what is given up by that.
    #[must_use]
    pub fn allow_cpython(mut self) -> Self {
        self.is_cpython_allowed = true;
        self
    }

    /// As [`Listener::allow_legacy_md5`]: CPython up to 3.11 has nothing else.
    #[must_use]
    pub fn allow_legacy_md5(mut self) -> Self {
        self.is_md5_allowed = true;
        self
    }
}

/// A listener with its codec, on its way to the server's process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CodecPlan {
    address: Address,
    is_cpython_allowed: bool,
    is_md5_allowed: bool,
    maker: FunctionId,
}

/// The function that makes a codec.
struct Opens<C>(PhantomData<C>);

impl<C: Codec + Default> Function for Opens<C> {
    type Input = ();
    type Output = Arc<dyn Codec>;

    fn enter((): ()) -> Arc<dyn Codec> {
        Arc::new(C::default())
    }
}

/// Why a listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Function(#[from] BootError),
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl CodecPlan {
    pub(crate) fn of<C: Codec + Default>(listener: CodecListener) -> Result<Self, CodecError> {
        let CodecListener { address, is_cpython_allowed, is_md5_allowed } = listener;
        Ok(Self { address: address?, is_cpython_allowed, is_md5_allowed, maker: function_id::<Opens<C>>()? })
    }

    /// Listens, in the server's process.
    pub(crate) fn open(self, key: &[u8], limits: &Limits) -> Result<Door, CodecError> {
        let make: fn(()) -> Arc<dyn Codec> = resolve(self.maker)?;
        let mut listener = Listener::bind(self.address)?.authkey(key).message_bytes_max(limits.request_bytes);
        if self.is_cpython_allowed {
            listener = listener.allow_cpython();
        }
        if self.is_md5_allowed {
            listener = listener.allow_legacy_md5();
        }
        Ok(Door { listener: Arc::new(listener), codec: make(()) })
    }
}

/// Where programs that are not ours come in.
pub(crate) struct Door {
    pub(crate) listener: Arc<Listener>,
    pub(crate) codec: Arc<dyn Codec>,
}
