//! Pipes between processes: whole messages, in order, each once, whatever becomes of a peer.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes of the kernel.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

mod pipe {
    pub(crate) mod ends;
    pub(crate) mod handles;
    pub(crate) mod messages;
    pub(crate) mod several;
}

use std::time::Duration;

use common::methods;
use pipe::{ends::*, handles::*, messages::*, several::*};
use procession_ipc::{RecvError, SendError};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_answers_messages_of_any_size,
        a_child_answers_values_of_many_types,
        the_parent_may_close_its_copy_right_after_the_start,
        the_end_comes_however_the_peer_goes,
        a_sender_is_told_however_the_peer_goes,
        who_waits_for_room_is_told_that_the_peer_was_killed,
        whoever_is_killed_at_any_step_of_a_send_has_sent_all_or_nothing,
        a_sender_killed_in_a_message_of_64_mib_leaves_nothing_half,
        whoever_is_killed_at_any_step_of_a_receive_leaves_the_rest,
        who_waits_for_room_costs_no_processor_time,
        both_directions_are_busy_at_once,
        several_senders_on_one_end_do_not_mix,
        several_receivers_on_one_end_get_each_message_once,
        a_descriptor_is_writable_in_the_child,
        handles_go_through_connections,
        ends_go_through_connections_and_through_themselves,
        connections_of_every_family_and_a_socket_are_messages,
        a_one_way_end_stays_what_it_is,
        many_pipes_are_waited_for_at_once,
    ];
    cases: [
        a_process_has_two_descriptors_an_end,
        empty_messages_are_reported_and_not_consumed,
        messages_are_never_merged,
        messages_are_polled_for_one_by_one,
        parts_of_buffers_are_sent_and_received,
        a_full_pipe_takes_no_more_and_one_message_of_any_size,
        times_of_nothing_and_of_ever,
        a_short_buffer_costs_nothing,
        too_large_a_message_ends_receiving,
        a_message_without_its_descriptor_is_an_error,
        an_end_arrives_as_what_it_was_sent_or_not_at_all,
        a_closed_end_is_an_error,
        closing_ends_the_waits_of_other_threads,
        three_hundred_descriptors_go_in_one_message,
        three_hundred_messages_with_one_each_wait_unread,
        descriptors_above_1024_go,
        a_send_that_fails_leaves_no_descriptors,
        who_never_receives_leaks_no_descriptors,
        an_end_in_its_own_pipe_goes_with_it,
        a_forked_child_is_another_process,
        a_wait_is_ended_by_a_message_and_by_the_end,
        what_a_killed_sender_left_does_not_ring_for_ever,
        a_receiver_without_descriptors_left_loses_nothing,
    ];
}

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_millis(20);

/// Longer than any wait for a peer's death.
const LATE: Duration = Duration::from_secs(20);

/// Bytes of which few are what their neighbors are.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    const PERIOD: usize = 65_521; // A prime, so that no block looks like another.
    let some = (0..len.min(PERIOD)).map(|at| ((at + seed).wrapping_mul(0x9e37_79b1) >> 13) as u8);
    let mut bytes: Vec<u8> = some.collect();
    bytes.reserve_exact(len - bytes.len());
    while bytes.len() < len {
        let more = bytes.len().min(len - bytes.len());
        bytes.extend_from_within(..more);
    }
    bytes
}

fn is_end<T>(received: Result<T, RecvError>) -> bool {
    matches!(received, Err(RecvError::Disconnected))
}

fn is_gone(sent: Result<(), SendError>) -> bool {
    matches!(sent, Err(SendError::Disconnected))
}

fn null() -> Descriptor {
    procession_sys::dev_null().unwrap().into()
}
