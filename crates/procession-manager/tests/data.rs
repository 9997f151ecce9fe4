//! Values without a type: what is the same, what becomes what, and bytes that nobody wrote.
//!
//! Relies on nothing but the public interface; two values are identical here if they are written and shown alike.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::time::Duration;

use procession_manager::data::{
    BigInteger, DATA_DEPTH_MAX, DATA_TEXT_MAX, DataError, DataErrorKind, Key, Opaque, as_set,
};
use procession_manager::{Data, from_data, to_data};
use procession_wire::{DEPTH_MAX, Described, decode, encode};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn written(data: &Data) -> (Vec<u8>, String) {
    (encode(data).unwrap().bytes().to_vec(), format!("{data:?}"))
}

/// What a value is to a message: bytes, which a message writes as it writes a `Vec<u8>`.
fn body(data: &Data) -> Vec<u8> {
    decode(encode(data).unwrap()).unwrap()
}

fn hash(data: &Data) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(data)
}

#[track_caller]
fn kind_of<T: Debug>(result: Result<T, DataError>) -> DataErrorKind {
    result.unwrap_err().kind().clone()
}

/// A chain of so many lists.
fn nested(levels: usize) -> Data {
    (0..levels).fold(Data::Null, |inner, _| Data::list([inner]))
}

/// Integers where types end, and any others.
fn integer() -> impl Strategy<Value = Data> {
    let edges = [0, 1, -1, i64::MAX as i128, i64::MIN as i128, i64::MAX as i128 + 1, i64::MIN as i128 - 1, 1 << 53];
    prop_oneof![
        prop::sample::select(edges.to_vec()).prop_map(Data::from),
        any::<i64>().prop_map(Data::from),
        any::<u64>().prop_map(Data::from),
        any::<i128>().prop_map(Data::from),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Data::integer(&bytes)),
    ]
}

fn float() -> impl Strategy<Value = Data> {
    let edges = [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, 9_223_372_036_854_775_808.0, 1e300, -1e19, 0.1];
    prop_oneof![prop::sample::select(edges.to_vec()), any::<f64>()].prop_map(Data::from)
}

fn leaf() -> impl Strategy<Value = Data> {
    let opaque = |(codec, bytes): (String, Vec<u8>)| Opaque { codec: codec.into(), bytes: bytes.into() };
    prop_oneof![
        Just(Data::Null),
        any::<bool>().prop_map(Data::from),
        integer(),
        float(),
        vec(any::<u8>(), 0..8).prop_map(Data::from),
        any::<String>().prop_map(Data::from),
        prop::sample::select(vec!["a", "b", "1"]).prop_map(Data::from),
        (0x80..=0xbf_u8).prop_map(|third| Data::text(vec![b'x', 0xed, 0xb2, third]).unwrap()),
        ("[a-z]{1,4}", vec(any::<u8>(), 0..4)).prop_map(move |parts| Data::Opaque(Box::new(opaque(parts)))),
    ]
}

fn data() -> impl Strategy<Value = Data> {
    leaf().prop_recursive(5, 60, 12, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..12).prop_map(Data::list),
            vec(inner.clone(), 0..6).prop_map(Data::tuple),
            vec(inner.clone(), 0..12).prop_map(Data::set),
            vec((inner.clone(), inner), 0..12).prop_map(Data::map),
        ]
    })
}

/// Another value that Python takes for the same: other types of numbers, and another order where there is none.
fn twin(data: &Data) -> Data {
    match data {
        Data::Bool(value) => Data::from(f64::from(u8::from(*value))),
        Data::Integer(_) | Data::BigInteger(_) => data.as_f64().map_or_else(|| data.clone(), Data::from),
        Data::Float(float) if *float == 0.0 => Data::from(-float),
        Data::Float(float) if float.trunc() == *float && float.abs() < 1e30 => Data::from(*float as i128),
        Data::List(items) => Data::list(items.iter().map(twin)),
        Data::Tuple(items) => Data::tuple(items.iter().map(twin)),
        Data::Set(items) => Data::set(items.iter().rev().map(twin)),
        Data::Map(pairs) => Data::map(pairs.iter().rev().map(|(key, value)| (twin(key), twin(value)))),
        other => other.clone(),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rich {
    flag: bool,
    small: i8,
    large: u64,
    huge: i128,
    wide: u128,
    narrow: f32,
    ratio: f64,
    letter: char,
    name: String,
    nothing: (),
    unit: Unit,
    maybe: Option<Box<Rich>>,
    many: Vec<Shape>,
    raw: Vec<u8>,
    #[serde(with = "procession_wire::bulk")]
    pixels: Vec<u8>,
    pair: (u8, String),
    array: [i16; 3],
    by_number: BTreeMap<i64, Shape>,
    by_pair: HashMap<(bool, u8), String>,
    #[serde(with = "as_set")]
    tags: HashSet<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    skipped: Option<u8>,
    loose: Loose,
    tagged: Tagged,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Newtype(Option<u32>),
    Tuple(u8, String),
    Struct { x: i32, y: Wrapper },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrapper(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
    List(Vec<Loose>),
    Fields { left: u8 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Nothing,
    Open {
        #[serde(flatten)]
        rest: BTreeMap<String, Loose>,
    },
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Empty),
        any::<Option<u32>>().prop_map(Shape::Newtype),
        any::<(u8, String)>().prop_map(|(number, text)| Shape::Tuple(number, text)),
        any::<(i32, u64)>().prop_map(|(x, y)| Shape::Struct { x, y: Wrapper(y) }),
    ]
}

fn loose() -> impl Strategy<Value = Loose> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Loose::Number),
        any::<String>().prop_map(Loose::Text),
        any::<u8>().prop_map(|left| Loose::Fields { left }),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| vec(inner, 0..4).prop_map(Loose::List))
}

fn tagged() -> impl Strategy<Value = Tagged> {
    let rest = prop::collection::btree_map("_[a-z]{1,3}", loose(), 0..3);
    prop_oneof![Just(Tagged::Nothing), rest.prop_map(|rest| Tagged::Open { rest })]
}

prop_compose! {
    fn rich()(
        (flag, small, large, huge, wide) in any::<(bool, i8, u64, i128, u128)>(),
        (narrow, ratio, letter, name) in (prop::num::f32::NORMAL, prop::num::f64::NORMAL, any::<char>(), any::<String>()),
        (many, skipped) in (vec(shape(), 0..4), any::<Option<u8>>()),
        (raw, pixels, pair, array) in any::<(Vec<u8>, Vec<u8>, (u8, String), [i16; 3])>(),
        by_number in prop::collection::btree_map(any::<i64>(), shape(), 0..12),
        by_pair in prop::collection::hash_map(any::<(bool, u8)>(), any::<String>(), 0..12),
        tags in prop::collection::hash_set("[a-z]{0,3}", 0..12),
        (loose, tagged) in (loose(), tagged()),
    ) -> Rich {
        let (nothing, unit, maybe) = ((), Unit, None);
        Rich {
            flag, small, large, huge, wide, narrow, ratio, letter, name, nothing, unit, maybe, many, raw, pixels, pair,
            array, by_number, by_pair, tags, skipped, loose, tagged,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_value_travels_as_it_is(data in data()) {
        let was = written(&data);
        prop_assert_eq!(&written(&decode::<Data>(encode(&data).unwrap()).unwrap()), &was);
        prop_assert_eq!(&written(&to_data(&data).unwrap()), &was);
        prop_assert_eq!(&written(&to_data(&vec![data.clone()]).unwrap()[0]), &was);
        prop_assert_eq!(&written(&data.clone()), &was);
        let held: (u8, Data) = from_data(Data::tuple([Data::from(1), data.clone()])).unwrap();
        prop_assert_eq!(&written(&held.1), &was);
        let described: Described<Vec<Data>> = decode(encode(&Described(vec![data.clone()])).unwrap()).unwrap();
        prop_assert_eq!(&written(&described[0]), &was);
    }

    #[test]
    fn same_values_have_one_hash(data in data()) {
        let twin = twin(&data);
        prop_assert_eq!(hash(&data), hash(&twin));
        prop_assert_eq!(Key(data.clone()), Key(twin.clone()));
        prop_assert!(format!("{data:?}").contains("nan") || data == twin, "{:?} and {:?}", data, twin);
    }

    #[test]
    fn equality_is_symmetric_and_its_hash_follows(one in data(), other in data()) {
        prop_assert_eq!(one == other, other == one);
        prop_assert!(one != other || hash(&one) == hash(&other));
        prop_assert_eq!(one == other, one.partial_cmp(&other).is_some_and(Ordering::is_eq));
        prop_assert_eq!(one.partial_cmp(&other), other.partial_cmp(&one).map(Ordering::reverse));
    }

    #[test]
    fn a_rich_type_comes_back(mut rich in rich(), inner in proptest::option::of(rich())) {
        rich.maybe = inner.map(Box::new);
        let data = to_data(&rich).unwrap();
        let travelled: Data = decode(encode(&data).unwrap()).unwrap();
        prop_assert_eq!(from_data::<Rich>(travelled).unwrap(), rich);
    }

    #[test]
    fn bytes_that_nobody_wrote(tail in vec(prop_oneof![4 => 0_u8..16, 1 => any::<u8>()], 0..200)) {
        let bytes = [&body(&Data::Null)[..4], &tail].concat();
        if let Ok(data) = decode::<Data>(encode(&bytes).unwrap()) {
            prop_assert_eq!(body(&data), bytes);
        }
    }

    #[test]
    fn a_flipped_byte(data in data(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = body(&data);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = decode::<Data>(encode(&bytes).unwrap()) {
            prop_assert_eq!(body(&read), bytes);
        }
    }
}

#[test]
fn what_is_there_twice_is_refused() {
    let head = &body(&Data::Null)[..4];
    // Tags: 3 an integer and its doubled value, 2 true, 12 a map, 13 a set.
    for twice in [[13, 2, 3, 2, 2].as_slice(), &[12, 2, 3, 2, 0, 2, 0]] {
        let error = decode::<Data>(encode(&[head, twice].concat()).unwrap()).unwrap_err();
        assert!(error.to_string().contains("true is there twice"), "{error}");
    }
}

/// Two sets at each level, which differ in one of their innermost members, in this order or in the other.
fn twins(levels: usize, last: usize, is_reversed: bool) -> Data {
    if levels == 0 {
        return Data::from(last);
    }
    let mut members = [twins(levels - 1, 0, is_reversed), twins(levels - 1, last + 1, is_reversed)];
    if is_reversed {
        members.reverse();
    }
    Data::set(members)
}

#[test]
fn sets_in_sets_are_the_same_in_any_order() {
    assert_eq!(twins(8, 0, false), twins(8, 0, true));
    assert_ne!(twins(8, 0, false), twins(8, 1, true));
    assert_eq!(hash(&twins(8, 0, false)), hash(&twins(8, 0, true)));
}

#[test]
fn order_is_that_of_numbers_and_texts() {
    let infinite = Data::from(f64::INFINITY);
    let rising = [
        Data::from(f64::NEG_INFINITY),
        Data::from(-1e300),
        Data::from(i128::MIN),
        Data::from(i128::from(i64::MIN) - 1),
        Data::from(i64::MIN),
        Data::from(-1.5),
        Data::from(-1),
        Data::from(-0.5),
        Data::from(false),
        Data::from(0.5),
        Data::from(1),
        Data::from((1_i64 << 53) as f64),
        Data::from((1_i64 << 53) + 1),
        Data::from(u64::MAX),
        Data::from(2_f64.powi(64)),
        Data::from(u128::MAX),
        Data::from(1e300),
        infinite,
    ];
    for (at, one) in rising.iter().enumerate() {
        for (other_at, other) in rising.iter().enumerate() {
            assert_eq!(one.partial_cmp(other), Some(at.cmp(&other_at)), "{one} and {other}");
        }
        assert_eq!(one.partial_cmp(&Data::from(f64::NAN)), None);
        assert_eq!(Data::from(f64::NAN).partial_cmp(one), None);
    }
    let texts = [Data::from("\u{d7ff}"), Data::text(*b"\xed\xb2\x80").unwrap(), Data::from("\u{e000}")];
    assert!(texts.is_sorted() && texts[0] != texts[1]);
    assert!(Data::tuple([1, 2]) < Data::tuple([1, 3]));
    assert_eq!(Data::tuple([1]).partial_cmp(&Data::list([1])), None);
}

#[test]
fn numbers_are_the_same_as_numbers() {
    let ones = [Data::from(true), Data::from(1), Data::from(1.0)];
    for (one, other) in ones.iter().flat_map(|one| ones.iter().map(move |other| (one, other))) {
        assert_eq!(one, other);
        assert_eq!(hash(one), hash(other));
    }
    assert_eq!(Data::from(1e300), Data::integer(&whole(1e300)));
    assert_ne!(Data::from((1_i64 << 53) + 1), Data::from((1_u64 << 53) as f64));
    assert_ne!(Data::from("1"), Data::from(1));
    assert_ne!(Data::from("a"), Data::from(b"a"));
    assert_ne!(Data::Null, Data::from(false));
    assert_ne!(Data::from(f64::NAN), Data::from(f64::NAN));
    assert_eq!(Data::map([(1, "a"), (2, "b")]), Data::map([(2.0, "b"), (1.0, "a")]));
    assert_eq!(Data::map([(f64::NAN, 1)]), Data::map([(f64::NAN, 1)]));
    assert_eq!(Data::map([(1, "a"), (2, "b"), (1, "c")]).to_string(), r#"{1: "c", 2: "b"}"#);
    assert_eq!(Data::set((0..40).chain(0..40)).as_set().unwrap().len(), 40);
    assert_eq!(Data::map((0..40).chain(0..40).map(|key| (key, key))).as_map().unwrap().len(), 40);
}

/// The bytes of a large float's integer.
fn whole(float: f64) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), float);
    while rest >= 1.0 {
        bytes.push((rest % 256.0) as u8);
        rest = (rest / 256.0).trunc();
    }
    bytes.push(0);
    bytes
}

#[test]
fn what_is_too_deep_is_refused() {
    let most = nested(DATA_DEPTH_MAX);
    assert_eq!(most.depth(), DATA_DEPTH_MAX);
    assert_eq!(most, decode::<Data>(encode(&most).unwrap()).unwrap());
    assert_eq!(most, to_data(&most).unwrap());
    assert_eq!(most, from_data::<Data>(most.clone()).unwrap());

    let over = nested(DATA_DEPTH_MAX + 1);
    assert!(encode(&over).unwrap_err().to_string().contains("deeper than 200"));
    assert_eq!(kind_of(to_data(&over)), DataErrorKind::TooDeep);
    assert_eq!(kind_of(from_data::<Data>(over)), DataErrorKind::TooDeep);

    // A type that asks what follows at each level, for which serde goes over all that is below.
    let lists = (1..DATA_DEPTH_MAX).fold(Data::from(1), |inner, _| Data::list([inner]));
    assert!(matches!(from_data::<Loose>(lists), Ok(Loose::List(_))));

    // The bytes of one level more, as an honest sender does not write them.
    let bytes = body(&most);
    let deeper = [&bytes[..4], &[10, 1], &bytes[4..]].concat();
    let error = decode::<Data>(encode(&deeper).unwrap()).unwrap_err();
    assert!(error.to_string().contains("deeper than 200"), "{error}");
}

#[test]
fn hundreds_of_thousands_of_levels_need_no_stack() {
    let wraps: [fn(Data) -> Data; 4] = [
        |inner| Data::list([inner]),
        |inner| Data::tuple([Data::Null, inner]),
        |inner| Data::Set(vec![inner].into()),
        |inner| Data::map([(Data::Null, inner)]),
    ];
    for wrap in wraps {
        let deep = (0..200_000).fold(Data::Null, |inner, _| wrap(inner));
        let other = deep.clone();
        assert_eq!(deep.depth(), 200_000);
        assert!(deep != other, "what is too deep is not looked at");
        assert_eq!(hash(&deep), hash(&other));
        assert!(format!("{deep:?}").contains('…'));
        assert!(to_data(&deep).is_err() && encode(&deep).is_err());
        assert!(from_data::<Loose>(other).is_err());
    }
}

#[test]
fn memory_is_bounded_by_the_message() {
    let head = body(&Data::Null)[..4].to_vec();
    // Each level announces two million values, which would be 64 MB.
    let mut bytes = head.clone();
    (0..DATA_DEPTH_MAX).for_each(|_| bytes.extend([10, 0x80, 0x89, 0x7a]));
    bytes.resize(3_000_000, 0);
    let error = decode::<Data>(encode(&bytes).unwrap()).unwrap_err();
    assert!(error.to_string().contains("more values are announced"), "{error}");
    for count in [[0xff; 9].as_slice(), &[0xff, 0xff, 0xff, 0xff, 0x7f]] {
        for tag in 4..14 {
            let bytes = [&head, [tag].as_slice(), count, &[1]].concat();
            assert!(tag == 5 || decode::<Data>(encode(&bytes).unwrap()).is_err(), "{tag}");
        }
    }
}

/// What is read of a value is this.
#[track_caller]
fn reads<T: DeserializeOwned + PartialEq + Debug>(data: impl Into<Data>, expected: T) {
    assert_eq!(from_data::<T>(data.into()).unwrap(), expected);
}

/// The value is refused with this message.
#[track_caller]
fn refuses<T: DeserializeOwned + Debug>(data: impl Into<Data>, message: &str) {
    let error = from_data::<T>(data.into()).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn what_python_sends_is_read_as_what_rust_asks_for() {
    reads(1, 1.0_f64);
    reads(1, 1.0_f32);
    reads(0.1, 0.1_f32);
    reads(u64::MAX, u64::MAX);
    reads(u128::MAX, u128::MAX);
    reads(Data::list([1, 2]), (1_u8, 2_u8));
    reads(Data::tuple([1, 2]), vec![1_u8, 2]);
    reads(Data::set([1, 2]), HashSet::from([1, 2]));
    reads(Data::list([1, 2]), HashSet::from([1, 2]));
    reads(b"ab", vec![b'a', b'b']);
    reads(b"ab", *b"ab");
    reads(Data::tuple::<Data>([]), ());
    reads("x", 'x');
    reads("127.0.0.1", IpAddr::from([127, 0, 0, 1]));
    reads(Data::map([("secs", 1), ("nanos", 5)]), Duration::new(1, 5));
    reads(Data::map([("Empty", Data::Null)]), Shape::Empty);
    reads(Data::map([("Tuple", Data::list([Data::from(1), Data::from("a")]))]), Shape::Tuple(1, "a".into()));
    reads((), None::<u8>);
    reads(Data::map([(Data::tuple([true]), 1)]), HashMap::from([((true,), 1)]));
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    refuses::<u8>(300, "cannot read `u8` from data: 300 is no u8");
    refuses::<u64>(-1, "-1 is no u64");
    refuses::<i64>(1.0, "found the float 1.0 where i64 is asked for");
    refuses::<i64>(true, "found true where i64 is asked for");
    refuses::<bool>(1, "found the integer 1 where a boolean is asked for");
    refuses::<f64>(i64::MAX, "9223372036854775807 is no f64");
    refuses::<f32>(16_777_217, "16777217 is no f32");
    refuses::<f32>(1e300, "1e300 is no f32");
    refuses::<String>(Data::text(*b"\xed\xb2\x80").unwrap(), r#"the text "\udc80", which is not Unicode,"#);
    refuses::<(u8, u8)>(Data::list([1]), "found 1 values where a tuple of size 2 is asked for");
    refuses::<(u8, u8)>(Data::list([1, 2, 3]), "found 3 values");
    refuses::<(u8, u8)>(Data::set([1, 2]), "found the set {1, 2}");
    refuses::<Shape>("Round", "there is no variant `Round`, only `Empty`, `Newtype`, `Tuple`, `Struct`");
    refuses::<Shape>("Tuple", "at Tuple: found null where the variant's content is asked for");
    let point = Data::map([("x", Data::from(1)), ("y", Data::from("far"))]);
    let shapes = Data::map([("all", Data::list([Data::from("Empty"), Data::map([("Struct", point)])]))]);
    let message = r#"at all[1].Struct.y: found the text "far" where u64 is asked for"#;
    refuses::<HashMap<String, Vec<Shape>>>(shapes, message);
    refuses::<HashMap<u8, u16>>(Data::map([(1, 2), (3, 70_000)]), "at [3]: 70000 is no u16");
    refuses::<Duration>(Data::map([("secs", 1)]), "the field `nanos` is missing");
    let long = from_data::<u8>(Data::from("x".repeat(10_000))).unwrap_err();
    assert!(long.to_string().len() < 300, "{long}");
}

#[derive(Serialize, PartialEq, Eq, Hash)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Flag(bool),
}

#[derive(Serialize)]
struct Chain(Option<Box<Chain>>);

#[test]
fn what_would_be_lost_is_not_made() {
    assert_eq!(kind_of(to_data(&Some(None::<u8>))), DataErrorKind::AmbiguousOption);
    assert_eq!(kind_of(to_data(&Some(()))), DataErrorKind::AmbiguousOption);
    assert_eq!(to_data(&Some(Some(1))).unwrap(), 1);
    assert_eq!(to_data(&None::<Option<u8>>).unwrap(), Data::Null);
    let jobs = to_data(&BTreeMap::from([("jobs", vec![Some(Some(1)), Some(None)])])).unwrap_err();
    assert_eq!(jobs.path(), "jobs[1]");

    let twice = to_data(&HashMap::from([(Number::Whole(1), "a"), (Number::Flag(true), "b")]));
    assert!(matches!(kind_of(twice), DataErrorKind::RepeatedKey { .. }));

    let chain = (0..10_000).fold(Chain(None), |chain, _| Chain(Some(Box::new(chain))));
    assert_eq!(kind_of(to_data(&chain)), DataErrorKind::TooDeep);
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Number(i64),
    Other(Data),
}

#[derive(Debug, Serialize, Deserialize)]
struct Extra {
    id: u8,
    #[serde(flatten)]
    rest: HashMap<String, Data>,
}

#[test]
fn a_value_in_a_type_that_asks_what_follows() {
    let bytes = Data::from(b"raw");
    let sent = Any::Other(Data::map([("k", bytes.clone())]));
    let same: Any = from_data(to_data(&sent).unwrap()).unwrap();
    assert!(matches!(&same, Any::Other(data) if data["k"] == bytes), "{same:?}");
    // Through CBOR, where serde's own buffer takes the value's bytes for bytes.
    let arrived: Described<Any> = decode(encode(&Described(sent)).unwrap()).unwrap();
    assert!(matches!(&*arrived, Any::Other(data) if data["k"] == bytes), "{arrived:?}");

    let extra = Data::map([("id", Data::from(1)), ("a", Data::list([1, 2])), ("b", bytes.clone())]);
    let extra: Extra = from_data(extra).unwrap();
    assert_eq!((extra.id, &extra.rest["a"], &extra.rest["b"]), (1, &Data::list([1, 2]), &bytes));
    let extra: Described<Extra> = decode(encode(&Described(extra)).unwrap()).unwrap();
    assert_eq!((&extra.rest["a"], &extra.rest["b"]), (&Data::list([1, 2]), &bytes));
}

#[test]
fn people_see_all_kinds_and_not_too_much() {
    let opaque = Data::Opaque(Box::new(Opaque { codec: "pickle".into(), bytes: vec![0; 12].into() }));
    let all = Data::list([Data::tuple([1]), Data::tuple::<Data>([]), Data::set::<Data>([]), opaque, f64::NAN.into()]);
    assert_eq!(all.to_string(), "[(1,), (), set(), <pickle, 12 bytes>, nan]");
    let fits = Data::from("x".repeat(DATA_TEXT_MAX - 2)).to_string();
    assert!(fits.chars().count() == DATA_TEXT_MAX && fits.ends_with("x\""), "{fits}");
    let cut = Data::from("ä".repeat(1_000_000)).to_string();
    assert_eq!((cut.chars().count(), cut.chars().last()), (DATA_TEXT_MAX, Some('…')));
    assert_eq!(format!("{:>5}|{:<5}|", Data::Null, Data::from(1)), " null|1    |");
}

#[test]
fn sizes() {
    assert!(size_of::<Data>() <= 32);
    assert!(size_of::<Option<BigInteger>>() <= 16);
    const { assert!(DATA_DEPTH_MAX < DEPTH_MAX) };
}
