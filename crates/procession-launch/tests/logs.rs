//! What children log reaches their parent's subscriber, whole and in order, with whose it is; levels are inherited.

mod common;
mod recorder;

use std::error::Error;
use std::fmt;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{block, fresh_methods, hear, pipe, start, tell};
use procession_launch::{
    Arguments, CUT_MARK, Child, Context, JoinError, Process, RECORD_BYTES_MAX, StartMethod, Target, log_level,
};
use procession_sys::{Deadline, Interest, poll_one};
use procession_testkit::{open_descriptors, program};
use procession_wire::Descriptor;
use recorder::{Recorded, record, recorder};
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber, debug, dispatcher, error, info, info_span, trace, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

procession_testkit::main! {
    warm_up: warm_up;
    cases for fresh_methods(), [
        a_child_starts_at_its_parents_level,
        a_grandchild_starts_at_its_grandparents_level,
        a_record_arrives_with_pid_and_name,
        values_keep_their_types,
        spans_are_opened_entered_left_and_closed_as_in_the_child,
        spans_that_the_parent_does_not_want_are_left_out,
        records_of_many_threads_stand_in_their_own_spans,
        callsites_that_many_threads_use_first_are_described_before,
        records_of_many_children_keep_their_order within 60,
        a_killed_child_leaves_no_span_open,
        a_huge_record_is_cut_and_marked,
        more_fields_than_there_is_room_for_stand_in_one,
        a_value_that_logs_itself_while_it_is_shown_is_no_harm,
        a_slow_parent_makes_the_child_wait,
        a_subscriber_that_panics_is_no_harm,
        a_subscriber_may_join_children,
        a_join_does_not_wait_for_ever_for_a_subscriber_that_waits_for_it,
        a_grandchild_arrives_once_with_its_own_name,
        a_killed_parent_takes_the_child_along,
        the_usual_subscriber_filters_and_shows_forwarded_records,
        filters_by_span_work,
        a_parent_without_a_subscriber_gets_nothing,
        a_child_that_does_not_forward_logs_to_nobody,
        nothing_is_left_open_after_the_end,
        the_end_of_the_parent_waits_for_the_log,
        the_end_of_the_parent_waits_for_the_logs_of_children_that_nobody_waits_for,
    ];
    programs: [endless, leaves_early, reaps_unheard];
}

/// As for all, and the pump runs.
fn warm_up() {
    common::warm_up();
    forwarded(StartMethod::Spawn, || (), ()).join().unwrap();
}

/// The environment variable that tells a program which start method to use.
const METHOD: &str = "START_METHOD";

/// A program's start method.
fn own_method() -> StartMethod {
    let name = std::env::var(METHOD).expect("a start method");
    StartMethod::ALL.into_iter().find(|method| method.name() == name).expect("a known start method")
}

/// Starts a child that forwards what it logs.
fn forwarded<F, A>(method: StartMethod, target: F, arguments: A) -> Process<F::Output>
where
    F: Target<A>,
    A: Arguments,
{
    Context::new(method).builder(target, arguments).name("worker").forward_logs().start().unwrap()
}

/// Whose a record of this child is, as the recorder writes it.
fn whose(child: &Child) -> String {
    format!(" process.pid={} process.name={:?}", child.pid(), child.name())
}

/// The lines, without what says whose they are, which each of a record or a new span must.
fn told(recorded: &Recorded, whose: &str) -> Vec<String> {
    let lines = recorded.lines().into_iter();
    let short = |line: String| {
        let has_fields = !["enter", "exit", "close", "record"].contains(&line.split(' ').next().unwrap_or_default())
            && !line.contains(" follows ");
        match line.strip_suffix(whose) {
            Some(short) => short.to_owned(),
            None => {
                assert!(!has_fields, "{line:?} does not end with {whose:?}");
                line
            }
        }
    };
    lines.map(short).collect()
}

/// Joins a child, and returns what it logged.
fn log_of<R: procession_launch::Passable + fmt::Debug>(child: Process<R>, recorded: &Recorded) -> Vec<String> {
    let whose = whose(&child);
    child.join().unwrap();
    told(recorded, &whose)
}

fn a_child_starts_at_its_parents_level(method: StartMethod) {
    for level in [LevelFilter::WARN, LevelFilter::DEBUG] {
        let (dispatch, _) = recorder(level);
        let _guard = dispatcher::set_default(&dispatch);
        let told = start(method, || log_level().to_string(), ()).join().unwrap();
        assert_eq!(told, level.to_string());
    }
}

fn level_of_child(method: StartMethod) -> (String, String) {
    (log_level().to_string(), start(method, || log_level().to_string(), ()).join().unwrap())
}

fn a_grandchild_starts_at_its_grandparents_level(method: StartMethod) {
    let off = LevelFilter::OFF.to_string();
    assert_eq!(start(method, level_of_child, (method,)).join().unwrap(), (off.clone(), off));
    let _recorded = record(LevelFilter::DEBUG);
    let debug = LevelFilter::DEBUG.to_string();
    assert_eq!(start(method, level_of_child, (method,)).join().unwrap(), (debug.clone(), debug.clone()));
    assert_eq!(forwarded(method, level_of_child, (method,)).join().unwrap(), (debug.clone(), debug));
}

fn log_each_level() {
    error!("e");
    warn!("w");
    info!(answer = 42, "i {}", 1);
    debug!("d");
    trace!("t");
}

fn a_record_arrives_with_pid_and_name(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let child = forwarded(method, log_each_level, ());
    let whose = whose(&child);
    assert!(whose.ends_with(&format!("process.pid={} process.name=\"worker\"", child.pid())));
    child.join().unwrap();
    let expected = [
        format!("ERROR logs message=e{whose}"),
        format!("WARN logs message=w{whose}"),
        format!("INFO logs message=i 1 answer=42i64{whose}"),
    ];
    assert_eq!(recorded.lines(), expected);
}

#[derive(Debug)]
struct Outer(Box<dyn Error + 'static>);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

fn log_values() {
    let inner: Box<dyn Error> = "x".parse::<u8>().unwrap_err().into();
    let error: Box<dyn Error + 'static> = Box::new(Outer(inner));
    info!(a = i64::MIN, b = u64::MAX, c = i128::MIN, d = u128::MAX, e = 0.5, f = true);
    info!(target: "elsewhere", text = "line\n\"two\"", debug = ?Some("x"), shown = %'x', nothing = Empty);
    info!(error = &*error, nan = f64::NAN);
}

fn values_keep_their_types(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let log = log_of(forwarded(method, log_values, ()), &recorded);
    let numbers =
        format!("a={}i64 b={} c={}i128 d={}u128 e=0.5f64 f=truebool", i64::MIN, u64::MAX, i128::MIN, u128::MAX);
    let expected = [
        format!("INFO logs {numbers}"),
        "INFO elsewhere text=\"line\\n\\\"two\\\"\" debug=Some(\"x\") shown=x".to_owned(),
        "INFO logs error=error<outer<invalid digit found in string nan=NaNf64".to_owned(),
    ];
    assert_eq!(log, expected);
}

fn log_spans() {
    let outer = info_span!("outer", a = 1, later = Empty);
    let entered = outer.enter();
    info!("in outer");
    let inner = info_span!("inner");
    inner.in_scope(|| info!("in inner"));
    info!(parent: &inner, "explicit");
    info!(parent: None, "root");
    let apart = info_span!(parent: None, "apart");
    apart.follows_from(&inner);
    outer.record("later", "now");
    drop((inner, entered));
    let kept = apart.clone();
    drop(apart);
    drop(outer);
    info!("last");
    drop(kept);
}

fn spans_are_opened_entered_left_and_closed_as_in_the_child(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let log = log_of(forwarded(method, log_spans, ()), &recorded);
    let expected = [
        "open outer a=1i64",
        "enter outer",
        "INFO logs in outer message=in outer",
        "open inner in outer",
        "enter inner",
        "INFO logs in inner message=in inner",
        "exit inner",
        "INFO logs in inner message=explicit",
        "INFO logs message=root",
        "open apart",
        "apart follows inner",
        "record outer later=\"now\"",
        "close inner",
        "exit outer",
        "close outer",
        "INFO logs message=last",
        "close apart",
    ];
    assert_eq!(log, expected);
}

/// Passes on to a recorder what is not named `unwanted`.
struct Choosy(Dispatch);

impl Subscriber for Choosy {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() != "unwanted"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.0.try_close(span)
    }
}

fn log_in_unwanted() {
    let wanted = info_span!("wanted").entered();
    let unwanted = info_span!("unwanted", x = Empty).entered();
    unwanted.record("x", 1);
    // The span around goes first: the one in it still stands for it.
    drop(wanted);
    info!(parent: &unwanted, "in unwanted");
    drop(unwanted);
}

fn spans_that_the_parent_does_not_want_are_left_out(method: StartMethod) {
    let (dispatch, recorded) = recorder(LevelFilter::INFO);
    let _guard = dispatcher::set_default(&Dispatch::new(Choosy(dispatch)));
    let log = log_of(forwarded(method, log_in_unwanted, ()), &recorded);
    let expected =
        ["open wanted", "enter wanted", "exit wanted", "INFO logs in wanted message=in unwanted", "close wanted"];
    assert_eq!(log, expected);
}

const THREADS: usize = 8;
const RECORDS: usize = 200;

fn log_in_threads() {
    let threads = (0..THREADS).map(|thread| {
        thread::spawn(move || {
            for number in 0..RECORDS {
                let span = info_span!("of a thread", thread);
                let _entered = span.enter();
                info!(thread, number);
            }
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

fn records_of_many_threads_stand_in_their_own_spans(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let log = log_of(forwarded(method, log_in_threads, ()), &recorded);
    for thread in 0..THREADS {
        let own = log
            .iter()
            .filter_map(|line| line.strip_prefix(&format!("INFO logs in of a thread thread={thread} number=")));
        let numbers: Vec<usize> = own.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (0..RECORDS).collect::<Vec<_>>());
    }
    for (what, count) in [("open", 1), ("enter", 1), ("exit", 1), ("close", 1), ("INFO", 1)] {
        let found = log.iter().filter(|line| line.starts_with(what)).count();
        assert_eq!(found, count * THREADS * RECORDS, "{what}");
    }
    assert_eq!(recorded.open_spans(), 0);
}

/// Logs at callsites that nobody has used before, each by all threads at once.
fn log_first() {
    let together = Barrier::new(THREADS);
    macro_rules! first {
        ($($name:ident)*) => { $(
            together.wait();
            info!($name = 1);
        )* };
    }
    let log = || {
        first!(a b c d e f g h i j k l m n o p q r s t u v w x y z);
        first!(a b c d e f g h i j k l m n o p q r s t u v w x y z);
        first!(a b c d e f g h i j k l m n o p q r s t u v w x y z);
        first!(a b c d e f g h i j k l m n o p q r s t u v w x y z);
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(log))));
}

fn callsites_that_many_threads_use_first_are_described_before(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let log = log_of(forwarded(method, log_first, ()), &recorded);
    assert_eq!(log.len(), 4 * 26 * THREADS, "{:?}", log.last());
}

fn count(until: usize) {
    (0..until).for_each(|number| info!(number));
}

fn records_of_many_children_keep_their_order(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let children: Vec<_> = (0..10).map(|_| forwarded(method, count, (500,))).collect();
    let marks: Vec<String> = children.iter().map(|child| whose(child)).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    let lines = recorded.lines();
    assert_eq!(lines.len(), 5000);
    for mark in marks {
        let own: Vec<&str> = lines.iter().filter_map(|line| line.strip_suffix(&mark)).collect();
        let expected: Vec<String> = (0..500).map(|number| format!("INFO logs number={number}")).collect();
        assert_eq!(own, expected);
    }
}

fn log_and_block(told: Descriptor) {
    let _outer = info_span!("outer").entered();
    let inner = info_span!("inner");
    let _once = inner.enter();
    let _twice = inner.enter();
    info!("last words");
    tell(&told);
    block();
}

fn a_killed_child_leaves_no_span_open(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let (ready, told_ready) = pipe();
    let child = forwarded(method, log_and_block, (told_ready,));
    let whose = whose(&child);
    hear(&ready);
    child.kill().unwrap();
    assert!(matches!(child.join(), Err(JoinError::Signaled { signal: 9, .. })));
    let log = told(&recorded, &whose);
    let expected = [
        "open outer",
        "enter outer",
        "open inner in outer",
        "enter inner",
        "enter inner",
        "INFO logs in inner message=last words",
        "exit inner",
        "exit inner",
        "close inner",
        "exit outer",
        "close outer",
    ];
    assert_eq!(log, expected);
}

fn log_hugely() {
    let huge = "ö".repeat(5 << 20);
    info!("{huge}");
    info!(text = huge, after = 1, debug = ?huge, "short");
    info!("small");
}

fn a_huge_record_is_cut_and_marked(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let log = log_of(forwarded(method, log_hugely, ()), &recorded);
    let [first, second, third] = log.as_slice() else { panic!("{} records", log.len()) };
    assert!(first.len() > RECORD_BYTES_MAX / 2 && first.len() <= RECORD_BYTES_MAX, "{}", first.len());
    assert!(first.starts_with("INFO logs message=öö") && first.ends_with(&format!("ö{CUT_MARK}")));
    assert!(second.contains("message=short text=\"öö") && second.contains(&format!("ö{CUT_MARK}\" after=1i64")));
    assert!(second.len() <= RECORD_BYTES_MAX && second.ends_with(&format!(" debug={CUT_MARK}")));
    assert_eq!(third, "INFO logs message=small");
}

fn log_many_fields() {
    info!(
        f1 = 1,
        f2 = 2,
        f3 = 3,
        f4 = 4,
        f5 = 5,
        f6 = 6,
        f7 = 7,
        f8 = 8,
        f9 = 9,
        f10 = 10,
        f11 = 11,
        f12 = 12,
        f13 = 13,
        f14 = 14,
        f15 = 15,
        f16 = 16,
        f17 = 17,
        f18 = 18,
        f19 = 19,
        f20 = 20,
        f21 = 21,
        f22 = 22,
        f23 = 23,
        f24 = 24,
        f25 = 25,
        f26 = 26,
        f27 = 27,
        f28 = 28,
        f29 = 29,
        f30 = "thirty"
    );
    info!(
        f1 = 1, f2 = 2, f3 = 3, f4 = 4, f5 = 5, f6 = 6, f7 = 7, f8 = 8, f9 = 9, f10 = 10, f11 = 11, f12 = 12, f13 = 13,
        f14 = 14, f15 = 15, f16 = 16, f17 = 17, f18 = 18, f19 = 19, f20 = 20, f21 = 21, f22 = 22, f23 = 23, f24 = 24,
        f25 = 25, f26 = 26, f27 = 27, f28 = 28, f29 = 29, f30 = "thirty", f31 = ?Some(31), f32 = 32
    );
}

fn more_fields_than_there_is_room_for_stand_in_one(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let log = log_of(forwarded(method, log_many_fields, ()), &recorded);
    let most: String = (1..=29).map(|n| format!(" f{n}={n}i64")).collect();
    assert_eq!(log[0], format!("INFO logs{most} f30=\"thirty\""));
    assert_eq!(log[1], format!("INFO logs{most} fields.more=f30=\"thirty\" f31=Some(31) f32=32"));
}

/// Logs whenever it is shown.
struct Talkative;

impl fmt::Debug for Talkative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _span = info_span!("while shown").entered();
        info!("shown");
        f.write_str("talkative")
    }
}

fn log_talkative() {
    info!(value = ?Talkative, "over");
}

fn a_value_that_logs_itself_while_it_is_shown_is_no_harm(method: StartMethod) {
    let recorded = record(LevelFilter::INFO);
    let log = log_of(forwarded(method, log_talkative, ()), &recorded);
    assert!(log.contains(&"INFO logs in while shown message=shown".to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "INFO logs message=over value=talkative");
}

/// Calls a function for each record, and keeps no spans.
struct Each<F>(F);

impl<F: Fn(&Event<'_>) + 'static> Subscriber for Each<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        (self.0)(event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Makes it the current subscriber of this thread for the rest of the process.
fn each(call: impl Fn(&Event<'_>) + Send + Sync + 'static) {
    std::mem::forget(dispatcher::set_default(&Dispatch::new(Each(call))));
}

fn count_and_tell(until: usize, to: Descriptor) {
    count(until);
    tell(&to);
}

fn a_slow_parent_makes_the_child_wait(method: StartMethod) {
    let (go_on, wait) = mpsc::channel::<()>();
    let (wait, seen) = (Mutex::new(wait), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&seen);
    each(move |_| {
        let _ = wait.lock().unwrap().recv(); // Fails at once when nobody can send any more.
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (ready, told) = pipe();
    let child = forwarded(method, count_and_tell, (20_000, told));
    // It sleeps in its send once the socket is full. Had it kept its records, it would be through them by now.
    let is_through = poll_one(&ready, Interest::Read, Deadline::after(Duration::from_millis(300))).unwrap();
    assert!(!is_through && child.is_alive());
    assert_eq!(seen.load(Ordering::Relaxed), 0);
    drop(go_on);
    child.join().unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 20_000);
}

fn a_subscriber_that_panics_is_no_harm(method: StartMethod) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    each(move |_| assert!(counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2), "planted"));
    forwarded(method, count, (10,)).join().unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 10);
}

fn a_subscriber_may_join_children(method: StartMethod) {
    let (told, joined) = mpsc::channel();
    each(move |_| told.send(forwarded(method, || 7, ()).join().unwrap()).unwrap());
    let started = Instant::now();
    forwarded(method, count, (4,)).join().unwrap();
    assert_eq!(joined.iter().take(4).collect::<Vec<_>>(), [7; 4]);
    // To wait for itself the pump would take two seconds each time.
    assert!(started.elapsed() < Duration::from_secs(8));
}

fn a_join_does_not_wait_for_ever_for_a_subscriber_that_waits_for_it(method: StartMethod) {
    let shared = Arc::new(Mutex::new(0));
    let own = Arc::clone(&shared);
    each(move |_| *own.lock().unwrap() += 1);
    let held = shared.lock().unwrap();
    forwarded(method, count, (3,)).join().unwrap();
    drop(held);
    let started = Instant::now();
    while *shared.lock().unwrap() < 3 {
        assert!(started.elapsed() < common::SOON);
        thread::yield_now();
    }
}

fn have_child(method: StartMethod) -> u32 {
    let _span = info_span!("middle").entered();
    let grandchild =
        Context::new(method).builder(log_each_level, ()).name("grandchild").forward_logs().start().unwrap();
    let number = grandchild.pid();
    grandchild.join().unwrap();
    info!("of the middle");
    number
}

fn a_grandchild_arrives_once_with_its_own_name(method: StartMethod) {
    let recorded = record(LevelFilter::WARN);
    let child = forwarded(method, have_child, (method,));
    let grandchild = child.join().unwrap();
    let whose = format!(" process.pid={grandchild} process.name=\"grandchild\"");
    assert_eq!(recorded.lines(), [format!("ERROR logs message=e{whose}"), format!("WARN logs message=w{whose}")]);
}

fn log_for_ever() {
    println!("runs");
    loop {
        info!("again");
    }
}

fn endless() {
    each(|_| ());
    let _child = forwarded(own_method(), log_for_ever, ());
    block();
}

fn a_killed_parent_takes_the_child_along(method: StartMethod) {
    let mut program = program("endless");
    let mut program = program.env(METHOD, method.name()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    program.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let held = common::hold(&procession_testkit::descendants_of(program.id()));
    program.kill().unwrap();
    common::assert_all_end(&held);
    program.wait().unwrap();
}

/// Text that a subscriber writes.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Text {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn log_at_targets() {
    let _span = info_span!(target: "loud", "request", id = 7).entered();
    info!(target: "loud", "kept");
    info!(target: "quiet", "filtered");
    warn!(target: "quiet", "important");
    trace!(target: "loud", "too fine");
}

fn the_usual_subscriber_filters_and_shows_forwarded_records(method: StartMethod) {
    let text = Text::default();
    let filter = EnvFilter::new("warn,loud=debug");
    let shown =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(text.clone()).without_time().with_ansi(false);
    let _guard = dispatcher::set_default(&shown.finish().into());
    let child = forwarded(method, log_at_targets, ());
    let number = child.pid();
    child.join().unwrap();
    let whose = format!("process.pid={number} process.name=\"worker\"");
    let expected = format!(
        " INFO request{{id=7 {whose}}}: loud: kept {whose}\n WARN request{{id=7 {whose}}}: quiet: important {whose}\n"
    );
    assert_eq!(String::from_utf8(text.0.lock().unwrap().clone()).unwrap(), expected);
}

fn log_in_requests() {
    for id in 6..9 {
        let _span = info_span!("request", id).entered();
        info!("done");
    }
    info!("outside");
}

fn filters_by_span_work(method: StartMethod) {
    let text = Text::default();
    let filter = EnvFilter::new("off,[request{id=7}]=info");
    let shown =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(text.clone()).without_time().with_ansi(false);
    let _guard = dispatcher::set_default(&shown.finish().into());
    let child = forwarded(method, log_in_requests, ());
    let number = child.pid();
    child.join().unwrap();
    let whose = format!("process.pid={number} process.name=\"worker\"");
    let expected = format!(" INFO request{{id=7 {whose}}}: logs: done {whose}\n");
    assert_eq!(String::from_utf8(text.0.lock().unwrap().clone()).unwrap(), expected);
}

fn a_parent_without_a_subscriber_gets_nothing(method: StartMethod) {
    assert_eq!(forwarded(method, || (log_each_level(), 7).1, ()).join().unwrap(), 7);
}

fn a_child_that_does_not_forward_logs_to_nobody(method: StartMethod) {
    let recorded = record(LevelFilter::TRACE);
    start(method, log_each_level, ()).join().unwrap();
    assert_eq!(recorded.lines(), Vec::<String>::new());
}

fn nothing_is_left_open_after_the_end(method: StartMethod) {
    let _recorded = record(LevelFilter::INFO);
    let before = open_descriptors().len();
    let child = forwarded(method, log_each_level, ());
    child.wait().unwrap();
    let started = Instant::now();
    // The handle keeps its line and its pidfd; the socket of the log goes with the child.
    while open_descriptors().len() > before + 2 {
        assert!(started.elapsed() < common::SOON, "{:?}", open_descriptors());
        thread::yield_now();
    }
}

fn leaves_early() {
    each(|event| println!("{}", event.metadata().level()));
    drop(forwarded(own_method(), log_each_level, ()));
}

fn the_end_of_the_parent_waits_for_the_log(method: StartMethod) {
    let output = program("leaves_early").env(METHOD, method.name()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ERROR\nWARN\nINFO\nDEBUG\nTRACE\n");
}

/// Its child has ended and been reaped, by another start, before its subscriber gets the first record.
fn reaps_unheard() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    each(move |event| {
        let _ = wait.lock().unwrap().recv();
        println!("{}", event.metadata().level());
    });
    let child = forwarded(own_method(), log_each_level, ());
    let held = procession_sys::PidFd::open(child.pid()).unwrap();
    drop(child);
    assert!(held.wait_ended(Deadline::after(common::SOON)).unwrap());
    // Children that do not forward reap it, for which it need not be heard.
    while !procession_launch::active_children().is_empty() {}
    drop(go_on);
}

fn the_end_of_the_parent_waits_for_the_logs_of_children_that_nobody_waits_for(method: StartMethod) {
    let output = program("reaps_unheard").env(METHOD, method.name()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ERROR\nWARN\nINFO\nDEBUG\nTRACE\n");
}
