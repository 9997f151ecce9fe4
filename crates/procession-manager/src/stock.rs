//! The objects that every manager can make: containers, queues and locks.
//!
//! Relies on [`Object`](crate::host::Object): each is a state that answers now, or keeps whom it is to answer. Values stay as
//! they came, and are read by whoever takes them.

mod batches;
mod budget;
mod functions;
mod table;

mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod hold;
mod later; // Their calls that nobody waits for.
mod list;
mod lock;
mod namespace;
mod queue;
mod rlock;
mod semaphore;
mod set;
mod value;
mod waiting;

use std::fmt;
use std::sync::Arc;

use procession_sys::Deadline;
use procession_wire::{Descriptor, Message};
use serde::{Deserialize, Serialize};

pub(crate) use self::array::ArrayOf;
pub use self::array::{ArrayIter, ArrayProxy};
pub use self::barrier::BarrierProxy;
use self::budget::Files;
pub(crate) use self::budget::{Charge, set_limits};
pub use self::condition::{ConditionProxy, ConditionProxyGuard};
pub use self::dict::{DictIter, DictProxy};
pub use self::event::EventProxy;
pub(crate) use self::functions::named;
pub use self::list::{ListIter, ListProxy};
pub use self::lock::{LockProxy, LockProxyGuard};
pub use self::namespace::NamespaceProxy;
pub use self::queue::{JoinableQueueProxy, QueueProxy};
pub use self::rlock::{RLOCK_LEVELS_MAX, RLockProxy, RLockProxyGuard};
pub use self::semaphore::{SemaphoreProxy, SemaphoreProxyPermit};
pub use self::set::{SetIter, SetProxy};
pub(crate) use self::table::{Makers, keys_of};
pub use self::value::ValueProxy;
pub use self::waiting::WAITING_MAX;
use crate::error::{CallError, Refusal};
use crate::host::{Access, Ask, Host, Hosting, Object};
use crate::identity::ObjectId;
use crate::proxy::{MethodName, RawProxy};
use crate::server::{Given, Taken};
use crate::value::{Form, Values};

/// How many items an iteration asks the server for at once.
pub const ITEMS_A_BATCH: usize = 1024;

/// How many bytes such a batch has at most, but for its last item.
const BATCH_BYTES: usize = 1 << 20;

/// How many descriptors, but for a single item that has more: a message carries sixteen times as many, and not every client
/// may have a thousand files open.
const BATCH_DESCRIPTORS: usize = 256;

/// What there is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stock {
    Dict,
    List,
    Set,
    Value,
    Array,
    Namespace,
    Queue,
    Lock,
    RLock,
    Semaphore,
    Condition,
    Event,
    Barrier,
}

/// Makes one of them of what it is made of.
pub(crate) fn make(stock: Stock, given: Given, conversions: Given) -> Result<Arc<dyn Hosting>, Refusal> {
    Ok(match stock {
        Stock::Dict => Arc::new(Host::new(dict::Kind, dict::Dict::make(given)?)),
        Stock::List => Arc::new(Host::new(list::Kind, list::List::make(given)?)),
        Stock::Set => Arc::new(Host::new(set::Kind, set::Set::make(given)?)),
        Stock::Value => Arc::new(Host::new(value::Kind, value::Value::make(given, conversions)?)),
        Stock::Array => Arc::new(Host::new(array::Kind, array::Array::make(given)?)),
        Stock::Namespace => Arc::new(Host::new(namespace::Kind, namespace::Namespace::default())),
        Stock::Queue => queue::host(queue::Queue::make(given)?),
        Stock::Lock => Arc::new(Host::new(lock::Kind, lock::Lock::default())),
        Stock::RLock => Arc::new(Host::new(rlock::Kind, rlock::RLock::default())),
        Stock::Semaphore => Arc::new(Host::new(semaphore::Kind, semaphore::Semaphore::make(given)?)),
        Stock::Condition => Arc::new(Host::new(condition::Kind, condition::Condition::default())),
        Stock::Event => Arc::new(Host::new(event::Kind, event::Event::default())),
        Stock::Barrier => Arc::new(Host::new(barrier::Kind, barrier::Barrier::make(given)?)),
    })
}

/// Makes one for whoever has no types.
type MakeUntyped = fn(Given, ObjectId) -> Result<Arc<dyn Hosting>, Refusal>;

/// What makes one for whoever has no types, if there is such a type: the values that it holds are data.
fn untyped(name: &str) -> Option<MakeUntyped> {
    fn host<T: Object>(kind: T::Kind, made: Result<T, Refusal>) -> Result<Arc<dyn Hosting>, Refusal> {
        made.map(|made| Arc::new(Host::new(kind, made)) as Arc<dyn Hosting>)
    }
    /// One that is made of nothing.
    fn nothing<T>(given: Given, make: fn() -> T) -> Result<T, Refusal> {
        given.read::<()>().map(|()| make())
    }
    let make: MakeUntyped = match name {
        "dict" => |given, _| host(dict::Kind, nothing(given, dict::Dict::untyped)),
        "list" => |given, _| host(list::Kind, nothing(given, list::List::untyped)),
        "set" => |given, _| host(set::Kind, nothing(given, set::Set::untyped)),
        "value" => |given, server| host(value::Kind, value::Value::untyped(given, server)),
        "namespace" => |given, _| host(namespace::Kind, nothing(given, namespace::Namespace::default)),
        "queue" => |given, _| queue::Queue::untyped(given, false).map(queue::host),
        "joinable_queue" => |given, _| queue::Queue::untyped(given, true).map(queue::host),
        "lock" => |given, _| host(lock::Kind, nothing(given, lock::Lock::default)),
        "rlock" => |given, _| host(rlock::Kind, nothing(given, rlock::RLock::default)),
        "semaphore" => |given, _| host(semaphore::Kind, semaphore::Semaphore::of(given, false)),
        "bounded_semaphore" => |given, _| host(semaphore::Kind, semaphore::Semaphore::of(given, true)),
        "condition" => |given, _| host(condition::Kind, nothing(given, condition::Condition::default)),
        "event" => |given, _| host(event::Kind, nothing(given, event::Event::default)),
        "barrier" => |given, _| host(barrier::Kind, barrier::Barrier::make(given)),
        _ => return None,
    };
    Some(make)
}

/// True if there is such a type for whoever has no types.
pub(crate) fn has_untyped(name: &str) -> bool {
    untyped(name).is_some()
}

/// Makes one for whoever has no types. None if there is no such type.
pub(crate) fn make_untyped(name: &str, given: Given, server: ObjectId) -> Result<Option<Arc<dyn Hosting>>, Refusal> {
    untyped(name).map(|make| make(given, server)).transpose()
}

/// The methods of a type: what they are called, and whether they run alone.
macro_rules! methods {
    ($type:literal: $($method:ident = $name:literal $access:ident,)*) => {
        /// A method.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Method {
            $($method),*
        }

        impl Method {
            const ALL: &[(Self, $crate::proxy::MethodName, $crate::host::Access)] = &[
                $((
                    Self::$method,
                    $crate::proxy::MethodName::internal(concat!($type, ".", $name)),
                    $crate::host::Access::$access,
                )),*
            ];

            pub(super) fn name(self) -> $crate::proxy::MethodName {
                Self::ALL[self as usize].1
            }
        }

        /// What the type is called.
        const KIND: &str = $type;

        /// What all of its type have in common.
        pub(crate) struct Kind;

        impl $crate::host::Kind for Kind {
            type Method = Method;

            fn type_name(&self) -> &str {
                KIND
            }

            fn find(&self, signature: u64) -> Option<(Method, $crate::host::Access)> {
                $crate::stock::find(Method::ALL, signature)
            }

            fn methods(&self) -> Vec<(&'static str, u64)> {
                Method::ALL.iter().zip([$($name),*]).map(|((_, name, _), own)| (own, name.signature)).collect()
            }
        }
    };
}
use methods;

fn find<M: Copy>(all: &[(M, MethodName, Access)], signature: u64) -> Option<(M, Access)> {
    all.iter().find(|(_, name, _)| name.signature == signature).map(|&(method, _, access)| (method, access))
}

/// A proxy's common part: one reference, and the types of what the object holds. Objects of its kind are called so, or else as
/// its module says.
macro_rules! proxy {
    ($(#[$doc:meta])* $name:ident<$($parameter:ident),*>) => {
        $crate::stock::proxy! { $(#[$doc])* $name<$($parameter),*> = KIND }
    };
    ($(#[$doc:meta])* $name:ident<$($parameter:ident),*> = $kind:ident) => {
        $(#[$doc])*
        #[derive(::serde::Serialize, ::serde::Deserialize)]
        #[serde(transparent, bound = "")]
        pub struct $name<$($parameter),*> {
            raw: $crate::proxy::RawProxy,
            #[serde(skip)]
            of: ::std::marker::PhantomData<fn() -> ($($parameter,)*)>,
        }

        impl<$($parameter: 'static),*> $crate::proxy::Proxy for $name<$($parameter),*> {
            fn from_raw(raw: $crate::proxy::RawProxy) -> Self {
                Self { raw, of: ::std::marker::PhantomData }
            }

            fn as_raw(&self) -> &$crate::proxy::RawProxy {
                &self.raw
            }

            fn object_kind() -> Option<String> {
                Some($kind.to_owned())
            }
        }

        impl<$($parameter),*> Clone for $name<$($parameter),*> {
            fn clone(&self) -> Self {
                Self { raw: self.raw.clone(), of: ::std::marker::PhantomData }
            }
        }

        impl<$($parameter),*> ::std::fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.raw).finish()
            }
        }
    };
}
use proxy;

/// A value as it lies in an object.
#[derive(Default)]
pub(crate) struct Stored {
    bytes: Box<[u8]>,
    /// Most values have none.
    more: Option<Box<More>>,
    charge: Charge,
}

/// What a value has besides bytes.
struct More {
    descriptors: Vec<Descriptor>,
    references: Vec<RawProxy>,
    _files: Files,
}

impl Stored {
    /// Keeps a value.
    ///
    /// # Errors
    /// The server holds as many bytes, or descriptors, as it may.
    pub(crate) fn keep(given: Given) -> Result<Self, Refusal> {
        let charge = Charge::checked(given.size())?;
        let (packed, references) = given.into_packed();
        let (bytes, descriptors) = (packed.bytes.into_boxed_slice(), packed.descriptors);
        let is_plain = descriptors.is_empty() && references.is_empty();
        let more = if is_plain {
            None
        } else {
            let _files = Files::checked(descriptors.len())?;
            Some(Box::new(More { descriptors, references, _files }))
        };
        Ok(Self { bytes, more, charge })
    }

    /// A value that is nothing but these bytes.
    pub(crate) fn plain(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), more: None, charge: Charge::of(bytes.len()) }
    }

    /// The value for somebody, while it stays.
    pub(crate) fn copy(&self, values: Values) -> Taken {
        let (descriptors, references) =
            self.more.as_ref().map(|more| (more.descriptors.clone(), more.references.clone())).unwrap_or_default();
        values.give(Message::from_parts(self.bytes.to_vec(), descriptors), references)
    }

    /// The value for somebody.
    pub(crate) fn take(self, values: Values) -> Taken {
        let (descriptors, references) = self.more.map(|more| (more.descriptors, more.references)).unwrap_or_default();
        values.give(Message::from_parts(self.bytes.into_vec(), descriptors), references)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many descriptors it has.
    fn descriptors(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.descriptors.len())
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// Refuses what its caller, who has no types, could not be told of values in this form, while they are still there.
fn check_told(ask: &Ask, form: Form, told: impl FnOnce() -> Vec<Taken>) -> Result<(), Refusal> {
    if ask.site.form == form {
        return Ok(());
    }
    told().into_iter().try_for_each(|taken| taken.into_data().map(drop))
}

/// How long a call of a client may wait in the server, as it is sent.
pub(crate) fn patience(deadline: Deadline) -> Option<u64> {
    deadline.remaining().map(|left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
}

/// Calls a method with arguments, a tuple, that returns nothing.
fn command<A: Serialize + 'static>(raw: &RawProxy, method: MethodName, arguments: &A) -> Result<(), CallError> {
    raw.call_tuple(method, arguments).map(drop)
}

/// False if the object has waited for as long as it was to.
fn in_time(waited: Result<(), CallError>) -> Result<bool, CallError> {
    match waited {
        Err(CallError::Refused { refusal: Refusal::TimedOut | Refusal::WouldBlock, .. }) => Ok(false),
        waited => waited.map(|()| true),
    }
}

/// How many there are, as a client counts.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
