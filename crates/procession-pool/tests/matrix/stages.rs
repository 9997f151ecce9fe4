//! When a worker is ruined, and what is to come of it.

use std::mem;
use std::thread;
use std::time::Duration;

use procession_pool::{ExecutorExt, PoolError, TaskError};
use procession_sync::Event;
use procession_sys::{Deadline, Interest, PidFd, pid, poll_one, send_signal};

use crate::ends::{ABORTED, End, EndsWhenRead, EndsWhenWritten, KILLED, RESULT, STOPPED};
use crate::fuse::Fuse;
use crate::workers::{Cell, START_TIMEOUT, Workers, until};

/// Longer than anything takes here.
const SOON: Duration = Duration::from_secs(10);

/// How long a task may take where one of many goes to a worker that is stopped: the others do it, also on a busy machine.
const NEIGHBOR_TIMEOUT: Duration = Duration::from_secs(3);

/// A stage: its name, and what a cell of it does.
pub(crate) type Stage = (&'static str, fn(Cell));

pub(crate) const ALL: [Stage; 7] = [
    ("decoding", decoding),
    ("running", running),
    ("encoding", encoding),
    ("idle", idle),
    ("starting", starting),
    ("initializing", initializing),
    ("shutdown", shutdown),
];

/// While it decodes the arguments of a task.
fn decoding(cell: Cell) {
    at_a_task(cell, |workers| {
        let victim = workers.submit_victim(cell.end, |_: EndsWhenRead| RESULT, (EndsWhenRead(cell.end),));
        Box::new(move || victim.result())
    });
}

/// While it runs one.
fn running(cell: Cell) {
    let run = |end: End| {
        end.come();
        RESULT
    };
    at_a_task(cell, |workers| {
        let victim = workers.submit_victim(cell.end, run, (cell.end,));
        Box::new(move || victim.result())
    });
}

/// While it encodes a result.
fn encoding(cell: Cell) {
    at_a_task(cell, |workers| {
        let victim = workers.submit_victim(cell.end, EndsWhenWritten::new, (cell.end,));
        Box::new(move || victim.result().map(|_| RESULT))
    });
}

/// How a task ended.
type Outcome = Box<dyn Fn() -> Result<u64, TaskError>>;

/// The task has its own error, the others their results; the worker is replaced if it is gone.
fn at_a_task(cell: Cell, submit: impl FnOnce(&Workers) -> Outcome) {
    let workers = cell.workers();
    let before = workers.submit_neighbors();
    let victim = submit(&workers);
    let after = workers.submit_neighbors();
    let whose = cell.end.check(&victim(), cell.keeps_tails);
    assert_ne!(whose, Some(pid()));
    before.check();
    after.check();
    workers.check_complete(whose.filter(|_| cell.end != End::Panic));
    workers.finish();
}

/// While it waits for a task: from outside, or by a thread that an earlier task has left behind.
fn idle(cell: Cell) {
    let workers = cell.workers();
    workers.all_at_work();
    let ruined = match cell.end {
        End::Abort => from_outside(&workers, ABORTED),
        End::Kill => from_outside(&workers, KILLED),
        End::Stop => from_outside(&workers, STOPPED),
        end => from_inside(&workers, end),
    };
    if cell.end == End::Stop {
        let is_its_own = |error: &TaskError| {
            assert_eq!(*error, TaskError::TimedOut { after: NEIGHBOR_TIMEOUT, pid: ruined, attempts: 1 });
        };
        assert_eq!(workers.submit_neighbors_within(NEIGHBOR_TIMEOUT).check_but(is_its_own), 1);
    }
    workers.submit_neighbors().check();
    workers.check_complete((cell.end != End::Panic).then_some(ruined));
    workers.finish();
}

/// Sends a worker a signal, and waits until it has died of it if it does.
fn from_outside(workers: &Workers, signal: i32) -> u32 {
    let ruined = workers.pids()[0];
    let held = PidFd::open(ruined).unwrap();
    send_signal(ruined, signal).unwrap();
    if signal != STOPPED {
        wait_for_end(&held);
    }
    ruined
}

/// Has a thread of a worker do it, and waits until it has.
fn from_inside(workers: &Workers, end: End) -> u32 {
    let (go, done) = (Event::new().unwrap(), Event::new().unwrap());
    let ruined = workers.executor().submit(leave_behind, (end, go.clone(), done.clone())).unwrap().result().unwrap();
    let held = PidFd::open(ruined).unwrap();
    go.set();
    if end == End::Panic {
        assert!(done.wait_timeout(SOON).unwrap());
    } else {
        wait_for_end(&held); // Without descriptors it would not end with its parent, so it ends by itself.
    }
    ruined
}

fn leave_behind(end: End, go: Event, done: Event) -> u32 {
    thread::spawn(move || {
        go.wait().unwrap();
        let _ = thread::spawn(move || end.come()).join();
        done.set();
    });
    pid()
}

fn wait_for_end(held: &PidFd) {
    assert!(poll_one(held, Interest::Read, Deadline::after(SOON)).unwrap());
}

/// When it is a process and has not said yet that it takes tasks: nobody notices.
fn starting(cell: Cell) {
    let fuse = Fuse::new(cell.end);
    fuse.light();
    fuse.lay_where_workers_start();
    let workers = cell.workers_of_their_own();
    let first = workers.submit_neighbors();
    until("a worker has started", || !fuse.is_lit());
    first.check();
    workers.submit_neighbors().check();
    workers.check_complete(None); // Who is stopped is given up in its time.
    workers.finish();
}

/// While it runs the initializer: the first ones' ends are errors of the construction, and that of one that comes later
/// nobody notices.
fn initializing(cell: Cell) {
    let fuse = Fuse::new(cell.end);
    fuse.light();
    match cell.initialized(&fuse).map(drop) {
        Err(PoolError::StartTimeout { after, .. }) if cell.end == End::Stop => assert_eq!(after, START_TIMEOUT),
        Err(PoolError::Initializer { error, .. }) => check_initializer(cell, error),
        other => panic!("{other:?}"),
    }
    let workers = cell.initialized(&fuse).unwrap();
    workers.all_at_work();
    fuse.light();
    from_outside(&workers, KILLED);
    workers.submit_neighbors().check();
    until("another worker has started", || !fuse.is_lit());
    workers.submit_neighbors().check();
    workers.check_complete(None);
    workers.finish();
}

fn check_initializer(cell: Cell, error: TaskError) {
    match (cell.end, error) {
        (End::Descriptors, TaskError::Refused { reason, .. }) => assert!(reason.contains("descriptor"), "{reason}"),
        (end, error) => {
            assert!(!error.to_string().contains("task "), "there was none: {error}");
            end.check_with(&Err(error), cell.keeps_tails, 0);
        }
    }
}

/// While it runs a task and no more are taken: all that were are done.
fn shutdown(cell: Cell) {
    let run = |end: End, go: Event| {
        go.wait().unwrap();
        mem::forget(go); // Its descriptor may be closed below.
        end.come();
        RESULT
    };
    let workers = cell.workers();
    let go = Event::new().unwrap();
    let before = workers.submit_neighbors();
    let victim = workers.submit_victim(cell.end, run, (cell.end, go.clone()));
    let after = workers.submit_neighbors();
    workers.close();
    go.set();
    workers.finish();
    cell.end.check(&victim.result(), cell.keeps_tails);
    before.check();
    after.check();
}
