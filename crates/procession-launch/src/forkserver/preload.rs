//! Functions that a server runs before it serves: named by the parent, run in the server, answered before the first
//! request.

use std::any::type_name;
use std::fmt::Display;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use procession_boot::{BootError, Entry, FunctionId, function_id, resolve};
use procession_sys::{Deadline, exit_now, is_single_threaded};
use procession_wire::Message;

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

/// The functions of one context, and how far its server is with them.
#[derive(Debug)]
pub(super) struct Preloads {
    functions: Vec<Preload>,
    /// Which of them runs, or was the last one that did.
    running: AtomicUsize,
}

impl Preloads {
    pub(super) const fn new(functions: Vec<Preload>) -> Self {
        Self { functions, running: AtomicUsize::new(0) }
    }

    pub(super) fn functions(&self) -> &[Preload] {
        &self.functions
    }

    pub(super) fn are_any(&self) -> bool {
        !self.functions.is_empty()
    }

    /// The name of the one that runs.
    fn running(&self) -> String {
        self.functions
            .get(self.running.load(Ordering::Relaxed))
            .map_or("functions", |function| function.name)
            .to_owned()
    }

    /// What the server is told, in their order.
    fn ids(&self, plan: &Plan) -> Result<Vec<FunctionId>, StartError> {
        let ids: Result<Vec<FunctionId>, BootError> = self.functions.iter().map(|function| (function.id)()).collect();
        ids.map_err(|error| StartError::Image { name: plan.name.clone(), error })
    }

    /// The error of a start that has waited for them for as long as it may.
    pub(super) fn late(&self, plan: &Plan) -> StartError {
        let after = plan.patience.limit().unwrap_or_default();
        StartError::PreloadTimeout { name: plan.name.clone(), function: self.running(), after }
    }

    /// The error of a start for which one of them has failed.
    fn failed(
        &self,
        plan: &Plan,
        message: String,
        location: Option<String>,
        backtrace: Option<Box<str>>,
    ) -> StartError {
        StartError::Preload { name: plan.name.clone(), function: self.running(), message, location, backtrace }
    }
}

/// The functions that this process, a server, is running before it serves.
static RUNNING: Mutex<Vec<FunctionId>> = Mutex::new(Vec::new());

/// What a function is told that needs itself.
const NEEDS_ITSELF: &str = "it is being preloaded in this very process: what it starts must come from another context";

/// Has a server that was just launched run the functions. Waits until it has, for as long as the start may.
pub(super) fn request(plan: &Plan, server: &Server, preloads: &Preloads) -> Result<(), StartError> {
    let ids = preloads.ids(plan)?;
    if let Some(at) = ids.iter().position(|id| RUNNING.lock().contains(id)) {
        preloads.running.store(at, Ordering::Relaxed);
        return Err(preloads.failed(plan, NEEDS_ITSELF.to_owned(), None, None));
    }
    let message =
        procession_wire::encode(&ids).map_err(|error| StartError::Arguments { name: plan.name.clone(), error })?;
    server.control.send(PRELOAD, &message).map_err(plan.failed("name the preloaded functions"))?;
    let deadline = plan.patience.deadline();
    for at in 0..ids.len() {
        preloads.running.store(at, Ordering::Relaxed);
        match hear(plan, server, preloads, deadline)? {
            Report::Returned => {}
            Report::Panicked { message, location, backtrace } => {
                return Err(preloads.failed(plan, message, location, backtrace));
            }
            Report::BadArguments(message) | Report::BadResult(message) | Report::Refused(message) => {
                return Err(preloads.failed(plan, message, None, None));
            }
        }
    }
    Ok(())
}

/// How the function that runs has ended, or its server has.
fn hear(plan: &Plan, server: &Server, preloads: &Preloads, deadline: Deadline) -> Result<Report, StartError> {
    let received = receive_or_end(server, &server.control, |watched| plan.patience.wait(watched, deadline));
    let frame = match received {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(preloads.late(plan)),
        other => other.map_err(plan.failed("hear of the preloading"))?,
    };
    let report = frame.filter(|frame| frame.kind == REPORT).and_then(|frame| decoder(frame).ok()?.value().ok());
    Ok(report.unwrap_or_else(|| Report::Refused(server.how_it_ended())))
}

/// In the server: runs what the owner names, and answers after each. `Err` with the exit code for a server that cannot serve.
pub(super) fn obey(line: &Arc<Line>) -> Result<(), i32> {
    let frame = line.receive(Deadline::NEVER).ok().flatten().filter(|frame| frame.kind == PRELOAD).ok_or(FAILED)?;
    let ids: Vec<FunctionId> = decoder(frame).ok().and_then(|mut decoder| decoder.value().ok()).ok_or(FAILED)?;
    RUNNING.lock().clone_from(&ids);
    for id in ids {
        let aborting = {
            let line = Arc::downgrade(line); // The hook stays when the line has become something else.
            move |panicked: Report| {
                let _ = line.upgrade().map(|line| line.send(REPORT, &panicked.message()));
                exit_now(FAILED)
            }
        };
        if let Err(report) = panics::catch(|| run(id), aborting) {
            let _ = line.send(REPORT, &report.message());
            return Err(FAILED);
        }
        line.send(REPORT, &Report::Returned.message()).map_err(|_| FAILED)?;
    }
    RUNNING.lock().clear();
    Ok(())
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
