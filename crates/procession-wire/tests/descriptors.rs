//! Descriptors inside values and frames: none is lost, none is left open.
//!
//! The cases count the process's open descriptors, so they run one after the other, on the main thread.

use libtest_mimic::{Arguments, Failed, Trial};
use procession_wire::{
    DESCRIPTORS_MAX, DecodeErrorKind, Decoder, Described, Descriptor, DescriptorError, EncodeErrorKind, Encoder,
    decode, decode_slice, encode, fd,
    frame::{Assembler, Body, BodyPlace, FrameError, PACKET_DESCRIPTORS_MAX, Packet, plan},
    once,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
    sync::Arc,
};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let cases: &[(&str, fn())] = &[
        ("a_file_and_a_socket_arrive", a_file_and_a_socket_arrive),
        ("a_failed_value_takes_its_descriptors_back", a_failed_value_takes_its_descriptors_back),
        ("a_panicking_value_takes_its_descriptors_back", a_panicking_value_takes_its_descriptors_back),
        ("nested_messages_have_tables_of_their_own", nested_messages_have_tables_of_their_own),
        ("a_shared_descriptor_is_duplicated", a_shared_descriptor_is_duplicated),
        ("descriptors_nobody_asked_for_are_closed", descriptors_nobody_asked_for_are_closed),
        ("bad_and_repeated_positions_are_refused", bad_and_repeated_positions_are_refused),
        ("what_handles_have_in_common_travels_once", what_handles_have_in_common_travels_once),
        ("what_is_in_common_and_what_is_not_are_told_apart", what_is_in_common_and_what_is_not_are_told_apart),
        ("outside_a_message_there_is_no_table", outside_a_message_there_is_no_table),
        ("one_message_carries_so_many_and_no_more", one_message_carries_so_many_and_no_more),
        ("untagged_types_may_ask_again", untagged_types_may_ask_again),
        ("frames_keep_descriptors_in_order", frames_keep_descriptors_in_order),
        ("refused_packets_close_descriptors", refused_packets_close_descriptors),
        ("hostile_lengths_reserve_no_memory", hostile_lengths_reserve_no_memory),
    ];
    let trials = cases.iter().map(|&(name, case)| Trial::test(name, move || audited(case)));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs the case and compares the open descriptors before and after.
fn audited(case: fn()) -> Result<(), Failed> {
    let before = open_descriptors();
    case();
    let after = open_descriptors();
    if before == after {
        return Ok(());
    }
    Err(format!("{before} descriptors were open before, {after} after").into())
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn descriptor() -> Descriptor {
    null().into()
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(with = "fd")]
    socket: UnixStream,
    label: String,
    #[serde(with = "fd")]
    file: File,
}

fn a_file_and_a_socket_arrive() {
    let (mut near, far) = UnixStream::pair().unwrap();
    let sent = Wire { socket: far, label: "far".into(), file: File::open("/proc/self/comm").unwrap() };
    let message = encode(&vec![sent]).unwrap();
    assert_eq!(message.descriptor_count(), 2);

    // As the other process would get it: descriptors of its own.
    let received = message.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    let mut decoder = Decoder::new(message.bytes().to_vec(), received);
    drop(message);
    let mut arrived: Vec<Wire> = decoder.value().unwrap();
    decoder.finish().unwrap();
    arrived[0].socket.write_all(b"hello").unwrap();
    drop(arrived.remove(0).socket);
    let mut text = String::new();
    near.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

/// Holds a descriptor and cannot be written to the end.
struct Fails(Descriptor, bool);

impl Serialize for Fails {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.clone().serialize(serializer)?;
        assert!(!self.1, "a type's own bug");
        Err(serde::ser::Error::custom("a type's own error"))
    }
}

/// Panics before it has attached anything.
struct PanicsAtOnce;

impl Serialize for PanicsAtOnce {
    fn serialize<S: serde::Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        panic!("a type's own bug")
    }
}

fn a_failed_value_takes_its_descriptors_back() {
    let mut encoder = Encoder::new();
    encoder.value(&descriptor()).unwrap();
    encoder.value(&(descriptor(), Fails(descriptor(), false))).unwrap_err();
    encoder.value(&descriptor()).unwrap();
    let message = encoder.finish();
    assert_eq!((message.bytes(), message.descriptor_count()), ([0, 1].as_slice(), 2));
}

fn a_panicking_value_takes_its_descriptors_back() {
    let mut encoder = Encoder::new();
    encoder.value(&descriptor()).unwrap();
    let value = (descriptor(), Fails(descriptor(), true));
    let attempt = std::panic::AssertUnwindSafe(|| encoder.value(&value));
    // Nothing else runs meanwhile, and a log is not to be filled with the frames of what is to happen.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let first = std::panic::catch_unwind(attempt);
    let second = std::panic::catch_unwind(|| encode(&PanicsAtOnce));
    std::panic::set_hook(hook);
    assert!(first.is_err() && second.is_err());
    assert_eq!(encoder.finish().descriptor_count(), 1);
    outside_a_message_there_is_no_table();
}

/// Encodes and decodes a message of its own while it is written and read.
struct Nesting(Descriptor, Descriptor);

impl Serialize for Nesting {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = encode(&self.0).map_err(serde::ser::Error::custom)?;
        assert_eq!(inner.descriptor_count(), 1);
        assert_eq!(decode::<u8>(encode(&7_u8).unwrap()).unwrap(), 7);
        self.1.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nesting {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A message without descriptors must not reach into the outer one's table.
        assert!(decode_slice::<Descriptor>(&[0], Vec::new()).is_err());
        let inner = decode_slice::<Descriptor>(&[0], vec![null()]).map_err(serde::de::Error::custom)?;
        Ok(Nesting(inner, Descriptor::deserialize(deserializer)?))
    }
}

fn nested_messages_have_tables_of_their_own() {
    let value = (descriptor(), Nesting(descriptor(), descriptor()), descriptor());
    let message = encode(&value).unwrap();
    assert_eq!((message.bytes(), message.descriptor_count()), ([0, 1, 2].as_slice(), 3));
    let arrived: (Descriptor, Nesting, Descriptor) = decode(message).unwrap();
    let numbers = |value: &(Descriptor, Nesting, Descriptor)| {
        [&value.0, &value.1.1, &value.2].map(|descriptor| format!("{:?}", descriptor.as_fd()))
    };
    assert_eq!(numbers(&arrived), numbers(&value));
}

fn a_shared_descriptor_is_duplicated() {
    let kept = descriptor();
    let owned = kept.clone().into_owned().unwrap();
    assert_ne!(format!("{:?}", owned.as_fd()), format!("{:?}", kept.as_fd()));
    assert!(kept.try_into_owned().is_ok());
}

fn descriptors_nobody_asked_for_are_closed() {
    let mut decoder = Decoder::new([1], vec![null(), null(), null()]);
    let kept: Descriptor = decoder.value().unwrap();
    decoder.finish().unwrap();
    assert!(kept.try_into_owned().is_ok());
    drop(Decoder::new([1], vec![null()]));
    decode_slice::<(Descriptor, bool)>(&[0, 9], vec![null()]).unwrap_err();
}

fn bad_and_repeated_positions_are_refused() {
    let refused = |bytes: &[u8]| {
        let error = decode_slice::<Vec<Descriptor>>(bytes, vec![null(), null()]).unwrap_err();
        error.kind().clone()
    };
    let missing = |index| DecodeErrorKind::Descriptor(DescriptorError::Missing { index });
    assert_eq!(refused(&[1, 2]), missing(2));
    assert_eq!(refused(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]), missing(u32::MAX));
    assert_eq!(refused(&[3, 0, 1, 0]), DecodeErrorKind::Descriptor(DescriptorError::Taken { index: 0 }));
    let error = decode_slice::<Descriptor>(&[0], Vec::new()).unwrap_err();
    assert_eq!(error.kind(), &missing(0));
}

/// A handle of something in a file that other handles have in common with it.
#[derive(Debug)]
struct Part(Descriptor);

impl Serialize for Part {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = (std::os::fd::AsRawFd::as_raw_fd(&self.0.as_fd()) as u64, 0);
        let position = once::attach_shared(key, &self.0).map_err(serde::ser::Error::custom)?;
        position.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        once::detach(u32::deserialize(deserializer)?).map(Part).map_err(serde::de::Error::custom)
    }
}

fn what_handles_have_in_common_travels_once() {
    let (one, other) = (descriptor(), descriptor());
    let parts = || vec![Part(one.clone()), Part(other.clone()), Part(one.clone())];
    let mut encoder = Encoder::new();
    encoder.value(&parts()).unwrap();
    encoder.value(&(parts(), one.clone())).unwrap();
    let message = encoder.finish();
    assert_eq!(message.descriptor_count(), 3, "two in common, in both values, and one by itself");
    let received = message.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    let mut decoder = Decoder::new(message.bytes().to_vec(), received);
    drop((message, one, other));
    let first: Vec<Part> = decoder.value().unwrap();
    let (second, own): (Vec<Part>, Descriptor) = decoder.value().unwrap();
    decoder.finish().unwrap();
    let number = |part: &Part| std::os::fd::AsRawFd::as_raw_fd(&part.0.as_fd());
    assert_eq!(number(&first[0]), number(&second[2]));
    assert_ne!(number(&first[0]), number(&first[1]));
    drop((second, own));
    assert_eq!(number(&first[0]), number(&first[2]));
}

fn what_is_in_common_and_what_is_not_are_told_apart() {
    // A hostile sender makes two positions one.
    let error = decode_slice::<(Part, Descriptor)>(&[0, 0], vec![null(), null()]).unwrap_err();
    assert_eq!(*error.kind(), DecodeErrorKind::Descriptor(DescriptorError::Taken { index: 0 }));
    let error = decode_slice::<(Descriptor, Part)>(&[1, 1], vec![null(), null()]).unwrap_err();
    assert_eq!(*error.kind(), DecodeErrorKind::Descriptor(DescriptorError::Taken { index: 1 }));
    let error = decode_slice::<Part>(&[7], vec![null()]).unwrap_err();
    assert_eq!(*error.kind(), DecodeErrorKind::Descriptor(DescriptorError::Missing { index: 7 }));
    // What one value had attached is gone with it when it fails, and attached anew by the next.
    let common = descriptor();
    let mut encoder = Encoder::new();
    let not_text = std::path::PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&[0xff]));
    assert!(encoder.value(&(Part(common.clone()), not_text)).is_err());
    encoder.value(&Part(common)).unwrap();
    assert_eq!(encoder.finish().descriptor_count(), 1);
}

fn outside_a_message_there_is_no_table() {
    let error = ciborium::into_writer(&descriptor(), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("inside a message"), "{error}");
    let error = ciborium::from_reader::<Descriptor, _>([0_u8].as_slice()).unwrap_err();
    assert!(error.to_string().contains("inside a message"), "{error}");
}

fn one_message_carries_so_many_and_no_more() {
    let one = Arc::new(null());
    let many = |count| vec![Descriptor::from(Arc::clone(&one)); count];
    let message = encode(&many(DESCRIPTORS_MAX)).unwrap();
    assert_eq!(message.descriptor_count(), DESCRIPTORS_MAX);
    drop(message);
    let error = encode(&many(DESCRIPTORS_MAX + 1)).unwrap_err();
    assert_eq!(error.kind(), &EncodeErrorKind::Descriptor(DescriptorError::TooMany));
    assert_eq!(Arc::strong_count(&one), 1);
}

/// The first form takes the descriptor before it finds that it does not fit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Text(Descriptor, String),
    Number(Descriptor, u8),
}

fn untagged_types_may_ask_again() {
    let value = Described(vec![Loose::Number(descriptor(), 1), Loose::Text(descriptor(), "x".into())]);
    let message = encode(&value).unwrap();
    let received = message.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    let mut decoder = Decoder::new(message.bytes().to_vec(), received);
    let mut arrived: Described<Vec<Loose>> = decoder.value().unwrap();
    let Some(Loose::Number(first, 1)) = arrived.drain(..1).next() else { panic!("{arrived:?}") };
    assert!(first.try_into_owned().is_ok(), "the table holds it no longer");
    drop((value, message, decoder));

    // Whoever keeps both copies is refused, as anywhere.
    let twice = postcard::to_stdvec(&vec![0x82_u8, 0, 0]).unwrap();
    let error = decode_slice::<Described<Vec<Descriptor>>>(&twice, vec![null()]).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::Descriptor(DescriptorError::Taken { index: 0 }));
    let error = decode_slice::<Described<(Descriptor, Part)>>(&twice, vec![null()]).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::Descriptor(DescriptorError::Taken { index: 0 }));
}

/// What a receiver gets for a planned packet.
fn received(packet: &Packet, body: &[u8], all: &[OwnedFd]) -> (Vec<u8>, Vec<OwnedFd>) {
    let bytes = [packet.header.as_slice(), &body[packet.body.clone()]].concat();
    let file = packet.carries_memory_file.then(null);
    let rest = all[packet.descriptors.clone()].iter().map(|fd| fd.try_clone().unwrap());
    (bytes, file.into_iter().chain(rest).collect())
}

fn frames_keep_descriptors_in_order() {
    let most = 2 * PACKET_DESCRIPTORS_MAX + 1;
    let all: Vec<OwnedFd> = (0..most).map(|_| null()).collect();
    let mut assembler = Assembler::new();
    for place in [BodyPlace::Inline, BodyPlace::MemoryFile] {
        for count in [0, 1, PACKET_DESCRIPTORS_MAX - 1, PACKET_DESCRIPTORS_MAX, PACKET_DESCRIPTORS_MAX + 1, most] {
            let packets = plan(9, 5, place, count).unwrap();
            let total = packets.len();
            let mut frames = Vec::new();
            for packet in packets {
                assert!(frames.is_empty(), "a packet after the whole frame");
                let (bytes, descriptors) = received(&packet, b"hello", &all);
                assert!(descriptors.len() <= PACKET_DESCRIPTORS_MAX);
                frames.extend(assembler.push(&bytes, descriptors).unwrap());
            }
            let with_file = count + usize::from(place == BodyPlace::MemoryFile);
            assert_eq!(total, with_file.div_ceil(PACKET_DESCRIPTORS_MAX).max(1));
            let frame = frames.pop().expect("the last packet completes the frame");
            assert_eq!((frame.kind, frame.descriptors.len()), (9, count));
            match frame.body {
                Body::Inline(bytes) => assert_eq!((bytes.as_slice(), place), (b"hello".as_slice(), BodyPlace::Inline)),
                Body::MemoryFile { len, .. } => assert_eq!((len, place), (5, BodyPlace::MemoryFile)),
            }
        }
    }
    assembler.finish().unwrap();
}

fn refused_packets_close_descriptors() {
    let all: Vec<OwnedFd> = (0..PACKET_DESCRIPTORS_MAX + 5).map(|_| null()).collect();
    let packets: Vec<Packet> = plan(1, 3, BodyPlace::Inline, all.len()).unwrap().collect();
    let (first, first_fds) = received(&packets[0], b"abc", &all);
    let (second, second_fds) = received(&packets[1], b"abc", &all);

    let mut assembler = Assembler::new();
    assert!(assembler.push(&first, first_fds).unwrap().is_none());
    assert_eq!(assembler.push(&second, vec![]).unwrap_err(), FrameError::WrongDescriptors { declared: 5, received: 0 });
    assert_eq!(assembler.push(&second, second_fds).unwrap_err(), FrameError::Failed);
    assert_eq!(open_descriptors_without(&all), open_descriptors_without(&all));

    let (first, first_fds) = received(&packets[0], b"abc", &all);
    let mut assembler = Assembler::new();
    assembler.push(&first, first_fds).unwrap();
    assert_eq!(assembler.push(&first, vec![]).unwrap_err(), FrameError::OutOfOrder);

    let (second, second_fds) = received(&packets[1], b"abc", &all);
    assert_eq!(Assembler::new().push(&second, second_fds).unwrap_err(), FrameError::OutOfOrder);

    let (first, first_fds) = received(&packets[0], b"abc", &all);
    let mut assembler = Assembler::new();
    assembler.push(&first, first_fds).unwrap();
    assert_eq!(assembler.finish().unwrap_err(), FrameError::Unfinished);
}

fn open_descriptors_without(these: &[OwnedFd]) -> usize {
    open_descriptors() - these.len()
}

/// The high-water mark of this process's memory, in KiB.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn hostile_lengths_reserve_no_memory() {
    let before = memory_peak();
    for lie in [1_u64 << 32, 1 << 50, u64::MAX] {
        let bytes = [postcard::to_stdvec(&lie).unwrap(), vec![1; 64]].concat();
        decode_slice::<Vec<u64>>(&bytes, Vec::new()).unwrap_err();
        decode_slice::<(Vec<u64>, u8)>(&bytes, Vec::new()).unwrap_err();
        decode_slice::<String>(&bytes, Vec::new()).unwrap_err();
        decode_slice::<Option<Box<[f64]>>>(&bytes, Vec::new()).unwrap_err();
        let cbor = [&[0x9b_u8], lie.to_be_bytes().as_slice()].concat();
        let cbor = postcard::to_stdvec(&cbor).unwrap();
        decode_slice::<Described<Vec<u64>>>(&cbor, Vec::new()).unwrap_err();
    }
    let grown = memory_peak() - before;
    assert!(grown < 16 << 10, "{grown} KiB");
}
