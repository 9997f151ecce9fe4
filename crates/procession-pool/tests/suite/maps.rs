//! One function for many items.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use procession_pool::{ExecutorExt, TaskError, WINDOW_CHUNKS, WINDOW_CHUNKS_MAX};
use serde::{Deserialize, Serialize};

use super::{A_WHILE, Gate, Make, SOON, TRIES_MAX, Unwritable, no_three, square, visit};

pub(crate) fn a_map_keeps_the_order(make: Make) {
    let executor = make(3);
    let expected: Vec<u64> = (0..10_000).map(square).collect();
    assert_eq!(executor.map(square, 0..10_000).collect::<Result<Vec<_>, _>>(), Ok(expected.clone()));
    assert_eq!(executor.chunked(7).map(square, 0..10_000), Ok(expected.clone()));
    let mut unordered: Vec<u64> = executor.chunked(7).imap_unordered(square, 0..10_000).map(Result::unwrap).collect();
    unordered.sort_unstable();
    assert_eq!(unordered, expected);
}

pub(crate) fn chunk_sizes_do_not_matter(make: Make) {
    let executor = make(2);
    let expected: Vec<u64> = (0..40).map(square).collect();
    for items in [1, 6, 40, 50, usize::MAX] {
        assert_eq!(executor.chunked(items).map(square, 0..40), Ok(expected.clone()), "{items}");
        let imap = executor.chunked(items).imap(square, 0..40);
        assert_eq!(imap.collect::<Result<Vec<_>, _>>(), Ok(expected.clone()), "{items}");
    }
    assert!(panic::catch_unwind(AssertUnwindSafe(|| executor.chunked(0))).is_err());
}

pub(crate) fn a_map_of_nothing_is_nothing(make: Make) {
    let executor = make(1);
    assert_eq!(executor.chunked(5).map(square, []), Ok(Vec::new()));
    assert!(executor.map(square, []).next().is_none());
    assert!(executor.chunked(1).imap_unordered(square, []).next().is_none());
    assert!(executor.chunked(1).map_results(square, []).unwrap().is_empty());
}

pub(crate) fn tuples_are_arguments(make: Make) {
    let executor = make(2);
    let sums =
        executor.chunked(3).starmap(|a: u64, b: String| format!("{a}{b}"), (0..4).map(|n| (n, "!".repeat(n as usize))));
    assert_eq!(sums, Ok(["0", "1!", "2!!", "3!!!"].map(String::from).to_vec()));
}

/// Panics at items that are neither the first nor the last of their chunk.
fn at_five_or_seven(number: u64) -> u64 {
    assert!(number != 5 && number != 7, "not {number}");
    number
}

pub(crate) fn a_map_gives_the_first_error_after_all(make: Make) {
    let executor = make(2);
    for items in [1, 3, 100] {
        let Err(TaskError::Panicked { message, .. }) = executor.chunked(items).map(at_five_or_seven, 0..20) else {
            panic!("it has failed");
        };
        assert_eq!(message, "not 5");
    }
    // Those after the failed one have run as well.
    let gate = Gate::new();
    let port = gate.port();
    std::thread::scope(|scope| {
        let failed = scope.spawn(|| executor.chunked(1).starmap(visit, (0..4).map(|id| (port, id))));
        for _ in 0..4 {
            let guest = gate.guest();
            if guest.id == 1 { guest.fail() } else { guest.let_go() }
        }
        assert!(matches!(failed.join().unwrap(), Err(TaskError::Panicked { .. })));
    });
}

pub(crate) fn each_item_has_its_own_end(make: Make) {
    let executor = make(2);
    for items in [1, 4, 100] {
        let results = executor.chunked(items).map_results(no_three, 0..10).unwrap();
        for (n, result) in (0..).zip(results) {
            match n {
                3 => assert!(
                    matches!(result, Err(TaskError::Panicked { message, .. }) if message == "three is not wanted")
                ),
                _ => assert_eq!(result, Ok(n)),
            }
        }
    }
    let mut results = executor.map(no_three, 2..5);
    assert_eq!(results.next(), Some(Ok(2)));
    assert!(matches!(results.next(), Some(Err(TaskError::Panicked { .. }))));
    assert_eq!((results.next(), results.next()), (Some(Ok(4)), None));
}

/// Some of these cannot be written.
#[derive(Serialize, Deserialize)]
enum Sometimes {
    Written(u64),
    Not(Unwritable),
}

fn number_of(item: Sometimes) -> u64 {
    match item {
        Sometimes::Written(number) => number,
        Sometimes::Not(_) => unreachable!("it cannot arrive"),
    }
}

fn sometimes(number: u64) -> Sometimes {
    if number.is_multiple_of(3) { Sometimes::Not(Unwritable) } else { Sometimes::Written(number) }
}

pub(crate) fn an_item_that_cannot_be_written_is_lost_alone(make: Make) {
    let executor = make(2);
    let mut results = executor.map(number_of, (0..8).map(sometimes));
    let chunked = executor.chunked(10).map_results(number_of, (0..8).map(sometimes)).unwrap();
    for (n, chunked) in (0_u64..8).zip(chunked) {
        let result = results.next().unwrap();
        assert_eq!(result, chunked);
        match result {
            Err(TaskError::NotSubmitted { reason }) if n.is_multiple_of(3) => {
                assert!(reason.contains("it will not be written"), "{reason}");
            }
            result => assert_eq!(result, Ok(n)),
        }
    }
    assert!(results.next().is_none());
}

pub(crate) fn an_input_may_be_endless(make: Make) {
    let executor = make(2);
    let squares: Vec<u64> = executor.map(square, 0..).take(1000).map(Result::unwrap).collect();
    assert_eq!(squares[999], 999 * 999);
    assert_eq!(executor.chunked(1).imap_unordered(square, 0..).take(1000).filter(Result::is_ok).count(), 1000);
}

pub(crate) fn an_input_is_read_a_little_ahead(make: Make) {
    let executor = make(2);
    let read = Cell::new(0);
    let counted = || (0..1_000_000_u64).inspect(|_| read.set(read.get() + 1));
    let ahead = 2 * WINDOW_CHUNKS;
    // Less is read where that has taken long, as on a busy machine.
    let is_read = (0..TRIES_MAX).any(|_| {
        let _results = executor.chunked(1).imap(square, counted());
        let at_start = read.replace(0);
        assert!((1..=ahead).contains(&at_start), "{at_start}");
        at_start == ahead
    });
    assert!(is_read, "it is read from the start");
    let mut results = executor.chunked(1).imap(square, counted());
    read.set(0);
    for _ in 0..10 {
        results.next();
    }
    assert!(read.replace(0) <= 10 + 2 * WINDOW_CHUNKS_MAX);
    drop(results);
    let mut results = executor.chunked(1).imap_unordered(square, counted());
    for _ in 0..10 {
        results.next();
    }
    assert!((10..=10 + ahead + 2 * WINDOW_CHUNKS_MAX).contains(&read.get()), "{read:?}");
}

/// Numbers up to a limit, and then a panic.
fn then_panic(limit: u64) -> impl Iterator<Item = u64> {
    (0..).inspect(move |&n| assert!(n < limit, "the input has broken at {n}"))
}

fn message_of(run: impl FnOnce()) -> String {
    let panic = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

pub(crate) fn an_input_that_panics_loses_nothing_before(make: Make) {
    let executor = make(2);
    for limit in [0, 3, 100] {
        let broken = format!("the input has broken at {limit}");
        for items in [1, 7] {
            let message = message_of(|| _ = executor.chunked(items).map(square, then_panic(limit)));
            assert_eq!(message, broken);
            let mut results = executor.chunked(items).imap(square, then_panic(limit));
            for n in 0..limit {
                assert_eq!(results.next(), Some(Ok(n * n)));
            }
            assert_eq!(message_of(|| _ = results.next()), broken);
            assert_eq!(results.next(), None, "a panic is told once");
            let mut results = executor.chunked(items).imap_unordered(square, then_panic(limit));
            assert!((0..limit).all(|_| results.next().unwrap().is_ok()));
            assert_eq!(message_of(|| _ = results.next()), broken);
        }
    }
    assert_eq!(executor.submit(square, (2,)).unwrap().result(), Ok(4));
}

pub(crate) fn results_come_as_they_are_ready(make: Make) {
    let executor = make(2);
    let gate = Gate::new();
    let port = gate.port();
    let mut results =
        executor.chunked(1).imap_unordered(|(port, id): (u16, u64)| visit(port, id), (0..3).map(|id| (port, id)));
    let mut guests = gate.guests(2);
    guests.sort_by_key(|guest| guest.id);
    assert_eq!(results.try_next(), Some(Err(TaskError::WouldBlock)));
    guests.pop().unwrap().let_go();
    assert_eq!(results.next(), Some(Ok(1)));
    gate.guest().let_go();
    assert_eq!(results.next(), Some(Ok(2)));
    assert_eq!(results.next_timeout(A_WHILE), Some(Err(TaskError::Timeout)));
    guests.pop().unwrap().let_go();
    assert_eq!((results.next(), results.next()), (Some(Ok(0)), None));
}

pub(crate) fn a_result_of_a_map_can_be_waited_for_with_a_limit(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let port = gate.port();
    let mut results = executor.map(|(port, id): (u16, u64)| visit(port, id), (0..2).map(|id| (port, id)));
    let guest = gate.guest();
    let begun = Instant::now();
    assert_eq!(results.try_next(), Some(Err(TaskError::WouldBlock)));
    assert_eq!(results.next_timeout(A_WHILE), Some(Err(TaskError::Timeout)));
    assert!(begun.elapsed() >= A_WHILE && begun.elapsed() < SOON);
    guest.let_go();
    assert_eq!(results.next_timeout(SOON), Some(Ok(0)));
    gate.guest().let_go();
    assert_eq!(results.next_timeout(Duration::MAX), Some(Ok(1)));
    assert_eq!(results.next_timeout(Duration::ZERO), None);
}

pub(crate) fn a_map_that_is_dropped_cancels_the_rest(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let port = gate.port();
    for unordered in [false, true] {
        let call = |(port, id): (u16, u64)| visit(port, id);
        let items = (0..3).map(move |id| (port, id));
        let results: Box<dyn Iterator<Item = _>> = match unordered {
            false => Box::new(executor.chunked(1).imap(call, items)),
            true => Box::new(executor.chunked(1).imap_unordered(call, items)),
        };
        let guest = gate.guest();
        drop(results);
        let after = executor.submit(visit, (port, 99)).unwrap();
        guest.let_go();
        let guest = gate.guest();
        assert_eq!(guest.id, 99, "nothing of the map has begun meanwhile");
        guest.let_go();
        assert_eq!(after.result(), Ok(99));
    }
}

pub(crate) fn a_closed_executor_maps_nothing(make: Make) {
    let executor = make(1);
    executor.close();
    assert!(matches!(executor.chunked(1).map(square, 0..3), Err(TaskError::NotSubmitted { .. })));
    assert!(executor.chunked(1).map_results(square, 0..3).is_err());
    let mut results = executor.map(square, 0..);
    assert!(matches!(results.next(), Some(Err(TaskError::NotSubmitted { .. }))));
    assert_eq!(results.next(), None);
}

/// More than a map ever submits before it is given results back.
const MANY: u64 = 2000;

/// A call that waits at a gate if it is to, as some of a map's.
fn square_or_visit((port, number): (Option<u16>, u64)) -> u64 {
    port.map_or(number, |port| visit(port, number)).pow(2)
}

/// The first of many calls waits, and the others do not.
fn first_waits(port: u16) -> impl Iterator<Item = (Option<u16>, u64)> {
    (0..MANY).map(move |number| ((number == 0).then_some(port), number))
}

pub(crate) fn a_map_that_has_begun_goes_on_after_close(make: Make) {
    let squares: Vec<u64> = (0..MANY).map(square).collect();
    for form in 0..3 {
        let executor = make(2);
        let gate = Gate::new();
        let port = gate.port();
        std::thread::scope(|scope| {
            let mapper = executor.chunked(1);
            let run = move || match form {
                0 => mapper.map(square_or_visit, first_waits(port)),
                1 => mapper.map_results(square_or_visit, first_waits(port)).unwrap().into_iter().collect(),
                _ => mapper.imap(square_or_visit, first_waits(port)).collect(),
            };
            let results = scope.spawn(run);
            let guest = gate.guest();
            executor.close();
            assert!(executor.submit(square, (1,)).is_err(), "what is new is not taken");
            assert!(matches!(executor.chunked(1).map(square, 0..3), Err(TaskError::NotSubmitted { .. })));
            guest.let_go();
            assert_eq!(results.join().unwrap(), Ok(squares.clone()));
        });
        assert!(matches!(executor.chunked(1).map(square, 0..3), Err(TaskError::NotSubmitted { .. })));
    }
}

pub(crate) fn an_input_may_close_its_own_executor(make: Make) {
    for at in [0, 1, MANY / 2] {
        let executor = make(2);
        let closes = |n: &u64| {
            if *n == at {
                executor.close();
            }
        };
        match executor.chunked(1).map_results(square, (0..MANY).inspect(closes)) {
            Err(_) => assert_eq!(at, 0, "the map has begun before"),
            Ok(results) => {
                assert_ne!(at, 0, "nothing has begun");
                assert!((0..MANY).zip(&results).all(|(n, result)| *result == Ok(square(n))));
                assert_eq!(results.len() as u64, MANY);
            }
        }
    }
}

pub(crate) fn results_that_are_taken_after_close_are_all_there(make: Make) {
    let squares: Vec<u64> = (0..MANY).map(square).collect();
    let executor = make(2);
    let (ordered, mut rest) = (executor.chunked(1).imap(square, 0..MANY), executor.map(square, 0..));
    let unordered = executor.chunked(1).imap_unordered(square, 0..MANY);
    executor.close();
    assert_eq!(ordered.collect::<Result<Vec<_>, _>>(), Ok(squares.clone()));
    let mut unordered = unordered.collect::<Result<Vec<_>, _>>().unwrap();
    unordered.sort_unstable();
    assert_eq!(unordered, squares);
    assert_eq!(rest.nth(5000), Some(Ok(5000 * 5000)), "an endless one goes on until it is dropped");
}

pub(crate) fn an_executor_that_was_closed_during_a_map_ends_with_it(make: Make) {
    let executor = make(1);
    let mut results = executor.chunked(1).imap(square, 0..);
    executor.close();
    assert_eq!(results.next(), Some(Ok(0)));
    drop(results);
    let mut failing = executor.chunked(1).imap(square, 0..);
    assert!(matches!(failing.next(), Some(Err(TaskError::NotSubmitted { .. }))));
    drop(failing);
    drop(executor); // Waits for workers, where they are waited for.
}
