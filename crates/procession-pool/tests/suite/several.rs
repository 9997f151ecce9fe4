//! Waiting for several futures at once.

use std::thread;
use std::time::{Duration, Instant};

use procession_pool::{
    ExecutorExt, Future, ReturnWhen, as_completed, as_completed_timeout, wait_futures, wait_futures_timeout,
};

use super::{A_WHILE, Gate, Make, SOON, panics, square, visit};

pub(crate) fn all_futures_come_as_they_complete(make: Make) {
    let executor = make(2);
    let gate = Gate::new();
    let done = executor.submit(square, (2,)).unwrap();
    assert_eq!(done.result(), Ok(4));
    let futures: Vec<_> = (0..2).map(|id| executor.submit(visit, (gate.port(), id)).unwrap()).collect();
    let mut guests = gate.guests(2);
    guests.sort_by_key(|guest| guest.id);
    let given = [futures[0].clone(), futures[1].clone(), done.clone(), futures[0].clone()];
    let mut completed = as_completed(given);
    assert_eq!(completed.len(), 3, "one that is given twice comes once");
    assert_eq!(completed.next(), Some(done));
    guests.pop().unwrap().let_go();
    assert_eq!(completed.next(), Some(futures[1].clone()));
    guests.pop().unwrap().let_go();
    assert_eq!(completed.next(), Some(futures[0].clone()));
    assert_eq!((completed.next(), completed.next()), (None, None));
    assert_eq!(as_completed(Vec::<Future<u64>>::new()).count(), 0);
}

pub(crate) fn a_time_for_completing_is_kept(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let done = executor.submit(square, (2,)).unwrap();
    let _ = done.exception();
    let futures: Vec<_> = (0..2).map(|id| executor.submit(visit, (gate.port(), id)).unwrap()).collect();
    let guest = gate.guest();
    for timeout in [Duration::ZERO, A_WHILE] {
        let begun = Instant::now();
        let mut completed = as_completed_timeout([done.clone(), futures[0].clone(), futures[1].clone()], timeout);
        assert_eq!(completed.next(), Some(Ok(done.clone())), "what has ended comes whatever the time");
        let error = completed.next().unwrap().unwrap_err();
        assert_eq!((error.unfinished, error.total), (2, 3));
        assert!(error.to_string().starts_with("2 of 3 futures were not done in time"), "{error}");
        assert_eq!(completed.next(), None);
        assert!(begun.elapsed() >= timeout && begun.elapsed() < SOON);
    }
    guest.let_go();
    gate.guest().let_go();
    assert_eq!(as_completed_timeout(futures, SOON).filter(Result::is_ok).count(), 2);
}

/// How many have ended, and how many have not.
fn counts<T>((done, pending): (Vec<Future<T>>, Vec<Future<T>>)) -> (usize, usize) {
    assert!(done.iter().all(Future::done));
    (done.len(), pending.len())
}

pub(crate) fn waiting_for_the_first_returns_at_the_first(make: Make) {
    let executor = make(2);
    let gate = Gate::new();
    let futures: Vec<_> = (0..3).map(|id| executor.submit(visit, (gate.port(), id)).unwrap()).collect();
    let mut guests = gate.guests(2);
    guests.sort_by_key(|guest| guest.id);
    guests.pop().unwrap().let_go();
    let (done, pending) = wait_futures(futures.clone(), ReturnWhen::FirstCompleted);
    assert_eq!((done, pending), (vec![futures[1].clone()], vec![futures[0].clone(), futures[2].clone()]));
    // What has ended by then is enough, and a cancelled one has ended.
    assert_eq!(counts(wait_futures(futures.clone(), ReturnWhen::FirstCompleted)), (1, 2));
    drop(guests);
    let twice = [futures[0].clone(), futures[0].clone()];
    assert_eq!(counts(wait_futures(twice, ReturnWhen::FirstCompleted)), (1, 0));
    assert_eq!(counts(wait_futures(Vec::<Future<u64>>::new(), ReturnWhen::FirstCompleted)), (0, 0));
    gate.guest().let_go();
}

pub(crate) fn waiting_for_an_error_returns_at_the_first(make: Make) {
    let executor = make(2);
    let gate = Gate::new();
    let good = executor.submit(square, (2,)).unwrap();
    let _ = good.exception();
    let futures: Vec<_> = (0..2).map(|id| executor.submit(visit, (gate.port(), id)).unwrap()).collect();
    let mut guests = gate.guests(2);
    guests.sort_by_key(|guest| guest.id);
    let cancelled = executor.submit(square, (2,)).unwrap();
    assert!(cancelled.cancel());
    let all = || [futures[0].clone(), good.clone(), cancelled.clone(), futures[1].clone()];
    let early = wait_futures_timeout(all(), ReturnWhen::FirstException, A_WHILE);
    assert_eq!(counts(early), (2, 2), "neither a result nor a cancellation is an error");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| counts(wait_futures(all(), ReturnWhen::FirstException)));
        guests.pop().unwrap().fail();
        assert_eq!(waiter.join().unwrap(), (3, 1));
    });
    assert_eq!(
        counts(wait_futures(all(), ReturnWhen::FirstException)),
        (3, 1),
        "one that has failed by then is enough"
    );
    guests.pop().unwrap().let_go();
    let without = [good.clone(), cancelled.clone(), futures[0].clone()];
    assert_eq!(
        counts(wait_futures(without, ReturnWhen::FirstException)),
        (3, 0),
        "without an error, all are waited for"
    );
}

pub(crate) fn waiting_for_all_waits_for_all(make: Make) {
    let executor = make(2);
    let gate = Gate::new();
    let bad = executor.submit(panics, (1,)).unwrap();
    let futures: Vec<_> = (0..2).map(|id| executor.submit(visit, (gate.port(), id)).unwrap()).collect();
    let guests = gate.guests(2);
    thread::scope(|scope| {
        let all = [futures[0].clone(), bad.clone(), futures[1].clone()];
        let waiter = scope.spawn(|| counts(wait_futures(all, ReturnWhen::AllCompleted)));
        for guest in guests {
            assert!(!waiter.is_finished());
            guest.let_go();
        }
        assert_eq!(waiter.join().unwrap(), (3, 0));
    });
}

pub(crate) fn waiting_for_several_has_a_limit(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let futures = [executor.submit(square, (2,)).unwrap(), executor.submit(visit, (gate.port(), 1)).unwrap()];
    let guest = gate.guest();
    let begun = Instant::now();
    let split = wait_futures_timeout(futures.clone(), ReturnWhen::AllCompleted, A_WHILE);
    assert_eq!(split, (vec![futures[0].clone()], vec![futures[1].clone()]));
    assert!(begun.elapsed() >= A_WHILE && begun.elapsed() < SOON);
    guest.let_go();
}

pub(crate) fn nothing_is_lost_while_a_wait_is_set_up(make: Make) {
    let executor = make(4);
    for round in 0..20 {
        let futures: Vec<_> = (0..100).map(|n| executor.submit(square, (n,)).unwrap()).collect();
        let split = match round % 2 {
            0 => wait_futures_timeout(futures, ReturnWhen::AllCompleted, SOON),
            _ => (as_completed_timeout(futures, SOON).map(Result::unwrap).collect(), Vec::new()),
        };
        assert_eq!(counts(split), (100, 0));
    }
}
