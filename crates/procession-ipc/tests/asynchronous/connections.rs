//! Connections: pipes and streams in tasks.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use procession_ipc::{
    BytesConnection, Connection, JoinableQueue, Queue, Receiver, RecvError, SendError, Sender, SimpleQueue, pipe,
    pipe_bytes, pipe_simplex,
};
use procession_launch::StartMethod;
use procession_testkit::assert_cost;
use procession_wire::Descriptor;

use crate::runtime::{Runtime, tokio, within};
use crate::{NOTICED_MAX, SOON, hold, is_pending, start, tell, wait_for};

const CONNECTIONS: usize = 1_000;

fn answer_all(connections: Vec<Connection<usize, usize>>, go: Descriptor) {
    wait_for(go);
    for (n, connection) in connections.iter().enumerate() {
        connection.send(&n).unwrap();
    }
    for (n, connection) in connections.iter().enumerate() {
        assert_eq!(connection.recv().unwrap(), n + 1);
    }
}

pub(super) fn a_thousand_connections_are_awaited_on_one_thread(runtime: Runtime) {
    let pipes = (0..CONNECTIONS).map(|_| pipe::<usize, usize>().unwrap());
    let (ours, theirs): (Vec<_>, Vec<_>) = pipes.unzip();
    let (read, write) = crate::pipe();
    let child = start(StartMethod::ForkServer, answer_all, (theirs, read));
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut write = Some(write);
    let tasks = ours.into_iter().map(|connection| {
        let (waiting, write) = (Arc::clone(&waiting), write.take());
        async move {
            waiting.fetch_add(1, SeqCst);
            if let Some(write) = write {
                while waiting.load(SeqCst) < CONNECTIONS {
                    futures_lite::future::yield_now().await;
                }
                tell(write);
            }
            let n = connection.recv_async().await.unwrap();
            connection.send_async(&(n + 1)).await.unwrap();
            assert!(matches!(connection.recv_async().await, Err(RecvError::Disconnected)));
            n
        }
    });
    assert!(runtime.run_all(tasks).into_iter().eq(0..CONNECTIONS), "each its own");
    child.join().unwrap();
}

pub(super) fn the_last_sender_that_is_killed_wakes_a_task(method: StartMethod) {
    assert_cost(NOTICED_MAX, || {
        let (receiver, sender) = pipe_simplex::<u32>().unwrap();
        let [(ready, to_tell), (never, _end)] = [crate::pipe(), crate::pipe()];
        let child = start(method, hold::<Sender<u32>>, (sender, to_tell, never));
        wait_for(ready);
        let killed = tokio().block_on(async {
            assert!(within(Duration::from_millis(120), receiver.recv_async()).await.is_none(), "it is there");
            child.kill().unwrap();
            let killed = Instant::now();
            let end = within(SOON, receiver.recv_async()).await;
            assert!(matches!(end, Some(Err(RecvError::Disconnected))), "{end:?}");
            killed
        });
        let told = killed.elapsed();
        assert_eq!(child.wait().unwrap().exitcode(), -9);
        told
    });
}

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn through_queues() -> Done {
    let (queue, simple) = (Queue::<String>::bounded(1)?, SimpleQueue::<String>::new()?);
    let joinable = JoinableQueue::<String>::bounded(1)?;
    let (producer, consumer) = Queue::<String>::bounded(1)?.split()?;
    for n in 0..100 {
        let (put, got) = zip(queue.put_async(n.to_string()), queue.get_async()).await;
        assert_eq!(got?, n.to_string());
        put?;
        let (put, got) = zip(simple.put_async(n.to_string()), simple.get_async()).await;
        assert_eq!(got?, n.to_string());
        put?;
        let (put, got) = zip(joinable.put_async(n.to_string()), joinable.get_async()).await;
        assert_eq!(got?, n.to_string());
        put?;
        joinable.task_done()?;
        let (got, put) = zip(consumer.get_async(), producer.put_async(n.to_string())).await;
        assert_eq!(got?, n.to_string());
        put?;
    }
    joinable.join()?;
    Ok(())
}

async fn through_connections() -> Done {
    let (receiver, sender): (Receiver<u32>, Sender<u32>) = pipe_simplex()?;
    let (ours, theirs) = pipe::<u32, u32>()?;
    for n in 0..100 {
        let (had, sent) = zip(receiver.recv_async(), sender.send_async(&n)).await;
        assert_eq!(had?, n);
        sent?;
        let (sent, had) = zip(ours.send_async(&n), theirs.recv_async()).await;
        assert_eq!(had?, n);
        sent?;
    }
    Ok(())
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

/// More than a socket holds, and than stands in a record.
const LARGE: usize = 3 << 20;

async fn through_bytes() -> Done {
    let (unix, (ours, theirs)) = (UnixStream::pair()?, tcp());
    let ends: [(BytesConnection, BytesConnection); 3] =
        [(unix.0.into(), unix.1.into()), (ours.into(), theirs.into()), pipe_bytes()?];
    for (ours, theirs) in ends {
        for bytes in [0, 1, 1000, LARGE] {
            let message = vec![bytes as u8; bytes];
            let (sent, had) = zip(ours.send_async(&message), theirs.recv_async()).await;
            assert_eq!(had?, message);
            sent?;
            let (had, sent) = zip(ours.recv_async(), theirs.send_async(&message)).await;
            assert_eq!(had?, message);
            sent?;
        }
        drop(theirs);
        assert!(matches!(ours.recv_async().await, Err(RecvError::Disconnected)));
        // By TCP the first comes back as a reset.
        while ours.send_async(b"late").await.is_ok() {
            futures_lite::future::yield_now().await;
        }
        assert!(matches!(ours.send_async(b"late").await, Err(SendError::Disconnected)));
    }
    Ok(())
}

pub(super) fn what_every_type_can_do_is_done_in_tasks(runtime: Runtime) {
    let tasks: [std::pin::Pin<Box<dyn Future<Output = Done> + Send>>; 3] =
        [Box::pin(through_queues()), Box::pin(through_connections()), Box::pin(through_bytes())];
    for done in runtime.run_all(tasks) {
        done.unwrap();
    }
}

/// The peer counts frames by their headers alone: half a message would be a wrong one.
pub(super) fn a_message_that_was_begun_and_dropped_goes_before_the_next() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ours = BytesConnection::from(ours);
    let first = vec![1; LARGE];
    assert!(is_pending(ours.send_async(&first)), "more than fits");
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        theirs.read_to_end(&mut bytes).unwrap();
        bytes
    });
    ours.send(b"by a thread").unwrap();
    tokio().block_on(ours.send_async(b"by a task")).unwrap();
    drop(ours);
    let mut expected = Vec::new();
    for message in [&first[..], b"by a thread", b"by a task"] {
        expected.extend((message.len() as u32).to_be_bytes());
        expected.extend(message);
    }
    assert!(reader.join().unwrap() == expected, "whole, and in order");
}

pub(super) fn bytes_come_into_a_buffer_and_no_more_than_allowed() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ours = BytesConnection::from(ours);
    tokio().block_on(async {
        let mut buffer = [0; 4];
        theirs.write_all(b"\0\0\0\x04ha").unwrap();
        assert!(within(Duration::from_millis(5), ours.recv_into_async(&mut buffer)).await.is_none());
        theirs.write_all(b"lf\0\0\x01\0").unwrap();
        assert_eq!(ours.recv_into_async(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer, b"half");
        let refused = ours.recv_max_async(255).await;
        assert!(matches!(refused, Err(RecvError::TooLarge { bytes: 256, bytes_max: 255 })), "{refused:?}");
    });
}
