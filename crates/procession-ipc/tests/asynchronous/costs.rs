//! What waiting costs, and forked children.
//!
//! # Safety
//! The one unsafe call forks this process while it has another thread, the reactor's, which holds no lock of the C library's
//! when it sleeps, and of which the child uses nothing: that is what is tested.

#![expect(unsafe_code, reason = "forks a process with a thread, vouching for it")]

use std::time::Duration;

use procession_ipc::{Connection, Queue, pipe};
use procession_launch::{Context, StartMethod};
use procession_sys::{pid, processor_time, threads_of};
use procession_testkit::assert_cost;

use crate::runtime::{Runtime, tokio, within};
use crate::{SOON, is_pending};

const WAITING: usize = 200;

/// Each may cost a thousandth of a processor. All of them together cost half of that, also in an unoptimized build and
/// where each system call is looked at.
pub(super) fn waiting_tasks_cost_next_to_nothing() {
    assert_cost(Duration::from_millis(120), wait_in_vain);
}

/// The processor time of that.
fn wait_in_vain() -> Duration {
    let ends: Vec<(Connection<u32, u32>, _)> = (0..WAITING).map(|_| pipe().unwrap()).collect();
    let (ours, _theirs): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let used = Runtime::Tokio.run_all(ours.into_iter().enumerate().map(|(n, connection)| async move {
        let time = Duration::from_millis(if n == 0 { 1200 } else { 1300 });
        // All wait by then.
        tokio::task::yield_now().await;
        let began = processor_time();
        assert!(within(time, connection.recv_async()).await.is_none());
        processor_time() - began
    }));
    used[0]
}

pub(super) fn one_thread_watches_for_all() {
    let threads = threads_of(pid()).unwrap().len();
    let queues: Vec<_> = (0..100).map(|_| Queue::<u32>::bounded(1).unwrap()).collect();
    let gets: Vec<_> = queues.iter().map(|queue| Box::pin(queue.get_async())).collect();
    for mut get in gets {
        assert!(is_pending(&mut get));
        assert_eq!(threads_of(pid()).unwrap().len(), threads);
    }
    assert!(threads <= 2, "this one, and one that watches: {threads}");
}

/// In the middle of its parent's waits.
pub(super) fn a_forked_child_waits_by_itself() {
    let (theirs, ours) = (Queue::<u32>::bounded(1).unwrap(), Queue::<u32>::bounded(1).unwrap());
    tokio().block_on(async {
        let mut get = Box::pin(ours.get_async());
        assert!(within(Duration::from_millis(5), &mut get).await.is_none());
        let work = || {
            futures_lite::future::block_on(async {
                for _ in 0..10 {
                    let n = theirs.get_async().await.unwrap();
                    ours.put_async(n + 1).await.unwrap();
                }
            });
        };
        // SAFETY: see the top of this file.
        let child = unsafe { Context::new(StartMethod::Fork).fork_unchecked(work) }.unwrap();
        theirs.put_async(0).await.unwrap();
        assert_eq!(within(SOON, get).await.unwrap().unwrap(), 1);
        for n in 1..10 {
            theirs.put_async(n).await.unwrap();
            assert_eq!(within(SOON, ours.get_async()).await.unwrap().unwrap(), n + 1);
        }
        child.join().unwrap();
    });
}
