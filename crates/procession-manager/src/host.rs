//! Values of shared types in the server: whose calls run at once, and whose one after the other.
//!
//! Relies on [`Shared`] for the methods. No thread waits for an object: a call that cannot run yet stands in its line, and
//! whoever ends the call before it runs it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use procession_launch::calls::{CaughtPanic, catch_call};

use crate::error::Refusal;
use crate::server::{Caller, Given};
use crate::shared::{Answer, Call, Method, Run, Shared};

/// How many calls may stand in one object's line.
pub const CALLS_WAITING_MAX: usize = 65_536;

/// A method that clears the poison of an object after a panic; every shared object has it.
pub(crate) const CLEAR_POISON: crate::proxy::MethodName = crate::proxy::MethodName::internal("clear_poison");

/// A value of some shared type.
pub(crate) trait Hosting: Send + Sync {
    /// Its type's name.
    fn type_name(&self) -> &str;

    /// Runs a call, now or as soon as those before it are done.
    fn call(self: Arc<Self>, method: u64, arguments: Given, caller: Caller);
}

/// What clients may call of a type.
pub(crate) struct Methods<T> {
    name: String,
    runs: HashMap<u64, Run<T>>,
}

impl<T: Shared> Methods<T> {
    pub(crate) fn new() -> Self {
        let runs = T::methods().into_iter().map(|Method { signature, run, .. }| (signature, run)).collect();
        Self { name: T::type_name(), runs }
    }
}

/// A value, and who uses it.
pub(crate) struct Host<T> {
    methods: Arc<Methods<T>>,
    /// Never waited for: the line says who may have it.
    value: RwLock<T>,
    line: Mutex<Line<T>>,
}

struct Line<T> {
    users: Users,
    waiting: VecDeque<Pending<T>>,
    is_poisoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    None,
    Readers(usize),
    Writer,
}

struct Pending<T> {
    run: Run<T>,
    arguments: Given,
    caller: Caller,
}

impl<T: Shared> Host<T> {
    pub(crate) fn new(methods: Arc<Methods<T>>, value: T) -> Self {
        let line = Line { users: Users::None, waiting: VecDeque::new(), is_poisoned: false };
        Self { methods, value: RwLock::new(value), line: Mutex::new(line) }
    }

    fn clear_poison(&self, caller: Caller) {
        self.line.lock().is_poisoned = false;
        caller.answer(Call::nothing().answer(&()));
    }

    /// Runs a call that may run, and then those that may run when it is done.
    fn run(&self, first: Pending<T>) {
        let mut next = Some(first);
        while let Some(Pending { run, arguments, caller }) = next {
            let answer = self.carry_out(run, arguments, &caller);
            let panicked = matches!((&answer, run), (Err(Refusal::Panicked { .. }), Run::Exclusive(_)));
            next = self.line.lock().leave(panicked);
            caller.answer(answer);
        }
    }

    fn carry_out(&self, run: Run<T>, arguments: Given, caller: &Caller) -> Result<Answer, Refusal> {
        if self.line.lock().is_poisoned {
            return Err(Refusal::Poisoned);
        }
        let mut call = Call::new(arguments, caller.server());
        let caught = catch_call(|| match run {
            Run::Shared(run) => run(&self.value.read(), &mut call),
            Run::Exclusive(run) => run(&mut self.value.write(), &mut call),
        });
        caught.unwrap_or_else(|CaughtPanic { message, location, .. }| Err(Refusal::Panicked { message, location }))
    }
}

impl<T: Shared> Hosting for Host<T> {
    fn type_name(&self) -> &str {
        &self.methods.name
    }

    fn call(self: Arc<Self>, method: u64, arguments: Given, caller: Caller) {
        let Some(&run) = self.methods.runs.get(&method) else {
            if method == CLEAR_POISON.signature {
                return self.clear_poison(caller);
            }
            let method = format!("{method:016x}");
            return caller.answer(Err(Refusal::NoMethod { object: self.methods.name.clone(), method }));
        };
        let pending = Pending { run, arguments, caller };
        let mut line = self.line.lock();
        match line.enter(pending) {
            Ok(pending) => {
                drop(line);
                self.run(pending);
            }
            Err(None) => {}
            Err(Some(refused)) => {
                drop(line);
                let limit = CALLS_WAITING_MAX as u64;
                refused.caller.answer(Err(Refusal::Limit { of: "calls that wait for one object".into(), limit }));
            }
        }
    }
}

impl<T> Line<T> {
    /// The call, if it may run now; otherwise it stands in line, or comes back because that is full.
    fn enter(&mut self, pending: Pending<T>) -> Result<Pending<T>, Option<Pending<T>>> {
        if self.waiting.is_empty() && self.admit(&pending.run) {
            return Ok(pending);
        }
        if self.waiting.len() >= CALLS_WAITING_MAX {
            return Err(Some(pending));
        }
        self.waiting.push_back(pending);
        Err(None)
    }

    fn admit(&mut self, run: &Run<T>) -> bool {
        self.users = match (self.users, run) {
            (Users::None, Run::Exclusive(_)) => Users::Writer,
            (Users::None, Run::Shared(_)) => Users::Readers(1),
            (Users::Readers(n), Run::Shared(_)) => Users::Readers(n + 1),
            _ => return false,
        };
        true
    }

    /// Notes that a call is done; the next one, if it may run now.
    fn leave(&mut self, panicked: bool) -> Option<Pending<T>> {
        self.is_poisoned |= panicked;
        self.users = match self.users {
            Users::Readers(n) if n > 1 => Users::Readers(n - 1),
            _ => Users::None,
        };
        let run = self.waiting.front()?.run;
        if self.admit(&run) { self.waiting.pop_front() } else { None }
    }
}
