//! What CPython's tests promise of queues between processes that are not parent and child.
//!
//! Relies on the test kit; order is told by the queues themselves.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use common::{methods, start};
use procession_ipc::Queue;
use procession_launch::StartMethod;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        grandchildren_exchange_a_value_over_a_queue_of_their_parent,
    ];
}

fn put_and_hear(there: Queue<u32>, back: Queue<u32>) -> u32 {
    there.put(7).unwrap();
    back.get().unwrap()
}

fn answer(there: Queue<u32>, back: Queue<u32>) {
    back.put(there.get().unwrap() * 6).unwrap();
}

/// A child's child has the queue that its parent made, and its sibling has it as well.
fn exchange(method: StartMethod) -> u32 {
    let (there, back) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let asks = start(method, put_and_hear, (there.clone(), back.clone()));
    let answers = start(method, answer, (there.clone(), back.clone()));
    let heard = asks.join().unwrap();
    answers.join().unwrap();
    assert!(there.is_empty() && back.is_empty());
    heard
}

fn grandchildren_exchange_a_value_over_a_queue_of_their_parent(method: StartMethod) {
    assert_eq!(start(method, exchange, (method,)).join().unwrap(), 42);
}
