//! A pool or an executor, as a cell has it.

use std::thread;
use std::time::Duration;

use procession_launch::{Arguments, Context, StartMethod, Target};
use procession_pool::{Executor, ExecutorExt, Future, Pool, PoolError, ProcessPoolExecutor};
use procession_sync::Barrier;
use procession_sys::{Deadline, pid};

use crate::ends::{End, TIMEOUT};
use crate::fuse::Fuse;

/// How many workers there are.
pub(crate) const SIZE: usize = 2;

/// How many tasks have to be done besides the one that a worker is ruined by.
const NEIGHBORS: u64 = 20;

/// What does not fit a desk's inline part, in either direction.
const LARGE: usize = 100_000;

/// How long a worker may take to start where one is stopped that does: the others do it, also on a busy machine.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(3);

/// Longer than anything takes here.
const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Pool,
    Executor,
}

impl Front {
    pub(crate) const ALL: [Self; 2] = [Self::Pool, Self::Executor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Executor => "executor",
        }
    }
}

/// Which cell it is, but for the stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) method: StartMethod,
    pub(crate) front: Front,
    pub(crate) end: End,
    /// Whether what workers say last is kept.
    pub(crate) keeps_tails: bool,
}

impl Cell {
    pub(crate) fn workers(self) -> Workers {
        self.build(Context::new(self.method), None).unwrap()
    }

    /// Workers whose server, if they have one, is made for them.
    pub(crate) fn workers_of_their_own(self) -> Workers {
        let context = Context::new(self.method);
        let context = if self.method == StartMethod::ForkServer { context.preload(|| ()) } else { context };
        self.build(context, None).unwrap()
    }

    /// Workers whose initializer burns a fuse.
    pub(crate) fn initialized(self, fuse: &Fuse) -> Result<Workers, PoolError> {
        self.build(Context::new(self.method), Some(fuse))
    }

    fn build(self, context: Context, fuse: Option<&Fuse>) -> Result<Workers, PoolError> {
        let burn = |fuse: Fuse| fuse.burn();
        let start_timeout = if self.end == End::Stop { START_TIMEOUT } else { Duration::MAX };
        match self.front {
            Front::Pool => {
                let builder = Pool::builder().processes(SIZE).context(context).stderr_tail(self.keeps_tails);
                let builder = builder.start_timeout(start_timeout);
                let builder = match fuse {
                    Some(fuse) => builder.initializer(burn, (fuse.clone(),)),
                    None => builder,
                };
                builder.build().map(Workers::Pool)
            }
            Front::Executor => {
                let builder = ProcessPoolExecutor::builder().max_workers(SIZE).context(context);
                let builder = builder.stderr_tail(self.keeps_tails).start_timeout(start_timeout);
                let builder = match fuse {
                    Some(fuse) => builder.initializer(burn, (fuse.clone(),)),
                    None => builder,
                };
                builder.build().map(Workers::Executor)
            }
        }
    }
}

pub(crate) enum Workers {
    Pool(Pool),
    Executor(ProcessPoolExecutor),
}

impl Workers {
    pub(crate) fn executor(&self) -> &dyn Executor {
        match self {
            Self::Pool(pool) => pool,
            Self::Executor(executor) => executor,
        }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        match self {
            Self::Pool(pool) => pool.worker_pids(),
            Self::Executor(executor) => executor.worker_pids(),
        }
    }

    /// The tasks that are not to notice, some of them large.
    pub(crate) fn submit_neighbors(&self) -> Neighbors {
        self.submit_with(None)
    }

    /// The same, each for so long at most.
    pub(crate) fn submit_neighbors_within(&self, timeout: Duration) -> Neighbors {
        self.submit_with(Some(timeout))
    }

    fn submit_with(&self, timeout: Option<Duration>) -> Neighbors {
        let futures = (0..NEIGHBORS).map(|number| {
            let task = self.executor().task(neighbor, (number, vec![number as u8; length(number)]));
            let task = if let Some(timeout) = timeout { task.timeout(timeout) } else { task };
            task.submit().unwrap()
        });
        Neighbors(futures.collect())
    }

    /// The task that ruins its worker.
    pub(crate) fn submit_victim<F, A>(&self, end: End, function: F, arguments: A) -> Future<F::Output>
    where
        F: Target<A>,
        A: Arguments,
    {
        let task = self.executor().task(function, arguments);
        let task = if end == End::Stop { task.timeout(TIMEOUT) } else { task };
        task.submit().unwrap()
    }

    /// Has all workers run something at once; they have nothing to do then.
    pub(crate) fn all_at_work(&self) -> Vec<u32> {
        let barrier = Barrier::new(SIZE).unwrap();
        let meet = |barrier: Barrier| {
            barrier.wait().unwrap();
            pid()
        };
        let met: Vec<_> = (0..SIZE).map(|_| self.executor().submit(meet, (barrier.clone(),)).unwrap()).collect();
        met.into_iter().map(|future| future.result().unwrap()).collect()
    }

    /// Sees that there are all workers, and not the one that died.
    #[track_caller]
    pub(crate) fn check_complete(&self, died: Option<u32>) {
        let workers = self.all_at_work();
        assert_eq!(workers.len(), SIZE);
        assert!(died.is_none_or(|died| !workers.contains(&died)), "{died:?} works");
        let is_complete = || self.pids().len() == SIZE && died.is_none_or(|died| !self.pids().contains(&died));
        until("all workers are there", is_complete);
    }

    pub(crate) fn close(&self) {
        self.executor().close();
    }

    /// Has the workers end, and sees that they do.
    pub(crate) fn finish(self) {
        match &self {
            Self::Pool(pool) => {
                pool.close();
                pool.join().unwrap();
            }
            Self::Executor(executor) => executor.shutdown(),
        }
        assert_eq!(self.pids(), []);
    }
}

fn neighbor(number: u64, body: Vec<u8>) -> (u64, Vec<u8>) {
    (number + 1, body)
}

fn length(number: u64) -> usize {
    if number % 5 == 2 { LARGE } else { 3 }
}

pub(crate) struct Neighbors(Vec<Future<(u64, Vec<u8>)>>);

impl Neighbors {
    /// Sees that each of them has its result.
    #[track_caller]
    pub(crate) fn check(self) {
        let unlucky = self.check_but(|error| panic!("{error}"));
        assert_eq!(unlucky, 0);
    }

    /// The same but for those whose error is excused; so many these are.
    #[track_caller]
    pub(crate) fn check_but(self, mut excuse: impl FnMut(&procession_pool::TaskError)) -> usize {
        let mut excused = 0;
        for (number, future) in (0..).zip(self.0) {
            match future.into_result() {
                Ok((next, body)) => {
                    assert_eq!(next, number + 1);
                    assert!(body.len() == length(number) && body.iter().all(|&byte| byte == number as u8));
                }
                Err(error) => {
                    excuse(&error);
                    excused += 1;
                }
            }
        }
        excused
    }
}

/// Waits until something is so, and fails if it does not come to be.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Deadline::after(SOON);
    while !is_so() {
        assert!(!deadline.has_passed(), "{what}: it is not so");
        thread::park_timeout(Duration::from_millis(1)); // There is nothing to wait for.
    }
}
