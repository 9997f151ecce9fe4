//! Users' types as objects: what `#[shared]` writes for them.
//!
//! Relies on `procession-wire` for arguments and results.

use std::collections::HashMap;
use std::fmt;

use procession_wire::Fault;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Refusal;
use crate::host::{Access, Ask, Kind, Object, Step};
use crate::proxy::Proxy;
use crate::server::Taken;

/// How many methods of a type clients may call: its proxy is to be read by people.
pub const METHODS_MAX: usize = 255;

/// A type whose values may live in a server, with the methods that clients may call.
///
/// `#[shared]` on its `impl` block writes this, and the proxy.
pub trait Shared: Sized + Send + Sync + 'static {
    /// What clients have instead of it.
    type Proxy: Proxy;

    /// What it is called in messages to people, and by clients of other languages: the type's name with that of its parameters.
    fn type_name() -> String;

    /// What clients may call, in the order of the source.
    fn methods() -> Vec<Method<Self>>;
}

/// A shared type that clients may make: one with a method `new`.
pub trait Construct: Shared {
    /// What `new` takes, as a tuple.
    type Arguments: Serialize + DeserializeOwned + 'static;

    /// Calls `new`.
    ///
    /// # Errors
    /// What `new` said.
    fn construct(arguments: Self::Arguments) -> Result<Self, Fault>;
}

/// A method that clients may call.
#[derive(Debug)]
pub struct Method<T> {
    /// Its name.
    pub name: &'static str,
    /// A hash of its name, its receiver, its arguments' types and its result's.
    pub signature: u64,
    /// What calls it.
    pub run: Run<T>,
}

/// What calls a method.
pub enum Run<T> {
    /// One that takes `&self`: others of these may run at the same time.
    Shared(fn(&T, &mut Call<'_>) -> Result<Answer, Refusal>),
    /// One that takes `&mut self`: nothing else runs at the same time.
    Exclusive(fn(&mut T, &mut Call<'_>) -> Result<Answer, Refusal>),
}

impl<T> Clone for Run<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Run<T> {}

impl<T> fmt::Debug for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared",
            Self::Exclusive(_) => "Exclusive",
        })
    }
}

/// A call that has arrived.
#[derive(Debug)]
pub struct Call<'a>(&'a mut Ask);

/// What is sent back.
#[derive(Debug)]
pub struct Answer(Taken);

impl Call<'_> {
    /// What the method is called with, a tuple; once.
    ///
    /// # Errors
    /// [`Refusal::Arguments`].
    pub fn arguments<A: DeserializeOwned + 'static>(&mut self) -> Result<A, Refusal> {
        self.0.tuple()
    }

    /// The method's result, for the caller.
    ///
    /// # Errors
    /// [`Refusal::Output`].
    pub fn answer<R: Serialize + 'static>(&self, result: &R) -> Result<Answer, Refusal> {
        Taken::of(self.0.site, result).map(Answer)
    }

    /// The same of a result that borrows from the object, and is no vector of numbers: as `answer` of its owned form.
    ///
    /// # Errors
    /// [`Refusal::Output`].
    pub fn answer_lent<R: Serialize + ?Sized>(&self, result: &R) -> Result<Answer, Refusal> {
        Taken::of_lent(self.0.site, result).map(Answer)
    }
}

/// What clients may call of a type.
pub(crate) struct Methods<T> {
    name: String,
    runs: HashMap<u64, Run<T>>,
    /// Each method's name and signature, in the order of the source.
    methods: Vec<(&'static str, u64)>,
}

impl<T: Shared> Methods<T> {
    pub(crate) fn new() -> Self {
        let all = T::methods();
        let methods = all.iter().map(|method| (method.name, method.signature)).collect();
        let runs = all.into_iter().map(|Method { signature, run, .. }| (signature, run)).collect();
        Self { name: T::type_name(), runs, methods }
    }
}

impl<T: Shared> Kind for Methods<T> {
    type Method = Run<T>;

    fn type_name(&self) -> &str {
        &self.name
    }

    fn is_users(&self) -> bool {
        true
    }

    fn find(&self, signature: u64) -> Option<(Run<T>, Access)> {
        let run = *self.runs.get(&signature)?;
        let access = match run {
            Run::Shared(_) => Access::Shared,
            Run::Exclusive(_) => Access::Exclusive,
        };
        Some((run, access))
    }

    fn methods(&self) -> Vec<(&'static str, u64)> {
        self.methods.clone()
    }
}

/// A value of a shared type as an object.
pub(crate) struct Typed<T>(pub(crate) T);

impl<T: Shared> Object for Typed<T> {
    type Kind = Methods<T>;

    const KEEPS_CALLERS: bool = false;

    fn read(&self, method: Run<T>, ask: &mut Ask) -> Step {
        match method {
            Run::Shared(run) => done(run(&self.0, &mut Call(ask))),
            Run::Exclusive(_) => unreachable!("it was found to run alone"),
        }
    }

    fn write(&mut self, method: Run<T>, ask: &mut Ask) -> Step {
        match method {
            Run::Shared(run) => done(run(&self.0, &mut Call(ask))),
            Run::Exclusive(run) => done(run(&mut self.0, &mut Call(ask))),
        }
    }
}

fn done(answer: Result<Answer, Refusal>) -> Step {
    Step::Done(answer.map(|answer| vec![answer.0]))
}
