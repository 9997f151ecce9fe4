//! Several at one end, both ends at once, and several pipes at once.

use std::thread;
use std::time::Duration;

use procession_ipc::{
    BytesConnection, Connection, Receiver, RecvError, Sender, Waitable, pipe, pipe_bytes, pipe_simplex, wait_ready,
};
use procession_launch::{Context, StartMethod};
use procession_testkit::{assert_cost, processor_time_of};
use procession_wire::Descriptor;

use crate::common::{hear, pipe as signal, start, tell};
use crate::{MIB, is_end, is_gone, pattern};

type Numbers = Connection<Vec<u64>, Vec<u64>>;

/// Sends and receives at the same time.
fn be_busy(end: Numbers) {
    thread::scope(|scope| {
        scope.spawn(|| (0..300).for_each(|turn| end.send(&vec![turn; 40_000]).unwrap()));
        (0..300).for_each(|turn| assert!(end.recv().unwrap() == vec![turn; 40_000]));
    });
}

pub(crate) fn both_directions_are_busy_at_once(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let child = start(method, be_busy, (theirs,));
    be_busy(ours);
    child.join().unwrap();
}

fn send_numbers(connection: Connection<(u32, u32, Vec<u8>), ()>, who: u32, count: u32) {
    for number in 0..count {
        let len = (number * 7919 % 40_000) as usize;
        connection.send(&(who, number, pattern(len, (who + number) as usize))).unwrap();
    }
}

fn fill_and_wait(connection: BytesConnection, bytes: usize, full: Descriptor) {
    let (message, large) = (vec![1; MIB], vec![2; bytes]);
    while connection.try_send(&message).is_ok() {}
    tell(&full);
    connection.send(&large).unwrap();
}

pub(crate) fn who_waits_for_room_costs_no_processor_time(method: StartMethod) {
    const PAUSE: Duration = Duration::from_millis(600);
    for bytes in [64 * MIB, 65 * MIB] {
        let (ours, theirs) = pipe_bytes().unwrap();
        let (full, tells) = signal();
        let child = start(method, fill_and_wait, (theirs, bytes, tells));
        hear(&full);
        assert_cost(PAUSE / 20, || {
            let before = processor_time_of(child.pid());
            thread::park_timeout(PAUSE);
            processor_time_of(child.pid()) - before
        });
        while ours.recv().unwrap().len() != bytes {}
        child.join().unwrap();
    }
}

pub(crate) fn several_senders_on_one_end_do_not_mix(method: StartMethod) {
    const COUNT: u32 = 400;
    let (ours, theirs) = pipe().unwrap();
    let children = [0, 1, 2].map(|who| start(method, send_numbers, (theirs.clone(), who, COUNT)));
    drop(theirs);
    let mut next = [0; 3];
    while let Ok((who, number, bulk)) = ours.recv() {
        assert_eq!(number, next[who as usize], "of one sender in order");
        next[who as usize] += 1;
        assert!(bulk == pattern((number * 7919 % 40_000) as usize, (who + number) as usize));
    }
    assert_eq!(next, [COUNT; 3]);
    children.into_iter().for_each(|child| child.join().unwrap());
}

/// Receives until a zero.
fn receive_all(connection: Connection<(), u32>) -> Vec<u32> {
    std::iter::repeat_with(|| connection.recv().unwrap()).take_while(|number| *number > 0).collect()
}

pub(crate) fn several_receivers_on_one_end_get_each_message_once(method: StartMethod) {
    let (ours, theirs) = pipe().unwrap();
    let children = [(); 3].map(|()| start(method, receive_all, (theirs.clone(),)));
    drop(theirs);
    (1..3000).chain([0; 3]).for_each(|number| ours.send(&number).unwrap());
    let mut all: Vec<u32> = Vec::new();
    for child in children {
        let some = child.join().unwrap();
        assert!(some.is_sorted());
        all.extend(some);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(1..3000));
}

fn pass_on(receiver: Receiver<u32>, sender: Sender<u32>) {
    let number = receiver.recv().unwrap();
    sender.send(&(number + 1)).unwrap();
}

pub(crate) fn a_one_way_end_stays_what_it_is(method: StartMethod) {
    let ((there, to_there), (back, to_back)) = (pipe_simplex().unwrap(), pipe_simplex().unwrap());
    let child = start(method, pass_on, (there, to_back));
    to_there.send(&1).unwrap();
    assert_eq!(back.recv().unwrap(), 2);
    assert!(is_end(back.recv()));
    child.join().unwrap();
    assert!(is_gone(to_there.send(&2)) || is_gone((0..256).try_for_each(|_| to_there.send(&2))));
}

fn send_each(sender: Sender<u32>, who: u32) {
    for number in 0..100 {
        sender.send(&(who * 1000 + number)).unwrap();
    }
}

pub(crate) fn many_pipes_are_waited_for_at_once(method: StartMethod) {
    let started = (0..4).map(|who| {
        let (receiver, sender) = pipe_simplex().unwrap();
        (receiver, start(method, send_each, (sender, who)))
    });
    let (mut receivers, children): (Vec<_>, Vec<_>) = started.unzip();
    let mut numbers = Vec::new();
    while !receivers.is_empty() {
        let things: Vec<&dyn Waitable> = receivers.iter().map(|receiver| receiver as &dyn Waitable).collect();
        let ready = wait_ready(things).unwrap();
        for which in ready.into_iter().rev() {
            match receivers[which].try_recv() {
                Ok(number) => numbers.push(number),
                Err(RecvError::Disconnected) => drop(receivers.swap_remove(which)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq((0..4).flat_map(|who| (0..100).map(move |number| who * 1000 + number))));
    children.into_iter().for_each(|child| child.join().unwrap());
}

pub(crate) fn a_forked_child_is_another_process() {
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    ours.send(&0).unwrap();
    assert_eq!(theirs.recv().unwrap(), 0);
    let (copy, copy_theirs) = (ours.clone(), theirs.clone());
    let child = Context::new(StartMethod::Fork).fork(move || {
        drop(copy);
        copy_theirs.send(&(copy_theirs.recv().unwrap() + 1)).unwrap();
        copy_theirs.recv().unwrap()
    });
    let child = child.unwrap();
    ours.send(&1).unwrap();
    assert_eq!(ours.recv().unwrap(), 2);
    // What a child drops its parent still has.
    ours.send(&3).unwrap();
    assert_eq!(child.join().unwrap(), 3);
    theirs.send(&4).unwrap();
    assert_eq!(ours.recv().unwrap(), 4);
    drop(theirs);
    assert!(is_end(ours.recv()));
}
