//! What children log reaches their parent's subscriber, whole and in order, with whose it is; levels are inherited.

mod common;
mod recorder;

use common::{methods, start};
use procession_launch::{Arguments, Context, Process, StartMethod, Target, log_level};
use recorder::record;
use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, trace, warn};

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        a_child_starts_at_its_parents_level,
        a_record_arrives_with_pid_and_name,
    ];
}

/// As for all, and the pump runs.
fn warm_up() {
    common::warm_up();
    forwarded(StartMethod::Spawn, || (), ()).join().unwrap();
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
fn whose(child: &Process<()>) -> String {
    format!("process.pid={} process.name=\"{}\"", child.pid(), child.name()).replace("name=\"", "name=\"")
}

fn a_child_starts_at_its_parents_level(method: StartMethod) {
    for level in [LevelFilter::WARN, LevelFilter::DEBUG] {
        let (dispatch, _) = recorder::recorder(level);
        let _guard = tracing::dispatcher::set_default(&dispatch);
        let told = start(method, || log_level().to_string(), ()).join().unwrap();
        assert_eq!(told, level.to_string());
    }
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
    child.join().unwrap();
    let expected = [
        format!("ERROR logs message=e {whose}"),
        format!("WARN logs message=w {whose}"),
        format!("INFO logs message=i 1 answer=42i64 {whose}"),
    ];
    assert_eq!((recorded.lines(), recorded.open_spans()), (expected.to_vec(), 0));
}
