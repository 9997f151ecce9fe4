//! Queues: items that tasks put and take.

use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use procession_ipc::{Connection, Consumer, GetError, Producer, PutError, Queue, RecvError, pipe};
use procession_launch::StartMethod;
use procession_sys::fail_points;
use procession_testkit::assert_cost;
use procession_wire::Descriptor;

use crate::runtime::{Runtime, for_turns, tokio, within};
use crate::{NOTICED_MAX, SOON, hold, start, tell, wait_for};

fn put_and_send(queue: Queue<u32>, connection: Connection<u32, u32>) {
    for n in 0..100 {
        queue.put(n).unwrap();
        connection.send(&n).unwrap();
        assert_eq!(connection.recv().unwrap(), n + 1);
    }
}

pub(super) fn what_a_child_puts_and_sends_comes_to_a_task(method: StartMethod) {
    let queue = Queue::bounded(10).unwrap();
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    let child = start(method, put_and_send, (queue.clone(), theirs));
    tokio().block_on(async {
        for n in 0..100 {
            assert_eq!(queue.get_async().await.unwrap(), n);
            assert_eq!(ours.recv_async().await.unwrap(), n);
            ours.send_async(&(n + 1)).await.unwrap();
        }
        assert!(matches!(ours.recv_async().await, Err(RecvError::Disconnected)));
    });
    child.join().unwrap();
}

const MANY: u32 = 5_000;

/// Of a queue that holds three of them.
const LARGE: usize = 300;
const LARGE_BYTES: usize = 300_000;

fn take_all(small: Queue<u32>, large: Queue<Vec<u8>>) {
    for n in 0..MANY {
        assert_eq!(small.get().unwrap(), n);
    }
    for n in 0..LARGE {
        assert_eq!(large.get().unwrap()[..], [n as u8; LARGE_BYTES]);
    }
}

/// Not by the looks alone that are made now and then: it would take a minute.
pub(super) fn a_task_fills_what_a_child_empties(method: StartMethod) {
    let small = Queue::bounded(5).unwrap();
    let large = Queue::builder().bytes(1 << 20).create().unwrap();
    let child = start(method, take_all, (small.clone(), large.clone()));
    tokio().block_on(async {
        for n in 0..MANY {
            small.put_async(n).await.unwrap();
        }
        for n in 0..LARGE {
            large.put_async(vec![n as u8; LARGE_BYTES]).await.unwrap();
        }
    });
    child.join().unwrap();
}

const TASKS: usize = 10_000;

fn put_when_told(queue: Queue<usize>, go: Descriptor) {
    wait_for(go);
    (0..TASKS).try_for_each(|n| queue.put(n)).unwrap();
}

pub(super) fn ten_thousand_items_are_awaited_on_one_thread(runtime: Runtime) {
    let (queue, (read, write)) = (Queue::<usize>::bounded(100).unwrap(), crate::pipe());
    let child = start(StartMethod::ForkServer, put_when_told, (queue.clone(), read));
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut write = Some(write);
    let tasks = iter::repeat_with(|| {
        let (queue, waiting, write) = (queue.clone(), Arc::clone(&waiting), write.take());
        async move {
            waiting.fetch_add(1, SeqCst);
            if let Some(write) = write {
                while waiting.load(SeqCst) < TASKS {
                    futures_lite::future::yield_now().await;
                }
                tell(write);
            }
            queue.get_async().await.unwrap()
        }
    });
    let mut items = runtime.run_all(tasks.take(TASKS));
    items.sort_unstable();
    assert!(items.into_iter().eq(0..TASKS), "all, and each once");
    child.join().unwrap();
}

pub(super) fn the_last_producer_that_is_killed_wakes_a_task(method: StartMethod) {
    assert_cost(NOTICED_MAX, || {
        let (producer, consumer) = Queue::<u32>::bounded(1).unwrap().split().unwrap();
        let [(ready, to_tell), (never, _end)] = [crate::pipe(), crate::pipe()];
        let child = start(method, hold::<Producer<u32>>, (producer, to_tell, never));
        wait_for(ready);
        let killed = tokio().block_on(async {
            assert!(within(Duration::from_millis(120), consumer.get_async()).await.is_none(), "it is there");
            child.kill().unwrap();
            let killed = Instant::now();
            let end = within(SOON, consumer.get_async()).await;
            assert!(matches!(end, Some(Err(GetError::Disconnected))), "{end:?}");
            killed
        });
        let told = killed.elapsed();
        assert_eq!(child.wait().unwrap().exitcode(), -9);
        told
    });
}

pub(super) fn the_last_consumer_that_is_killed_wakes_a_task_that_puts(method: StartMethod) {
    assert_cost(NOTICED_MAX, || {
        let (producer, consumer) = Queue::<u32>::bounded(1).unwrap().split().unwrap();
        let [(ready, to_tell), (never, _end)] = [crate::pipe(), crate::pipe()];
        let child = start(method, hold::<Consumer<u32>>, (consumer, to_tell, never));
        wait_for(ready);
        producer.put(1).unwrap();
        let killed = tokio().block_on(async {
            assert!(within(Duration::from_millis(120), producer.put_async(2)).await.is_none(), "it is there");
            child.kill().unwrap();
            let killed = Instant::now();
            let end = within(SOON, producer.put_async(3)).await;
            assert!(matches!(end, Some(Err(PutError::Disconnected(3)))), "{end:?}");
            killed
        });
        let told = killed.elapsed();
        assert_eq!(child.wait().unwrap().exitcode(), -9);
        told
    });
}

fn die_before_it_rings(queue: Queue<u32>, go: Descriptor) {
    wait_for(go);
    fail_points::arm("ring: not told", 0, fail_points::kill);
    let _ = queue.put(7);
}

pub(super) fn a_producer_that_is_killed_before_it_rings_is_not_waited_for(method: StartMethod) {
    assert_cost(NOTICED_MAX, || {
        let (queue, (read, write)) = (Queue::<u32>::bounded(1).unwrap(), crate::pipe());
        let child = start(method, die_before_it_rings, (queue.clone(), read));
        tokio().block_on(async {
            let mut get = pin!(queue.get_async());
            assert!(within(Duration::from_millis(5), &mut get).await.is_none());
            tell(write);
            assert_eq!(child.wait().unwrap().exitcode(), -9);
            let died = Instant::now();
            assert_eq!(within(SOON, get).await.unwrap().unwrap(), 7);
            died.elapsed()
        })
    });
}

/// The number of the signal that stops a process.
const STOP: i32 = 19;
const CONTINUE: i32 = 18;

fn be_stopped(queue: Queue<u32>) -> u32 {
    fail_points::arm("ring: to take", 0, || procession_sys::send_signal(procession_sys::pid(), STOP).unwrap());
    queue.get().unwrap()
}

pub(super) fn a_process_that_is_stopped_in_the_middle_does_not_stop_other_tasks(method: StartMethod) {
    let queue = Queue::<u32>::bounded(10).unwrap();
    let child = start(method, be_stopped, (queue.clone(),));
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    let began = Instant::now();
    let is_stopped = || procession_testkit::process(child.pid()).is_some_and(|process| process.state == 'T');
    while !is_stopped() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let got = tokio().block_on(async {
        let others = async {
            // So long without a turn that has taken as long as a thread would wait for a stopped process. On a busy machine
            // one may take that by itself, but not one of each few.
            let (mut since, mut last) = (Instant::now(), Instant::now());
            while since.elapsed() < Duration::from_millis(200) {
                assert!(began.elapsed() < 4 * SOON, "others are held up");
                futures_lite::future::yield_now().await;
                if last.elapsed() > Duration::from_millis(90) {
                    since = Instant::now();
                }
                last = Instant::now();
            }
            procession_sys::send_signal(child.pid(), CONTINUE).unwrap();
        };
        futures_lite::future::zip(within(5 * SOON, queue.get_async()), others).await.0
    });
    let mut items = [got.unwrap().unwrap(), child.join().unwrap()];
    items.sort_unstable();
    assert_eq!(items, [1, 2]);
}

const DROPS: u32 = 3_000;

fn put_with_pauses(queue: Queue<u32>) {
    for n in 0..DROPS {
        queue.put(n).unwrap();
        if n % 3 == 0 {
            std::thread::park_timeout(Duration::from_micros(u64::from(n % 7) * 100));
        }
    }
}

/// Two tasks that give up all the time.
pub(super) fn futures_that_are_dropped_have_taken_nothing(method: StartMethod) {
    let queue = Queue::bounded(10).unwrap();
    let child = start(method, put_with_pauses, (queue.clone(),));
    let (mut items, dropped) = tokio().block_on(async {
        let take = async |queue: Queue<u32>, part: u32| {
            let (mut items, mut dropped) = (Vec::new(), 0_u32);
            while items.len() < part as usize {
                match for_turns(dropped % 50, queue.get_async()).await {
                    Some(item) => items.push(item.unwrap()),
                    None => dropped += 1,
                }
            }
            assert!(items.is_sorted(), "{items:?}");
            (items, dropped)
        };
        let (one, other) =
            futures_lite::future::zip(take(queue.clone(), DROPS / 3), take(queue.clone(), DROPS / 3 * 2)).await;
        ([one.0, other.0].concat(), one.1.min(other.1))
    });
    items.sort_unstable();
    assert!(items.into_iter().eq(0..DROPS), "all, and each once");
    assert!(dropped > 10, "{dropped}");
    child.join().unwrap();
}

fn take_with_pauses(queue: Consumer<u32>) -> Vec<u32> {
    let items = iter::from_fn(|| queue.get().ok());
    let pause = |n: &u32| {
        if n.is_multiple_of(3) {
            std::thread::park_timeout(Duration::from_micros(300));
        }
    };
    items.inspect(pause).collect()
}

pub(super) fn futures_that_are_dropped_have_put_or_not_put(method: StartMethod) {
    let (producer, consumer) = Queue::bounded(2).unwrap().split().unwrap();
    let child = start(method, take_with_pauses, (consumer,));
    let (put, dropped) = tokio().block_on(async {
        let (mut put, mut dropped) = (Vec::new(), 0_u32);
        for n in 0..DROPS {
            match for_turns(n % 50, producer.put_async(n)).await {
                Some(done) => {
                    done.unwrap();
                    put.push(n);
                }
                None => dropped += 1,
            }
        }
        (put, dropped)
    });
    drop(producer);
    assert_eq!(child.join().unwrap(), put);
    assert!(dropped > 10, "{dropped}");
}

pub(super) fn tasks_are_served_in_the_order_in_which_they_came() {
    // One look in the middle of it lets the next one try as well; a line that is none is out of order each time.
    assert!((0..10).any(|_| are_served_in_order()), "nobody stands in line");
}

fn are_served_in_order() -> bool {
    let queue = Queue::<usize>::bounded(100).unwrap();
    let tasks = (0..100).map(|_| queue.get_async());
    let mut tasks: Vec<_> = tasks.map(Box::pin).collect();
    let mut context = Context::from_waker(Waker::noop());
    for task in &mut tasks {
        assert!(task.as_mut().poll(&mut context).is_pending());
    }
    (0..100).try_for_each(|n| queue.put(n)).unwrap();
    // Whoever is asked first need not be the first.
    let end = Instant::now() + SOON;
    let mut items = vec![None; tasks.len()];
    while items.contains(&None) {
        assert!(Instant::now() < end, "{items:?}");
        for (task, item) in tasks.iter_mut().zip(&mut items).rev().filter(|(_, item)| item.is_none()) {
            if let Poll::Ready(had) = task.as_mut().poll(&mut context) {
                *item = Some(had.unwrap());
            }
        }
    }
    let is_in_order = items.is_sorted();
    items.sort_unstable();
    assert!(items.into_iter().map(Option::unwrap).eq(0..100));
    is_in_order
}

pub(super) fn a_task_that_does_not_go_on_keeps_nobody_else() {
    let queue = Queue::<u32>::bounded(10).unwrap();
    let mut frozen = Box::pin(queue.get_async());
    let mut context = Context::from_waker(Waker::noop());
    assert!(frozen.as_mut().poll(&mut context).is_pending());
    tokio().block_on(async {
        for n in 0..3 {
            let put = async { queue.put(n).unwrap() };
            let (had, ()) = futures_lite::future::zip(within(SOON, queue.get_async()), put).await;
            assert_eq!(had.unwrap().unwrap(), n);
        }
    });
    queue.put(7).unwrap();
    assert!(matches!(frozen.as_mut().poll(&mut context), Poll::Ready(Ok(7))));
}

pub(super) fn closing_ends_the_waits_of_tasks() {
    let (queue, (ours, _theirs)) = (Queue::<u32>::bounded(1).unwrap(), pipe::<(), u32>().unwrap());
    queue.put(1).unwrap();
    queue.get().unwrap();
    tokio().block_on(async {
        let close = async {
            queue.close();
            ours.close();
        };
        let waits = futures_lite::future::zip(within(SOON, queue.get_async()), within(SOON, ours.recv_async()));
        let ((got, received), ()) = futures_lite::future::zip(waits, close).await;
        assert!(matches!(got, Some(Err(GetError::Closed))), "{got:?}");
        assert!(matches!(received, Some(Err(RecvError::Closed))), "{received:?}");
    });
}
