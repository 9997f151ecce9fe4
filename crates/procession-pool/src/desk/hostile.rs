//! A worker that writes anything: the pool reads nothing outside of the desk, never panics, and does not go on for ever.

use std::sync::atomic::Ordering::Relaxed;

use procession_wire::frame::BODY_INLINE_MAX;
use proptest::prelude::*;

use super::*;

/// A desk, and what a hostile worker has of it.
fn desk() -> (Desk, SharedMap, PacketSocket) {
    let (desk, kit) = Desk::new(&Bells::new().unwrap()).unwrap();
    let map = SharedMap::map(&kit.memory, DESK_BYTES, Access::ReadWrite).unwrap();
    (desk, map, PacketSocket::try_from_fd(kit.link.into_owned().unwrap()).unwrap())
}

/// Does everything that a pool does, and says how many bytes of reports have come.
fn use_it(desk: &mut Desk) -> u64 {
    let mut bytes = 0;
    let _ = desk.offer(&[&[1; 100]], None);
    let _ = desk.readiness();
    let _ = desk.has_finished();
    let _ = desk.has_news();
    let _ = desk.drain(&mut |_, part| bytes += part.len() as u64);
    while let Some(seq) = desk.finished() {
        let _ = desk.take_parcels(seq);
    }
    let _ = desk.running();
    for seq in 0..desk.next + 2 {
        let _ = desk.has_begun(seq);
        let _ = seq % 3 == 0 && desk.revoke(seq);
    }
    desk.listen(Listener::Driver);
    desk.stop_listening();
    bytes
}

/// What a worker may write into a word: anything, or something near to what belongs there.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0_u64..300,
        (0_u64..70, 0_u64..4).prop_map(|(seq, state)| seq << 2 | state),
        (0_u64..4).prop_map(|over| STREAM_BYTES + over),
        (0_u64..4).prop_map(|below| u64::MAX - below),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn words_may_say_anything(writes in prop::collection::vec((0..WORDS, word()), 1..60)) {
        let (mut desk, map, _link) = desk();
        for (at, value) in writes {
            // Half of the words are used by nobody, so aim at the others, too.
            for at in [at, at / LINE * LINE, at / LINE * LINE + at % 4] {
                map.atomic_u64s(0, WORDS).unwrap()[at].store(value, Relaxed);
            }
            let bytes = use_it(&mut desk);
            prop_assert!(bytes <= STREAM_BYTES * (ORDERS_MAX as u64 + 1));
        }
    }

    #[test]
    fn packets_may_be_anything(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 0..5)) {
        let (mut desk, map, link) = desk();
        for packet in &packets {
            link.send([packet.as_slice()], &[]).unwrap();
        }
        words_of(&map).publish_frames(packets.len() as u64 + 1);
        let error = desk.drain(&mut |_, _| {}).unwrap_err();
        prop_assert!(matches!(error, NotDrained::Corrupt(Corrupt::Frame)), "{error}");
    }
}

#[test]
fn each_lie_has_its_name() {
    let drained = |lie: fn(DeskWords<'_>)| {
        let (mut desk, map, link) = desk();
        lie(words_of(&map));
        drop(link);
        desk.drain(&mut |_, _| {})
    };
    let is_corrupt = |lie, what| match drained(lie) {
        Err(NotDrained::Corrupt(corrupt)) => assert_eq!(corrupt, what),
        other => panic!("{other:?}"),
    };
    is_corrupt(|words| words.publish(STREAM_BYTES + 1), Corrupt::Position);
    is_corrupt(|words| words.finish(INITIALIZER, u64::MAX, 0), Corrupt::Position);
    is_corrupt(|words| words.publish_frames(1), Corrupt::Frame);
    is_corrupt(|words| words.finish(INITIALIZER, 0, u64::MAX), Corrupt::Frame);
    assert_eq!(drained(|words| words.publish(STREAM_BYTES)).unwrap().bytes, STREAM_BYTES);
}

#[test]
fn a_report_that_ends_before_it_was_read_is_refused() {
    let (mut desk, map, _link) = desk();
    words_of(&map).publish(100);
    assert_eq!(desk.drain(&mut |_, _| {}).unwrap().bytes, 100);
    words_of(&map).finish(INITIALIZER, 99, 0);
    assert!(matches!(desk.drain(&mut |_, _| {}), Err(NotDrained::Corrupt(Corrupt::Position))));
}

#[test]
fn who_says_that_it_has_taken_what_was_not_offered_is_refused() {
    for taken in [STREAM_BYTES, u64::MAX] {
        let (mut desk, map, _link) = desk();
        for _ in 0..4 {
            desk.offer(&[&[1; ORDER_BYTES_MAX - 8]], None).unwrap();
        }
        words_of(&map).free_orders(taken);
        let refused = desk.offer(&[&[1; ORDER_BYTES_MAX]], None).unwrap_err();
        assert!(matches!(refused, NotOffered::Corrupt(Corrupt::Position)), "{refused}");
    }
}

#[test]
fn a_frame_of_another_order_is_refused() {
    let (mut desk, map, theirs) = desk();
    Link::new(theirs).send(kind_of(5), Parcel { body: b"x", descriptors: &[] }, || {}).unwrap();
    words_of(&map).publish_frames(1);
    assert!(matches!(desk.drain(&mut |_, _| {}), Err(NotDrained::Corrupt(Corrupt::Frame))));
}

#[test]
fn what_a_worker_does_not_receive_is_no_room_in_the_end_and_goes_with_it() {
    let (mut desk, _map, theirs) = desk();
    let body = vec![1; BODY_INLINE_MAX];
    let parcel = Parcel { body: &body, descriptors: &[] };
    let mut offered = 0;
    let refused = loop {
        match desk.offer(&[b"x"], Some(parcel)) {
            Ok(_) => offered += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, NotOffered::NoRoom) && (1..50).contains(&offered), "{offered}: {refused}");
    drop(theirs);
    let refused = desk.offer(&[b"x"], Some(parcel)).unwrap_err();
    assert!(matches!(refused, NotOffered::Gone), "{refused:?}");
}
