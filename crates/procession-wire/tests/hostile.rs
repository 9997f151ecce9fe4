//! Bytes and packets that no sender wrote: any of them is a value or an error, soon, and never a panic.

use procession_wire::{
    Decoder, Described, Descriptor, Fault,
    frame::{Assembler, BODY_INLINE_MAX, BodyPlace, HEADER_BYTES, plan},
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// Any JSON-like tree: nests as deep as the bytes say.
#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Null,
    Number(f64),
    Text(String),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    Pair(Box<(Tree, Tree)>),
    Named { left: Option<Box<Tree>>, right: Described<Option<Box<Loose>>> },
}

/// The same, told by the bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(f64),
    Text(String),
    List(Vec<Loose>),
    Map(HashMap<String, Loose>),
    Named { left: Box<Loose>, units: Vec<()> },
}

/// How long one small message may take at most; a debug build on a busy machine is slow.
const SOON: Duration = Duration::from_secs(10);

fn survives<T: DeserializeOwned + 'static>(bytes: &[u8]) {
    let begun = Instant::now();
    let mut decoder = Decoder::new(bytes.to_vec(), Vec::new());
    // Twice, for the second value starts wherever the first one ended.
    (0..2).take_while(|_| decoder.value::<T>().is_ok()).for_each(drop);
    assert!(begun.elapsed() < SOON, "took {:?} for {bytes:?}", begun.elapsed());
}

fn all_survive(bytes: &[u8]) {
    survives::<Tree>(bytes);
    survives::<Described<Loose>>(bytes);
    survives::<Vec<Vec<()>>>(bytes);
    survives::<Vec<Option<Vec<String>>>>(bytes);
    survives::<HashMap<(), Vec<()>>>(bytes);
    survives::<(Vec<u64>, Box<[f32]>, char, bool, i128)>(bytes);
    survives::<Vec<u16>>(bytes);
    survives::<Vec<Descriptor>>(bytes);
    survives::<Result<Vec<[Option<u8>; 4]>, Fault>>(bytes);
}

/// Bytes of which many are small, so that lengths, marks and variants are often right.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0_u8..8, 1 => any::<u8>(), 1 => Just(0xff_u8), 1 => 0x80_u8..0xa8];
    prop::collection::vec(byte, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes(bytes in likely()) {
        all_survive(&bytes);
    }

    #[test]
    fn an_honest_message_with_a_flipped_byte(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let tree = Tree::List(vec![
            Tree::Null,
            Tree::Number(1.5),
            Tree::Map(BTreeMap::from([("key".into(), Tree::Text("text".into()))])),
            Tree::Pair(Box::new((Tree::Null, Tree::Null))),
            Tree::Named {
                left: Some(Box::new(Tree::Null)),
                right: Described(Some(Box::new(Loose::Named { left: Box::new(Loose::Number(1.0)), units: vec![()] }))),
            },
        ]);
        let (mut bytes, _) = procession_wire::encode(&tree).unwrap().into_parts();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        all_survive(&bytes);
    }

    #[test]
    fn arbitrary_packets(packets in prop::collection::vec(likely(), 0..4)) {
        let mut assembler = Assembler::new();
        for packet in packets {
            prop_assert!(assembler.push(&packet, Vec::new()).is_err());
        }
    }

    #[test]
    fn an_honest_packet_with_a_flipped_byte(at in 0..HEADER_BYTES, byte in any::<u8>(), body in likely()) {
        let packet = plan(3, body.len(), BodyPlace::Inline, 0).unwrap().next().unwrap();
        let mut bytes = [packet.header.as_slice(), &body].concat();
        let honest = bytes[at] == byte;
        bytes[at] = byte;
        let pushed = Assembler::new().push(&bytes, Vec::new());
        // Only the kind is the sender's own affair.
        prop_assert_eq!(pushed.is_ok(), honest || at == 5);
    }
}

#[test]
fn lengths_that_lie() {
    for lie in [1_u64 << 20, 1 << 32, 1 << 60, u64::MAX] {
        let mut bytes = postcard::to_stdvec(&lie).unwrap();
        all_survive(&bytes);
        bytes.resize(64, 0);
        all_survive(&bytes);
        // The same in CBOR: an array, a map, bytes and a text of that length.
        for major in [0x9b_u8, 0xbb, 0x5b, 0x7b] {
            let cbor = [&[major], lie.to_be_bytes().as_slice()].concat();
            let bytes = postcard::to_stdvec(&cbor).unwrap();
            all_survive(&bytes);
        }
    }
}

#[test]
fn nesting_that_never_ends() {
    let run = || {
        for byte in 0..=255_u8 {
            let run = vec![byte; 5_000];
            survives::<Tree>(&run);
            survives::<Described<Loose>>(&postcard::to_stdvec(&run).unwrap());
        }
        // Lists of one list, by name and number.
        let one = procession_wire::encode(&Tree::List(vec![Tree::Null])).unwrap();
        let head = &one.bytes()[..4];
        survives::<Tree>(&head.repeat(5_000));
    };
    // The stack of a thread that Rust starts by itself, in a debug build as well.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_body_larger_than_a_packet_is_refused() {
    assert!(plan(0, BODY_INLINE_MAX, BodyPlace::Inline, 0).is_ok());
    assert!(plan(0, BODY_INLINE_MAX + 1, BodyPlace::Inline, 0).is_err());
}
