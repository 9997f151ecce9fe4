//! Tasks that wait, with other processes at the other end: on tokio, on another runtime, and on none.
//!
//! Relies on the test kit; order is told by messages and pipes.

mod connections;
mod costs;
mod queues;
mod runtime;
mod strangers;
mod things;

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use procession_ipc::Queue;
use procession_launch::{Arguments, Context, Process, StartMethod, Target};
use procession_wire::Descriptor;

use connections::*;
use costs::*;
use queues::*;
use runtime::Runtime;
use strangers::*;
use things::*;

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        what_a_child_puts_and_sends_comes_to_a_task,
        a_task_fills_what_a_child_empties,
        the_last_producer_that_is_killed_wakes_a_task,
        the_last_sender_that_is_killed_wakes_a_task,
        the_last_consumer_that_is_killed_wakes_a_task_that_puts,
        a_producer_that_is_killed_before_it_rings_is_not_waited_for,
        a_process_that_is_stopped_in_the_middle_does_not_stop_other_tasks within 60,
        futures_that_are_dropped_have_taken_nothing,
        futures_that_are_dropped_have_put_or_not_put,
        a_task_for_each_client_answers_it,
    ];
    cases for runtimes(), [
        ten_thousand_items_are_awaited_on_one_thread within 60,
        a_thousand_connections_are_awaited_on_one_thread within 60,
        what_every_type_can_do_is_done_in_tasks,
    ];
    cases: [
        tasks_are_served_in_the_order_in_which_they_came,
        a_task_that_does_not_go_on_keeps_nobody_else,
        closing_ends_the_waits_of_tasks,
        a_message_that_was_begun_and_dropped_goes_before_the_next,
        bytes_come_into_a_buffer_and_no_more_than_allowed,
        tasks_wait_for_things_of_several_kinds,
        a_killed_process_is_a_thing_to_wait_for,
        who_does_not_know_the_key_is_refused_on_both_sides,
        a_listener_that_says_nothing_and_one_that_is_none_are_given_up,
        closing_a_listener_ends_the_waits_of_tasks,
        waiting_tasks_cost_next_to_nothing,
        one_thread_watches_for_all,
        a_forked_child_waits_by_itself,
    ];
}

/// What must have happened by then, or never will.
const SOON: Duration = Duration::from_secs(10);

/// Ten times what is promised, on a machine that does much else.
const NOTICED_MAX: Duration = Duration::from_millis(500);

fn methods() -> Vec<(&'static str, StartMethod)> {
    [StartMethod::ForkServer, StartMethod::Spawn].map(|method| (method.name(), method)).to_vec()
}

fn runtimes() -> Vec<(&'static str, Runtime)> {
    vec![("tokio", Runtime::Tokio), ("other", Runtime::Other)]
}

/// Starts and joins one child of each kind, so that lifeline, server and exit handler exist, and waits once in a task, so
/// that the reactor does.
fn warm_up() {
    procession_sys::raise_file_limit().unwrap();
    for (_, method) in methods() {
        start(method, || (), ()).join().expect("a child that does nothing");
    }
    assert!(is_pending(Queue::<u8>::bounded(1).unwrap().get_async()));
}

fn start<F: Target<A>, A: Arguments>(method: StartMethod, target: F, arguments: A) -> Process<F::Output> {
    Context::new(method).start(target, arguments).unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Whether the future waits when it is first asked.
fn is_pending<R>(future: impl Future<Output = R>) -> bool {
    futures_lite::future::block_on(futures_lite::future::poll_once(future)).is_none()
}

fn pipe() -> (Descriptor, Descriptor) {
    let (read, write) = procession_sys::pipe().unwrap();
    (read.into(), write.into())
}

fn tell(to: Descriptor) {
    File::from(to.into_owned().unwrap()).write_all(b".").unwrap();
}

fn wait_for(from: Descriptor) {
    File::from(from.into_owned().unwrap()).read_exact(&mut [0]).unwrap();
}

/// A child that has something until it is killed.
fn hold<T>(held: T, ready: Descriptor, never: Descriptor) {
    tell(ready);
    wait_for(never);
    drop(held);
}
