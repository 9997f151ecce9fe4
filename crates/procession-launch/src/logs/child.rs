//! The child's side: a subscriber that sends what the child logs to its parent.
//!
//! Each call of `tracing` is one packet, sent by the thread that made it, so nothing is held back when the child dies and
//! nothing piles up when the parent is slow: the sender waits. No lock is held while a value's `Debug` runs, which may
//! log itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use procession_sys::{PacketSocket, pid};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_core::callsite::Identifier;
use tracing_core::span::Current;

use super::wire::{
    self, Bounded, CALLSITE_TEXT_MAX, CALLSITES_MAX, CAUSES_MAX, Described, FIELD_NAME_MAX, MORE, Packet,
    RECORD_TEXTS_MAX, SPANS_MAX, Value, Values, begin, fields_max, number_of, says_whose,
};

/// Sends what this process logs.
pub(super) struct Forwarder {
    socket: PacketSocket,
    level: LevelFilter,
    /// Whose log it is: a fork has a copy of this, and must not mix its records into its parent's.
    owner: u32,
    /// False once nobody reads.
    heard: AtomicBool,
    /// The numbers of the callsites that have been described.
    callsites: Mutex<HashMap<Identifier, u32>>,
    /// The number under which callsites are described each time anew that are too many for numbers of their own.
    shared_number: u32,
    spans: Mutex<HashMap<u64, Open>>,
    last_span: AtomicU64,
}

/// A span that is open.
struct Open {
    metadata: &'static Metadata<'static>,
    handles: usize,
    /// What the parent knows: this span itself, or the one around it if there are too many.
    shown_as: Option<u64>,
}

thread_local! {
    /// The spans that this thread is in, each with the owner of its forwarder.
    static ENTERED: RefCell<Vec<(u32, u64)>> = const { RefCell::new(Vec::new()) };
}

/// `EMSGSIZE`: the packet is larger than the socket's buffer, which an administrator may have made small.
const MESSAGE_TOO_LONG: i32 = 90;

/// To how many bytes each text of such a record is cut.
const SMALL_TEXT_MAX: usize = 64;

impl Forwarder {
    pub(super) fn new(socket: PacketSocket, level: LevelFilter) -> Self {
        Self {
            socket,
            level,
            owner: pid(),
            heard: AtomicBool::new(true),
            callsites: Mutex::default(),
            shared_number: CALLSITES_MAX as u32 - 1,
            spans: Mutex::default(),
            last_span: AtomicU64::new(0),
        }
    }

    /// True while this process is whose log it is, and somebody reads it.
    pub(super) fn is_own(&self) -> bool {
        self.owner == pid()
    }

    fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) && self.is_own()
    }

    /// Sends a packet. What cannot be sent is lost with the parent that would have read it.
    fn send(&self, packet: Packet) {
        if !self.is_heard() {
            return;
        }
        match self.try_send(&packet) {
            Err(error) if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => {
                let _ = self.try_send(&smaller(packet));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                self.heard.store(false, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn try_send(&self, packet: &Packet) -> io::Result<()> {
        let message = procession_wire::encode(packet).map_err(io::Error::other)?;
        self.socket.send([message.bytes()], &[])
    }

    /// Sends what refers to a callsite, which is described first if it has not been.
    fn send_at(&self, metadata: &'static Metadata<'static>, packet: impl FnOnce(u32) -> Packet) {
        // A packet that refers to a number must come after the one that says what it stands for.
        let mut callsites = self.callsites.lock();
        if let Some(&number) = callsites.get(&metadata.callsite()) {
            drop(callsites);
            return self.send(packet(number));
        }
        let number = (callsites.len() as u32).min(self.shared_number);
        self.send(Packet::Callsite(number, describe(metadata)));
        if number < self.shared_number {
            callsites.insert(metadata.callsite(), number);
            drop(callsites);
        }
        self.send(packet(number));
    }

    /// The span that this thread is in.
    fn current(&self) -> Option<u64> {
        ENTERED
            .try_with(|entered| {
                let entered = entered.borrow();
                entered.iter().rev().find(|(owner, _)| *owner == self.owner).map(|(_, span)| *span)
            })
            .ok()
            .flatten()
    }

    /// What the parent knows as this span.
    fn shown(&self, span: u64) -> Option<u64> {
        self.spans.lock().get(&span).and_then(|open| open.shown_as)
    }

    /// What the parent knows as the span around something new.
    fn parent(&self, is_root: bool, is_contextual: bool, explicit: Option<&Id>) -> Option<u64> {
        if is_root {
            return None;
        }
        let parent = if is_contextual { self.current() } else { explicit.map(Id::into_u64) };
        parent.and_then(|parent| self.shown(parent))
    }

    /// Opens a span, and tells whether the parent is to know it.
    fn open(&self, id: u64, metadata: &'static Metadata<'static>, parent: Option<u64>) -> bool {
        let mut spans = self.spans.lock();
        let is_shown = spans.len() < SPANS_MAX;
        spans.insert(id, Open { metadata, handles: 1, shown_as: if is_shown { Some(id) } else { parent } });
        is_shown
    }

    /// Sends what concerns a span that the parent knows.
    fn send_of(&self, span: &Id, packet: impl FnOnce(u64) -> Packet) {
        let id = span.into_u64();
        if self.shown(id) == Some(id) {
            self.send(packet(id));
        }
    }
}

impl Subscriber for Forwarder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.last_span.fetch_add(1, Ordering::Relaxed) + 1;
        let values = collect(span.metadata(), |collector| span.record(collector));
        let parent = self.parent(span.is_root(), span.is_contextual(), span.parent());
        if self.open(id, span.metadata(), parent) {
            self.send_at(span.metadata(), |callsite| Packet::Span { id, parent, callsite, values });
        }
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let metadata = self.spans.lock().get(&span.into_u64()).map(|open| open.metadata);
        let Some(metadata) = metadata else { return };
        let values = collect(metadata, |collector| values.record(collector));
        self.send_of(span, |id| Packet::Record(id, values));
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        let Some(follows) = self.shown(follows.into_u64()) else { return };
        self.send_of(span, |id| Packet::Follows(id, follows));
    }

    fn event(&self, event: &Event<'_>) {
        if !self.is_heard() {
            return;
        }
        let values = collect(event.metadata(), |collector| event.record(collector));
        let parent = self.parent(event.is_root(), event.is_contextual(), event.parent());
        self.send_at(event.metadata(), |callsite| Packet::Event { parent, callsite, values });
    }

    fn enter(&self, span: &Id) {
        let _ = ENTERED.try_with(|entered| entered.borrow_mut().push((self.owner, span.into_u64())));
        self.send_of(span, Packet::Enter);
    }

    fn exit(&self, span: &Id) {
        let _ = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            if let Some(at) = entered.iter().rposition(|&inner| inner == (self.owner, span.into_u64())) {
                entered.remove(at);
            }
        });
        self.send_of(span, Packet::Exit);
    }

    fn clone_span(&self, span: &Id) -> Id {
        if let Some(open) = self.spans.lock().get_mut(&span.into_u64()) {
            open.handles += 1;
        }
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let id = span.into_u64();
        let mut spans = self.spans.lock();
        let Some(open) = spans.get_mut(&id) else { return false };
        open.handles -= 1;
        if open.handles > 0 {
            return false;
        }
        let closed = spans.remove(&id);
        drop(spans);
        if closed.is_some_and(|open| open.shown_as == Some(id)) {
            self.send(Packet::Close(id));
        }
        true
    }

    fn current_span(&self) -> Current {
        let Some(id) = self.current() else { return Current::none() };
        let metadata = self.spans.lock().get(&id).map(|open| open.metadata);
        metadata.map_or_else(Current::none, |metadata| Current::new(Id::from_u64(id), metadata))
    }
}

/// A callsite, cut to the limits.
fn describe(metadata: &Metadata<'_>) -> Described {
    let short = |text: &str| begin(text, CALLSITE_TEXT_MAX).to_owned();
    let own_fields = OwnFields::of(metadata);
    let mut fields: Vec<String> = metadata
        .fields()
        .iter()
        .take(own_fields.count)
        .map(|field| begin(field.name(), FIELD_NAME_MAX).to_owned())
        .collect();
    if own_fields.more {
        fields.push(MORE.to_owned());
    }
    Described {
        is_span: metadata.is_span(),
        level: number_of(*metadata.level()),
        name: short(metadata.name()),
        target: short(metadata.target()),
        module: metadata.module_path().map(short),
        file: metadata.file().map(short),
        line: metadata.line(),
        fields,
    }
}

/// How a callsite's fields are shown.
#[derive(Clone, Copy)]
struct OwnFields {
    /// The first so many as themselves,
    count: usize,
    /// the others, if there are any, together in one more.
    more: bool,
}

impl OwnFields {
    fn of(metadata: &Metadata<'_>) -> Self {
        let all = metadata.fields().len();
        let fields_max = fields_max(says_whose(metadata.fields().iter().map(|field| field.name())));
        if all <= fields_max { Self { count: all, more: false } } else { Self { count: fields_max - 1, more: true } }
    }
}

/// The values that `record` shows to a visitor, cut to the limits.
fn collect(metadata: &Metadata<'_>, record: impl FnOnce(&mut Collector)) -> Values {
    let mut collector =
        Collector { fields: OwnFields::of(metadata), values: Vec::new(), more: Vec::new(), left: RECORD_TEXTS_MAX };
    record(&mut collector);
    collector.finish()
}

/// Takes values until their texts are too long.
struct Collector {
    fields: OwnFields,
    values: Values,
    /// The values that have no field of their own.
    more: Vec<String>,
    /// How many bytes of text there is room for.
    left: usize,
}

impl Collector {
    fn push(&mut self, field: &Field, value: Value) {
        if field.index() < self.fields.count {
            self.values.push((field.index() as u8, value));
            return;
        }
        let text = self.text(|text| write!(text, "{}={value}", field.name()));
        self.more.push(text);
    }

    /// What `write` writes, as far as there is room.
    fn text(&mut self, write: impl FnOnce(&mut Bounded) -> std::fmt::Result) -> String {
        let mut bounded = Bounded::new(self.left);
        let _ = write(&mut bounded); // A `Debug` that fails has written what it could.
        let text = bounded.finish();
        self.left = self.left.saturating_sub(text.len());
        text
    }

    fn finish(mut self) -> Values {
        if self.fields.more && !self.more.is_empty() {
            let mut text = self.more.join(" ");
            wire::cut(&mut text, RECORD_TEXTS_MAX);
            self.values.push((self.fields.count as u8, Value::Debug(text)));
        }
        self.values
    }
}

impl Visit for Collector {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::F64(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.push(field, Value::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push(field, Value::U128(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = self.text(|text| text.write_str(value));
        self.push(field, Value::Str(text));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let message = self.text(|text| write!(text, "{value}"));
        let causes = std::iter::successors(value.source(), |&cause| cause.source()).take(CAUSES_MAX);
        let causes = causes.map(|cause| self.text(|text| write!(text, "{cause}"))).collect();
        self.push(field, Value::Error(message, causes));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = self.text(|text| write!(text, "{value:?}"));
        self.push(field, Value::Debug(text));
    }
}

/// The same with short texts.
fn smaller(mut packet: Packet) -> Packet {
    match &mut packet {
        Packet::Callsite(_, described) => {
            (described.module, described.file) = (None, None);
            wire::cut(&mut described.target, SMALL_TEXT_MAX);
        }
        Packet::Span { values, .. } | Packet::Event { values, .. } | Packet::Record(_, values) => {
            values.iter_mut().flat_map(|(_, value)| value.texts()).for_each(|text| wire::cut(text, SMALL_TEXT_MAX));
        }
        Packet::Follows(..) | Packet::Enter(_) | Packet::Exit(_) | Packet::Close(_) => {}
    }
    packet
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use procession_sys::Deadline;
    use tracing::{Dispatch, dispatcher, info, info_span};

    use super::*;
    use crate::logs::wire::RECORD_BYTES_MAX;

    /// The packets that `log` makes a forwarder send, changed by `change` before.
    fn packets(change: impl FnOnce(&mut Forwarder), log: impl FnOnce(&Forwarder)) -> Vec<Packet> {
        let (ours, theirs) = PacketSocket::pair().unwrap();
        let mut forwarder = Forwarder::new(theirs, LevelFilter::INFO);
        change(&mut forwarder);
        let dispatch = Dispatch::new(forwarder);
        dispatcher::with_default(&dispatch, || log(dispatch.downcast_ref().unwrap()));
        let mut packets = Vec::new();
        let now = || Deadline::NOW;
        while let Ok(Some(packet)) = ours.receive(RECORD_BYTES_MAX, now()) {
            packets.push(procession_wire::decode_slice(&packet.bytes, Vec::new()).unwrap());
        }
        packets
    }

    #[test]
    fn callsites_beyond_the_limit_share_a_number_and_are_described_each_time() {
        let log = || {
            for _ in 0..3 {
                info!("first");
                info!("second");
                info!("third");
            }
        };
        let packets = packets(|forwarder| forwarder.shared_number = 1, |_| log());
        let numbers: Vec<(bool, u32)> = packets
            .iter()
            .map(|packet| match packet {
                Packet::Callsite(number, _) => (true, *number),
                Packet::Event { callsite, .. } => (false, *callsite),
                other => panic!("{other:?}"),
            })
            .collect();
        let described = [(true, 0), (false, 0), (true, 1), (false, 1), (true, 1), (false, 1)];
        let again = [(false, 0), (true, 1), (false, 1), (true, 1), (false, 1)];
        assert_eq!(numbers, [&described[..], &again, &again].concat());
    }

    #[test]
    fn no_thread_knows_a_callsites_number_before_it_has_been_described() {
        let (ours, theirs) = PacketSocket::pair().unwrap();
        while theirs.try_send([&[0; 1000]], &[]).is_ok() {}
        let dispatch = Dispatch::new(Forwarder::new(theirs, LevelFilter::INFO));
        let forwarder: &Forwarder = dispatch.downcast_ref().unwrap();
        std::thread::scope(|scope| {
            // Waits in its first packet, the description.
            scope.spawn(|| dispatcher::with_default(&dispatch, || info!("waits")));
            let looked = Deadline::after(Duration::from_millis(100));
            let is_known = || forwarder.callsites.try_lock().is_some_and(|callsites| !callsites.is_empty());
            while !looked.has_passed() {
                assert!(!is_known());
                std::thread::yield_now();
            }
            drop(ours);
        });
    }

    #[test]
    fn spans_beyond_the_limit_are_shown_as_the_one_around() {
        let log = |forwarder: &Forwarder| {
            let outer = info_span!("outer").entered();
            let fill = |id| (id, Open { metadata: outer.metadata().unwrap(), handles: 1, shown_as: Some(id) });
            forwarder.spans.lock().extend((1000..1000 + SPANS_MAX as u64 - 1).map(fill));
            let inner = info_span!("inner", x = 1).entered();
            info_span!("innermost").in_scope(|| info!("said"));
            inner.record("x", 2);
            drop(inner);
        };
        let packets = packets(|_| (), log);
        let kinds: Vec<&Packet> = packets.iter().filter(|packet| !matches!(packet, Packet::Callsite(..))).collect();
        let [Packet::Span { id: 1, .. }, Packet::Enter(1), Packet::Event { parent: Some(1), .. }, rest @ ..] =
            kinds.as_slice()
        else {
            panic!("{kinds:?}")
        };
        assert_eq!(rest, [&Packet::Exit(1), &Packet::Close(1)]);
    }

    #[test]
    fn a_fork_says_nothing_in_its_parents_name() {
        let other = pid() + 1;
        assert_eq!(packets(|forwarder| forwarder.owner = other, |_| info_span!("span").in_scope(|| info!("said"))), []);
    }

    #[test]
    fn what_is_too_large_for_a_small_socket_is_cut_further() {
        let long = "x".repeat(1000);
        let values =
            vec![(0, Value::Str(long.clone())), (1, Value::Error(long.clone(), vec![long])), (2, Value::U64(1))];
        let Packet::Record(1, mut values) = smaller(Packet::Record(1, values)) else { panic!("another kind") };
        let texts: Vec<usize> = values.iter_mut().flat_map(|(_, value)| value.texts()).map(|text| text.len()).collect();
        assert_eq!(texts, [SMALL_TEXT_MAX + wire::CUT_MARK.len(); 3]);
    }
}
