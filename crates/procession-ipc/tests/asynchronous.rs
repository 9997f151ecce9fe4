//! Tasks that wait: on tokio and on another runtime, with other processes at the other end.
//!
//! Relies on the test kit.

use procession_ipc::{Connection, Queue, pipe};
use procession_launch::{Arguments, Context, Process, StartMethod, Target};

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        what_a_child_puts_and_sends_comes_to_a_task,
        a_task_fills_what_a_child_empties,
    ];
}

fn methods() -> Vec<(&'static str, StartMethod)> {
    [StartMethod::ForkServer, StartMethod::Spawn].map(|method| (method.name(), method)).to_vec()
}

/// Starts and joins one child of each kind, so that lifeline, server and exit handler exist, and waits once in a task, so
/// that the reactor does.
fn warm_up() {
    for (_, method) in methods() {
        start(method, || (), ()).join().expect("a child that does nothing");
    }
    let queue = Queue::<u8>::bounded(1).unwrap();
    let get = futures_lite::future::poll_once(queue.get_async());
    assert!(futures_lite::future::block_on(get).is_none());
}

fn start<F: Target<A>, A: Arguments>(method: StartMethod, target: F, arguments: A) -> Process<F::Output> {
    Context::new(method).start(target, arguments).unwrap_or_else(|error| panic!("{method}: {error}"))
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn put_and_send(queue: Queue<u32>, connection: Connection<u32, u32>) {
    for n in 0..100 {
        queue.put(n).unwrap();
        connection.send(&n).unwrap();
        assert_eq!(connection.recv().unwrap(), n + 1);
    }
}

fn what_a_child_puts_and_sends_comes_to_a_task(method: StartMethod) {
    let queue = Queue::bounded(10).unwrap();
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    let child = start(method, put_and_send, (queue.clone(), theirs));
    tokio().block_on(async {
        for n in 0..100 {
            assert_eq!(queue.get_async().await.unwrap(), n);
            assert_eq!(ours.recv_async().await.unwrap(), n);
            ours.send_async(&(n + 1)).await.unwrap();
        }
        assert!(matches!(ours.recv_async().await, Err(procession_ipc::RecvError::Disconnected)));
    });
    child.join().unwrap();
}

const MANY: u32 = 20_000;

/// Of a queue that holds three of them.
const LARGE: usize = 300;
const LARGE_BYTES: usize = 1_000_000;

fn take_all(small: Queue<u32>, large: Queue<Vec<u8>>) {
    for n in 0..MANY {
        assert_eq!(small.get().unwrap(), n);
    }
    for n in 0..LARGE {
        assert_eq!(large.get().unwrap()[..], [n as u8; LARGE_BYTES]);
    }
}

/// Not only by the looks that are made now and then: it would take minutes.
fn a_task_fills_what_a_child_empties(method: StartMethod) {
    let small = Queue::bounded(5).unwrap();
    let large = Queue::builder().bytes(1 << 20).create().unwrap();
    let child = start(method, take_all, (small.clone(), large.clone()));
    let began = std::time::Instant::now();
    tokio().block_on(async {
        for n in 0..MANY {
            small.put_async(n).await.unwrap();
        }
        println!("{:?}", began.elapsed());
        for n in 0..LARGE {
            large.put_async(vec![n as u8; LARGE_BYTES]).await.unwrap();
        }
        println!("{:?}", began.elapsed());
    });
    child.join().unwrap();
}
