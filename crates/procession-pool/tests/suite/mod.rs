//! What every executor promises, whatever runs its tasks: one suite, for threads, processes, and workers at the end of a line.
//!
//! Each case makes executors of its own. Order comes from a [`Gate`], which tasks come to wherever they run.

mod callbacks;
mod futures;
mod gate;
mod maps;
mod several;

pub(crate) use callbacks::*;
pub(crate) use futures::*;
pub(crate) use gate::{Gate, visit};
pub(crate) use maps::*;
pub(crate) use several::*;

use std::time::Duration;

use procession_pool::Executor;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Makes an executor that runs so many tasks at once.
pub(crate) type Make = fn(usize) -> Box<dyn Executor>;

/// What is to happen at once, and gets ten times as long as it may ever take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How often is tried what a busy machine may prevent.
pub(crate) const TRIES_MAX: usize = 5;

/// For what is not to happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(30);

pub(crate) fn square(number: u64) -> u64 {
    number * number
}

pub(crate) fn panics(number: u64) -> u64 {
    panic!("no {number} today")
}

/// Panics for three, and not for others.
pub(crate) fn no_three(number: u64) -> u64 {
    assert!(number != 3, "three is not wanted");
    number
}

/// What cannot be written.
#[derive(Debug, Deserialize)]
pub(crate) struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("it will not be written"))
    }
}

/// What cannot be read.
#[derive(Debug, Serialize)]
pub(crate) struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("it will not be read"))
    }
}

/// The cases of the suite as tests of one maker.
#[macro_export]
macro_rules! suite_tests {
    ($make:expr; $($case:ident)*) => {$(
        #[test]
        fn $case() {
            suite::$case($make);
        }
    )*};
}

/// Calls a macro with the names of all cases.
#[macro_export]
macro_rules! with_cases {
    ($callback:ident!($($before:tt)*)) => {
        $callback! { $($before)*
            a_result_is_had_as_often_as_it_is_asked_for
            a_panic_is_the_error_of_its_task_alone
            arguments_that_cannot_be_written_are_an_error_at_once
            arguments_that_cannot_be_read_are_an_error_of_the_task
            results_that_cannot_be_written_cost_no_worker
            results_that_cannot_be_read_are_an_error_of_their_future
            states_follow_the_task
            only_what_has_not_begun_can_be_cancelled
            waiting_has_a_limit
            a_waiting_thread_wakes_at_the_result
            a_waiting_thread_wakes_at_the_cancellation
            many_tasks_have_each_its_own_result
            a_closed_executor_takes_nothing_and_finishes_what_it_has
            a_future_can_be_awaited
            a_future_that_is_not_awaited_any_more_is_forgotten
            futures_are_told_apart
            the_urgent_is_begun_first
            callbacks_see_how_it_ended
            callbacks_come_in_order_and_survive_each_other
            late_callbacks_are_called
            all_futures_come_as_they_complete
            a_time_for_completing_is_kept
            waiting_for_the_first_returns_at_the_first
            waiting_for_an_error_returns_at_the_first
            waiting_for_all_waits_for_all
            waiting_for_several_has_a_limit
            nothing_is_lost_while_a_wait_is_set_up
            a_map_keeps_the_order
            chunk_sizes_do_not_matter
            a_map_of_nothing_is_nothing
            tuples_are_arguments
            many_numbers_arrive_as_they_were
            a_map_gives_the_first_error_after_all
            each_item_has_its_own_end
            an_item_that_cannot_be_written_is_lost_alone
            an_input_may_be_endless
            an_input_is_read_a_little_ahead
            an_input_that_panics_loses_nothing_before
            results_come_as_they_are_ready
            a_result_of_a_map_can_be_waited_for_with_a_limit
            a_map_that_is_dropped_cancels_the_rest
            a_closed_executor_maps_nothing
            a_map_that_has_begun_goes_on_after_close
            an_input_may_close_its_own_executor
            results_that_are_taken_after_close_are_all_there
            an_executor_that_was_closed_during_a_map_ends_with_it
        }
    };
}
