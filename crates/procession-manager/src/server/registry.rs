//! What a server can make and what it has: types and single objects, each under a name.
//!
//! Relies on the image's table of functions: what makes an object is named by whoever builds the manager, and looked up in
//! the server's process. Clients name what is registered, and nothing else.

use std::any::type_name;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::Mutex;
use procession_boot::{BootError, Entry as Function, FunctionId, function_id, resolve};
use procession_launch::calls::catch_call;
use procession_wire::{Fault, Message, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Given, is_in_place};
use crate::error::Refusal;
use crate::frame::Frame;
use crate::host::{Host, Hosting};
use crate::shared::{Construct, Methods, Shared, Typed};
use crate::stock::{self, Stock};

/// What makes an object of a type: of its constructor's arguments, or of a value of its own.
type Make = fn(Given) -> Result<Arc<dyn Hosting>, Refusal>;

/// Something that is registered, on its way to the server's process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) name: String,
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
enum What {
    /// A type, and what all programs that have it call it.
    Type { type_name: String, maker: FunctionId },
    /// A single object of a type of the user's.
    Object { maker: FunctionId, value: Frame },
    /// A single object of those that every manager can make.
    Stock { stock: Stock, of: Vec<Frame> },
}

impl Registration {
    /// A type, of which clients may make objects.
    pub(crate) fn of_type<T: Construct>(name: String) -> Result<Self, BootError> {
        let maker = function_id::<Constructs<T>>()?;
        Ok(Self { name, what: What::Type { type_name: type_name::<T>().to_owned(), maker } })
    }

    /// A single object.
    pub(crate) fn of_object<T>(name: String, value: &T) -> Result<Self, Fault>
    where
        T: Shared + Serialize + DeserializeOwned,
    {
        let maker = function_id::<Copies<T>>()?;
        let value = frame(encode(value)?);
        Ok(Self { name, what: What::Object { maker, value } })
    }

    /// What of these has its name already, if anything has. Types and single objects are asked for apart.
    pub(crate) fn name_taken_by(&self, others: &[Self]) -> Option<&'static str> {
        let is_type = self.what.is_type();
        if is_type && stock::has_untyped(&self.name) {
            return Some("a type that every manager has");
        }
        let is_taken = others.iter().any(|other| other.name == self.name && other.what.is_type() == is_type);
        is_taken.then_some(if is_type { "another type" } else { "another object" })
    }

    /// A single object of those that every manager can make.
    pub(crate) fn of_stock(name: String, stock: Stock, of: Vec<Message>) -> Self {
        let of = of.into_iter().map(frame).collect();
        Self { name, what: What::Stock { stock, of } }
    }
}

impl What {
    fn is_type(&self) -> bool {
        matches!(self, Self::Type { .. })
    }
}

/// Refuses an object that is of another kind than a client wants, if that says one.
pub(super) fn check_kind(name: &str, kind: &str, wanted: Given) -> Result<(), Refusal> {
    let wanted = if wanted.message.is_some() { wanted.read::<Option<String>>()? } else { None };
    match wanted {
        Some(wanted) if wanted != kind => {
            Err(Refusal::OtherKind { name: name.to_owned(), object: kind.to_owned(), wanted })
        }
        _ => Ok(()),
    }
}

fn frame(message: Message) -> Frame {
    let (bytes, descriptors) = message.into_parts();
    Frame { bytes, descriptors }
}

/// What is registered is kept, for another attempt.
fn given(Frame { bytes, descriptors }: &Frame) -> Given {
    Given { message: Some(Message::from_parts(bytes.clone(), descriptors.clone())), ..Given::default() }
}

/// Calls a type's constructor.
struct Constructs<T>(PhantomData<T>);

impl<T: Construct> Function for Constructs<T> {
    type Input = Given;
    type Output = Result<Arc<dyn Hosting>, Refusal>;

    fn enter(given: Given) -> Self::Output {
        run_users(|| {
            let made = T::construct(given.read()?);
            made.map(hosted).map_err(|fault| Refusal::Construct { reason: fault.to_string() })
        })
    }
}

/// Reads an object.
struct Copies<T>(PhantomData<T>);

impl<T: Shared + DeserializeOwned> Function for Copies<T> {
    type Input = Given;
    type Output = Result<Arc<dyn Hosting>, Refusal>;

    fn enter(given: Given) -> Self::Output {
        run_users(|| given.read().map(hosted::<T>))
    }
}

/// Runs code of a user's, which takes as long as it likes: what its client asks next need not wait for that.
fn run_users<T>(code: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    is_in_place();
    catch_call(code)?
}

/// A value as an object.
pub(crate) fn hosted<T: Shared>(value: T) -> Arc<dyn Hosting> {
    Arc::new(Host::new(Methods::new(), Typed(value)))
}

/// What is registered, in the server's process.
pub(crate) struct Registry {
    types: HashMap<String, Make>,
    /// The single objects that nobody has had yet.
    objects: Mutex<HashMap<String, Arc<Mutex<Single>>>>,
}

/// A single object that nobody has had yet.
pub(crate) struct Single {
    make: Box<dyn Fn() -> Result<Arc<dyn Hosting>, Refusal> + Send>,
    made: Option<Arc<dyn Hosting>>,
}

impl Single {
    fn new(make: impl Fn() -> Result<Arc<dyn Hosting>, Refusal> + Send + 'static) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { make: Box::new(make), made: None }))
    }

    /// The object. It is made once; if that fails, or the server has no room for it, it is there for the next who asks.
    pub(crate) fn host(&mut self) -> Result<Arc<dyn Hosting>, Refusal> {
        let made = match self.made.take() {
            Some(made) => made,
            None => (self.make)()?,
        };
        Ok(Arc::clone(self.made.insert(made)))
    }
}

impl Registry {
    /// Looks up what makes each.
    pub(crate) fn new(registrations: Vec<Registration>) -> Result<Self, BootError> {
        let mut types: HashMap<String, Make> = HashMap::new();
        let mut objects = HashMap::new();
        for Registration { name, what } in registrations {
            match what {
                What::Type { type_name, maker } => {
                    let make: Make = resolve(maker)?;
                    types.extend([(type_name, make), (name, make)]);
                }
                What::Object { maker, value } => {
                    let make: Make = resolve(maker)?;
                    objects.insert(name, Single::new(move || make(given(&value))));
                }
                What::Stock { stock, of } => {
                    let make = move || {
                        let mut of = of.iter().map(given);
                        stock::make(stock, of.next().unwrap_or_default(), of.next().unwrap_or_default())
                    };
                    objects.insert(name, Single::new(make));
                }
            }
        }
        Ok(Self { types, objects: Mutex::new(objects) })
    }

    /// Makes an object of a type.
    pub(crate) fn make(&self, name: &str, arguments: Given) -> Result<Arc<dyn Hosting>, Refusal> {
        let make = self.types.get(name).ok_or_else(|| Refusal::NoName { name: name.to_owned() })?;
        make(arguments)
    }

    /// True if there is such a type.
    pub(crate) fn has_type(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    /// The single object that is registered under this name, if nobody has had it yet.
    pub(crate) fn object(&self, name: &str) -> Option<Arc<Mutex<Single>>> {
        self.objects.lock().get(name).cloned()
    }

    /// Forgets a single object, which is the server's now.
    pub(crate) fn forget(&self, name: &str) {
        let single = self.objects.lock().remove(name);
        drop(single);
    }
}
