//! Numbers in place: taken without a copy, put without one, each block by one alone, and back when it is let go of.
//!
//! Relies on the test kit; that nothing is copied is told by where it stands.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::thread;
use std::time::Duration;

use common::{hear, methods, pipe, start, tell, tell_when_asleep};
use procession_ipc::{Consumer, GetError, Lent, Producer, PutError, Queue};
use procession_launch::{Context, StartMethod};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        numbers_cross_without_a_copy,
        what_a_killed_process_was_lent_is_there_again,
    ];
    cases: [
        every_form_of_item_is_lent,
        each_is_lent_its_own_memory,
        memory_comes_back_to_producers_that_wait,
        a_loan_is_an_item_or_given_back,
        a_loan_that_is_not_put_comes_back,
        what_was_lent_outlives_its_queue,
        copies_in_a_forked_child_are_inert,
        numbers_are_shown_from_another_thread,
    ];
}

const ROUNDS: u64 = 5;
const LARGE: usize = 100_000;

/// In which mapping numbers stand.
fn stands_in_queue<N>(numbers: &[N]) -> bool {
    let at = numbers.as_ptr().addr();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut of_queues = maps.lines().filter(|line| line.contains("procession-channel"));
    of_queues.any(|line| {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| usize::from_str_radix(at, 16).unwrap());
        (from..to).contains(&at)
    })
}

fn double(from: Consumer<Vec<u64>>, to: Producer<Vec<u64>>) {
    for _ in 0..ROUNDS {
        let numbers = from.get_lent().unwrap();
        assert!(stands_in_queue(&numbers));
        let mut doubled = to.lend(numbers.len()).unwrap();
        assert!(stands_in_queue(&doubled));
        doubled.iter_mut().zip(numbers.iter()).for_each(|(to, from)| *to = from * 2);
        doubled.put().unwrap();
    }
}

fn numbers_cross_without_a_copy(method: StartMethod) {
    let (to, from) = Queue::bounded(2).unwrap().split().unwrap();
    let (back_to, back) = Queue::bounded(2).unwrap().split().unwrap();
    let child = start(method, double, (from, back_to));
    for round in 0..ROUNDS {
        let mut loan = to.lend(LARGE).unwrap();
        loan.iter_mut().zip(round..).for_each(|(number, value)| *number = value);
        loan.put().unwrap();
        let numbers = back.get_lent().unwrap();
        assert!(stands_in_queue(&numbers));
        assert!(numbers.iter().zip(round..).all(|(number, value)| *number == value * 2));
    }
    child.join().unwrap();
    assert!(matches!(back.get_lent(), Err(GetError::Disconnected)));
}

/// How many items of `LARGE` numbers may be lent of a queue of 1 MiB, beside which there is no memory for another.
const BLOCKS: usize = 5;

fn take_and_stay(from: Consumer<Vec<u64>>, told: Descriptor) {
    let _lent: Vec<_> = (0..BLOCKS).map(|_| from.get_lent().unwrap()).collect();
    tell(&told);
    loop {
        thread::park();
    }
}

fn what_a_killed_process_was_lent_is_there_again(method: StartMethod) {
    let queue = Queue::<Vec<u64>>::builder().bytes(1 << 20).create().unwrap();
    let (hears, tells) = pipe();
    let child = start(method, take_and_stay, (queue.consumer().unwrap(), tells));
    for _ in 0..BLOCKS {
        queue.put(vec![7; LARGE]).unwrap();
    }
    hear(&hears);
    assert!(matches!(queue.try_put(vec![7; LARGE]), Err(PutError::Full(_))), "the child has the memory");
    child.kill().unwrap();
    assert!(child.join().is_err());
    for _ in 0..2 {
        queue.put(vec![8; LARGE]).unwrap();
        assert_eq!(queue.get().unwrap(), vec![8; LARGE]);
    }
}

fn every_form_of_item_is_lent() {
    let queue = Queue::<Vec<i32>>::unbounded().unwrap();
    for len in [0, 1, 1000, LARGE, (64 << 20) / 4, (64 << 20) / 4 + 1] {
        let sent: Vec<i32> = (0..len as i32).collect();
        queue.put(sent.clone()).unwrap();
        let lent = queue.try_get_lent().unwrap();
        assert!(*lent == *sent, "{len}");
        drop(lent);
        let mut loan = queue.lend(len).unwrap();
        loan.copy_from_slice(&sent);
        loan.try_put().unwrap();
        assert!(queue.get_lent_timeout(Duration::MAX).unwrap().to_vec() == sent, "{len}");
    }
    assert!(matches!(queue.try_get_lent(), Err(GetError::Empty)));
    assert!(matches!(queue.get_lent_timeout(Duration::from_millis(5)), Err(GetError::Timeout)));
    assert!(queue.lend(usize::MAX).is_err());
}

fn each_is_lent_its_own_memory() {
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    for number in 0..5 {
        queue.put(vec![number; LARGE]).unwrap();
    }
    let mut lent: Vec<Lent<u8>> = (0..5).map(|_| queue.get_lent().unwrap()).collect();
    let mut loan = queue.lend(LARGE).unwrap();
    loan.fill(9);
    for (number, lent) in lent.iter().enumerate() {
        assert!(lent.iter().all(|byte| usize::from(*byte) == number), "nobody writes over it");
    }
    lent.sort_by_key(|lent| lent.as_ptr().addr());
    lent.dedup_by_key(|lent| lent.as_ptr().addr());
    assert_eq!(lent.len(), 5);
}

fn memory_comes_back_to_producers_that_wait() {
    let queue = Queue::<Vec<u64>>::builder().bytes(1 << 20).create().unwrap();
    queue.put(vec![1; LARGE]).unwrap();
    let first = queue.get_lent().unwrap();
    queue.put(vec![2; LARGE]).unwrap();
    let second = queue.get_lent().unwrap();
    let _others: Vec<_> = (2..BLOCKS).map(|_| queue.lend(LARGE).unwrap()).collect();
    assert!(matches!(queue.try_lend(LARGE), Err(PutError::Full(()))));
    assert!(matches!(queue.lend_timeout(LARGE, Duration::from_millis(5)), Err(PutError::Full(()))));
    let (hears, asleep) = pipe();
    thread::scope(|scope| {
        let puts = scope.spawn(|| {
            tell_when_asleep(&asleep);
            queue.put(vec![3; LARGE])
        });
        hear(&hears);
        drop(first);
        puts.join().unwrap().unwrap();
    });
    assert_eq!(second[0], 2);
    assert_eq!(queue.get().unwrap()[0], 3);
}

fn a_loan_is_an_item_or_given_back() {
    let queue = Queue::<Vec<u16>>::bounded(1).unwrap();
    for len in [10, LARGE] {
        queue.put(vec![1]).unwrap();
        let mut loan = queue.lend(len).unwrap();
        loan.fill(5);
        let Err(PutError::Full(loan)) = loan.try_put() else { panic!("there is room") };
        let Err(PutError::Full(loan)) = loan.put_timeout(Duration::from_millis(5)) else { panic!("there is room") };
        assert_eq!(*loan, *vec![5; len], "it is as it was");
        assert_eq!(queue.get().unwrap(), [1]);
        loan.put().unwrap();
        assert_eq!(queue.get().unwrap(), vec![5; len]);
    }
}

fn a_loan_that_is_not_put_comes_back() {
    let queue = Queue::<Vec<u64>>::builder().bytes(1 << 20).create().unwrap();
    for _ in 0..20 {
        let loans: Vec<_> = (0..BLOCKS).map(|_| queue.try_lend(LARGE).unwrap()).collect();
        assert!(matches!(queue.try_lend(LARGE), Err(PutError::Full(()))));
        drop(loans);
    }
    assert!(queue.is_empty());
}

fn what_was_lent_outlives_its_queue() {
    let queue = Queue::<Vec<f64>>::unbounded().unwrap();
    queue.put(vec![0.5; LARGE]).unwrap();
    let lent = queue.get_lent().unwrap();
    let loan = queue.lend(LARGE).unwrap();
    queue.close();
    drop(queue);
    assert_eq!(lent.iter().sum::<f64>(), LARGE as f64 / 2.0);
    let Err(PutError::Closed(loan)) = loan.put() else { panic!("the queue is closed") };
    assert_eq!(loan.len(), LARGE);
}

fn copies_in_a_forked_child_are_inert() {
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    queue.put(vec![7; LARGE]).unwrap();
    let lent = queue.get_lent().unwrap();
    let loan = queue.lend(LARGE).unwrap();
    // The closure is dropped on both sides; what it has borrowed is the parent's.
    let (lent, loan) = (std::sync::Arc::new(lent), std::sync::Arc::new(std::sync::Mutex::new(Some(loan))));
    let (lent_copy, loan_copy) = (lent.clone(), loan.clone());
    let child = Context::new(StartMethod::Fork).fork(move || {
        let looks = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lent_copy[0])).is_err();
        let loan = loan_copy.lock().unwrap().take().unwrap();
        let puts = loan.put().map_err(|error| error.map(drop));
        (looks, matches!(puts, Err(PutError::System { .. })))
    });
    assert_eq!(child.unwrap().join().unwrap(), (true, true));
    assert!(lent.iter().all(|byte| *byte == 7), "it is the parent's still");
    let mut loan = loan.lock().unwrap().take().unwrap();
    loan.fill(8);
    loan.put().unwrap();
    assert_eq!(queue.get().unwrap(), vec![8; LARGE]);
}

fn numbers_are_shown_from_another_thread() {
    let queue = Queue::<Vec<u32>>::unbounded().unwrap();
    queue.put(vec![3; LARGE]).unwrap();
    let lent = queue.get_lent().unwrap();
    let sum = thread::spawn(move || lent.iter().map(|number| u64::from(*number)).sum::<u64>());
    assert_eq!(sum.join().unwrap(), 3 * LARGE as u64);
}
