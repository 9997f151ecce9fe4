//! Values on their way to a server's object and back, with what they refer to, in one of two forms.
//!
//! Relies on `scope.rs` for references. A value is native, as its type writes itself, or a [`Data`], which says itself what it
//! is. Which form a call has is told by its object's name on either side; who reads a value by its type need not care.

use procession_boot::{BootError, Entry as Function, FunctionId, function_id, resolve};
use procession_launch::calls::catch_call;
use procession_wire::{DecodeError, EncodeError, Message};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use std::marker::PhantomData;

use crate::data::{Data, from_data, to_data};
use crate::error::{CallError, Refusal};
use crate::frame::Packed;
use crate::identity::ObjectId;
use crate::proxy::{MethodName, RawProxy};
use crate::scope;

/// How a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// As its type writes itself.
    #[default]
    Native,
    /// As a [`Data`].
    Data,
}

/// Whom values are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Whose objects they refer to.
    pub(crate) server: ObjectId,
    pub(crate) form: Form,
}

impl Site {
    /// Who calls this object, but for programs that are not ours.
    pub(crate) fn of(server: ObjectId, object: ObjectId) -> Self {
        Self { server, form: object.form() }
    }
}

impl From<ObjectId> for Site {
    fn from(server: ObjectId) -> Self {
        Self { server, form: Form::Native }
    }
}

/// A value that a server has been given, with what it refers to.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) message: Option<Message>,
    pub(crate) references: Vec<RawProxy>,
    pub(crate) form: Form,
}

impl Given {
    /// A value for a method's arguments.
    pub(crate) fn of<T: Serialize + 'static>(site: Site, method: MethodName, value: &T) -> Result<Self, CallError> {
        let failed = |error| CallError::Arguments { method: method.name, error };
        Taken::write(site, value).map(Self::from).map_err(failed)
    }

    /// What a method is called with, a tuple: as one native value, or each as a value that says what it is.
    pub(crate) fn of_tuple<T: Serialize + ?Sized>(
        site: Site,
        method: MethodName,
        tuple: &T,
    ) -> Result<Vec<Self>, CallError> {
        let failed = |error| CallError::Arguments { method: method.name, error };
        if site.form == Form::Native {
            return Taken::write_lent(site, tuple).map(|taken| vec![taken.into()]).map_err(failed);
        }
        let data = to_data(tuple).map_err(|error| failed(EncodeError::custom(error)))?;
        let Data::Tuple(items) = data else { return Self::of(site, method, &data).map(|given| vec![given]) };
        items.iter().map(|item| Self::of(site, method, item)).collect()
    }

    /// The value, in the server.
    pub(crate) fn read<T: DeserializeOwned + 'static>(self) -> Result<T, Refusal> {
        self.decode().map_err(|error| Refusal::Arguments { reason: error.to_string() })
    }

    /// The value that a call has returned.
    pub(crate) fn result<T: DeserializeOwned + 'static>(self, method: MethodName) -> Result<T, CallError> {
        self.decode().map_err(|error| CallError::Output { method: method.name, error })
    }

    /// How many bytes it takes where it is kept.
    pub(crate) fn size(&self) -> usize {
        let bytes = self.message.as_ref().map_or(0, |message| message.bytes().len());
        bytes + self.references.len() * size_of::<RawProxy>()
    }

    fn decode<T: DeserializeOwned + 'static>(self) -> Result<T, DecodeError> {
        let form = self.form;
        let (message, references) = self.into_parts();
        match form {
            Form::Native => scope::unpack(message, references),
            Form::Data => {
                let data: Data = scope::unpack(message, references)?;
                from_data(data).map_err(DecodeError::custom)
            }
        }
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
    fn from(Taken { message, references, form, .. }: Taken) -> Self {
        Self { message: Some(message), references, form }
    }
}

/// A value that a server gives, with what it refers to.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) message: Message,
    pub(crate) references: Vec<RawProxy>,
    pub(crate) form: Form,
    /// What makes data of it, where that is known.
    pub(crate) to_data: Option<ToData>,
}

impl Taken {
    pub(crate) fn of<T: Serialize + 'static>(site: impl Into<Site>, value: &T) -> Result<Self, Refusal> {
        Self::write(site.into(), value).map_err(|error| Refusal::Output { reason: error.to_string() })
    }

    /// One that borrows, and is no vector of numbers.
    pub(crate) fn of_lent<T: Serialize + ?Sized>(site: Site, value: &T) -> Result<Self, Refusal> {
        Self::write_lent(site, value).map_err(|error| Refusal::Output { reason: error.to_string() })
    }

    fn write<T: Serialize + 'static>(site: Site, value: &T) -> Result<Self, EncodeError> {
        match site.form {
            Form::Native => scope::pack(site.server, value).map(|packed| Self::packed(packed, site)),
            Form::Data => Self::write_lent(site, value),
        }
    }

    fn write_lent<T: Serialize + ?Sized>(site: Site, value: &T) -> Result<Self, EncodeError> {
        let packed = match site.form {
            Form::Native => scope::pack_lent(site.server, value),
            Form::Data => scope::pack(site.server, &to_data(value).map_err(EncodeError::custom)?),
        };
        packed.map(|packed| Self::packed(packed, site))
    }

    fn packed((message, references): (Message, Vec<RawProxy>), site: Site) -> Self {
        Self { message, references, form: site.form, to_data: None }
    }

    /// The value for a program that does not have its type.
    pub(crate) fn into_data(self) -> Result<Data, Refusal> {
        match (self.form, self.to_data) {
            (Form::Data, _) => Given::from(self).read(),
            (Form::Native, Some(to_data)) => catch_call(|| to_data(self.into())).map_err(Refusal::from)?,
            (Form::Native, None) => Err(unknown_type()),
        }
    }
}

/// Makes data of a native value.
type ToData = fn(Given) -> Result<Data, Refusal>;

/// Makes a native value, for this server's objects, of data.
type OfData = fn(Given, ObjectId) -> Result<Taken, Refusal>;

/// What leads from values of a type to those without, and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversions {
    to_data: ToData,
    of_data: OfData,
}

/// The function that tells how values of `T` are converted.
struct ConversionsOf<T>(PhantomData<T>);

impl<T: Serialize + DeserializeOwned + 'static> Function for ConversionsOf<T> {
    type Input = ();
    type Output = Conversions;

    fn enter((): ()) -> Conversions {
        Conversions {
            to_data: |given| {
                let value: T = given.read()?;
                to_data(&value).map_err(|error| Refusal::Output { reason: error.to_string() })
            },
            of_data: |given, server| Taken::of(server, &given.read::<T>()?),
        }
    }
}

/// What converts values of `T`, for a server that runs this program. A server can do without.
pub(crate) fn conversions_of<T: Serialize + DeserializeOwned + 'static>() -> Option<FunctionId> {
    function_id::<ConversionsOf<T>>().ok()
}

/// What an object's values are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Values {
    /// Native, of a type that this image does not have.
    #[default]
    Unknown,
    /// Native.
    Typed(Conversions),
    /// Data.
    Data,
}

impl Values {
    /// Those of the type that a client names.
    pub(crate) fn named(conversions: Option<FunctionId>) -> Self {
        let resolved = |id| -> Result<fn(()) -> Conversions, BootError> { resolve(id) };
        conversions.and_then(|id| resolved(id).ok()).map_or(Self::Unknown, |conversions| Self::Typed(conversions(())))
    }

    pub(crate) fn form(self) -> Form {
        if matches!(self, Self::Data) { Form::Data } else { Form::Native }
    }

    /// A value as it is kept, whatever form it came in.
    pub(crate) fn accept(self, given: Given, server: ObjectId) -> Result<Given, Refusal> {
        match (self, given.form) {
            (Self::Typed(conversions), Form::Data) => {
                catch_call(|| (conversions.of_data)(given, server)).map_err(Refusal::from)?.map(Given::from)
            }
            (Self::Unknown, Form::Data) => Err(unknown_type()),
            (Self::Data, Form::Native) => Err(Refusal::Arguments { reason: "it is not written as data".into() }),
            (Self::Data, Form::Data) | (Self::Typed(_) | Self::Unknown, Form::Native) => Ok(given),
        }
    }

    /// A value that was kept, for somebody.
    pub(crate) fn give(self, message: Message, references: Vec<RawProxy>) -> Taken {
        let to_data = if let Self::Typed(conversions) = self { Some(conversions.to_data) } else { None };
        Taken { message, references, form: self.form(), to_data }
    }
}

fn unknown_type() -> Refusal {
    Refusal::NoFunction { reason: "the type of its values, which would be needed to convert them".into() }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::stock::{Makers, Stock};
    use crate::{BaseManager, DictProxy, ListProxy, Managed, SetProxy, SyncManager};

    /// A manager whose server runs another program, as far as these functions are concerned.
    fn with_server(test: impl FnOnce(&SyncManager)) {
        let server = BaseManager::builder().authkey(b"secret").get_server().unwrap();
        let address = server.address().clone();
        let serves = thread::spawn(|| server.serve_forever());
        let manager = SyncManager::connect(address, b"secret").unwrap();
        test(&manager);
        manager.shutdown().unwrap();
        serves.join().unwrap().unwrap();
    }

    /// The name of a function that no program has.
    fn unknown() -> FunctionId {
        FunctionId::from_bytes([9; FunctionId::BYTES])
    }

    #[test]
    fn a_server_of_another_program_makes_dictionaries_and_sets_of_data() {
        with_server(|manager| {
            let makers: Makers = (unknown(), Some(unknown()), Some(unknown()));
            let dict: DictProxy<(u8, String), ListProxy<i64>> =
                manager.make(Managed::typed(Stock::Dict, Ok(makers), "dict")).unwrap();
            let list = manager.list().unwrap();
            list.push(7).unwrap();
            assert!(dict.insert((1, "a".into()), list).unwrap().is_none());
            assert_eq!(dict.get(&(1, "a".into())).unwrap().unwrap().get(0).unwrap(), Some(7));
            assert_eq!(dict.iter().next().unwrap().unwrap().0, (1, "a".to_owned()));
            let set: SetProxy<u64> = manager.make(Managed::typed(Stock::Set, Ok(makers), "set")).unwrap();
            assert!(set.insert(u64::MAX).unwrap() && !set.insert(u64::MAX).unwrap());
        });
    }

    #[test]
    fn values_of_an_unknown_type_stay_as_they_are() {
        let given = || Given::of(Site { server: ObjectId::SERVER, form: Form::Data }, asked(), &1).unwrap();
        let values = Values::named(Some(unknown()));
        assert!(matches!(values.accept(given(), ObjectId::SERVER), Err(Refusal::NoFunction { .. })));
        let native = Given::of(ObjectId::SERVER.into(), asked(), &1).unwrap();
        let (packed, _) = values.accept(native, ObjectId::SERVER).unwrap().into_packed();
        assert!(matches!(values.give(packed.into_message(), Vec::new()).into_data(), Err(Refusal::NoFunction { .. })));
        let typed = Values::named(conversions_of::<u8>());
        let (packed, _) = typed.accept(given(), ObjectId::SERVER).unwrap().into_packed();
        assert_eq!(typed.give(packed.into_message(), Vec::new()).into_data(), Ok(Data::from(1)));
    }

    #[test]
    fn a_proxy_in_data_is_the_proxy() {
        with_server(|manager| {
            let list = manager.list::<u8>().unwrap();
            let data = to_data(&vec![(list.clone(), 1)]).unwrap();
            assert_eq!(data.objects().count(), 1);
            let value = manager.value(data.clone()).unwrap(); // As bytes, and back.
            drop(list);
            let mut back: Vec<(ListProxy<u8>, u8)> = from_data(value.get().unwrap()).unwrap();
            drop((data, value));
            let (list, one) = back.pop().unwrap();
            list.push(one).unwrap();
            assert_eq!(list.to_vec().unwrap(), [1]);
            assert!(from_data::<ListProxy<u8>>(Data::from(1)).is_err());
        });
    }

    fn asked() -> MethodName {
        MethodName::internal("test")
    }
}
