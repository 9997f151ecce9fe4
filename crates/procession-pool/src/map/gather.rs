//! All results of an input that was submitted at once: whoever ends the last chunk ends the whole.
//!
//! Relies on [`source`](super::source) and [`reading`](super::reading).

use std::mem;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;
use procession_launch::Passable;
use procession_sys::Deadline;

use crate::async_result::AsyncResult;
use crate::call::Call;
use crate::cell::{Backend, Cell, Chain, Chunk, End, Notice, Promise};
use crate::error::{SubmitError, TaskError};
use crate::executor::Executor;
use crate::intake::Hold;
use crate::map::feed::{Feed, Filled, Stop};
use crate::map::pace::CHUNK_BYTES_MAX;
use crate::map::reading::Reading;
use crate::map::source::{resubmit, submit};

/// How many chunks each worker gets, if nobody says how large they are to be: all are made before one has run.
const CHUNKS_EACH: usize = 4;

/// What drives the whole: the executor of the chunks.
struct Chunks {
    cells: Vec<Arc<Cell>>,
    backend: Arc<dyn Backend>,
}

impl Backend for Chunks {
    fn drive(&self, done: &mut dyn FnMut() -> bool, deadline: Deadline) {
        if deadline.remaining().is_none() {
            self.cells.iter().filter_map(|cell| cell.backend()).for_each(|backend| backend.help());
        }
        self.backend.drive(done, deadline);
    }

    /// What gathers is never cancelled.
    fn cancel(&self, _: u64, _: bool) -> bool {
        false
    }

    fn is_running(&self, _: u64) -> bool {
        self.cells.iter().any(|cell| cell.is_running())
    }

    fn attend(&self) {
        self.backend.attend();
    }
}

/// Chunks that have not all ended.
struct Gather {
    executor: Arc<dyn Executor>,
    /// Keeps the executor open for what is lost with workers.
    hold: Hold,
    state: Mutex<Gathered>,
}

struct Gathered {
    chains: Vec<Chain>,
    /// How many chains have not ended.
    left: usize,
    promise: Option<Promise>,
}

/// Encodes the whole input, then submits it.
pub(super) fn map_async<R: Passable>(
    executor: Arc<dyn Executor>,
    feed: Box<dyn Feed + '_>,
    chunk: Option<NonZeroUsize>,
) -> Result<AsyncResult<Vec<R>>, SubmitError> {
    let calls = encode_all(feed, executor.parallelism(), chunk)?;
    let cell = Arc::<Cell>::default();
    let promise = Promise::of(&cell);
    let hold = Hold::of_no_thread();
    let mut chunks = Vec::with_capacity(calls.len());
    for (call, items) in calls {
        match submit(&*executor, call, items, &hold) {
            Ok(cell) => chunks.push(Chunk { cell, items }),
            Err(error) => {
                chunks.iter().for_each(|chunk| _ = chunk.cell.cancel(false));
                return Err(error);
            }
        }
    }
    gather(executor, chunks, promise, hold);
    Ok(AsyncResult::new(cell, read_all::<R>))
}

/// The calls of all chunks.
fn encode_all(
    mut feed: Box<dyn Feed + '_>,
    workers: usize,
    chunk: Option<NonZeroUsize>,
) -> Result<Vec<(Call, u32)>, SubmitError> {
    let share = feed.left().map_or(1, |left| left.div_ceil(workers.max(1) * CHUNKS_EACH));
    let (items, bytes) = chunk.map_or((share.max(1), CHUNK_BYTES_MAX), |chunk| (chunk.get(), usize::MAX));
    let mut calls = Vec::new();
    loop {
        let Filled { call, items, stop, .. } = feed.fill(items, bytes);
        calls.extend(call.map(|call| (call, items)));
        match stop {
            Stop::Full => {}
            Stop::Ended => return Ok(calls),
            Stop::Refused(error) => return Err(SubmitError::Arguments { error }),
            Stop::Panicked(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Has the promise kept when all of these have ended.
fn gather(executor: Arc<dyn Executor>, chunks: Vec<Chunk>, promise: Promise, hold: Hold) {
    if chunks.is_empty() {
        // Nobody else has it yet.
        let _ = promise.end(End::Gathered(Box::default()));
        return;
    }
    let cells: Vec<Arc<Cell>> = chunks.iter().map(|chunk| Arc::clone(&chunk.cell)).collect();
    if let Some(backend) = cells.iter().find_map(|cell| cell.backend()) {
        promise.set_backend(Arc::new(Chunks { cells: cells.clone(), backend }), 0);
    }
    let chains = chunks.into_iter().map(|chunk| vec![chunk]).collect();
    let state = Mutex::new(Gathered { chains, left: cells.len(), promise: Some(promise) });
    let gather = Arc::new(Gather { executor, hold, state });
    for (token, cell) in cells.into_iter().enumerate() {
        if !cell.notify(Arc::clone(&gather) as Arc<dyn Notice>, token) {
            Arc::clone(&gather).chunk_ended(token);
        }
    }
}

impl Gather {
    /// Submits anew what was lost with a worker; ends the whole with the last chunk.
    fn chunk_ended(self: Arc<Self>, token: usize) {
        loop {
            let last = self.state.lock().chains[token].last().cloned();
            let Some(last) = last else { return };
            let mut reading = Reading::new(last);
            reading.skip_all();
            let Some(again) = reading.again() else { break };
            let chunk = resubmit(&*self.executor, again, &self.hold);
            let cell = Arc::clone(&chunk.cell);
            self.state.lock().chains[token].push(chunk);
            if cell.notify(Arc::clone(&self) as Arc<dyn Notice>, token) {
                return;
            }
        }
        let mut state = self.state.lock();
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let (promise, chains) = (state.promise.take(), mem::take(&mut state.chains));
        drop(state);
        if let Some(promise) = promise {
            // Nobody else ends it.
            let _ = promise.end(End::Gathered(chains.into()));
        }
    }
}

impl Notice for Gather {
    fn told(self: Arc<Self>, token: usize) {
        self.chunk_ended(token);
    }
}

/// All results, or the error of the lowest index.
fn read_all<R: Passable>(end: &End) -> Result<Vec<R>, TaskError> {
    let End::Gathered(chains) = end else {
        return Err(end.items().err().unwrap_or(TaskError::Terminated));
    };
    let mut results = Vec::with_capacity(chains.iter().flatten().map(|chunk| chunk.items as usize).sum());
    for chunk in chains.iter().flatten() {
        let mut reading = Reading::new(chunk.clone());
        while let Some(result) = reading.next::<R>() {
            results.push(result?);
        }
    }
    Ok(results)
}
