//! Callbacks: with what, in which order, and what they cannot disturb.

use std::sync::mpsc::{self, Sender};

use procession_pool::{ExecutorExt, Future, TaskError};

use super::{Gate, Make, SOON, panics, square, visit};

/// Has the end of a future sent.
fn send_end(future: &Future<u64>, ends: &Sender<Result<u64, TaskError>>) {
    let ends = ends.clone();
    future.add_done_callback(move |future| ends.send(future.result()).unwrap());
}

pub(crate) fn callbacks_see_how_it_ended(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let (ends, told) = mpsc::channel();
    let first = executor.submit(visit, (gate.port(), 1)).unwrap();
    let second = executor.submit(panics, (2,)).unwrap();
    let third = executor.submit(square, (3,)).unwrap();
    let guest = gate.guest();
    [&first, &second, &third].iter().for_each(|future| send_end(future, &ends));
    assert!(third.cancel());
    assert_eq!(told.recv_timeout(SOON).unwrap(), Err(TaskError::Cancelled));
    guest.let_go();
    assert_eq!(told.recv_timeout(SOON).unwrap(), Ok(1));
    assert!(matches!(told.recv_timeout(SOON).unwrap(), Err(TaskError::Panicked { .. })));
}

pub(crate) fn callbacks_come_in_order_and_survive_each_other(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let future = executor.submit(visit, (gate.port(), 1)).unwrap();
    let guest = gate.guest();
    let (order, called) = mpsc::channel();
    for n in 0..10 {
        let order = order.clone();
        future.add_done_callback(move |_| {
            order.send(n).unwrap();
            assert!(n % 3 != 0, "callback {n} panics, and the next ones are called");
        });
    }
    guest.let_go();
    let calls: Vec<i32> = (0..10).map(|_| called.recv_timeout(SOON).unwrap()).collect();
    assert_eq!(calls, (0..10).collect::<Vec<_>>());
    assert_eq!(executor.submit(square, (2,)).unwrap().result(), Ok(4));
}

pub(crate) fn late_callbacks_are_called(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let (ends, told) = mpsc::channel();
    let (good, bad) = (executor.submit(square, (3,)).unwrap(), executor.submit(panics, (4,)).unwrap());
    assert!(good.exception().is_none() && bad.exception().is_some());
    let running = executor.submit(visit, (gate.port(), 1)).unwrap();
    let cancelled = executor.submit(square, (5,)).unwrap();
    let guest = gate.guest();
    assert!(cancelled.cancel());
    good.add_done_callback(|_| panic!("a late callback panics, and nobody is disturbed"));
    [&good, &bad, &cancelled].iter().for_each(|future| send_end(future, &ends));
    assert_eq!(told.recv_timeout(SOON).unwrap(), Ok(9));
    assert!(matches!(told.recv_timeout(SOON).unwrap(), Err(TaskError::Panicked { .. })));
    assert_eq!(told.recv_timeout(SOON).unwrap(), Err(TaskError::Cancelled));
    guest.let_go();
    // A callback may ask for whatever a user may.
    let (inner, got) = mpsc::channel();
    running.add_done_callback(move |future| inner.send((future.cancel(), future.result())).unwrap());
    assert_eq!(got.recv_timeout(SOON).unwrap(), (false, Ok(1)));
}
