//! One task and its handle.

use std::collections::HashSet;
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use procession_pool::{ExecutorExt, Future, SubmitError, TaskError};

use super::{A_WHILE, Gate, Make, SOON, Unreadable, Unwritable, panics, square, visit};

pub(crate) fn a_result_is_had_as_often_as_it_is_asked_for(make: Make) {
    let executor = make(1);
    let future = executor.submit(|a: String, b: u64| format!("{a}-{b}"), ("Worker".to_owned(), 1)).unwrap();
    assert_eq!(future.result().unwrap(), "Worker-1");
    assert_eq!(future.result().unwrap(), "Worker-1");
    assert_eq!(future.clone().into_result().unwrap(), "Worker-1");
    assert_eq!(future.try_result().unwrap(), "Worker-1");
    assert_eq!(future.result_timeout(Duration::ZERO).unwrap(), "Worker-1");
    assert_eq!((future.exception(), future.try_exception()), (None, Ok(None)));
    assert!(future.done() && !future.running() && !future.cancelled());
}

pub(crate) fn a_panic_is_the_error_of_its_task_alone(make: Make) {
    let executor = make(1);
    let futures: Vec<_> = (0..3).map(|n| executor.submit(if_one_panics, (n,)).unwrap()).collect();
    assert_eq!(futures[0].result(), Ok(0));
    let Err(TaskError::Panicked { message, pid, .. }) = futures[1].result() else { panic!("{futures:?}") };
    assert_eq!(message, "no 1 today");
    assert!(pid > 0);
    assert!(matches!(futures[1].exception(), Some(TaskError::Panicked { .. })));
    assert_eq!(futures[2].result(), Ok(4));
    assert_eq!(format!("{:?} {:?}", futures[0], futures[1]), "Future<u64>(finished) Future<u64>(failed)");
}

fn if_one_panics(number: u64) -> u64 {
    if number == 1 { panics(number) } else { square(number) }
}

pub(crate) fn arguments_that_cannot_be_written_are_an_error_at_once(make: Make) {
    let executor = make(1);
    let refused = executor.submit(|_: Unwritable| (), (Unwritable,));
    assert!(matches!(&refused, Err(SubmitError::Arguments { error }) if error.to_string().contains("not be written")));
    assert_eq!(executor.submit(square, (2,)).unwrap().result(), Ok(4));
}

pub(crate) fn arguments_that_cannot_be_read_are_an_error_of_the_task(make: Make) {
    let executor = make(1);
    let future = executor.submit(|_: Unreadable| (), (Unreadable,)).unwrap();
    let Err(TaskError::Arguments { reason }) = future.result() else { panic!("{future:?}") };
    assert!(reason.contains("it will not be read"), "{reason}");
    assert_eq!(executor.submit(square, (2,)).unwrap().result(), Ok(4));
}

pub(crate) fn results_that_cannot_be_written_cost_no_worker(make: Make) {
    let executor = make(2);
    let futures: Vec<_> = (0..20).map(|_| executor.submit(|| Unwritable, ()).unwrap()).collect();
    for future in futures {
        let Err(TaskError::Output { reason }) = future.result() else { panic!("{future:?}") };
        assert!(reason.contains("it will not be written"), "{reason}");
    }
    assert_eq!(executor.submit(square, (2,)).unwrap().result(), Ok(4));
}

pub(crate) fn results_that_cannot_be_read_are_an_error_of_their_future(make: Make) {
    let executor = make(1);
    let future = executor.submit(|| Unreadable, ()).unwrap();
    let other = executor.submit(square, (2,)).unwrap();
    let Err(TaskError::Decode { reason }) = future.result() else { panic!("{future:?}") };
    assert!(reason.contains("it will not be read"), "{reason}");
    assert_eq!(other.result(), Ok(4));
}

pub(crate) fn states_follow_the_task(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let first = executor.submit(visit, (gate.port(), 1)).unwrap();
    let second = executor.submit(visit, (gate.port(), 2)).unwrap();
    let guest = gate.guest();
    let states = |future: &Future<u64>| (future.running(), future.done(), future.cancelled());
    assert_eq!((states(&first), states(&second)), ((true, false, false), (false, false, false)));
    assert_eq!(format!("{first:?} {second:?}"), "Future<u64>(running) Future<u64>(pending)");
    guest.let_go();
    let guest = gate.guest();
    assert_eq!(first.result(), Ok(1));
    assert_eq!((states(&first), states(&second)), ((false, true, false), (true, false, false)));
    guest.fail();
    assert!(matches!(second.result(), Err(TaskError::Panicked { .. })));
    assert_eq!(states(&second), (false, true, false));
}

pub(crate) fn only_what_has_not_begun_can_be_cancelled(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let first = executor.submit(visit, (gate.port(), 1)).unwrap();
    let second = executor.submit(visit, (gate.port(), 2)).unwrap();
    let third = executor.submit(visit, (gate.port(), 3)).unwrap();
    let guest = gate.guest();
    assert!(!first.cancel());
    assert!(second.cancel() && second.cancel() && second.cancelled() && second.done() && !second.running());
    assert_eq!((second.result(), second.exception()), (Err(TaskError::Cancelled), Some(TaskError::Cancelled)));
    assert_eq!(format!("{second:?}"), "Future<u64>(cancelled)");
    guest.let_go();
    let guest = gate.guest();
    assert_eq!(guest.id, 3, "what was cancelled does not run");
    guest.let_go();
    assert_eq!((first.result(), third.result()), (Ok(1), Ok(3)));
    assert!(!first.cancel() && !first.kill() && !first.cancelled());
}

pub(crate) fn waiting_has_a_limit(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let future = executor.submit(visit, (gate.port(), 1)).unwrap();
    let guest = gate.guest();
    assert_eq!(future.try_result(), Err(TaskError::WouldBlock));
    assert_eq!(future.try_exception(), Err(TaskError::WouldBlock));
    let begun = Instant::now();
    assert_eq!(future.result_timeout(A_WHILE), Err(TaskError::Timeout));
    assert_eq!(future.exception_timeout(A_WHILE), Err(TaskError::Timeout));
    assert_eq!(future.result_timeout(Duration::ZERO), Err(TaskError::Timeout));
    assert!(begun.elapsed() >= 2 * A_WHILE && begun.elapsed() < SOON);
    guest.let_go();
    assert_eq!(future.result_timeout(SOON), Ok(1));
    assert_eq!(future.exception_timeout(Duration::MAX), Ok(None));
}

pub(crate) fn a_waiting_thread_wakes_at_the_result(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let future = executor.submit(visit, (gate.port(), 7)).unwrap();
    let guest = gate.guest();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| future.result_timeout(SOON))).collect();
        // The waiters may or may not wait by then; both are to work.
        thread::sleep(A_WHILE);
        guest.let_go();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == Ok(7)));
    });
}

pub(crate) fn a_waiting_thread_wakes_at_the_cancellation(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let _first = executor.submit(visit, (gate.port(), 1)).unwrap();
    let future = executor.submit(visit, (gate.port(), 2)).unwrap();
    let guest = gate.guest();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| future.result_timeout(SOON));
        // The waiter may or may not wait by then; both are to work.
        thread::sleep(A_WHILE);
        assert!(future.cancel());
        assert_eq!(waiter.join().unwrap(), Err(TaskError::Cancelled));
    });
    guest.let_go();
}

/// Those that are kept as they are, and shorter ones; several at once, for which there is no room in the same place.
pub(crate) fn many_numbers_arrive_as_they_were(make: Make) {
    let executor = make(1);
    for len in [0, 1, 1000, 131_071, 131_072, 1 << 20] {
        let numbers = |seed: usize| (0..len / 8).map(|n| (seed * n) as f64).collect::<Vec<f64>>();
        let sum = |numbers: Vec<f64>| (numbers.len(), numbers.iter().sum::<f64>());
        let sums: Vec<_> = (1..5).map(|seed| executor.submit(sum, (numbers(seed),)).unwrap()).collect();
        for (seed, sum) in (1..).zip(sums) {
            assert_eq!(sum.result().unwrap(), (len / 8, numbers(seed).iter().sum()), "{len}");
        }
        let bytes: Box<[u8]> = (0..len).map(|n| n as u8).collect();
        assert_eq!(executor.submit(|bytes: Box<[u8]>| bytes, (bytes.clone(),)).unwrap().result().unwrap(), bytes);
    }
}

pub(crate) fn many_tasks_have_each_its_own_result(make: Make) {
    let executor = make(3);
    let futures: Vec<_> = (0..2000).map(|n| executor.submit(square, (n,)).unwrap()).collect();
    for (n, future) in (0_u64..).zip(futures) {
        assert_eq!(future.into_result(), Ok(n * n));
    }
}

pub(crate) fn a_closed_executor_takes_nothing_and_finishes_what_it_has(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let futures: Vec<_> = (0..3).map(|n| executor.submit(visit, (gate.port(), n)).unwrap()).collect();
    executor.close();
    assert!(matches!(executor.submit(square, (1,)), Err(SubmitError::Closed { .. })));
    for _ in 0..3 {
        gate.guest().let_go();
    }
    assert!((0..3).zip(futures).all(|(n, future)| future.result() == Ok(n)));
}

/// Wakes the thread that polls.
struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::Release);
        self.0.unpark();
    }
}

fn block_on<F: std::future::Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !unpark.1.swap(false, Ordering::Acquire) {
            thread::park_timeout(SOON);
        }
    }
}

pub(crate) fn a_future_can_be_awaited(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let future = executor.submit(visit, (gate.port(), 5)).unwrap();
    let guest = gate.guest();
    thread::scope(|scope| {
        let results = scope.spawn(|| block_on(async { (future.clone().await, future.clone().await) }));
        // The task may or may not wait by then; both are to work.
        thread::sleep(A_WHILE);
        guest.let_go();
        assert_eq!(results.join().unwrap(), (Ok(5), Ok(5)));
    });
    let both = [2, 3].map(|n| executor.submit(square, (n,)).unwrap());
    let sum = async {
        let mut sum = 0;
        for future in both {
            sum += future.await?;
        }
        Ok::<_, TaskError>(sum)
    };
    assert_eq!(block_on(sum), Ok(13));
}

pub(crate) fn a_future_that_is_not_awaited_any_more_is_forgotten(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let future = executor.submit(visit, (gate.port(), 5)).unwrap();
    let guest = gate.guest();
    let unpark = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    let mut polled = future.clone();
    for _ in 0..10 {
        assert!(std::pin::Pin::new(&mut polled).poll(&mut context).is_pending());
    }
    assert_eq!(Arc::strong_count(&unpark), 3, "one for each future that is polled");
    drop(polled);
    assert_eq!(Arc::strong_count(&unpark), 2);
    guest.let_go();
    assert_eq!(future.result(), Ok(5));
    assert!(!unpark.1.load(Ordering::Acquire), "who does not wait is not woken");
}

pub(crate) fn futures_are_told_apart(make: Make) {
    let executor = make(1);
    let (one, other) = (executor.submit(square, (1,)).unwrap(), executor.submit(square, (1,)).unwrap());
    assert!(one == one.clone() && one != other);
    assert_eq!(HashSet::from([one.clone(), one, other]).len(), 2);
}

pub(crate) fn the_urgent_is_begun_first(make: Make) {
    let executor = make(1);
    let gate = Gate::new();
    let first = executor.submit(visit, (gate.port(), 0)).unwrap();
    let guest = gate.guest();
    let task = |id, priority| executor.task(visit, (gate.port(), id)).priority(priority).submit().unwrap();
    let rest = [task(1, -1), task(2, 0), task(3, 5), task(4, 0), task(5, 5)];
    guest.let_go();
    let order: Vec<u64> = (0..5)
        .map(|_| {
            let guest = gate.guest();
            let id = guest.id;
            guest.let_go();
            id
        })
        .collect();
    assert_eq!(order, [3, 5, 2, 4, 1]);
    assert!(first.result().is_ok() && rest.iter().all(|future| future.result().is_ok()));
}
