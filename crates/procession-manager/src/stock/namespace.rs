//! A namespace in a server: values of any types, each under a name.
//!
//! Relies on nothing: which type a name's value has, its users agree on.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Stored, methods, proxy};
use crate::error::CallError;
use crate::host::{Answer, Ask, Object, Step};
use crate::proxy::MethodName;
use crate::server::{Given, Taken};
use crate::value::{Form, Values, conversions_of};

methods! { "namespace":
    Get = "get" Shared,
    Set = "set" Exclusive,
    Remove = "remove" Exclusive,
    Names = "names" Shared,
}

/// The namespace.
#[derive(Debug, Default)]
pub(crate) struct Namespace(BTreeMap<String, (Stored, Values)>);

impl Namespace {
    /// A value, and whether it is data; for those who have no types, the value alone.
    fn get(&self, ask: &mut Ask) -> Answer {
        let name: String = ask.read()?;
        let Some((value, values)) = self.0.get(&name) else { return Ok(Vec::new()) };
        let mut results = vec![value.copy(*values)];
        if ask.site.form == Form::Native {
            results.push(Taken::of(ask.site, &(values.form() == Form::Data))?);
        }
        Ok(results)
    }

    /// Each value has a type of its own: after the name, those who have types say how it is converted.
    fn set(&mut self, ask: &mut Ask) -> Answer {
        let name: String = ask.read()?;
        let values = match ask.site.form {
            Form::Native => Values::named(ask.read()?),
            Form::Data => Values::Data,
        };
        let mut value = ask.accept(values).and_then(Stored::keep)?;
        value.charge.add_checked(name.len())?;
        self.0.insert(name, (value, values));
        Ok(Vec::new())
    }
}

impl Object for Namespace {
    type Kind = Kind;

    const KEEPS_CALLERS: bool = false;

    fn read(&self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Get => self.get(ask),
            _ => ask.value(&self.0.keys().cloned().collect::<Vec<String>>()),
        })
    }

    fn write(&mut self, method: Method, ask: &mut Ask) -> Step {
        Step::Done(match method {
            Method::Set => self.set(ask),
            Method::Remove => ask.read::<String>().and_then(|name| ask.value(&self.0.remove(&name).is_some())),
            Method::Get | Method::Names => return self.read(method, ask),
        })
    }
}

proxy! {
    /// A namespace in a manager's server: values of any types, each under a name.
    ///
    /// # Python
    /// The proxy of `SyncManager.Namespace`, where the names are attributes, and those that begin with an underscore are the
    /// proxy's own. Here no name is.
    ///
    /// # Examples
    /// ```
    /// use procession_manager::SyncManager;
    ///
    /// let manager = SyncManager::start()?;
    /// let settings = manager.namespace()?;
    /// settings.set("depth", 3_u32)?;
    /// settings.set("title", "Persuasion".to_owned())?;
    /// assert_eq!(settings.get::<u32>("depth")?, Some(3));
    /// assert_eq!(settings.names()?, ["depth", "title"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    NamespaceProxy<>
}

impl NamespaceProxy {
    /// What stands under a name, if something does.
    ///
    /// # Errors
    /// [`CallError::Output`] for a value of another type.
    pub fn get<T: DeserializeOwned + 'static>(&self, name: &str) -> Result<Option<T>, CallError> {
        let method = Method::Get.name();
        found(method, self.raw.call_packed(method, vec![self.raw.pack(method, &name.to_owned())?])?)
    }

    /// Puts a value under a name, in the place of what stood there.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set<T: Serialize + DeserializeOwned + 'static>(&self, name: &str, value: T) -> Result<(), CallError> {
        self.raw.call_packed(Method::Set.name(), self.pack_set(name, &value)?).map(drop)
    }

    /// What a value is set with: its name, what converts it, and the value.
    pub(super) fn pack_set<T>(&self, name: &str, value: &T) -> Result<Vec<Given>, CallError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let (raw, method) = (&self.raw, Method::Set.name());
        let (name, conversions) = (raw.pack(method, &name.to_owned())?, raw.pack(method, &conversions_of::<T>())?);
        Ok(vec![name, conversions, raw.pack(method, value)?])
    }

    /// Takes a name away; false if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn remove(&self, name: &str) -> Result<bool, CallError> {
        let method = Method::Remove.name();
        self.raw.one(method, vec![self.raw.pack(method, &name.to_owned())?])
    }

    /// All names, in order.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn names(&self) -> Result<Vec<String>, CallError> {
        self.raw.ask(Method::Names.name())
    }
}

/// What stands under a name, by what the server has told: the value, and whether it is data.
pub(super) fn found<T>(method: MethodName, results: Vec<Given>) -> Result<Option<T>, CallError>
where
    T: DeserializeOwned + 'static,
{
    let mut results = results.into_iter();
    let Some((mut value, is_data)) = results.next().zip(results.next()) else { return Ok(None) };
    if is_data.result(method)? {
        value.form = Form::Data;
    }
    value.result(method).map(Some)
}
