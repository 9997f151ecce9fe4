//! Panics of a child's target: printed with the process's name, and reported to the parent. Panics of calls that pools
//! make, in whatever process: reported to whoever waits for the call.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// True while this thread is in [`catch_call`].
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// True once this process has a hook that fills [`SEEN`].
static IS_SEEN: AtomicBool = AtomicBool::new(false);

impl Seen {
    /// What a hook is told.
    ///
    /// A process panics once and ends, so that its frames are always kept. A call is one of many, and to look up the names
    /// of frames takes a second and more in a debug build: its frames are kept where std would print them.
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let backtrace = if IN_CALL.get() { Backtrace::capture() } else { Backtrace::force_capture() };
        let location = info.location().map(ToString::to_string);
        Self { message: message_of(info.payload()), location, backtrace }
    }

    /// The frames as text, if they were kept. The names are looked up now.
    fn frames(&self) -> Option<Box<str>> {
        (self.backtrace.status() == BacktraceStatus::Captured).then(|| trim(&self.backtrace.to_string()))
    }
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
    IS_SEEN.store(true, Ordering::Relaxed);
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let seen = Seen::of(info);
        if thread::current().id() == target_thread {
            print(info);
        } else {
            previous(info);
        }
        // A copy of this process has this hook under its own, and another parent to tell.
        if cfg!(panic = "abort") && owner == pid() {
            let backtrace = seen.frames();
            when_aborting(Report::Panicked { message: seen.message, location: seen.location, backtrace });
            return;
        }
        SEEN.set(Some(seen));
    }));
    panic::catch_unwind(AssertUnwindSafe(target)).unwrap_or_else(|payload| Err(panicked(payload.as_ref())))
}

/// Has the places of panics in [`catch_call`] told also in a process that was not started as a child, and so has no hook of
/// ours. The program's own hook is called as before. One that it sets later hides ours, and such panics have no place.
pub fn see_panics() {
    // A thread that panics may not set a hook: whoever makes a call next does.
    if thread::panicking() || IS_SEEN.swap(true, Ordering::Relaxed) {
        return;
    }
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if IN_CALL.get() {
            SEEN.set(Some(Seen::of(info)));
        }
        previous(info);
    }));
}

/// Runs one of many calls of a process that goes on. What the hook saw is told, where a child has its hook, or [`see_panics`] has set one.
///
/// # Errors
/// The panic that has left it.
#[inline]
pub fn catch_call<R>(call: impl FnOnce() -> R) -> Result<R, CaughtPanic> {
    let outer = IN_CALL.replace(true); // A call can make another one.
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    IN_CALL.set(outer);
    result.map_err(|payload| CaughtPanic::of(payload.as_ref()))
}

/// A panic that was caught.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaughtPanic {
    /// What it says.
    pub message: String,
    /// File, line and column, if the hook saw them.
    pub location: Option<String>,
    /// The frames at it, if the hook saw them and `RUST_BACKTRACE` asks for them.
    pub backtrace: Option<Box<str>>,
}

impl CaughtPanic {
    /// What the hook saw belongs to it only if it is the same panic: a payload can also come from `resume_unwind`, which
    /// calls no hook, or from after the target replaced the hook.
    fn of(payload: &(dyn Any + Send)) -> Self {
        let message = message_of(payload);
        let seen = SEEN.take().filter(|seen| seen.message == message);
        let backtrace = seen.as_ref().and_then(Seen::frames);
        Self { message, location: seen.and_then(|seen| seen.location), backtrace }
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
        _ if IN_CALL.get() => {
            "\nnote: run with `RUST_BACKTRACE=1` for a backtrace, here and in the task's error".to_owned()
        }
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
    let end = frames[first..]
        .iter()
        .position(|frame| OUR_CALLS.iter().any(|name| frame.contains(name)))
        .map_or(frames.len(), |n| first + n);
    if first < end { frames[first..end].join("\n").into() } else { backtrace.into() }
}

/// The last functions of core and std that a panic goes through before the hook.
const PANIC_MACHINERY: [&str; 3] = ["core::panicking::", "rust_begin_unwind", "std::panicking::begin_panic"];

/// Where a target is called from, and where a closure is.
const OUR_CALLS: [&str; 2] = ["procession_calls_target", "procession_launch::panics::catch_call"];

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
