//! A child that does not keep to the rules: its log is closed, nothing else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use proptest::prelude::*;
use tracing::{Metadata, Subscriber};

use super::*;
use crate::logs::wire::{CALLSITE_TEXT_MAX, FIELD_NAME_MAX, fields_max};

/// Counts what it is told, and panics when a span is used that is not open.
#[derive(Clone, Default)]
struct Counter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    open: Mutex<HashMap<u64, usize>>,
    last: AtomicUsize,
    events: AtomicUsize,
    warnings: Mutex<Vec<String>>,
    entered: AtomicI64,
}

/// The message of a record.
#[derive(Default)]
struct Message(String);

impl field::Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() != "unwanted"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.parent().inspect(|parent| assert!(self.0.open.lock().contains_key(&parent.into_u64())));
        span.record(&mut Message::default());
        let id = self.0.last.fetch_add(1, Ordering::Relaxed) as u64 + 1;
        self.0.open.lock().insert(id, 1);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        assert!(self.0.open.lock().contains_key(&span.into_u64()));
        values.record(&mut Message::default());
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        assert!([span, follows].iter().all(|span| self.0.open.lock().contains_key(&span.into_u64())));
    }

    fn event(&self, event: &Event<'_>) {
        event.parent().inspect(|parent| assert!(self.0.open.lock().contains_key(&parent.into_u64())));
        let mut message = Message::default();
        event.record(&mut message);
        self.0.events.fetch_add(1, Ordering::Relaxed);
        if event.metadata().target() == OWN_TARGET {
            self.0.warnings.lock().push(message.0);
        }
    }

    fn enter(&self, span: &Id) {
        assert!(self.0.open.lock().contains_key(&span.into_u64()));
        self.0.entered.fetch_add(1, Ordering::Relaxed);
    }

    fn exit(&self, span: &Id) {
        assert!(self.0.open.lock().contains_key(&span.into_u64()));
        self.0.entered.fetch_sub(1, Ordering::Relaxed);
    }

    fn clone_span(&self, span: &Id) -> Id {
        *self.0.open.lock().get_mut(&span.into_u64()).expect("an open span") += 1;
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let mut open = self.0.open.lock();
        let handles = open.get_mut(&span.into_u64()).expect("an open span");
        *handles -= 1;
        let is_closed = *handles == 0;
        if is_closed {
            open.remove(&span.into_u64());
        }
        is_closed
    }
}

/// A log that a test writes to.
struct Bench {
    counter: Counter,
    log: Log,
    child: PacketSocket,
}

impl Bench {
    fn new() -> Self {
        let (ours, child) = PacketSocket::pair().unwrap();
        let counter = Counter::default();
        let log = dispatcher::with_default(&Dispatch::new(counter.clone()), || Log::new(ours, "wild".to_owned()));
        log.set_pid(7);
        Self { counter, log, child }
    }

    fn send(&self, packet: &Packet) {
        self.child.send([procession_wire::encode(packet).unwrap().bytes()], &[]).unwrap();
    }

    /// Has everything read.
    fn advance(&self) -> Advance {
        loop {
            match self.log.advance() {
                Advance::More => {}
                other => return other,
            }
        }
    }

    /// Everything is closed that was open.
    fn assert_tidy(&self) {
        assert!(self.counter.0.open.lock().is_empty());
        assert_eq!(self.counter.0.entered.load(Ordering::Relaxed), 0);
    }

    /// The log is closed, with one warning.
    fn assert_closed(&self, reason: &str) {
        assert_eq!(self.advance(), Advance::End, "{reason}");
        let warnings = self.counter.0.warnings.lock().clone();
        assert_eq!(warnings, [format!("the log of process \"wild\" (pid 7) is closed: it sent {reason}")]);
        self.assert_tidy();
        assert_eq!(self.advance(), Advance::End);
    }
}

fn described(is_span: bool, fields: usize) -> Described {
    Described {
        is_span,
        level: 3,
        name: "a name".to_owned(),
        target: "a target".to_owned(),
        module: None,
        file: None,
        line: Some(1),
        fields: (0..fields).map(|n| format!("f{n}")).collect(),
    }
}

fn event(callsite: u32, values: Values) -> Packet {
    Packet::Event { parent: None, callsite, values }
}

fn span(id: u64, parent: Option<u64>) -> Packet {
    Packet::Span { id, parent, callsite: 0, values: Vec::new() }
}

#[test]
fn a_log_that_keeps_to_the_rules_ends_with_its_child() {
    let bench = Bench::new();
    bench.send(&Packet::Callsite(0, described(true, 0)));
    bench.send(&Packet::Callsite(1, described(false, 2)));
    bench.send(&span(1, None));
    bench.send(&Packet::Enter(1));
    bench.send(&event(1, vec![(1, Value::I64(1))]));
    assert_eq!(bench.advance(), Advance::Nothing);
    assert_eq!(bench.counter.0.events.load(Ordering::Relaxed), 1);
    let Bench { counter, log, child } = bench;
    drop(child);
    assert_eq!(log.advance(), Advance::End);
    assert!(counter.0.open.lock().is_empty() && counter.0.warnings.lock().is_empty());
}

#[test]
fn each_broken_rule_closes_the_log() {
    let long = |bytes: usize| "x".repeat(bytes);
    let at = |described: Described| vec![Packet::Callsite(0, described)];
    let site = |is_span| Packet::Callsite(0, described(is_span, 1));
    let beyond = "a callsite beyond the limits";
    let cases: Vec<(&str, Vec<Packet>)> = vec![
        (beyond, at(Described { level: 0, ..described(false, 0) })),
        (beyond, at(Described { level: 6, ..described(false, 0) })),
        (beyond, at(Described { name: long(CALLSITE_TEXT_MAX + 1), ..described(false, 0) })),
        (beyond, at(Described { target: long(CALLSITE_TEXT_MAX + 1), ..described(false, 0) })),
        (beyond, at(Described { file: Some(long(CALLSITE_TEXT_MAX + 1)), ..described(false, 0) })),
        (beyond, at(Described { module: Some(long(CALLSITE_TEXT_MAX + 1)), ..described(false, 0) })),
        (beyond, at(Described { fields: vec![long(FIELD_NAME_MAX + 1)], ..described(false, 0) })),
        (beyond, at(described(false, fields_max(false) + 1))),
        ("a callsite with a number out of order", vec![Packet::Callsite(1, described(false, 0))]),
        ("a callsite that it has not described", vec![event(0, Vec::new())]),
        ("a callsite of another kind", vec![site(true), event(0, Vec::new())]),
        ("a callsite of another kind", vec![site(false), span(1, None)]),
        ("values of no field", vec![site(false), event(0, vec![(1, Value::Bool(true))])]),
        ("values of no field", vec![site(false), event(0, vec![(0, Value::Bool(true)); FIELDS_MAX + 1])]),
        (
            "values of no field",
            vec![site(false), event(0, vec![(0, Value::Error(String::new(), vec![String::new(); CAUSES_MAX + 1]))])],
        ),
        ("values of no field", vec![site(true), span(1, None), Packet::Record(1, vec![(255, Value::U64(1))])]),
        ("a span with a number that is in use", vec![site(true), span(1, None), Packet::Enter(1), span(1, None)]),
        ("a span with a number that is in use", vec![site(true), span(0, None)]),
    ];
    for (reason, packets) in cases {
        let bench = Bench::new();
        packets.iter().for_each(|packet| bench.send(packet));
        bench.assert_closed(reason);
    }
}

#[test]
fn bytes_that_are_no_packet_close_the_log() {
    for bytes in [&b"x"[..], &[0xFF; 100], &[0; 100]] {
        let bench = Bench::new();
        bench.child.send([bytes], &[]).unwrap();
        bench.assert_closed("a packet that cannot be decoded");
    }
    let bench = Bench::new();
    bench.child.send([&[0; RECORD_BYTES_MAX + 1]], &[]).unwrap();
    bench.assert_closed("a packet that is too large");
    let bench = Bench::new();
    bench.child.send([b"x"], &[procession_sys::dev_null().unwrap().as_fd()]).unwrap();
    bench.assert_closed("a packet with a descriptor");
}

#[test]
fn one_span_more_than_the_limit_closes_the_log() {
    let bench = Bench::new();
    bench.send(&Packet::Callsite(0, described(true, 0)));
    for id in 1..=SPANS_MAX as u64 {
        bench.send(&span(id, id.checked_sub(1).filter(|&parent| parent > 0)));
        bench.advance();
    }
    assert_eq!(bench.counter.0.open.lock().len(), SPANS_MAX);
    bench.send(&span(SPANS_MAX as u64 + 1, None));
    bench.assert_closed("too many open spans");
}

#[test]
fn a_number_may_be_described_anew_and_none_beyond_the_limit() {
    let bench = Bench::new();
    let unlike = |line| Described { line: Some(line), ..described(false, 0) };
    bench.send(&Packet::Callsite(0, unlike(100)));
    bench.send(&Packet::Callsite(0, unlike(101)));
    assert_eq!(bench.advance(), Advance::Nothing);
    // The same description over and over is one callsite here.
    let mut reader = Reader::new(Dispatch::none());
    for number in 0..CALLSITES_MAX as u32 {
        reader.describe(number, unlike(100)).unwrap();
    }
    let error = reader.describe(CALLSITES_MAX as u32, unlike(100)).unwrap_err();
    assert_eq!(error, Fault("a callsite with a number out of order"));
}

#[test]
fn what_has_no_callsite_of_its_own_is_shown_as_text() {
    let site = described(false, 2);
    let values = vec![(0, Value::I64(1)), (1, Value::Str("two".to_owned()))];
    let shown = crate::logs::callsite::in_text(site);
    check(&shown, &values).unwrap();
    let held = hold(&shown, values);
    let mut message = Message::default();
    let whose = Whose { pid: 7, name: "wild" };
    with_values(&shown, &held, Some(whose), |values| values.record(&mut message));
    assert_eq!(message.0, "a target: a name: f0=1 f1=\"two\"");
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        any::<i128>().prop_map(Value::I128),
        any::<u128>().prop_map(Value::U128),
        any::<f64>().prop_map(Value::F64),
        ".{0,20}".prop_map(Value::Str),
        ".{0,20}".prop_map(Value::Debug),
        (".{0,9}", prop::collection::vec(".{0,9}", 0..3)).prop_map(|(message, causes)| Value::Error(message, causes)),
    ]
}

/// Packets that are mostly right: with few spans and callsites, so that they meet.
fn any_packet() -> impl Strategy<Value = Packet> {
    let id = || 1..6_u64;
    let around = || prop::option::of(0..7_u64);
    let values = || prop::collection::vec((0..3_u8, any_value()), 0..3);
    prop_oneof![
        (id(), around(), values()).prop_map(|(id, parent, values)| Packet::Span { id, parent, callsite: 0, values }),
        (id(), around()).prop_map(|(id, parent)| Packet::Span { id, parent, callsite: 2, values: Vec::new() }),
        (around(), values()).prop_map(|(parent, values)| Packet::Event { parent, callsite: 1, values }),
        (id(), values()).prop_map(|(id, values)| Packet::Record(id, values)),
        (id(), id()).prop_map(|(id, from)| Packet::Follows(id, from)),
        id().prop_map(Packet::Enter),
        id().prop_map(Packet::Exit),
        id().prop_map(Packet::Close),
        id().prop_map(Packet::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// The subscriber asserts that every span it is asked about is open.
    #[test]
    fn packets_in_any_order_use_open_spans_only(packets in prop::collection::vec(any_packet(), 0..60)) {
        let bench = Bench::new();
        bench.send(&Packet::Callsite(0, described(true, 3)));
        bench.send(&Packet::Callsite(1, described(false, 3)));
        bench.send(&Packet::Callsite(2, Described { name: "unwanted".to_owned(), ..described(true, 3) }));
        for packet in &packets {
            bench.send(packet);
            bench.advance();
            if bench.log.reader.lock().is_none() {
                break;
            }
        }
        let Bench { counter, log, child } = bench;
        drop(child);
        while log.advance() != Advance::End {}
        prop_assert!(counter.0.open.lock().is_empty());
        prop_assert_eq!(counter.0.entered.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 1..10)) {
        let bench = Bench::new();
        packets.iter().for_each(|bytes| bench.child.send([bytes], &[]).unwrap());
        bench.advance();
        let closed = bench.log.reader.lock().is_none();
        prop_assert_eq!(bench.counter.0.warnings.lock().len(), usize::from(closed));
    }

    #[test]
    fn a_damaged_packet_does_no_harm(packet in any_packet(), at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let bench = Bench::new();
        bench.send(&Packet::Callsite(0, described(true, 3)));
        bench.send(&Packet::Callsite(1, described(false, 3)));
        let mut bytes = procession_wire::encode(&packet).unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        bench.child.send([&bytes], &[]).unwrap();
        bench.advance();
        let Bench { counter, log, child } = bench;
        drop(child);
        log.advance();
        prop_assert!(counter.0.open.lock().is_empty());
    }
}
