//! What CPython's tests promise of its pool and its executor, as far as the suite of all executors does not show it.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left. The book's
//! page on conformance has for each of CPython's tests the case that holds us to it.

mod contracts {
    pub(crate) mod ends;
    pub(crate) mod life;
    pub(crate) mod tasks;
}

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use contracts::{ends::*, life::*, tasks::*};
use procession_launch::{Context, StartMethod};
use procession_pool::{Pool, PoolBuilder, ProcessPoolExecutor, ProcessPoolExecutorBuilder};
use procession_sys::{Deadline, Interest, poll_one};
use procession_wire::Descriptor;

fn methods() -> Vec<(&'static str, StartMethod)> {
    StartMethod::ALL.map(|method| (method.name(), method)).to_vec()
}

/// Starts and joins one child of each kind, so that what a process has once is there. Tails are not kept here: what keeps
/// them has a thread, which a process must not have that forks.
fn warm_up() {
    for (_, method) in methods() {
        Context::new(method).start(|| (), ()).unwrap().join().unwrap();
    }
}

/// What is to happen at once, and gets ten times as long as it may ever take.
const SOON: Duration = Duration::from_secs(20);

/// For what is not to happen.
const A_WHILE: Duration = Duration::from_millis(30);

fn pools(size: usize, method: StartMethod) -> PoolBuilder {
    Pool::builder().processes(size).start_method(method).stderr_tail(false)
}

fn pool(size: usize, method: StartMethod) -> Pool {
    pools(size, method).build().unwrap()
}

fn executors(size: usize, method: StartMethod) -> ProcessPoolExecutorBuilder {
    ProcessPoolExecutor::builder().max_workers(size).start_method(method).stderr_tail(false)
}

fn executor(size: usize, method: StartMethod) -> ProcessPoolExecutor {
    executors(size, method).build().unwrap()
}

fn square(number: u64) -> u64 {
    number * number
}

/// A door that tasks wait at: its outer end is the test's.
struct Door {
    inner: Descriptor,
    outer: Option<File>,
    passed: File,
    passing: Descriptor,
}

impl Door {
    fn new() -> Self {
        let (inner, outer) = procession_sys::pipe().unwrap();
        let (passed, passing) = procession_sys::pipe().unwrap();
        Self { inner: inner.into(), outer: Some(outer.into()), passed: passed.into(), passing: passing.into() }
    }

    /// What a task is given that is to wait.
    fn place(&self) -> (Descriptor, Descriptor) {
        let duplicate = |end: &Descriptor| Descriptor::from(end.as_fd().try_clone_to_owned().unwrap());
        (duplicate(&self.inner), duplicate(&self.passing))
    }

    /// Waits until so many tasks have come.
    fn wait_for(&mut self, count: usize) {
        for _ in 0..count {
            assert!(poll_one(&self.passed, Interest::Read, Deadline::after(SOON)).unwrap(), "nobody comes");
            self.passed.read_exact(&mut [0]).unwrap();
        }
    }

    /// True if somebody comes for whom nobody has waited.
    fn somebody_comes(&self) -> bool {
        poll_one(&self.passed, Interest::Read, Deadline::after(A_WHILE)).unwrap()
    }

    /// Lets so many tasks go.
    fn let_go(&mut self, count: usize) {
        self.outer.as_mut().unwrap().write_all(&vec![b'g'; count]).unwrap();
    }
}

fn file(descriptor: &Descriptor) -> File {
    File::from(descriptor.as_fd().try_clone_to_owned().unwrap())
}

/// A task that comes to a door, and waits until it is let go.
fn wait_at(door: Descriptor, passing: Descriptor) -> u32 {
    file(&passing).write_all(b"h").unwrap();
    file(&door).read_exact(&mut [0]).unwrap();
    std::process::id()
}

/// A pipe whose reading end tells when the last process has closed its writing end.
fn leash() -> (File, OwnedFd) {
    let (held, end) = procession_sys::pipe().unwrap();
    (held.into(), end)
}

/// True once nobody has the writing end of a pipe any more.
fn is_let_go(held: &File) -> bool {
    poll_one(held, Interest::Read, Deadline::after(SOON)).unwrap()
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        calls_that_are_not_waited_for_have_handles,
        callbacks_of_a_pool_are_told_once,
        a_panic_brings_its_place_and_its_frames,
        a_panic_has_no_frames_that_nobody_asks_for,
        who_waits_for_an_error_wakes,
        who_waits_while_another_drives_wakes,
        a_copy_that_a_task_forks_ends_where_it_comes_back,
        what_a_task_was_given_is_let_go_when_it_has_ended,
        what_a_result_holds_is_let_go_with_its_future,
        futures_that_complete_are_given_away,
        a_worker_that_dies_while_it_reads_costs_its_task,
        a_worker_that_dies_while_it_writes_costs_its_task,
        a_task_that_exits_is_told_its_code,
        what_is_refused_does_not_hold_up_the_end,
        what_is_cancelled_does_not_hold_up_the_end,
        a_pool_has_as_many_workers_as_it_is_told,
        settings_that_make_no_sense_are_refused,
        a_pool_that_has_ended_takes_nothing,
        a_pool_that_is_dropped_ends_its_workers,
        a_map_whose_pool_ends_tells_of_each_item,
        a_join_with_a_limit_lets_go_of_what_nobody_can_advance,
        an_executor_that_is_dropped_finishes,
        workers_are_replaced_after_their_number_of_tasks,
        workers_of_one_task_finish_what_is_left,
        every_worker_is_prepared_first,
        a_failing_initializer_is_an_error_from_construction,
        workers_are_started_up_to_their_number,
        an_idle_worker_is_used_again,
        a_shutdown_finishes_what_there_is,
        a_shutdown_now_cancels_what_has_not_begun,
        a_shutdown_that_nobody_waits_for_finishes_too,
        workers_are_forked_while_another_thread_works,
        a_child_makes_and_uses_a_pool,
        a_pool_in_a_static_does_not_hold_up_the_end_of_its_program,
        an_executor_in_a_static_finishes_before_the_end_of_its_program,
        an_iterator_that_is_kept_does_not_hold_up_the_end_of_its_program,
        an_exit_hook_that_comes_too_late_is_told,
    ];
    cases: [
        a_result_is_given_once,
        an_error_is_given_once,
        a_copy_that_a_thread_forks_ends_where_it_comes_back,
        a_copy_has_no_threads_to_wait_for,
        without_descriptors_a_pool_is_not_made,
    ];
}
