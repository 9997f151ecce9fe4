//! Waiting for several things in a task.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use procession_ipc::{Queue, WaitError, Waitable, pipe_simplex, wait_ready_async};
use procession_launch::StartMethod;
use procession_testkit::assert_cost;

use crate::runtime::{tokio, within};
use crate::{NOTICED_MAX, SOON, hold, start, wait_for};

pub(super) fn tasks_wait_for_things_of_several_kinds() {
    let (queue, (receiver, sender)) = (Queue::<u32>::bounded(10).unwrap(), pipe_simplex::<u32>().unwrap());
    let (socket, mut peer) = UnixStream::pair().unwrap();
    let things: [&(dyn Waitable + Sync); 4] = [&queue, &receiver, &socket, &queue];
    tokio().block_on(async {
        assert!(matches!(wait_ready_async([]).await, Err(WaitError::Nothing)));
        assert!(within(Duration::from_millis(120), wait_ready_async(things)).await.is_none());
        let put = async { queue.put(1).unwrap() };
        let (ready, ()) = zip(within(SOON, wait_ready_async(things)), put).await;
        assert_eq!(ready.unwrap().unwrap(), [0, 3]);
        assert_eq!(queue.get_async().await.unwrap(), 1);
        let send = async { sender.send(&1).unwrap() };
        let (ready, ()) = zip(within(SOON, wait_ready_async(things)), send).await;
        assert_eq!(ready.unwrap().unwrap(), [1]);
        assert_eq!(receiver.recv_async().await.unwrap(), 1);
        let write = async { peer.write_all(b".").unwrap() };
        let (ready, ()) = zip(within(SOON, wait_ready_async(things)), write).await;
        assert_eq!(ready.unwrap().unwrap(), [2]);
    });
}

pub(super) fn a_killed_process_is_a_thing_to_wait_for() {
    assert_cost(NOTICED_MAX, || {
        let [(ready, to_tell), (never, _end)] = [crate::pipe(), crate::pipe()];
        let child = start(StartMethod::ForkServer, hold::<()>, ((), to_tell, never));
        wait_for(ready);
        let sentinel = child.sentinel();
        let told = tokio().block_on(async {
            assert!(within(Duration::from_millis(5), wait_ready_async([&sentinel as _])).await.is_none());
            child.kill().unwrap();
            let killed = Instant::now();
            assert_eq!(within(SOON, wait_ready_async([&sentinel as _])).await.unwrap().unwrap(), [0]);
            killed.elapsed()
        });
        assert_eq!(child.wait().unwrap().exitcode(), -9);
        told
    });
}
