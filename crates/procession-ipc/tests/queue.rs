//! Queues between processes: what is put comes out, once and in order, whoever puts and takes, and whoever ends meanwhile.
//!
//! Relies on the test kit; order is told by pipes and by the queues themselves. What travels in items is in `cargo.rs`.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell, tell_when_asleep};
use procession_ipc::{
    Consumer, GetError, Producer, PutError, QUEUE_BYTES_MAX, QUEUE_BYTES_MIN, QUEUE_ITEMS_MAX, Queue, QueueError,
    SimpleQueue, Waitable, try_wait_ready, wait_ready, wait_ready_timeout,
};
use procession_launch::{Context, StartMethod};
use procession_sys::{Deadline, fail_points, poll_readable};
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        each_form_of_put_and_get_works_between_processes,
        many_put_and_many_take_each_item_once_and_in_order,
        counts_are_right_at_once_in_every_process,
        what_a_process_put_before_it_ended_is_all_there,
        a_consumer_is_told_when_the_last_producer_is_killed,
        a_producer_is_told_when_the_last_consumer_is_killed,
        whoever_has_both_sides_is_told_when_all_others_are_killed,
        a_waiting_consumer_is_told_soon,
        an_item_wakes_who_waits_for_many_things,
        a_simple_queue_is_empty_in_parent_and_child,
    ];
    cases for fresh_methods(), [
        a_closed_queue_is_gone_for_others,
    ];
    cases: [
        threads_that_have_ended_could_not_put_any_more,
        items_of_any_size_fill_a_queue_up_to_its_bytes,
        full_and_empty_are_told_after_the_right_time,
        limits_are_what_they_say,
        a_byte_limit_is_reached_exactly,
        a_message_that_holds_the_queue_keeps_it_connected,
        a_second_thread_or_handle_keeps_it_connected,
        close_tells_the_threads_that_wait,
        a_closed_queue_is_closed_for_all_verbs,
        a_handle_is_of_its_items_type_and_side_only,
        a_forked_child_has_the_queue_as_another_process,
        bells_do_not_wake_for_nothing,
        a_producer_that_is_killed_leaves_no_descriptors_and_no_bell,
        sides_can_be_made_beside_a_queue,
    ];
}

/// The start methods whose children have what they are passed alone: a forked one has all that its parent had.
fn fresh_methods() -> Vec<(&'static str, StartMethod)> {
    methods().into_iter().filter(|(_, method)| *method != StartMethod::Fork).collect()
}

/// What is promised within 100 ms, on a machine that does other things as well.
const SOON: Duration = common::SOON;

const SHORT: Duration = Duration::from_millis(30);

fn each_form_of_put_and_get_works_between_processes(method: StartMethod) {
    fn echo(from: Queue<u32>, to: Queue<u32>) {
        for _ in 0..3 {
            to.put(from.get().unwrap()).unwrap();
        }
        to.try_put(from.get_timeout(SOON).unwrap()).unwrap();
        to.put_timeout(from.get().unwrap(), SOON).unwrap();
    }
    let (there, back) = (Queue::bounded(6).unwrap(), Queue::bounded(6).unwrap());
    let child = start(method, echo, (there.clone(), back.clone()));
    there.put(1).unwrap();
    there.try_put(2).unwrap();
    there.put_timeout(3, SOON).unwrap();
    there.put(4).unwrap();
    assert_eq!([back.get().unwrap(), back.get_timeout(SOON).unwrap(), back.get().unwrap()], [1, 2, 3]);
    there.put(5).unwrap();
    assert_eq!([back.get().unwrap(), back.get().unwrap()], [4, 5]);
    child.join().unwrap();
    assert!(matches!(back.try_get(), Err(GetError::Empty)));
}

const PRODUCERS: u64 = 3;
const CONSUMERS: u64 = 3;
const EACH: u64 = 3000;

fn produce(to: Producer<(u64, u64)>, who: u64) {
    for number in 0..EACH {
        to.put((who, number)).unwrap();
    }
}

fn consume(from: Consumer<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut had = Vec::new();
    loop {
        match from.get() {
            Ok(item) => had.push(item),
            Err(GetError::Disconnected) => return had,
            Err(error) => panic!("{error}"),
        }
    }
}

fn many_put_and_many_take_each_item_once_and_in_order(method: StartMethod) {
    let (to, from) = Queue::bounded(64).unwrap().split().unwrap();
    let producers: Vec<_> = (0..PRODUCERS).map(|who| start(method, produce, (to.clone(), who))).collect();
    drop(to);
    let consumers: Vec<_> = (0..CONSUMERS).map(|_| start(method, consume, (from.clone(),))).collect();
    let had: Vec<Vec<_>> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    for had in &had {
        for who in 0..PRODUCERS {
            let numbers: Vec<_> = had.iter().filter(|(by, _)| *by == who).map(|(_, number)| number).collect();
            assert!(numbers.is_sorted(), "in the order of their producer");
        }
    }
    let all: HashSet<_> = had.iter().flatten().collect();
    assert_eq!((all.len() as u64, had.iter().flatten().count() as u64), (PRODUCERS * EACH, PRODUCERS * EACH));
}

fn look(at: Queue<u8>, go: Descriptor, looked: Queue<(usize, bool, bool)>) {
    for _ in 0..3 {
        hear(&go);
        looked.put((at.len(), at.is_empty(), at.is_full())).unwrap();
    }
}

fn counts_are_right_at_once_in_every_process(method: StartMethod) {
    let (queue, looked) = (Queue::bounded(2).unwrap(), Queue::unbounded().unwrap());
    let (hears, tells) = pipe();
    let child = start(method, look, (queue.clone(), hears, looked.clone()));
    assert_eq!(queue.capacity(), Some(2));
    for (len, is_full) in [(0, false), (1, false), (2, true)] {
        let here = (queue.len(), queue.is_empty(), queue.is_full());
        tell(&tells);
        assert_eq!([here, looked.get().unwrap()], [(len, len == 0, is_full); 2]);
        let _ = queue.try_put(7);
    }
    for len in [1, 0] {
        queue.get().unwrap();
        assert_eq!(queue.len(), len);
    }
    child.join().unwrap();
}

fn put_much(to: Queue<Vec<u8>>) {
    for number in 0..50 {
        to.put(vec![number; 100_000]).unwrap();
    }
}

fn what_a_process_put_before_it_ended_is_all_there(method: StartMethod) {
    let queue = Queue::unbounded().unwrap();
    start(method, put_much, (queue.clone(),)).join().unwrap();
    for number in 0..50 {
        assert_eq!(queue.try_get().unwrap(), vec![number; 100_000]);
    }
    assert!(matches!(queue.get(), Err(GetError::Disconnected)), "nobody else has it");
}

fn put_one_and_stay(to: Producer<u32>) {
    to.put(1).unwrap();
    loop {
        thread::park();
    }
}

fn a_consumer_is_told_when_the_last_producer_is_killed(method: StartMethod) {
    let (to, from) = Queue::bounded(5).unwrap().split().unwrap();
    let child = start(method, put_one_and_stay, (to.clone(),));
    to.put(1).unwrap();
    drop(to);
    assert_eq!([from.get().unwrap(), from.get().unwrap()], [1, 1]);
    assert!(matches!(from.try_get(), Err(GetError::Empty)), "a producer is alive");
    assert!(matches!(from.get_timeout(SHORT), Err(GetError::Timeout)));
    thread::scope(|scope| {
        let waits = scope.spawn(|| from.get());
        child.kill().unwrap();
        let killed = Instant::now();
        assert!(matches!(waits.join().unwrap(), Err(GetError::Disconnected)));
        assert!(killed.elapsed() < SOON);
    });
    assert!(matches!(from.try_get(), Err(GetError::Disconnected)));
    assert!(matches!(from.get_timeout(SOON), Err(GetError::Disconnected)));
    assert!(child.join().is_err());
}

fn take_one_and_stay(from: Consumer<u32>, told: Descriptor) {
    from.get().unwrap();
    tell(&told);
    loop {
        thread::park();
    }
}

fn a_producer_is_told_when_the_last_consumer_is_killed(method: StartMethod) {
    let (to, from) = Queue::bounded(1).unwrap().split().unwrap();
    let (hears, tells) = pipe();
    let child = start(method, take_one_and_stay, (from, tells));
    to.put(1).unwrap();
    hear(&hears);
    to.put(2).unwrap();
    assert!(matches!(to.put_timeout(3, SHORT), Err(PutError::Full(3))), "a consumer is alive");
    thread::scope(|scope| {
        let waits = scope.spawn(|| to.put(3));
        child.kill().unwrap();
        let killed = Instant::now();
        assert!(matches!(waits.join().unwrap(), Err(PutError::Disconnected(3))));
        assert!(killed.elapsed() < SOON);
    });
    assert!(child.join().is_err());
}

fn stay(_queue: Queue<u32>, told: Descriptor) {
    tell(&told);
    loop {
        thread::park();
    }
}

fn whoever_has_both_sides_is_told_when_all_others_are_killed(method: StartMethod) {
    let queue = Queue::bounded(1).unwrap();
    let (hears, tells) = pipe();
    let children = [(); 2].map(|()| start(method, stay, (queue.clone(), tells.clone())));
    children.iter().for_each(|_| hear(&hears));
    thread::scope(|scope| {
        scope.spawn(|| children.iter().for_each(|child| child.kill().unwrap()));
        assert!(matches!(queue.get(), Err(GetError::Disconnected)));
    });
    queue.put(1).unwrap();
    assert!(matches!(queue.put(2), Err(PutError::Disconnected(2))), "full, and nobody takes any");
    assert!(matches!(queue.try_put(2), Err(PutError::Full(2))));
    assert_eq!(queue.get().unwrap(), 1);
    children.into_iter().for_each(|child| assert!(child.join().is_err()));
}

fn hold_until(to: Producer<u32>, release: Descriptor) {
    hear(&release);
    drop(to);
}

fn a_waiting_consumer_is_told_soon(method: StartMethod) {
    let (to, from) = Queue::<u32>::unbounded().unwrap().split().unwrap();
    let (hears, tells) = pipe();
    let child = start(method, hold_until, (to, hears));
    let (hears, asleep) = pipe();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            tell_when_asleep(&asleep);
            (from.get(), Instant::now())
        });
        hear(&hears);
        tell(&tells);
        let told = Instant::now();
        let (got, when) = waits.join().unwrap();
        assert!(matches!(got, Err(GetError::Disconnected)));
        assert!(when - told < SOON);
    });
    child.join().unwrap();
}

fn close_and_stay(queue: Queue<u32>, closed: Descriptor, release: Descriptor) {
    let (to, from) = (queue.producer().unwrap(), queue.consumer().unwrap());
    to.close();
    from.close();
    queue.close();
    tell(&closed);
    hear(&release);
    assert!(matches!(queue.get(), Err(GetError::Closed)));
    assert!(matches!(to.put(1), Err(PutError::Closed(1))));
}

fn a_closed_queue_is_gone_for_others(method: StartMethod) {
    let queue = Queue::unbounded().unwrap();
    let ((hears_closed, closed), (hears, tells)) = (pipe(), pipe());
    let (to, from) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let child = start(method, close_and_stay, (queue, closed, hears));
    hear(&hears_closed);
    to.put(1).unwrap();
    drop(to);
    assert_eq!(from.get().unwrap(), 1);
    assert!(matches!(from.get(), Err(GetError::Disconnected)), "the child lives, and has closed its ends");
    tell(&tells);
    child.join().unwrap();
}

fn put_when_told(to: Producer<u32>, go: Descriptor) {
    for number in 0..20 {
        hear(&go);
        to.put(number).unwrap();
    }
}

fn an_item_wakes_who_waits_for_many_things(method: StartMethod) {
    let (to, from) = Queue::unbounded().unwrap().split().unwrap();
    let other = Queue::<String>::unbounded().unwrap();
    let (hears, tells) = pipe();
    let child = start(method, put_when_told, (to, hears));
    let things = [&other as &dyn Waitable, &from];
    for number in 0..20 {
        assert!(try_wait_ready(things).unwrap().is_empty());
        thread::scope(|scope| {
            let waits = scope.spawn(|| wait_ready([&other as &dyn Waitable, &from]));
            tell(&tells);
            assert_eq!(waits.join().unwrap().unwrap(), [1]);
        });
        assert_eq!(from.try_get().unwrap(), number);
    }
    other.put("both".to_owned()).unwrap();
    child.join().unwrap();
    assert_eq!(wait_ready(things).unwrap(), [0, 1], "the end of the other is something to hear of");
    assert!(matches!(from.get(), Err(GetError::Disconnected)));
}

fn answer(there: SimpleQueue<bool>, back: SimpleQueue<bool>) {
    back.put(there.is_empty()).unwrap();
    back.put(there.get().unwrap()).unwrap();
    back.put(there.is_empty()).unwrap();
}

fn a_simple_queue_is_empty_in_parent_and_child(method: StartMethod) {
    let (there, back) = (SimpleQueue::new().unwrap(), SimpleQueue::new().unwrap());
    assert!(there.is_empty() && back.is_empty());
    there.put(true).unwrap();
    assert!(!there.is_empty());
    let child = start(method, answer, (there.clone(), back.clone()));
    assert_eq!([back.get().unwrap(), back.get_timeout(SOON).unwrap(), back.get().unwrap()], [false, true, true]);
    child.join().unwrap();
    assert!(there.is_empty() && back.is_empty());
    assert!(matches!(back.try_get(), Err(GetError::Empty)));
    back.close();
    back.close();
    assert!(matches!(back.get(), Err(GetError::Closed)));
    assert!(matches!(back.put(true), Err(PutError::Closed(true))));
    assert!(back.is_empty(), "as it was, and no error");
}

fn full_and_empty_are_told_after_the_right_time() {
    let queue = Queue::bounded(2).unwrap();
    for number in 0..2 {
        queue.put(number).unwrap();
    }
    let timed = |run: &dyn Fn(), at_least: Duration| {
        let begun = Instant::now();
        run();
        assert!((at_least..at_least + SOON).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    };
    timed(&|| assert!(matches!(queue.try_put(2), Err(PutError::Full(2)))), Duration::ZERO);
    timed(&|| assert!(matches!(queue.put_timeout(2, SHORT), Err(PutError::Full(2)))), SHORT);
    timed(&|| assert!(matches!(queue.put_timeout(2, Duration::ZERO), Err(PutError::Full(2)))), Duration::ZERO);
    queue.get().unwrap();
    queue.put_timeout(2, Duration::MAX).unwrap();
    assert_eq!([queue.try_get().unwrap(), queue.get_timeout(Duration::MAX).unwrap()], [1, 2]);
    timed(&|| assert!(matches!(queue.try_get(), Err(GetError::Empty))), Duration::ZERO);
    timed(&|| assert!(matches!(queue.get_timeout(SHORT), Err(GetError::Timeout))), SHORT);
    timed(&|| assert!(queue.get_timeout(Duration::ZERO).is_err()), Duration::ZERO);
    assert!(queue.is_empty() && !queue.is_full());
}

fn limits_are_what_they_say() {
    let made = |items: usize, bytes: u64| Queue::<u8>::builder().items(items).bytes(bytes).create();
    let items_max = usize::try_from(QUEUE_ITEMS_MAX).unwrap();
    assert_eq!(made(1, QUEUE_BYTES_MIN).unwrap().capacity(), Some(1));
    assert_eq!(made(items_max, QUEUE_BYTES_MAX).unwrap().capacity(), Some(items_max));
    assert_eq!(Queue::<u8>::builder().create().unwrap().capacity(), None);
    for items in [0, items_max + 1, usize::MAX] {
        assert!(matches!(made(items, 1 << 20), Err(QueueError::Items { items: found }) if found == items as u64));
    }
    for bytes in [0, QUEUE_BYTES_MIN - 1, QUEUE_BYTES_MAX + 1, u64::MAX] {
        assert!(matches!(made(1, bytes), Err(QueueError::Bytes { bytes: found }) if found == bytes));
    }
    let error = Queue::<u8>::bounded(0).unwrap_err();
    assert!(error.to_string().contains("`unbounded`"), "{error}");
}

fn a_byte_limit_is_reached_exactly() {
    let queue = Queue::<String>::builder().bytes(QUEUE_BYTES_MIN).create().unwrap();
    // Two bytes say how long the text is, and eight stand before it.
    let item = "x".repeat(4096 - 8 - 2);
    for _ in 0..QUEUE_BYTES_MIN / 4096 {
        queue.try_put(item.clone()).unwrap();
    }
    assert!(matches!(queue.try_put(String::new()), Err(PutError::Full(text)) if text.is_empty()));
    assert!(!queue.is_full(), "it is bounded by bytes alone");
    assert_eq!(queue.get().unwrap(), item);
    queue.try_put(item.clone()).unwrap();
    assert!(matches!(queue.try_put(item.clone()), Err(PutError::Full(_))));
    while queue.try_get().is_ok() {}
    queue.put("y".repeat(1 << 20)).unwrap(); // Far beyond the limit, and the only one.
    assert!(matches!(queue.try_put(String::new()), Err(PutError::Full(_))));
    assert_eq!(queue.get().unwrap().len(), 1 << 20);
}

fn a_message_that_holds_the_queue_keeps_it_connected() {
    let (queue, holder) = (Queue::<u32>::unbounded().unwrap(), Queue::<Queue<u32>>::unbounded().unwrap());
    let message = encode(&queue).unwrap();
    let (hears, asleep) = pipe();
    thread::scope(|scope| {
        let puts = scope.spawn(|| {
            let other = decode::<Queue<u32>>(message).unwrap();
            hear(&hears);
            other.put(7).unwrap();
        });
        tell_when_asleep(&asleep);
        assert_eq!(queue.get().unwrap(), 7);
        puts.join().unwrap();
    });
    holder.put(queue.clone()).unwrap();
    let is_taken = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            hear(&hears);
            let held = holder.get().unwrap();
            is_taken.store(true, SeqCst);
            drop(held);
        });
        tell_when_asleep(&asleep);
        assert!(matches!(queue.get(), Err(GetError::Disconnected)));
        assert!(is_taken.load(SeqCst), "an item of another queue held it");
    });
}

fn a_second_thread_or_handle_keeps_it_connected() {
    let queue = Queue::<u32>::unbounded().unwrap();
    let (hears, asleep) = pipe();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            tell_when_asleep(&asleep);
            queue.get()
        });
        hear(&hears);
        queue.put(7).unwrap();
        assert_eq!(waits.join().unwrap().unwrap(), 7);
    });
    let is_waited_for = || {
        let queue = Queue::<u32>::unbounded().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                hear(&hears);
                queue.put(7).unwrap();
            });
            tell_when_asleep(&asleep);
            matches!(queue.get(), Ok(7))
        })
    };
    // It may be away for longer than it is waited for, but not each time.
    assert!((0..5).any(|_| is_waited_for()), "the other thread has a reference that it has not used yet");
    let is_known = || {
        let queue = Queue::<u32>::unbounded().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                queue.put(7).unwrap();
                // Longer than another thread is waited for that has not been seen: this one has.
                thread::sleep(SHORT * 25);
                queue.put(8).unwrap();
            });
            let first = queue.get();
            if first.is_ok() {
                assert_eq!(queue.get().unwrap(), 8);
            }
            first.is_ok()
        })
    };
    assert!((0..5).any(|_| is_known()));
    let queue = Queue::<u32>::unbounded().unwrap();
    let clone = queue.clone();
    thread::scope(|scope| {
        let hears = &hears;
        scope.spawn(move || {
            hear(hears);
            drop(clone);
        });
        tell_when_asleep(&asleep);
        assert!(matches!(queue.get(), Err(GetError::Disconnected)), "the clone is gone, and was never used");
    });
    let clone = queue.clone();
    let puts = thread::spawn(move || {
        // Longer than another thread is waited for that has no handle of its own: this one has.
        thread::sleep(SHORT * 25);
        clone.put(7).unwrap();
    });
    assert_eq!(queue.get().unwrap(), 7);
    puts.join().unwrap();
}

fn close_tells_the_threads_that_wait() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let (hears, asleep) = pipe();
    thread::scope(|scope| {
        let gets = scope.spawn(|| {
            tell_when_asleep(&asleep);
            queue.get()
        });
        hear(&hears);
        let begun = Instant::now();
        queue.close();
        assert!(matches!(gets.join().unwrap(), Err(GetError::Closed)));
        assert!(begun.elapsed() < SOON);
    });
    let queue = Queue::bounded(1).unwrap();
    queue.put(1).unwrap();
    thread::scope(|scope| {
        let puts = scope.spawn(|| {
            tell_when_asleep(&asleep);
            queue.put(2)
        });
        hear(&hears);
        queue.close();
        assert!(matches!(puts.join().unwrap(), Err(PutError::Closed(2))));
    });
}

fn a_closed_queue_is_closed_for_all_verbs() {
    let queue = Queue::unbounded().unwrap();
    let clone = queue.clone();
    queue.put(1).unwrap();
    queue.close();
    queue.close();
    assert!(matches!(clone.get(), Err(GetError::Closed)), "a clone is the same handle");
    assert!(matches!(queue.try_get(), Err(GetError::Closed)));
    assert!(matches!(queue.get_timeout(SHORT), Err(GetError::Closed)));
    assert!(matches!(queue.put(2), Err(PutError::Closed(2))));
    assert!(matches!(queue.try_put(2), Err(PutError::Closed(2))));
    assert!(matches!(queue.put_timeout(2, SHORT), Err(PutError::Closed(2))));
    assert!(matches!(queue.producer(), Err(QueueError::Closed)));
    assert!(encode(&queue).unwrap_err().to_string().contains("closed"));
    assert_eq!(wait_ready([&queue as &dyn Waitable]).unwrap(), [0], "the next get does not wait");
    assert!(matches!(queue.split(), Err(QueueError::Closed)));
    let unused = Queue::<u8>::unbounded().unwrap();
    unused.close();
    assert!(matches!(unused.get(), Err(GetError::Closed)), "used or not");
}

fn a_handle_is_of_its_items_type_and_side_only() {
    let queue = Queue::<u32>::unbounded().unwrap();
    let error = decode::<Queue<i32>>(encode(&queue).unwrap()).unwrap_err();
    assert!(error.to_string().contains("items of another type than `i32`"), "{error}");
    let error = decode::<Producer<u32>>(encode(&queue).unwrap()).unwrap_err();
    assert!(error.to_string().contains("another side"), "{error}");
    assert!(decode::<Queue<u32>>(encode(&queue.consumer().unwrap()).unwrap()).is_err());
    assert!(decode::<SimpleQueue<u32>>(encode(&queue).unwrap()).is_err());
    let again: Queue<u32> = decode(encode(&queue).unwrap()).unwrap();
    again.put(7).unwrap();
    assert_eq!(queue.get().unwrap(), 7);
}

fn a_forked_child_has_the_queue_as_another_process() {
    let (there, back) = (Queue::<String>::unbounded().unwrap(), Queue::<String>::unbounded().unwrap());
    there.put("before".to_owned()).unwrap();
    let (there_too, back_too) = (there.clone(), back.clone());
    let child = Context::new(StartMethod::Fork).fork(move || {
        let first = there_too.get().unwrap();
        back_too.put(first).unwrap();
        let second = there_too.get().unwrap(); // The parent is there, and is going to put it.
        back_too.put(second).unwrap();
    });
    let child = child.unwrap();
    assert_eq!(back.get().unwrap(), "before");
    there.put("after".to_owned()).unwrap();
    assert_eq!(back.get().unwrap(), "after");
    child.join().unwrap();
    assert!(matches!(back.get(), Err(GetError::Disconnected)));
}

fn bells_do_not_wake_for_nothing() {
    let queue = Queue::unbounded().unwrap();
    let things = [&queue as &dyn Waitable];
    for number in 0..20 {
        thread::scope(|scope| {
            let waits = scope.spawn(|| wait_ready([&queue as &dyn Waitable]));
            // So that the other thread sleeps by then, most likely: what is asserted holds in any case.
            thread::sleep(Duration::from_millis(2));
            queue.put(number).unwrap();
            assert_eq!(waits.join().unwrap().unwrap(), [0]);
        });
        assert_eq!(queue.get().unwrap(), number);
        // A bell may be left that was rung for it: it is taken away.
        assert!(wait_ready_timeout(things, Duration::from_millis(2)).unwrap().is_empty());
        assert_eq!(poll_readable(&[queue.watch().fd], Deadline::NOW).unwrap(), [false]);
    }
}

fn put_half(to: Queue<Descriptor>, descriptor: Descriptor) {
    fail_points::arm("ring: written", 0, fail_points::kill);
    let _ = to.put(descriptor);
}

fn a_producer_that_is_killed_leaves_no_descriptors_and_no_bell() {
    for waits in [true, false] {
        let queue = Queue::<Descriptor>::unbounded().unwrap();
        let (hears, tells) = pipe();
        let child = start(StartMethod::Spawn, put_half, (queue.clone(), tells));
        assert_eq!(child.wait().unwrap().exitcode(), -9);
        assert_eq!(queue.len(), 0);
        if waits {
            // The descriptor was sent, and no item says so.
            assert_eq!(poll_readable(&[queue.watch().fd], Deadline::NOW).unwrap(), [true]);
            // Long enough that it asks for a bell.
            assert!(wait_ready_timeout([&queue as &dyn Waitable], 50 * SHORT).unwrap().is_empty());
            assert_eq!(poll_readable(&[queue.watch().fd], Deadline::NOW).unwrap(), [false]);
            assert!(poll_readable(&[hears.as_fd()], Deadline::after(SOON)).unwrap()[0], "nobody has the other end");
        }
        let (hears, tells) = pipe();
        queue.put(tells).unwrap();
        tell(&queue.get().unwrap());
        hear(&hears);
        // Whoever has waited has asked for a bell, which lies there until the next wait.
        assert_eq!(poll_readable(&[queue.watch().fd], Deadline::NOW).unwrap(), [waits]);
    }
}

fn sides_can_be_made_beside_a_queue() {
    let queue = Queue::<u32>::bounded(3).unwrap();
    let (to, from) = (queue.producer().unwrap(), queue.consumer().unwrap());
    to.put(1).unwrap();
    assert_eq!((to.len(), from.len(), to.capacity(), from.is_empty(), to.is_full()), (1, 1, Some(3), false, false));
    assert_eq!(from.get().unwrap(), 1);
    drop(to);
    assert!(matches!(from.get_timeout(SHORT), Err(GetError::Timeout)), "the queue is a producer as well");
    drop(queue);
    assert!(matches!(from.get(), Err(GetError::Disconnected)));
    assert!(format!("{from:?}").starts_with("Consumer"));
    let (to, from) = Queue::<u32>::unbounded().unwrap().split().unwrap();
    to.put(1).unwrap();
    drop(from);
    let put = (0..1000).take_while(|_| to.put(2).is_ok()).count();
    assert!(put < 256, "{put}");
    assert!(matches!(to.try_put(3), Err(PutError::Disconnected(3))), "from then on each is told");
}

fn threads_that_have_ended_could_not_put_any_more() {
    let queue = Queue::<u8>::bounded(1).unwrap();
    let clone = queue.clone();
    thread::spawn(move || clone.put(1)).join().unwrap().unwrap();
    assert_eq!(queue.get().unwrap(), 1);
    assert!(matches!(queue.get(), Err(GetError::Disconnected)));
    let made = thread::spawn(|| Queue::<u8>::unbounded().unwrap()).join().unwrap();
    assert!(matches!(made.get(), Err(GetError::Disconnected)));
}

fn items_of_any_size_fill_a_queue_up_to_its_bytes() {
    const BYTES: usize = 64 << 20;
    for size in [20_000, 100_000, 2 << 20, 5 << 20, 17 << 20] {
        let queue = Queue::<Vec<u8>>::builder().bytes(BYTES as u64).create().unwrap();
        let mut items = 0;
        while queue.try_put(vec![1; size]).is_ok() {
            items += 1;
        }
        assert_eq!(items, BYTES / size, "of {size} bytes");
    }
}
