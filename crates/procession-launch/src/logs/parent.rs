//! The parent's side: reads a child's log, and does with its subscriber what the child did.
//!
//! Every byte is checked: a child that does not keep to the limits of [`wire`](super::wire) has its log closed, with one
//! record that says so. Only the pump's thread reads, for a subscriber takes it that a span is left where it was entered.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use parking_lot::Mutex;
use procession_sys::PacketSocket;
use procession_wire::decode_slice;
use tracing::field::{self, DisplayValue, Field, ValueSet};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, dispatcher};

use super::callsite::{OWN_TARGET, Shown, Site, shown};
use super::wire::{
    self, CALLSITES_MAX, CAUSES_MAX, Described, FIELDS_MAX, NAME, PID, Packet, RECORD_BYTES_MAX, SPANS_MAX, Value,
    Values,
};
use crate::pump::{Advance, Source};

/// How many packets are taken before the next source has its turn.
const PACKETS_PER_STEP: usize = 64;

/// The log of one child, as the pump reads it.
pub(crate) struct Log {
    socket: PacketSocket,
    pid: OnceLock<u32>,
    name: String,
    reader: Mutex<Option<Reader>>,
}

impl Log {
    /// What comes over `socket` goes to the subscriber that is current now.
    pub(super) fn new(socket: PacketSocket, name: String) -> Self {
        let reader = Reader::new(dispatcher::get_default(Dispatch::clone));
        Self { socket, pid: OnceLock::new(), name, reader: Mutex::new(Some(reader)) }
    }

    /// Tells the number of the child.
    pub(crate) fn set_pid(&self, pid: u32) {
        let _ = self.pid.set(pid);
    }

    /// Takes one packet.
    fn step(&self, reader: &mut Reader) -> Step {
        let packet = match self.socket.try_receive(RECORD_BYTES_MAX) {
            Ok(Some(packet)) if packet.descriptors.is_empty() => packet,
            Ok(Some(_)) => return Step::Broken("a packet with a descriptor"),
            Ok(None) => return Step::End,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Nothing,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Step::Broken("a packet that is too large");
            }
            Err(_) => return Step::End,
        };
        let Ok(packet) = decode_slice::<Packet>(&packet.bytes, Vec::new()) else {
            return Step::Broken("a packet that cannot be decoded");
        };
        let whose = Whose { pid: u64::from(self.pid.get().copied().unwrap_or_default()), name: &self.name };
        match reader.take(packet, whose) {
            Ok(()) => Step::Taken,
            Err(Fault(what)) => Step::Broken(what),
        }
    }

    /// Takes packets until there are none, or it is the next one's turn.
    fn steps(&self, reader: &mut Reader) -> Advance {
        for _ in 0..PACKETS_PER_STEP {
            match self.step(reader) {
                Step::Taken => {}
                Step::Nothing => return Advance::Nothing,
                Step::End => return Advance::End,
                Step::Broken(what) => {
                    let pid = self.pid.get().copied().unwrap_or_default();
                    let name = self.name.as_str();
                    tracing::warn!(
                        target: OWN_TARGET,
                        { process.pid = pid, process.name = name },
                        "the log of process {name:?} (pid {pid}) is closed: it sent {what}"
                    );
                    return Advance::End;
                }
            }
        }
        Advance::More
    }
}

/// What came of one look at the socket.
enum Step {
    Taken,
    Nothing,
    End,
    Broken(&'static str),
}

impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Source for Log {
    fn advance(&self) -> Advance {
        let mut held = self.reader.lock();
        let Some(reader) = held.as_mut() else { return Advance::End };
        // What a subscriber does in turn, it does to the default one.
        let advance = dispatcher::with_default(&reader.dispatch.clone(), || {
            let advance = self.steps(reader);
            if advance == Advance::End {
                reader.close_all();
            }
            advance
        });
        if advance == Advance::End {
            *held = None;
        }
        advance
    }
}

/// Whose records they are.
#[derive(Clone, Copy)]
struct Whose<'a> {
    pid: u64,
    name: &'a str,
}

/// How a child breaks the rules.
#[derive(Debug, PartialEq, Eq)]
struct Fault(&'static str);

/// What is known of a child's log.
struct Reader {
    dispatch: Dispatch,
    /// The callsites by their numbers.
    callsites: Vec<Shown>,
    /// The open spans.
    spans: HashMap<u64, Open>,
}

/// An open span of the child.
struct Open {
    shown: Shown,
    /// Here: the span itself, or the one around it if nobody wants this one; each holds one handle.
    id: Option<Id>,
    is_own: bool,
    /// How many times the child is in it. A thread of the child may be in it more than once, and so may several.
    entered: u32,
}

impl Reader {
    fn new(dispatch: Dispatch) -> Self {
        Self { dispatch, callsites: Vec::new(), spans: HashMap::new() }
    }

    /// Does what the packet says. A span that is not open is none: a thread of the child may close it while another
    /// refers to it.
    fn take(&mut self, packet: Packet, whose: Whose<'_>) -> Result<(), Fault> {
        match packet {
            Packet::Callsite(number, described) => self.describe(number, described),
            Packet::Span { id, parent, callsite, values } => self.open(id, parent, callsite, values, whose),
            Packet::Event { parent, callsite, values } => self.event(parent, callsite, values, whose),
            Packet::Record(id, values) => self.record(id, values),
            Packet::Follows(id, from) => {
                if let (Some(span), Some(from)) = (self.own(id), self.around(Some(from))) {
                    self.dispatch.record_follows_from(&span, &from);
                }
                Ok(())
            }
            Packet::Enter(id) => {
                let Some(span) = self.own(id) else { return Ok(()) };
                let Some(open) = self.spans.get_mut(&id) else { return Ok(()) };
                open.entered =
                    open.entered.checked_add(1).filter(|&n| n <= ENTERED_MAX).ok_or(Fault("too many entries"))?;
                self.dispatch.enter(&span);
                Ok(())
            }
            Packet::Exit(id) => {
                let Some(span) = self.own(id) else { return Ok(()) };
                let Some(open) = self.spans.get_mut(&id).filter(|open| open.entered > 0) else { return Ok(()) };
                open.entered -= 1;
                self.dispatch.exit(&span);
                Ok(())
            }
            Packet::Close(id) => {
                self.close(id);
                Ok(())
            }
        }
    }

    fn describe(&mut self, number: u32, described: Described) -> Result<(), Fault> {
        if !described.is_fair() {
            return Err(Fault("a callsite beyond the limits"));
        }
        let number = number as usize;
        if number > self.callsites.len() || number >= CALLSITES_MAX {
            return Err(Fault("a callsite with a number out of order"));
        }
        match self.callsites.get_mut(number) {
            Some(known) => *known = shown(described),
            None => self.callsites.push(shown(described)),
        }
        Ok(())
    }

    /// The callsite of this number, and the values as they fit its fields.
    fn at(&self, callsite: u32, is_span: bool, values: &Values) -> Result<Shown, Fault> {
        let shown = self.callsites.get(callsite as usize).ok_or(Fault("a callsite that it has not described"))?;
        if shown.site().metadata().is_span() != is_span {
            return Err(Fault("a callsite of another kind"));
        }
        check(shown, values)?;
        Ok(shown.clone())
    }

    fn open(
        &mut self,
        id: u64,
        parent: Option<u64>,
        callsite: u32,
        values: Values,
        whose: Whose<'_>,
    ) -> Result<(), Fault> {
        let shown = self.at(callsite, true, &values)?;
        if id == 0 || self.spans.contains_key(&id) {
            return Err(Fault("a span with a number that is in use"));
        }
        if self.spans.len() >= SPANS_MAX {
            return Err(Fault("too many open spans"));
        }
        let around = self.around(parent);
        let site = shown.site();
        let is_own = site.is_enabled();
        let here = if is_own {
            let held = hold(&shown, values);
            Some(with_values(&shown, &held, Some(whose), |values| {
                let metadata = site.metadata();
                let attributes = match around {
                    Some(around) => Attributes::child_of(around, metadata, values),
                    None => Attributes::new_root(metadata, values),
                };
                self.dispatch.new_span(&attributes)
            }))
        } else {
            around.map(|around| self.dispatch.clone_span(&around))
        };
        self.spans.insert(id, Open { shown, id: here, is_own, entered: 0 });
        Ok(())
    }

    fn event(&mut self, parent: Option<u64>, callsite: u32, values: Values, whose: Whose<'_>) -> Result<(), Fault> {
        let shown = self.at(callsite, false, &values)?;
        let site = shown.site();
        if !site.is_enabled() {
            return Ok(());
        }
        let around = self.around(parent);
        let held = hold(&shown, values);
        with_values(&shown, &held, Some(whose), |values| {
            let event = Event::new_child_of(around, site.metadata(), values);
            dispatcher::get_default(|current| current.event(&event));
        });
        Ok(())
    }

    fn record(&mut self, id: u64, values: Values) -> Result<(), Fault> {
        let Some(open) = self.spans.get(&id) else { return Ok(()) };
        check(&open.shown, &values)?;
        let Some(span) = open.id.as_ref().filter(|_| open.is_own) else { return Ok(()) };
        let held = hold(&open.shown, values);
        with_values(&open.shown, &held, None, |values| self.dispatch.record(span, &Record::new(values)));
        Ok(())
    }

    /// The span here that is the child's own one.
    fn own(&self, id: u64) -> Option<Id> {
        self.spans.get(&id).filter(|open| open.is_own).and_then(|open| open.id.clone())
    }

    /// The span here that stands for the child's one.
    fn around(&self, id: Option<u64>) -> Option<Id> {
        self.spans.get(&id?).and_then(|open| open.id.clone())
    }

    fn close(&mut self, id: u64) {
        let Some(Open { id: Some(span), entered, .. }) = self.spans.remove(&id) else { return };
        (0..entered).for_each(|_| self.dispatch.exit(&span));
        self.dispatch.try_close(span);
    }

    /// Closes what the child left open, the last first.
    fn close_all(&mut self) {
        let mut open: Vec<u64> = self.spans.keys().copied().collect();
        open.sort_unstable_by(|one, other| other.cmp(one));
        open.into_iter().for_each(|id| self.close(id));
    }
}

/// How many times a child may be in one span: no call is nested so deeply, and no process has so many threads.
const ENTERED_MAX: u32 = 1 << 20;

/// Values must be of the callsite's fields.
fn check(shown: &Shown, values: &Values) -> Result<(), Fault> {
    let fields = match shown {
        Shown::As(site) => site.childs_fields(),
        Shown::InText(_, described) => described.fields.len(),
    };
    let is_fair = |(field, value): &(u8, Value)| {
        usize::from(*field) < fields && !matches!(value, Value::Error(_, causes) if causes.len() > CAUSES_MAX)
    };
    if values.len() <= FIELDS_MAX && values.iter().all(is_fair) { Ok(()) } else { Err(Fault("values of no field")) }
}

impl Shown {
    /// The callsite here.
    fn site(&self) -> &'static Site {
        match self {
            Self::As(site) | Self::InText(site, _) => site,
        }
    }
}

/// A value as a subscriber takes it.
enum Held {
    Bool(bool),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Str(String),
    Text(DisplayValue<String>),
    Error(Box<dyn std::error::Error + 'static>),
}

impl From<Value> for Held {
    fn from(value: Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(value),
            Value::I64(value) => Self::I64(value),
            Value::U64(value) => Self::U64(value),
            Value::I128(value) => Self::I128(value),
            Value::U128(value) => Self::U128(value),
            Value::F64(value) => Self::F64(value),
            Value::Str(text) => Self::Str(text),
            Value::Debug(text) => Self::Text(field::display(text)),
            Value::Error(message, causes) => Self::Error(Box::new(Echo::new(message, causes))),
        }
    }
}

impl Held {
    fn as_value(&self) -> &dyn field::Value {
        match self {
            Self::Bool(value) => value,
            Self::I64(value) => value,
            Self::U64(value) => value,
            Self::I128(value) => value,
            Self::U128(value) => value,
            Self::F64(value) => value,
            Self::Str(text) => text,
            Self::Text(text) => text,
            Self::Error(error) => error,
        }
    }
}

/// An error of the child: its message, and those of its causes.
#[derive(Debug)]
struct Echo {
    message: String,
    cause: Option<Box<Echo>>,
}

impl Echo {
    fn new(message: String, causes: Vec<String>) -> Self {
        let wrap = |cause: Option<Box<Self>>, message| Some(Box::new(Self { message, cause }));
        Self { message, cause: causes.into_iter().rev().fold(None, wrap) }
    }
}

impl fmt::Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Echo {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Values by the fields of the callsite here.
fn hold(shown: &Shown, values: Values) -> Vec<(usize, Held)> {
    let Shown::InText(_, described) = shown else {
        return values.into_iter().map(|(field, value)| (usize::from(field), value.into())).collect();
    };
    let named = |(field, value): &(u8, Value)| format!(" {}={value}", described.fields[usize::from(*field)]);
    let mut text = format!("{}: {}:", described.target, described.name);
    text.extend(values.iter().map(named));
    wire::cut(&mut text, RECORD_BYTES_MAX);
    vec![(0, Value::Debug(text).into())]
}

/// Calls `then` with the values in the form of `tracing`, and with whose they are unless they say so themselves.
fn with_values<R>(
    shown: &Shown,
    held: &[(usize, Held)],
    whose: Option<Whose<'_>>,
    then: impl FnOnce(&ValueSet<'_>) -> R,
) -> R {
    let site = shown.site();
    let (fields, metadata) = (site.fields(), site.metadata());
    let own = whose.filter(|_| !site.says_whose());
    let named = |name: &str| fields.iter().rfind(|field| field.name() == name);
    let mut values: Vec<(&Field, Option<&dyn field::Value>)> =
        held.iter().filter_map(|(at, held)| Some((fields.get(*at)?, Some(held.as_value())))).collect();
    if let (Some(own), Some(pid), Some(name)) = (&own, named(PID), named(NAME)) {
        values.extend([(pid, Some(&own.pid as &dyn field::Value)), (name, Some(&own.name as _))]);
    }
    let mut array: [(&Field, Option<&dyn field::Value>); FIELDS_MAX] = [(&fields[0], None); FIELDS_MAX];
    array.iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
    then(&metadata.fields().value_set(&array))
}

#[cfg(test)]
mod tests;
