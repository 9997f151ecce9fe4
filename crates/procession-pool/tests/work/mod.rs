//! What tests have the workers of a pool do.
//!
//! Relies on a barrier to have all of them at work at once.

use std::thread;

use procession_pool::{ExecutorExt, Future, Pool};
use procession_sync::Barrier;
use procession_sys::{PidFd, Signal, pid};

/// Has each worker run something at once; they have nothing to do then. Their numbers.
pub(crate) fn all_at_work(pool: &Pool) -> Vec<u32> {
    let barrier = Barrier::new(pool.processes()).unwrap();
    let meet = |barrier: Barrier| {
        barrier.wait().unwrap();
        pid()
    };
    let met: Vec<_> = (0..pool.processes()).map(|_| submit(pool, meet, (barrier.clone(),))).collect();
    met.into_iter().map(|future| future.result().unwrap()).collect()
}

pub(crate) fn submit<F, A>(pool: &Pool, function: F, arguments: A) -> Future<F::Output>
where
    F: procession_launch::Target<A>,
    A: procession_launch::Arguments,
{
    ExecutorExt::submit(pool, function, arguments).unwrap()
}

pub(crate) fn kill(pid: u32) {
    PidFd::open(pid).unwrap().send(Signal::KILL).unwrap();
}

pub(crate) fn finish(pool: Pool) {
    pool.close();
    pool.join().unwrap();
}

/// Does not return.
pub(crate) fn wait_for_ever() {
    loop {
        thread::park();
    }
}
