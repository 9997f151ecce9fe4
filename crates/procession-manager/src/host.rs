//! Values in the server: which calls of one run at once, and which one after the other.
//!
//! Relies on what a value says of its methods. No thread waits for an object: a call that cannot run yet stands in its line,
//! and whoever ends the call before it runs it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use procession_launch::calls::catch_call;

use crate::data::{Data, from_data};
use crate::error::Refusal;
use crate::proxy::MethodName;
use crate::server::{Caller, Given, Site, Taken, enter, is_in_place, is_within};
use crate::stock::Charge;
use crate::value::{Form, Values};

/// How many calls may stand in one object's line.
pub const CALLS_WAITING_MAX: usize = 65_536;

/// How many bytes a call has at most that stands in line however much the server holds: what is there can be taken out.
const ALWAYS_BYTES: usize = 256;

/// How many calls of an object that a manager brings are timed, before
const ALL_TIMED: u64 = 64;

/// one of so many is, and stands for all of them.
const ONE_TIMED_OF: u64 = 16;

/// Clears the poison of an object after a panic; every object has it.
pub(crate) const CLEAR_POISON: MethodName = MethodName::internal("clear_poison");

/// What a call returns: some values, or why there are none.
pub(crate) type Answer = Result<Vec<Taken>, Refusal>;

/// Whether a method may run beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Beside others of the same kind.
    Shared,
    /// Alone.
    Exclusive,
}

/// A call that is carried out.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) arguments: std::vec::IntoIter<Given>,
    /// Whom its results are written for.
    pub(crate) site: Site,
    /// None once the object keeps it.
    caller: Option<Caller>,
    call: (u64, u64),
    /// What others are told because of it.
    pub(crate) answers: Vec<(Caller, Answer)>,
    /// When the object is to be told that time has passed.
    pub(crate) wake: Option<Instant>,
}

impl Ask {
    /// The next thing that the method is called with.
    pub(crate) fn next(&mut self) -> Given {
        self.arguments.next().unwrap_or_default()
    }

    /// The same as a value.
    pub(crate) fn read<T: serde::de::DeserializeOwned + 'static>(&mut self) -> Result<T, Refusal> {
        self.next().read()
    }

    /// What the method is called with, as a tuple of values that it only uses itself.
    pub(crate) fn tuple<T: serde::de::DeserializeOwned + 'static>(&mut self) -> Result<T, Refusal> {
        if self.site.form == Form::Native {
            return self.read();
        }
        let items: Vec<Data> = self.arguments.by_ref().map(Given::read).collect::<Result<_, _>>()?;
        from_data(Data::tuple(items)).map_err(|error| Refusal::Arguments { reason: error.to_string() })
    }

    /// The next thing that the method is called with, in the form of the object's own values.
    pub(crate) fn accept(&mut self, values: Values) -> Result<Given, Refusal> {
        let given = self.next();
        values.accept(given, self.site.server)
    }

    /// What the method returns, as one value.
    pub(crate) fn value<T: serde::Serialize + 'static>(&self, value: &T) -> Answer {
        Taken::of(self.site, value).map(|taken| vec![taken])
    }

    /// Whose call it is, by the client's number and the call's.
    pub(crate) fn call(&self) -> (u64, u64) {
        self.call
    }

    /// Whom the object keeps, to answer later.
    pub(crate) fn keep_caller(&mut self, until: Option<Instant>) -> Option<Caller> {
        self.wake = until;
        self.caller.take()
    }
}

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Step {
    /// It has an answer.
    Done(Answer),
    /// The object keeps whom it is to answer, and will.
    Later,
}

/// What all values of a type have in common.
pub(crate) trait Kind: Send + Sync + 'static {
    /// What names a method once it was found.
    type Method: Copy + Send + Sync + 'static;

    /// The type's name.
    fn type_name(&self) -> &str;

    /// Whether the methods are a user's, which take as long as they like.
    fn is_users(&self) -> bool {
        false
    }

    /// A method, by its signature.
    fn find(&self, signature: u64) -> Option<(Self::Method, Access)>;

    /// All methods: their names without the type's, and their signatures.
    fn methods(&self) -> Vec<(&'static str, u64)>;
}

/// A value with methods.
pub(crate) trait Object: Send + Sync + 'static {
    /// Which there are.
    type Kind: Kind;

    /// Whether it keeps anything by its callers: whom it is to answer later, or what somebody has. What keeps nothing is not
    /// told who is gone: that runs alone, and would hold up all calls behind one that takes long.
    const KEEPS_CALLERS: bool = true;

    /// How calls and values are written, by all but those who have a form of their own.
    fn form(&self) -> Form {
        Form::Native
    }

    /// Calls one that may run beside others.
    fn read(&self, method: MethodOf<Self>, ask: &mut Ask) -> Step;

    /// Calls one that runs alone.
    fn write(&mut self, method: MethodOf<Self>, ask: &mut Ask) -> Step;

    /// A client has what a call, by its number and the call's, gave it; or does not want it any more.
    fn settle(&mut self, _call: (u64, u64), _is_received: bool, _answers: &mut Vec<(Caller, Answer)>) {}

    /// What a call was given cannot be told to its client.
    fn undelivered(&mut self, call: (u64, u64), answers: &mut Vec<(Caller, Answer)>) {
        self.settle(call, false, answers);
    }

    /// Gives up what a client has here that is gone.
    fn part(&mut self, _client: u64, _answers: &mut Vec<(Caller, Answer)>) {}

    /// How many callers it keeps, to answer later.
    fn waiting(&self) -> usize {
        0
    }

    /// Answers those whose time is over; when to call it next.
    fn tick(&mut self, _now: Instant, _answers: &mut Vec<(Caller, Answer)>) -> Option<Instant> {
        None
    }
}

type MethodOf<T> = <<T as Object>::Kind as Kind>::Method;

/// An object, whatever it is. What returns a time wants to be told when that has come.
pub(crate) trait Hosting: Send + Sync {
    /// Its type's name.
    fn type_name(&self) -> &str;

    /// All methods: their names without the type's, and their signatures.
    fn methods(&self) -> Vec<(&'static str, u64)>;

    /// How calls and values are written, by all but those who have a form of their own.
    fn form(&self) -> Form;

    /// Whether its methods are a user's.
    fn is_users(&self) -> bool;

    /// Whether this thread is in the middle of one of its methods.
    fn is_within(&self) -> bool;

    /// How much it is used.
    fn usage(&self) -> Usage;

    /// Runs a call, now or as soon as those before it are done.
    fn call(&self, method: u64, arguments: Vec<Given>, caller: Caller) -> Option<Instant>;

    /// A client has the answer to a call, or does not want it any more.
    fn settle(&self, call: (u64, u64), is_received: bool) -> Option<Instant>;

    /// What a call was given cannot be told to its client.
    fn undelivered(&self, call: (u64, u64)) -> Option<Instant>;

    /// A client is gone.
    fn part(&self, client: u64) -> Option<Instant>;

    /// A time has come.
    fn tick(&self, now: Instant) -> Option<Instant>;
}

/// How much an object is used.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) calls: u64,
    pub(crate) busy: Duration,
    pub(crate) waiting: u64,
    pub(crate) is_poisoned: bool,
}

/// A value, and who uses it.
pub(crate) struct Host<T: Object> {
    kind: T::Kind,
    /// Not waited for by calls: the line says who may have it.
    value: RwLock<T>,
    line: Mutex<Line<MethodOf<T>>>,
    calls: AtomicU64,
    busy_nanos: AtomicU64,
}

struct Line<M> {
    users: Users,
    /// Each with what it takes meanwhile.
    waiting: VecDeque<(Pending<M>, Charge)>,
    is_poisoned: bool,
}

/// What becomes of something that is to be done.
enum Entered<M> {
    /// It is done now.
    Now(Pending<M>),
    InLine,
    /// There is no room for it.
    Refused(Pending<M>, Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    None,
    Readers(usize),
    Writer,
}

/// Something to be done with the value.
struct Pending<M> {
    access: Access,
    what: What<M>,
}

enum What<M> {
    Call(M, Vec<Given>, Caller),
    Settle((u64, u64), bool),
    Undelivered((u64, u64)),
    Part(u64),
    Tick(Instant),
}

impl<M> Pending<M> {
    /// Whether the thread that calls does nothing else before this is done.
    fn waits(&self) -> bool {
        matches!(&self.what, What::Call(_, _, caller) if caller.waits())
    }
}

impl<T: Object> Host<T> {
    pub(crate) fn new(kind: T::Kind, value: T) -> Self {
        let line = Line { users: Users::None, waiting: VecDeque::new(), is_poisoned: false };
        let (calls, busy_nanos) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { kind, value: RwLock::new(value), line: Mutex::new(line), calls, busy_nanos }
    }

    /// Looks at the value, past the line.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value.read())
    }

    /// Changes the value, past the line.
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.value.write())
    }

    /// Tells the value what has become of its callers, if it keeps anything by them.
    fn tell(&self, what: What<MethodOf<T>>) -> Option<Instant> {
        T::KEEPS_CALLERS.then(|| self.submit(Pending { access: Access::Exclusive, what })).flatten()
    }

    /// Does it, or has it done by whoever uses the value now.
    fn submit(&self, pending: Pending<MethodOf<T>>) -> Option<Instant> {
        let is_own = pending.waits() && is_within(self);
        let entered = self.line.lock().enter(pending, is_own);
        is_in_place();
        match entered {
            Entered::Now(pending) => return self.run(pending),
            Entered::Refused(Pending { what: What::Call(_, _, caller), .. }, refusal) => caller.give(Err(refusal)),
            Entered::Refused(..) | Entered::InLine => {}
        }
        None
    }

    /// Counts a call; for how many it stands if it is to be timed. To look at the clock twice takes as long as a tenth of a call
    /// of an object that a manager brings: of those not all are timed.
    fn count(&self) -> Option<u64> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        match calls {
            _ if self.kind.is_users() || calls < ALL_TIMED => Some(1),
            _ if calls.is_multiple_of(ONE_TIMED_OF) => Some(ONE_TIMED_OF),
            _ => None,
        }
    }

    /// Does what may be done, and then what may be done after it.
    fn run(&self, first: Pending<MethodOf<T>>) -> Option<Instant> {
        let (mut next, mut wake) = (Some(first), None);
        while let Some(Pending { access, what }) = next {
            let done = self.carry_out(access, what);
            next = self.line.lock().leave(done.has_panicked && access == Access::Exclusive);
            wake = [wake, done.wake].into_iter().flatten().min();
            done.answers.into_iter().for_each(|(caller, answer)| caller.give(answer));
        }
        wake
    }

    fn carry_out(&self, access: Access, what: What<MethodOf<T>>) -> Done {
        let mut answers = Vec::new();
        let (method, arguments, caller) = match what {
            What::Call(method, arguments, caller) => (method, arguments, caller),
            What::Settle(call, is_received) => {
                self.value.write().settle(call, is_received, &mut answers);
                return Done { answers, ..Done::default() };
            }
            What::Undelivered(call) => {
                self.value.write().undelivered(call, &mut answers);
                return Done { answers, ..Done::default() };
            }
            What::Part(client) => {
                self.value.write().part(client, &mut answers);
                return Done { answers, ..Done::default() };
            }
            What::Tick(now) => {
                let wake = self.value.write().tick(now, &mut answers);
                return Done { answers, wake, ..Done::default() };
            }
        };
        if self.line.lock().is_poisoned {
            answers.push((caller, Err(Refusal::Poisoned)));
            return Done { answers, ..Done::default() };
        }
        let (site, call, arguments) = (caller.site(), caller.call(), arguments.into_iter());
        let mut ask = Ask { arguments, site, caller: Some(caller), call, answers, wake: None };
        let timed = self.count().map(|weight| (weight, Instant::now()));
        let _within = enter(self);
        let caught = catch_call(|| match access {
            Access::Shared => self.value.read().read(method, &mut ask),
            Access::Exclusive => self.value.write().write(method, &mut ask),
        });
        if let Some((weight, begun)) = timed {
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.busy_nanos.fetch_add(nanos.saturating_mul(weight), Ordering::Relaxed);
        }
        let has_panicked = caught.is_err();
        let answer = match caught {
            Ok(Step::Done(answer)) => Some(answer),
            Ok(Step::Later) => None,
            Err(panic) => Some(Err(panic.into())),
        };
        let Ask { caller, mut answers, wake, .. } = ask;
        answers.extend(caller.zip(answer));
        Done { answers, wake, has_panicked }
    }
}

/// What came of something that was done.
#[derive(Default)]
struct Done {
    answers: Vec<(Caller, Answer)>,
    wake: Option<Instant>,
    has_panicked: bool,
}

impl<T: Object> Hosting for Host<T> {
    fn type_name(&self) -> &str {
        self.kind.type_name()
    }

    fn methods(&self) -> Vec<(&'static str, u64)> {
        self.kind.methods()
    }

    fn form(&self) -> Form {
        self.with(T::form)
    }

    fn is_users(&self) -> bool {
        self.kind.is_users()
    }

    fn is_within(&self) -> bool {
        is_within(self)
    }

    fn usage(&self) -> Usage {
        // Whoever changes it may take long, and only those in line wait meanwhile.
        let kept = self.value.try_read().map_or(0, |value| value.waiting());
        let line = self.line.lock();
        let waiting = (kept + line.waiting.len()) as u64;
        let busy = Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed));
        Usage { calls: self.calls.load(Ordering::Relaxed), busy, waiting, is_poisoned: line.is_poisoned }
    }

    fn call(&self, method: u64, arguments: Vec<Given>, caller: Caller) -> Option<Instant> {
        if let Some((method, access)) = self.kind.find(method) {
            return self.submit(Pending { access, what: What::Call(method, arguments, caller) });
        }
        if method == CLEAR_POISON.signature {
            self.line.lock().is_poisoned = false;
            caller.give(Ok(Vec::new()));
        } else {
            let (object, method) = (self.type_name().to_owned(), format!("{method:016x}"));
            caller.give(Err(Refusal::NoMethod { object, method }));
        }
        None
    }

    fn settle(&self, call: (u64, u64), is_received: bool) -> Option<Instant> {
        self.tell(What::Settle(call, is_received))
    }

    fn undelivered(&self, call: (u64, u64)) -> Option<Instant> {
        self.tell(What::Undelivered(call))
    }

    fn part(&self, client: u64) -> Option<Instant> {
        self.tell(What::Part(client))
    }

    fn tick(&self, now: Instant) -> Option<Instant> {
        self.submit(Pending { access: Access::Exclusive, what: What::Tick(now) })
    }
}

impl<M> Line<M> {
    /// It comes back if it may be done now, or if there is no room in line, where it stands otherwise; or if whoever is to
    /// come before it waits for it, as a method does that calls its own object.
    fn enter(&mut self, pending: Pending<M>, is_own: bool) -> Entered<M> {
        if self.waiting.is_empty() && self.admit(pending.access) {
            return Entered::Now(pending);
        }
        if is_own {
            return Entered::Refused(pending, Refusal::WaitsForItself);
        }
        match self.room_for(&pending.what) {
            Ok(charge) => {
                self.waiting.push_back((pending, charge));
                Entered::InLine
            }
            Err(refusal) => Entered::Refused(pending, refusal),
        }
    }

    /// What something takes that stands in line, if there is room for it.
    fn room_for(&self, what: &What<M>) -> Result<Charge, Refusal> {
        let (most, bytes) = match what {
            What::Call(_, arguments, _) => (CALLS_WAITING_MAX, arguments.iter().map(Given::size).sum::<usize>()),
            // There is one for each call at most, unless somebody makes them up.
            What::Settle(..) | What::Undelivered(_) => (2 * CALLS_WAITING_MAX, 0),
            What::Part(_) | What::Tick(_) => (usize::MAX, 0),
        };
        if self.waiting.len() >= most {
            let limit = CALLS_WAITING_MAX as u64;
            return Err(Refusal::Limit { of: "calls that wait for one object".into(), limit });
        }
        if bytes > ALWAYS_BYTES { Charge::checked(bytes) } else { Ok(Charge::of(bytes)) }
    }

    fn admit(&mut self, access: Access) -> bool {
        self.users = match (self.users, access) {
            (Users::None, Access::Exclusive) => Users::Writer,
            (Users::None, Access::Shared) => Users::Readers(1),
            (Users::Readers(n), Access::Shared) => Users::Readers(n + 1),
            _ => return false,
        };
        true
    }

    /// Notes that something is done; the next thing, if that may be done now.
    fn leave(&mut self, is_poisoned: bool) -> Option<Pending<M>> {
        self.is_poisoned |= is_poisoned;
        self.users = match self.users {
            Users::Readers(n) if n > 1 => Users::Readers(n - 1),
            _ => Users::None,
        };
        let access = self.waiting.front()?.0.access;
        // What it took in line it takes no more: who carries it out counts what is kept of it.
        if self.admit(access) { self.waiting.pop_front().map(|(pending, _)| pending) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use procession_sys::Deadline;

    use super::*;
    use crate::identity::ObjectId;
    use crate::server::Reply;
    use crate::shared::{Method, Methods, Run, Shared, Typed};
    use crate::stock::LockProxy;

    const PASS: u64 = 1;
    const LOOK: u64 = 2;

    /// Whoever passes says that he is there, and goes on when he is told to; who looks is through at once.
    struct Gate(Barrier);

    impl Shared for Gate {
        type Proxy = LockProxy;

        fn type_name() -> String {
            "Gate".to_owned()
        }

        fn methods() -> Vec<Method<Self>> {
            let pass = Run::Shared(|gate: &Self, call| {
                gate.0.wait();
                gate.0.wait();
                call.answer(&())
            });
            let look = Run::Shared(|_: &Self, call| call.answer(&()));
            let method = |name, signature, run| Method { name, signature, run };
            vec![method("pass", PASS, pass), method("look", LOOK, look)]
        }
    }

    fn ask(host: &Host<Typed<Gate>>, method: u64) -> Arc<Reply> {
        let (caller, reply) = Caller::here(ObjectId::SERVER.into());
        host.call(method, Vec::new(), caller);
        reply
    }

    #[test]
    fn who_is_gone_holds_up_nobody_behind_a_call_that_takes_long() {
        let host = Host::new(Methods::new(), Typed(Gate(Barrier::new(2))));
        let is_told = thread::scope(|scope| {
            scope.spawn(|| drop(ask(&host, PASS)));
            host.with(|gate| gate.0.0.wait());
            host.part(7);
            host.settle((7, 1), false);
            host.undelivered((7, 2));
            let is_told = ask(&host, LOOK).wait_until(Deadline::NOW);
            host.with(|gate| gate.0.0.wait());
            is_told
        });
        assert!(is_told, "it may run beside the one that takes long");
        assert_eq!(host.usage().waiting, 0);
    }
}
