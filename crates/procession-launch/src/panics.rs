//! Panics of a child's target: printed with the process's name, and reported to the parent.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::thread;

use procession_sys::pid;
use procession_wire::Message;
use serde::{Deserialize, Serialize};

use crate::current::current_process;
use crate::protocol::Report;

/// What the hook saw of a thread's last panic.
struct Seen {
    message: String,
    location: Option<String>,
    backtrace: Backtrace,
}

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Runs the target; a panic that leaves it becomes a report.
///
/// With `panic = "abort"` no panic can be caught, so the hook itself calls `when_aborting` with the report; that
/// ends the process with the exit code of a caught panic.
pub(crate) fn catch(
    target: impl FnOnce() -> Result<Message, Report>,
    when_aborting: impl Fn(Report) + Send + Sync + 'static,
) -> Result<Message, Report> {
    let (target_thread, owner) = (thread::current().id(), pid());
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let backtrace = Backtrace::force_capture(); // Costs a walk of the stack; names are looked up when shown.
        if thread::current().id() == target_thread {
            print(info);
        } else {
            previous(info);
        }
        let message = message_of(info.payload());
        let location = info.location().map(ToString::to_string);
        // A copy of this process has this hook under its own, and another parent to tell.
        if cfg!(panic = "abort") && owner == pid() {
            when_aborting(Report::Panicked { message, location, backtrace: Some(trim(&backtrace.to_string())) });
            return;
        }
        SEEN.set(Some(Seen { message, location, backtrace }));
    }));
    panic::catch_unwind(AssertUnwindSafe(target)).unwrap_or_else(|payload| Err(panicked(payload.as_ref())))
}

/// Runs one of many calls of a process that goes on. What the hook saw is told, where [`catch`] has set it.
///
/// # Errors
/// The panic that has left it.
pub fn catch_call<R>(call: impl FnOnce() -> R) -> Result<R, CaughtPanic> {
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| CaughtPanic::of(payload.as_ref()))
}

/// A panic that was caught.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaughtPanic {
    /// What it says.
    pub message: String,
    /// File, line and column, if the hook saw them.
    pub location: Option<String>,
    /// The frames at it, if the hook saw them.
    pub backtrace: Option<Box<str>>,
}

impl CaughtPanic {
    /// What the hook saw belongs to it only if it is the same panic: a payload can also come from `resume_unwind`, which
    /// calls no hook, or from after the target replaced the hook.
    fn of(payload: &(dyn Any + Send)) -> Self {
        let message = message_of(payload);
        let seen = SEEN.take().filter(|seen| seen.message == message);
        let (location, backtrace) = seen.map(|seen| (seen.location, trim(&seen.backtrace.to_string()))).unzip();
        Self { message, location: location.flatten(), backtrace }
    }
}

/// What a panic's payload says.
fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a payload that is no text").to_owned()
}

/// The report of a panic that was caught.
fn panicked(payload: &(dyn Any + Send)) -> Report {
    let CaughtPanic { message, location, backtrace } = CaughtPanic::of(payload);
    Report::Panicked { message, location, backtrace }
}

/// Says on standard error which process panicked, where and why; with a backtrace as `RUST_BACKTRACE` asks.
fn print(info: &PanicHookInfo<'_>) {
    let me = current_process();
    let place = info.location().map(|location| format!(" at {location}")).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let shown = match backtrace.status() {
        BacktraceStatus::Captured => format!("\nstack backtrace:\n{}", trim(&backtrace.to_string())),
        _ => "\nnote: run with `RUST_BACKTRACE=1` to print a backtrace; `join` reports it in any case".to_owned(),
    };
    let (name, pid, message) = (me.name(), me.pid(), message_of(info.payload()));
    // Standard error may be a pipe that nobody reads, and a panic of the hook would abort.
    let _ = writeln!(io::stderr(), "process {name:?} (pid {pid}) panicked{place}:\n{message}{shown}");
}

/// The frames of a backtrace that are the target's own: those below the panic machinery and above our call.
fn trim(backtrace: &str) -> Box<str> {
    let is_frame = |line: &str| line.trim_start().split_once(':').is_some_and(|(n, _)| n.parse::<u32>().is_ok());
    let mut frames: Vec<String> = Vec::new();
    for line in backtrace.lines() {
        match frames.last_mut() {
            Some(frame) if !is_frame(line) => frame.extend(["\n", line]),
            _ => frames.push(line.to_owned()),
        }
    }
    let machinery = |frame: &String| PANIC_MACHINERY.iter().any(|name| frame.contains(name));
    let first = frames.iter().rposition(machinery).map_or(0, |last| last + 1);
    let end = frames[first..].iter().position(|frame| frame.contains(OUR_CALL)).map_or(frames.len(), |n| first + n);
    if first < end { frames[first..end].join("\n").into() } else { backtrace.into() }
}

/// The last functions of core and std that a panic goes through before the hook.
const PANIC_MACHINERY: [&str; 3] = ["core::panicking::", "rust_begin_unwind", "std::panicking::begin_panic"];

/// Where a target is called from.
const OUR_CALL: &str = "procession_calls_target";

#[cfg(test)]
mod tests {
    use super::trim;

    #[test]
    fn a_backtrace_is_cut_to_the_targets_own_frames() {
        let whole = "   0: procession_launch::panics::catch\n   1: rust_begin_unwind\n             at lib.rs:1:1\n   \
                     2: core::panicking::panic_fmt\n   3: app::divide\n             at main.rs:3:5\n   \
                     4: procession_calls_target<F, A>\n   5: main";
        assert_eq!(&*trim(whole), "   3: app::divide\n             at main.rs:3:5");
        assert_eq!(&*trim("what is no backtrace"), "what is no backtrace");
        assert_eq!(&*trim("   0: core::panicking::panic"), "   0: core::panicking::panic");
    }
}
