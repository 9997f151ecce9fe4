//! Functions that a server runs before it serves: named by the parent, run in the server, answered before the first
//! request.

use std::any::type_name;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::Mutex;
use procession_boot::{BootError, Entry, FunctionId, function_id, resolve};
use procession_sys::{Deadline, exit_now, is_single_threaded};
use procession_wire::{Encoder, Message};

use super::client::receive_or_end;
use super::source::Server;
use crate::builder::Plan;
use crate::error::StartError;
use crate::fork::THREADS_GONE_MAX;
use crate::panics;
use crate::protocol::{Line, PRELOAD, REPORT, Report, decoder};
use crate::target::{Captureless, conjure};

/// The exit code of a server that could not preload.
const FAILED: i32 = 1;

/// What a preloaded function may return: nothing, or a `Result<(), E>` whose error can be displayed.
#[diagnostic::on_unimplemented(
    message = "a preloaded function returns nothing or a `Result<(), E>`, not `{Self}`",
    note = "keep what it builds in a `static`, such as a `OnceLock`: children see it there"
)]
pub trait PreloadResult: 'static {
    /// Its error, as text.
    #[doc(hidden)]
    fn outcome(self) -> Result<(), String>;
}

impl PreloadResult for () {
    fn outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display + 'static> PreloadResult for Result<(), E> {
    fn outcome(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

/// The function that stands for calling `F` in a server.
struct Preloading<F, R>(PhantomData<fn(F) -> R>);

impl<F, R> Entry for Preloading<F, R>
where
    F: Fn() -> R + Captureless,
    R: PreloadResult,
{
    type Input = ();
    type Output = Result<(), String>;

    fn enter((): ()) -> Result<(), String> {
        conjure::<F>()().outcome()
    }
}

/// A function to be preloaded: its name for people, and what finds its name for the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preload {
    name: &'static str,
    id: fn() -> Result<FunctionId, BootError>,
}

impl Preload {
    /// For a function, or a closure that captures nothing.
    pub(crate) fn new<F, R>(_: F) -> Self
    where
        F: Fn() -> R + Captureless,
        R: PreloadResult,
    {
        Self { name: type_name::<F>(), id: function_id::<Preloading<F, R>> }
    }
}

/// The functions that this process, a server, is running before it serves.
static RUNNING: Mutex<Vec<FunctionId>> = Mutex::new(Vec::new());

/// What a function is told that needs itself.
const NEEDS_ITSELF: &str = "it is being preloaded in this very process: what it starts must come from another context";

/// What a server says of its preloading: which function ended it, if one did, and how.
type Answer = (u32, Report);

/// Has a server that was just launched run the functions. Waits until it has, which takes as long as they take.
pub(super) fn request(plan: &Plan, server: &Server, functions: &[Preload]) -> Result<(), StartError> {
    let ids: Result<Vec<FunctionId>, BootError> = functions.iter().map(|function| (function.id)()).collect();
    let ids = ids.map_err(|error| StartError::Image { name: plan.name.clone(), error })?;
    if let Some(at) = ids.iter().position(|id| RUNNING.lock().contains(id)) {
        let (name, function, message) = (plan.name.clone(), functions[at].name.to_owned(), NEEDS_ITSELF.to_owned());
        return Err(StartError::Preload { name, function, message, location: None, backtrace: None });
    }
    let message =
        procession_wire::encode(&ids).map_err(|error| StartError::Arguments { name: plan.name.clone(), error })?;
    server.control.send(PRELOAD, &message).map_err(plan.failed("name the preloaded functions"))?;
    let frame = receive_or_end(server, &server.control, &plan.patience, Deadline::NEVER)
        .map_err(plan.failed("hear of the preloading"))?;
    let frame = frame.filter(|frame| frame.kind == REPORT).and_then(|frame| decoder(frame).ok());
    let answer = frame.and_then(|mut decoder| decoder.value::<Answer>().ok());
    let (at, report) = answer.unwrap_or_else(|| (0, Report::Refused(server.how_it_ended())));
    let function = functions.get(at as usize).map_or("functions", |function| function.name);
    let error = |message, location, backtrace| {
        let (name, function) = (plan.name.clone(), function.to_owned());
        Err(StartError::Preload { name, function, message, location, backtrace })
    };
    match report {
        Report::Returned => Ok(()),
        Report::Panicked { message, location, backtrace } => error(message, location, backtrace),
        Report::BadArguments(message) | Report::BadResult(message) | Report::Refused(message) => {
            error(message, None, None)
        }
    }
}

/// In the server: runs what the owner names, and answers. `Err` with the exit code for a server that cannot serve.
pub(super) fn obey(line: &Arc<Line>) -> Result<(), i32> {
    let frame = line.receive(Deadline::NEVER).ok().flatten().filter(|frame| frame.kind == PRELOAD).ok_or(FAILED)?;
    let ids: Vec<FunctionId> = decoder(frame).ok().and_then(|mut decoder| decoder.value().ok()).ok_or(FAILED)?;
    RUNNING.lock().clone_from(&ids);
    for (at, id) in (0..).zip(ids) {
        let aborting = {
            let line = Arc::downgrade(line); // The hook stays when the line has become something else.
            move |panicked| {
                let _ = line.upgrade().map(|line| line.send(REPORT, &answer(at, panicked)));
                exit_now(FAILED)
            }
        };
        if let Err(report) = panics::catch(|| run(id), aborting) {
            let _ = line.send(REPORT, &answer(at, report));
            return Err(FAILED);
        }
    }
    RUNNING.lock().clear();
    line.send(REPORT, &answer(0, Report::Returned)).map_err(|_| FAILED)
}

/// Runs one function, after which there must be one thread still.
fn run(id: FunctionId) -> Result<Message, Report> {
    let function = resolve::<(), Result<(), String>>(id).map_err(|error| Report::Refused(error.to_string()))?;
    function(()).map_err(Report::Refused)?;
    match is_single_threaded(Deadline::after(THREADS_GONE_MAX)) {
        Ok(true) => Ok(Message::default()),
        Ok(false) => Err(Report::Refused(THREADS.to_owned())),
        Err(error) => Err(Report::Refused(format!("its threads cannot be counted: {error}"))),
    }
}

/// What a function is told that leaves threads.
const THREADS: &str = "it has left a thread running, and a server with threads cannot be forked safely: join its threads \
                       before it returns, or start them in the children";

/// The message of an answer.
fn answer(at: u32, report: Report) -> Message {
    let mut encoder = Encoder::new();
    let encoded = encoder.value(&(at, report));
    debug_assert!(encoded.is_ok(), "a number and plain texts");
    encoder.finish()
}
