//! A subscriber that keeps what it is told, as lines that a test can compare.
//!
//! Relies on nothing of `procession-launch`: it is what any program might install.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// What was told, shared with whoever looks.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lines: Vec<String>,
    spans: HashMap<u64, (String, usize)>,
    last: u64,
}

impl Recorded {
    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// How many spans are open.
    pub(crate) fn open_spans(&self) -> usize {
        self.lock().spans.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn push(&self, line: String) {
        self.lock().lines.push(line);
    }
}

/// The subscriber.
pub(crate) struct Recorder {
    level: LevelFilter,
    recorded: Recorded,
}

/// A subscriber at this level, and what it will have recorded.
pub(crate) fn recorder(level: LevelFilter) -> (Dispatch, Recorded) {
    let recorded = Recorded::default();
    (Dispatch::new(Recorder { level, recorded: recorded.clone() }), recorded)
}

/// Makes it the current one of this thread for the rest of the process.
pub(crate) fn record(level: LevelFilter) -> Recorded {
    let (dispatch, recorded) = recorder(level);
    std::mem::forget(tracing::dispatcher::set_default(&dispatch));
    recorded
}

/// Values as ` name=value`, texts of type str in quotes.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        write!(self.0, " {field}={value}i64").unwrap();
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        write!(self.0, " {field}={value}").unwrap();
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        write!(self.0, " {field}={value}i128").unwrap();
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        write!(self.0, " {field}={value}u128").unwrap();
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        write!(self.0, " {field}={value:?}f64").unwrap();
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        write!(self.0, " {field}={value}bool").unwrap();
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        write!(self.0, " {field}=error").unwrap();
        let mut next = Some(value);
        while let Some(error) = next {
            write!(self.0, "<{error}").unwrap();
            next = error.source();
        }
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!("open {}", span.metadata().name()));
        if let Some(parent) = span.parent() {
            let name = self.recorded.name(parent);
            write!(line.0, " in {name}").unwrap();
        }
        assert!(!span.is_contextual() || span.metadata().target().starts_with("logs"), "of this process itself");
        span.record(&mut line);
        let mut state = self.recorded.lock();
        state.last += 1;
        let id = state.last;
        state.spans.insert(id, (span.metadata().name().to_owned(), 1));
        state.lines.push(line.0);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut line = Line(format!("record {}", self.recorded.name(span)));
        values.record(&mut line);
        self.recorded.push(line.0);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.recorded.push(format!("{} follows {}", self.recorded.name(span), self.recorded.name(follows)));
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.level(), metadata.target()));
        if let Some(parent) = event.parent() {
            let name = self.recorded.name(parent);
            write!(line.0, " in {name}").unwrap();
        }
        event.record(&mut line);
        self.recorded.push(line.0);
    }

    fn enter(&self, span: &Id) {
        self.recorded.push(format!("enter {}", self.recorded.name(span)));
    }

    fn exit(&self, span: &Id) {
        self.recorded.push(format!("exit {}", self.recorded.name(span)));
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.recorded.lock().spans.get_mut(&span.into_u64()).expect("an open span").1 += 1;
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let mut state = self.recorded.lock();
        let entry = state.spans.get_mut(&span.into_u64()).expect("an open span");
        entry.1 -= 1;
        if entry.1 > 0 {
            return false;
        }
        let (name, _) = state.spans.remove(&span.into_u64()).expect("it was there");
        state.lines.push(format!("close {name}"));
        true
    }
}

impl Recorded {
    fn name(&self, span: &Id) -> String {
        self.lock().spans.get(&span.into_u64()).expect("an open span").0.clone()
    }
}
