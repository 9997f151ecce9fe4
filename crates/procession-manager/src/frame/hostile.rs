//! Frames that no peer of ours writes: whatever they are, they are read as what they say or refused.

use std::fs::File;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(bytes: Vec<u8>) -> Frame {
    Frame { bytes, descriptors: Vec::new() }
}

fn descriptor() -> Descriptor {
    std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap()).into()
}

fn object() -> impl Strategy<Value = ObjectId> {
    any::<[u8; ObjectId::BYTES]>().prop_map(ObjectId::from_bytes)
}

fn packed() -> impl Strategy<Value = Packed> {
    let parts = (vec(any::<u8>(), 0..40), vec(object(), 0..4));
    parts.prop_map(|(bytes, references)| Packed { bytes, references, descriptors: Vec::new() })
}

fn request() -> impl Strategy<Value = Request> {
    let number = any::<u64>();
    prop_oneof![
        (number, object(), number, any::<bool>(), vec(packed(), 0..4)).prop_map(
            |(call, object, method, is_answered, arguments)| Request::Call {
                call,
                object,
                method,
                is_answered,
                arguments
            }
        ),
        vec((object(), any::<u32>()), 0..5).prop_map(Request::Drop),
        (number, object()).prop_map(|(ticket, object)| Request::Ticket { ticket, object }),
        (number, object()).prop_map(|(call, object)| Request::Acknowledge { call, object }),
        (number, object()).prop_map(|(call, object)| Request::Abandon { call, object }),
        (number, object()).prop_map(|(call, object)| Request::GiveBack { call, object }),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        (any::<u64>(), any::<bool>(), vec(packed(), 0..4)).prop_map(|(call, is_claimed, results)| Response::Return {
            call,
            is_claimed,
            results
        }),
        (any::<u64>(), vec(any::<u8>(), 0..40)).prop_map(|(call, refusal)| Response::Refuse { call, refusal }),
    ]
}

/// A frame with one place changed, some cut off or something added.
fn spoil(mut bytes: Vec<u8>, at: usize, change: u8, cut: usize, more: &[u8]) -> Vec<u8> {
    let len = bytes.len();
    if let Some(byte) = bytes.get_mut(at % len.max(1)) {
        *byte ^= change;
    }
    bytes.truncate(len.saturating_sub(cut % (len + 1)));
    bytes.extend_from_slice(more);
    bytes
}

/// Whatever can be read says all that is there.
fn check(bytes: Vec<u8>) {
    if let Ok(request) = Request::read(frame(bytes.clone())) {
        assert_eq!(request.write().bytes, bytes);
    }
    if let Ok(response) = Response::read(frame(bytes.clone())) {
        assert_eq!(response.write().bytes, bytes);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_an_error(kind in 0..10_u8, bytes in vec(any::<u8>(), 0..200)) {
        check([&[kind], &bytes[..]].concat());
        check(bytes);
    }

    #[test]
    fn what_is_written_is_read(request in request(), response in response()) {
        let bytes = request.write().bytes;
        prop_assert_eq!(Request::read(frame(bytes.clone())).unwrap().write().bytes, bytes);
        let bytes = response.write().bytes;
        prop_assert_eq!(Response::read(frame(bytes.clone())).unwrap().write().bytes, bytes);
    }

    #[test]
    fn spoiled_frames_are_frames_or_errors(
        (request, response) in (request(), response()),
        (at, change, cut) in (any::<usize>(), any::<u8>(), prop_oneof![Just(0), any::<usize>()]),
        more in vec(any::<u8>(), 0..3),
    ) {
        check(spoil(request.write().bytes, at, change, cut, &more));
        check(spoil(response.write().bytes, at, change, cut, &more));
    }
}

/// A call with one value, which says that it has so many bytes, descriptors and references.
fn call(counts: [u64; 3], rest: &[u8]) -> Frame {
    let mut bytes =
        Request::Call { call: 1, object: ObjectId::SERVER, method: 2, is_answered: true, arguments: Vec::new() }
            .write()
            .bytes;
    counts.iter().for_each(|count| bytes.extend_from_slice(&count.to_le_bytes()));
    bytes.extend_from_slice(rest);
    frame(bytes)
}

#[test]
fn counts_are_not_believed() {
    for count in [2, 17, REFERENCES_MAX as u64 + 1, 1 << 32, u64::MAX / 16 + 1, u64::MAX - 7, u64::MAX] {
        for place in 0..3 {
            let mut counts = [0; 3];
            counts[place] = count;
            assert!(Request::read(call(counts, &[])).is_err(), "{counts:?}");
            assert!(Request::read(call(counts, &[0; 16])).is_err(), "{counts:?}");
        }
    }
    assert!(Request::read(call([0, 0, 1], &[0; 16])).is_ok());
}

#[test]
fn as_many_references_as_may_be_and_one_more() {
    let names = vec![0; ObjectId::BYTES * (REFERENCES_MAX + 1)];
    let most = REFERENCES_MAX as u64;
    assert!(Request::read(call([0, 0, most], &names[ObjectId::BYTES..])).is_ok());
    assert!(Request::read(call([0, 0, most + 1], &names)).is_err());
}

#[test]
fn as_many_drops_as_may_be_and_one_more() {
    let drops = |count| Request::Drop(vec![(ObjectId::SERVER, 1); count]).write();
    assert!(Request::read(drops(DROPS_MAX)).is_ok());
    assert!(Request::read(drops(DROPS_MAX + 1)).is_err());
}

#[test]
fn descriptors_belong_to_values() {
    let with = |counts, descriptors: usize| {
        let mut frame = call(counts, &[]);
        frame.descriptors = (0..descriptors).map(|_| descriptor()).collect();
        Request::read(frame)
    };
    assert!(with([0, 2, 0], 2).is_ok());
    assert!(with([0, 2, 0], 1).is_err());
    assert!(with([0, 1, 0], 2).is_err());
    assert!(with([0, u64::MAX, 0], 2).is_err());
    let mut bare = Request::Acknowledge { call: 1, object: ObjectId::SERVER }.write();
    bare.descriptors.push(descriptor());
    assert!(Request::read(bare).is_err());
}
