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

use super::Given;
use crate::error::Refusal;
use crate::frame::Frame;
use crate::host::{Host, Hosting};
use crate::shared::{Construct, Methods, Shared, Typed};

/// What makes an object of a type: of its constructor's arguments, or of a value of its own.
type Make = fn(Given) -> Result<Arc<dyn Hosting>, Refusal>;

/// Something that is registered, on its way to the server's process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) name: String,
    /// What all programs that have the type call it.
    type_name: String,
    maker: FunctionId,
    /// A single object's value; none for a type.
    value: Option<Frame>,
}

impl Registration {
    /// A type, of which clients may make objects.
    pub(crate) fn of_type<T: Construct>(name: String) -> Result<Self, BootError> {
        let maker = function_id::<Constructs<T>>()?;
        Ok(Self { name, type_name: type_name::<T>().to_owned(), maker, value: None })
    }

    /// A single object.
    pub(crate) fn of_object<T>(name: String, value: &T) -> Result<Self, Fault>
    where
        T: Shared + Serialize + DeserializeOwned,
    {
        let maker = function_id::<Copies<T>>()?;
        let (bytes, descriptors) = encode(value)?.into_parts();
        Ok(Self { name, type_name: type_name::<T>().to_owned(), maker, value: Some(Frame { bytes, descriptors }) })
    }
}

/// Calls a type's constructor.
struct Constructs<T>(PhantomData<T>);

impl<T: Construct> Function for Constructs<T> {
    type Input = Given;
    type Output = Result<Arc<dyn Hosting>, Refusal>;

    fn enter(given: Given) -> Self::Output {
        let arguments = given.read()?;
        let made = catch_call(|| T::construct(arguments));
        made?.map(hosted).map_err(|fault| Refusal::Construct { reason: fault.to_string() })
    }
}

/// Reads an object.
struct Copies<T>(PhantomData<T>);

impl<T: Shared + DeserializeOwned> Function for Copies<T> {
    type Input = Given;
    type Output = Result<Arc<dyn Hosting>, Refusal>;

    fn enter(given: Given) -> Self::Output {
        given.read().map(hosted::<T>)
    }
}

/// A value as an object.
pub(crate) fn hosted<T: Shared>(value: T) -> Arc<dyn Hosting> {
    Arc::new(Host::new(Methods::new(), Typed(value)))
}

/// What is registered, in the server's process.
pub(crate) struct Registry {
    types: HashMap<String, Make>,
    objects: Mutex<HashMap<String, (Make, Given)>>,
}

impl Registry {
    /// Looks up what makes each.
    pub(crate) fn new(registrations: Vec<Registration>) -> Result<Self, BootError> {
        let (mut types, mut objects) = (HashMap::new(), HashMap::new());
        for Registration { name, type_name, maker, value } in registrations {
            let make: Make = resolve(maker)?;
            match value {
                None => types.extend([(type_name, make), (name, make)]),
                Some(Frame { bytes, descriptors }) => {
                    let given = Given { message: Some(Message::from_parts(bytes, descriptors)), ..Given::default() };
                    objects.insert(name, (make, given));
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

    /// True if a single object is registered under this name, and was not asked for yet.
    pub(crate) fn has_object(&self, name: &str) -> bool {
        self.objects.lock().contains_key(name)
    }

    /// Makes a single object, once.
    pub(crate) fn object(&self, name: &str) -> Result<Arc<dyn Hosting>, Refusal> {
        let found = self.objects.lock().remove(name);
        let (make, value) = found.ok_or_else(|| Refusal::NoName { name: name.to_owned() })?;
        make(value)
    }
}
