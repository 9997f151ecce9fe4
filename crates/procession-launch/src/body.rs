//! The child's side: reads what it is to be, becomes it, runs the target, reports.
//!
//! # Safety
//! The streams and the environment are replaced while the child has one thread and nobody has used them.

#![expect(unsafe_code, reason = "replaces descriptors 0 to 2 and the environment of a process that has just begun")]

use std::os::fd::AsFd;
use std::sync::Arc;

use procession_boot::{FunctionId, inherit, resolve};
use procession_sys::{Deadline, Inherited, enter_dir, place, replace_environment};
use procession_wire::{Decoder, Message};

use crate::after_fork;
use crate::authkey::set_authkey;
use crate::context::set_start_method;
use crate::current::become_child;
use crate::ends::exit;
use crate::error::remedy;
use crate::logs;
use crate::panics;
use crate::protocol::{CALL, GO, Handover, Line, REPORT, Report, SETUP, Setup, decoder};
use crate::settings::Settings;

/// The exit code of a child whose target did not return.
const FAILED: i32 = 1;

/// The exit code of a child whose parent never told it what to do, being gone.
const ORPHANED: i32 = 255;

/// Runs the child that the parent at the other end of `line` describes, and ends it normally.
///
/// `when_told` is called once all has been received and nothing has been done.
pub(crate) fn run(line: &Arc<Line>, when_told: impl FnOnce()) -> ! {
    exit(run_described(line, when_told))
}

/// Runs what the parent describes, and returns the child's exit code.
fn run_described(line: &Arc<Line>, when_told: impl FnOnce()) -> i32 {
    let (mut call, setup) = match (expect(line, CALL), expect(line, SETUP)) {
        (Ok(Some(call)), Ok(Some(setup))) => (call, setup),
        (Err(reason), _) | (_, Err(reason)) => return refuse(line, reason),
        _ => return ORPHANED,
    };
    when_told();
    match begin(&mut call, setup) {
        Ok(target) => run_target(line, || target(call)),
        Err(reason) => refuse(line, reason),
    }
}

/// The same for a copy of the parent, which has all of it in its memory.
pub(crate) fn run_copy(line: &Arc<Line>, setup: Setup, target: impl FnOnce() -> Outcome) -> i32 {
    match line.receive(Deadline::NEVER) {
        Ok(Some(frame)) if frame.kind == GO => {}
        _ => return ORPHANED,
    }
    match become_described(setup) {
        Ok(()) => run_target(line, target),
        Err(reason) => refuse(line, reason),
    }
}

/// How a target ended: with the message that holds its result, or with the reason why there is none.
pub(crate) type Outcome = Result<Message, Report>;

/// Runs the target, and reports how it ended.
fn run_target(line: &Arc<Line>, target: impl FnOnce() -> Outcome) -> i32 {
    let reporter = Arc::clone(line);
    let aborting = move |panicked| exit(report(&reporter, Err(panicked)));
    report(line, panics::catch(target, aborting))
}

/// Calls the target that a message names with the arguments that it holds.
pub(crate) fn call(mut call: Decoder) -> Outcome {
    find(&mut call).map_err(Report::Refused).and_then(|target| target(call))
}

/// The target that a message names.
fn find(call: &mut Decoder) -> Result<Called, String> {
    let function: FunctionId = call.value().map_err(|error| format!("its target could not be decoded: {error}"))?;
    resolve(function).map_err(|error| error.to_string())
}

/// The frame that must come next; `None` when the parent is gone.
fn expect(line: &Line, kind: u8) -> Result<Option<Decoder>, String> {
    match line.receive(Deadline::NEVER) {
        Ok(None) => Ok(None),
        Ok(Some(frame)) if frame.kind == kind => {
            decoder(frame).map(Some).map_err(|error| format!("its arguments could not be read: {error}"))
        }
        Ok(Some(frame)) => Err(format!("a frame of kind {} came instead of {kind}", frame.kind)),
        Err(error) => Err(format!("its arguments could not be received: {error}")),
    }
}

/// A target that takes its arguments from a message.
type Called = fn(Decoder) -> Outcome;

/// Becomes what the parent describes; the target then, which takes its arguments from what is left of `call`.
fn begin(call: &mut Decoder, mut setup: Decoder) -> Result<Called, String> {
    let setup: Setup = setup.value().map_err(|error| format!("its settings could not be decoded: {error}"))?;
    let target = find(call)?;
    become_described(setup)?;
    Ok(target)
}

/// Becomes what the parent describes.
fn become_described(setup: Setup) -> Result<(), String> {
    become_child(&setup);
    set_authkey(setup.authkey);
    inherit(&setup.bequests);
    let _ = set_start_method(setup.default_method);
    if let Some(directory) = setup.directory {
        enter_dir(directory.as_fd()).map_err(|error| format!("its directory cannot be entered: {error}"))?;
    }
    setup.inherited.map_or(Ok(()), take_over)?;
    logs::begin(setup.logs).map_err(|error| format!("its log cannot be opened: {error}"))?;
    after_fork::run_hooks();
    setup.settings.map_or(Ok(()), Settings::apply)
}

/// Takes over what exec would have handed down.
fn take_over(handover: Handover) -> Result<(), String> {
    for (at, stream) in (0..).zip(&handover.streams) {
        let Some(stream) = stream else { continue };
        // SAFETY: 0, 1 and 2 are the standard streams, which this process has not used yet.
        unsafe { place(stream.as_fd(), at) }.map_err(|error| format!("its stream {at} cannot be opened: {error}"))?;
    }
    if let Some(environment) = handover.environment {
        // SAFETY: the process was forked from a server with one thread, and has started none.
        unsafe { replace_environment(&environment) };
    }
    let Some(settings) = handover.settings else { return Ok(()) };
    let settings = Inherited::from_words(&settings).ok_or("its settings are damaged")?;
    settings.apply().map_err(|error| format!("its limits or affinity cannot be set: {error}"))
}

/// Reports, and returns the exit code that goes with it.
fn report(line: &Line, outcome: Outcome) -> i32 {
    let (code, message) = match outcome {
        Ok(message) => (0, message),
        Err(report) => (FAILED, report.message()),
    };
    let Err(error) = line.send(REPORT, &message) else { return code };
    // The result is too large for this machine, or too many descriptors are in flight: say that instead.
    let _ = line.send(REPORT, &Report::BadResult(format!("{error}{}", remedy(&error))).message());
    FAILED
}

/// Reports that the child cannot begin.
pub(crate) fn refuse(line: &Line, reason: String) -> i32 {
    report(line, Err(Report::Refused(reason)))
}

#[cfg(test)]
mod tests {
    use procession_sys::PacketSocket;

    use super::*;
    use crate::builder::Plan;
    use crate::context::StartMethod;

    #[test]
    fn a_copy_that_is_not_told_to_begin_runs_nothing() {
        let (ours, theirs) = PacketSocket::pair().unwrap();
        let line = Arc::new(Line::new(theirs));
        drop(ours);
        let setup = Plan::named("copy".to_owned(), StartMethod::Fork).setup(None, None).unwrap();
        assert_eq!(run_copy(&line, setup, || panic!("it runs")), ORPHANED);
    }
}
