//! Values of every kind that serde knows, there and back; and the limits, one below and one above.

use procession_wire::{
    DEPTH_MAX, DecodeErrorKind, Decoder, Described, EncodeErrorKind, Encoder, UNSIZED_ITEMS_MAX, decode, decode_slice,
    encode,
};
use proptest::prelude::*;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, SeqAccess, Visitor},
    ser::SerializeSeq,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt::Debug,
    net::{IpAddr, SocketAddr},
    ops::Bound,
    time::{Duration, SystemTime},
};

#[track_caller]
fn arrives<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: T) {
    assert_eq!(decode::<T>(encode(&value).unwrap()).unwrap(), value);
}

/// A type with a bit of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rich {
    integers: (u8, i16, u32, i64, u128, i128, usize),
    floats: Vec<(u32, u64)>,
    text: String,
    character: char,
    bytes: Vec<u8>,
    #[serde(with = "procession_wire::bulk")]
    numbers: Vec<i32>,
    #[serde(with = "procession_wire::bulk")]
    boxed: Box<[u128]>,
    options: Option<Option<Option<u8>>>,
    map: BTreeMap<String, Vec<Shape>>,
    set: BTreeSet<(bool, i8)>,
    result: Result<Box<Shape>, String>,
    unit: (),
    described: Described<Option<Vec<Shape>>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(u32),
    Line(i64, i64),
    Text { content: String, size: Option<u16> },
    Group(Vec<Shape>),
}

fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Point),
        any::<u32>().prop_map(Shape::Circle),
        any::<(i64, i64)>().prop_map(|(a, b)| Shape::Line(a, b)),
        any::<(String, Option<u16>)>().prop_map(|(content, size)| Shape::Text { content, size }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Shape::Group))
}

prop_compose! {
    fn riches()(
        integers in any::<(u8, i16, u32, i64, u128, i128, usize)>(),
        floats in any::<Vec<(u32, u64)>>(),
        (text, character, bytes) in any::<(String, char, Vec<u8>)>(),
        (numbers, boxed) in any::<(Vec<i32>, Vec<u128>)>(),
        options in any::<Option<Option<Option<u8>>>>(),
        map in prop::collection::btree_map(any::<String>(), prop::collection::vec(shapes(), 0..3), 0..3),
        set in any::<BTreeSet<(bool, i8)>>(),
        result in prop_oneof![shapes().prop_map(|shape| Ok(Box::new(shape))), any::<String>().prop_map(Err)],
        described in prop::option::of(prop::collection::vec(shapes(), 0..3)),
    ) -> Rich {
        let (boxed, described) = (boxed.into_boxed_slice(), Described(described));
        let unit = ();
        Rich {
            integers, floats, text, character, bytes, numbers, boxed, options, map, set, result, unit, described,
        }
    }
}

proptest! {
    #[test]
    fn a_rich_value_arrives(values in prop::collection::vec(riches(), 0..3), last in any::<i32>()) {
        let mut encoder = Encoder::new();
        encoder.value(&values).unwrap();
        encoder.value(&last).unwrap();
        let mut decoder = encoder.finish().into_decoder();
        prop_assert_eq!(decoder.value::<Vec<Rich>>().unwrap(), values);
        prop_assert_eq!(decoder.value::<i32>().unwrap(), last);
        decoder.finish().unwrap();
    }

    #[test]
    fn bulk_numbers_arrive_wherever_they_lie(
        before in any::<Vec<u8>>(), shorts in any::<Vec<u16>>(), longs in any::<Vec<i128>>(), floats in any::<Vec<u64>>()
    ) {
        let doubles: Vec<f64> = floats.iter().copied().map(f64::from_bits).collect();
        let mut encoder = Encoder::new();
        encoder.value(&before).unwrap();
        encoder.value(&shorts).unwrap();
        encoder.value(&longs.clone().into_boxed_slice()).unwrap();
        encoder.value(&doubles).unwrap();
        let mut decoder = encoder.finish().into_decoder();
        prop_assert_eq!(decoder.value::<Vec<u8>>().unwrap(), before);
        prop_assert_eq!(decoder.value::<Vec<u16>>().unwrap(), shorts);
        prop_assert_eq!(&*decoder.value::<Box<[i128]>>().unwrap(), longs);
        let arrived: Vec<u64> = decoder.value::<Vec<f64>>().unwrap().into_iter().map(f64::to_bits).collect();
        prop_assert_eq!(arrived, floats);
        decoder.finish().unwrap();
    }

    #[test]
    fn floats_keep_every_bit(single in any::<u32>(), double in any::<u64>()) {
        let value = (f32::from_bits(single), f64::from_bits(double));
        let arrived: (f32, f64) = decode(encode(&value).unwrap()).unwrap();
        prop_assert_eq!((arrived.0.to_bits(), arrived.1.to_bits()), (single, double));
    }
}

#[test]
fn the_standard_library_s_types_arrive() {
    arrives((Duration::new(3, 5), SystemTime::UNIX_EPOCH + Duration::from_secs(9)));
    arrives::<Vec<IpAddr>>(vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
    arrives::<Vec<SocketAddr>>(vec!["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()]);
    arrives((1..5, 1..=5, Bound::Included(3), Bound::<u8>::Unbounded, std::num::NonZero::new(5_u8)));
    arrives((Ok::<u8, String>(1), Err::<u8, String>("no".into()), std::num::Wrapping(3)));
    arrives((std::path::PathBuf::from("/tmp"), std::ffi::OsString::from("x"), c"text".to_owned()));
    arrives((VecDeque::from([1, 2]), HashMap::from([("a".to_string(), 1)]), std::cell::RefCell::new(3)));
    arrives((Box::<str>::from("x"), std::borrow::Cow::<str>::Borrowed("y"), std::cmp::Reverse(1)));
    arrives((u128::MAX, i128::MIN, i64::MIN, u64::MAX, usize::MAX, i8::MIN, '\u{10ffff}', [[1_u8; 32]; 2]));
    arrives((Some(None::<u8>), None::<Option<u8>>, Some(Some(())), Some(()), None::<()>));
}

#[test]
fn the_primitives_are_postcard_s() {
    let value = (300_u32, -1_i64, "text", Some('x'), vec![1.5_f32], [true; 2], BTreeMap::from([(1_u8, 2_u16)]));
    assert_eq!(encode(&value).unwrap().bytes(), postcard::to_stdvec(&value).unwrap());
}

/// Writes fewer or more items than it says.
struct Liar {
    says: Option<usize>,
    writes: usize,
}

impl Serialize for Liar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = serializer.serialize_seq(self.says)?;
        (0..self.writes).try_for_each(|_| items.serialize_element(&1_u8))?;
        items.end()
    }
}

#[test]
fn a_sequence_must_keep_its_word() {
    let refused = |says, writes| encode(&Liar { says, writes }).unwrap_err().kind().clone();
    let wrong = EncodeErrorKind::WrongLength { container: "sequence", declared: 2 };
    assert_eq!(refused(Some(2), 1), wrong);
    assert_eq!(refused(Some(2), 3), wrong);
    assert_eq!(refused(None, 1), EncodeErrorKind::UnknownLength);
    encode(&Liar { says: Some(2), writes: 2 }).unwrap();
}

/// Reads the first item of a sequence and leaves the others.
#[derive(Debug)]
struct First(u8);

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstVisitor)
    }
}

struct FirstVisitor;

impl<'de> Visitor<'de> for FirstVisitor {
    type Value = First;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<First, A::Error> {
        Ok(First(items.next_element()?.unwrap_or_default()))
    }
}

#[test]
fn a_reader_must_not_leave_items_behind() {
    let sent = |items: &[u8]| encode(&(items.to_vec(), 9_u8)).unwrap();
    let error = decode::<(First, u8)>(sent(&[1, 2, 3])).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::UnreadItems { left: 2 });
    let (first, last) = decode::<(First, u8)>(sent(&[1])).unwrap();
    assert_eq!((first.0, last), (1, 9));
}

/// Displays another text each time.
struct Fickle(std::cell::Cell<usize>);

impl std::fmt::Display for Fickle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.set(self.0.get() + 1);
        (0..self.0.get()).try_for_each(|_| f.write_str("x"))
    }
}

impl Serialize for Fickle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[test]
fn a_displayed_value_is_formatted_once() {
    let message = encode(&(Fickle(0.into()), 9_u8)).unwrap();
    assert_eq!(decode::<(String, u8)>(message).unwrap(), ("x".into(), 9));
}

/// Nests by an option, a box and a newtype: two levels each.
#[derive(Debug, Serialize, Deserialize)]
struct List(Option<Box<List>>);

impl List {
    fn of(len: usize) -> Self {
        (1..len).fold(List(None), |inner, _| List(Some(Box::new(inner))))
    }

    fn len(&self) -> usize {
        std::iter::successors(Some(self), |list| list.0.as_deref()).count()
    }
}

#[test]
fn values_nest_up_to_the_limit_and_no_deeper() {
    let most = DEPTH_MAX / 2;
    let message = encode(&List::of(most)).unwrap();
    assert_eq!(decode::<List>(message).unwrap().len(), most);
    assert_eq!(encode(&List::of(most + 1)).unwrap_err().kind(), &EncodeErrorKind::TooDeep);
    assert_eq!(encode(&List::of(20_000)).unwrap_err().kind(), &EncodeErrorKind::TooDeep);

    let hostile = vec![1_u8; 1 << 20];
    let mut decoder = Decoder::new(hostile, Vec::new());
    assert_eq!(decoder.value::<List>().unwrap_err().kind(), &DecodeErrorKind::TooDeep);
}

/// Nests by a struct variant, which CBOR writes as two maps.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Link { next: Box<Chain> },
}

impl Chain {
    fn of(links: usize) -> Self {
        (0..links).fold(Chain::End, |inner, _| Chain::Link { next: Box::new(inner) })
    }
}

#[test]
fn described_values_nest_up_to_the_limit_and_no_deeper() {
    let most = DEPTH_MAX / 2;
    for links in [0, 1, most] {
        arrives(Described(Chain::of(links)));
    }
    let deep = Described(Chain::of(most + 1));
    assert_eq!(encode(&deep).unwrap_err().kind(), &EncodeErrorKind::TooDeep);
    let option_in_option = Described(List::of(2));
    assert_eq!(encode(&option_in_option).unwrap_err().kind(), &EncodeErrorKind::AmbiguousOption);
}

#[test]
fn items_without_bytes_are_counted_on_both_sides() {
    let most = vec![(); UNSIZED_ITEMS_MAX];
    arrives(most);
    let more = vec![(); UNSIZED_ITEMS_MAX + 1];
    assert_eq!(encode(&more).unwrap_err().kind(), &EncodeErrorKind::TooManyUnsizedItems);
    let spread = vec![vec![(); UNSIZED_ITEMS_MAX / 2 + 1]; 2];
    assert_eq!(encode(&spread).unwrap_err().kind(), &EncodeErrorKind::TooManyUnsizedItems);
    arrives(vec![vec![(); 1000]; 1000]);

    // The limit is one value's, not a message's.
    let mut encoder = Encoder::new();
    (0..3).for_each(|_| encoder.value(&vec![(); UNSIZED_ITEMS_MAX]).unwrap());
    let mut decoder = encoder.finish().into_decoder();
    (0..3).for_each(|_| assert_eq!(decoder.value::<Vec<()>>().unwrap().len(), UNSIZED_ITEMS_MAX));

    let hostile = postcard::to_stdvec(&(1_u64 << 60)).unwrap();
    let error = Decoder::new(hostile, Vec::new()).value::<Vec<()>>().unwrap_err();
    assert!(matches!(error.kind(), DecodeErrorKind::LengthBeyondEnd { .. }), "{error}");
}

#[test]
fn items_without_bytes_cannot_multiply_by_nesting() {
    // Each inner sequence claims a million units and costs three bytes.
    let units = postcard::to_stdvec(&UNSIZED_ITEMS_MAX).unwrap();
    let mut hostile = postcard::to_stdvec(&10_000_usize).unwrap();
    (0..10_000).for_each(|_| hostile.extend_from_slice(&units));
    let error = Decoder::new(hostile, Vec::new()).value::<Vec<Vec<()>>>().unwrap_err();
    assert!(matches!(error.kind(), DecodeErrorKind::LengthBeyondEnd { .. } | DecodeErrorKind::TooManyUnsizedItems));
}

#[test]
fn a_failed_value_leaves_nothing_behind() {
    let mut encoder = Encoder::new();
    encoder.value(&1_u8).unwrap();
    encoder.value(&("much text", Liar { says: None, writes: 0 })).unwrap_err();
    encoder.value(&2_u8).unwrap();
    assert_eq!(encoder.finish().bytes(), [1, 2]);
}

/// Panics while it is written.
struct Panics;

impl Serialize for Panics {
    fn serialize<S: serde::Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        panic!("a type's own bug")
    }
}

#[test]
fn a_panicking_value_leaves_nothing_behind() {
    let mut encoder = Encoder::new();
    encoder.value(&1_u8).unwrap();
    let attempt = std::panic::AssertUnwindSafe(|| encoder.value(&("much text", Panics)));
    assert!(std::panic::catch_unwind(attempt).is_err());
    encoder.value(&2_u8).unwrap();
    assert_eq!(encoder.finish().bytes(), [1, 2]);
}

#[test]
fn trailing_bytes_are_an_error() {
    let mut decoder = encode(&(1_u8, 2_u8)).unwrap().into_decoder();
    decoder.value::<u8>().unwrap();
    let error = decoder.finish().unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::TrailingBytes { count: 1 });
    assert!(error.to_string().contains("`u8`"), "{error}");
}

#[test]
fn raw_numbers_must_be_whole() {
    let error = Decoder::new([3, 1, 2, 3], Vec::new()).value::<Vec<u16>>().unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::BulkLength { bytes: 3, item: 2 });
    let error = Decoder::new([4, 1, 2, 3], Vec::new()).value::<Vec<u16>>().unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::UnexpectedEnd);
}

#[test]
fn described_refuses_what_it_would_lose() {
    let lost = [Some(None), Some(Some(1)), None];
    assert_eq!(encode(&Described(lost)).unwrap_err().kind(), &EncodeErrorKind::AmbiguousOption);
    assert_eq!(encode(&Described(Some(()))).unwrap_err().kind(), &EncodeErrorKind::AmbiguousOption);
    arrives(Described(vec![Some(Some(1)), None]));
    arrives(Described((u128::MAX, i128::MIN, 'x', "text".to_string(), f32::MAX, -0.0_f64, vec![0_u8; 10_000])));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Samples {
    #[serde(with = "procession_wire::bulk")]
    values: Vec<f64>,
}

#[test]
fn raw_fields_stay_raw_inside_described() {
    let samples = Described(Samples { values: vec![0.5; 10_000] });
    assert!(encode(&samples).unwrap().bytes().len() < 8 * 10_000 + 32);
    arrives(samples);
}

#[test]
fn nothing_may_follow_a_described_value() {
    let error = decode_slice::<Described<u8>>(&[2, 5, 6], Vec::new()).unwrap_err();
    assert!(error.to_string().contains("1 bytes follow"), "{error}");
    assert_eq!(decode_slice::<Described<u8>>(&[1, 5], Vec::new()).unwrap(), Described(5));
}

#[test]
fn described_inside_described_is_written_once() {
    let nested = Described(vec![Described(1_u8), Described(2)]);
    let plain = Described(vec![1_u8, 2]);
    assert_eq!(encode(&nested).unwrap().bytes(), encode(&plain).unwrap().bytes());
    arrives(nested);
    let mut bytes = Vec::new();
    ciborium::into_writer(&Described(5), &mut bytes).unwrap();
    assert_eq!(bytes, [5]);
    assert_eq!(ciborium::from_reader::<Described<u8>, _>(bytes.as_slice()).unwrap(), Described(5));
}
