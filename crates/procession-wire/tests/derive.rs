//! What serde's derive really does with each attribute, and that none of it is delivered as another value.
//!
//! Each test is one attribute or one combination. A type either arrives as it was sent, or is refused with an
//! error that says what to do; the types for which bare postcard delivers something else are among them.

use procession_wire::{DecodeErrorKind, Described, EncodeErrorKind, decode, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// The value arrives as it was sent, also with other values before and behind it.
#[track_caller]
fn arrives<T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + 'static>(value: T) {
    arrives_as(value.clone(), value);
}

/// The value arrives as this other value, which is what its attributes ask for.
#[track_caller]
fn arrives_as<S, R>(sent: S, expected: R)
where
    S: Serialize + Clone + 'static,
    R: DeserializeOwned + Clone + PartialEq + Debug + 'static,
{
    let many = (7_u32, vec![sent.clone(), sent.clone()], sent, "end".to_string());
    let arrived: (u32, Vec<R>, R, String) = decode(encode(&many).unwrap()).unwrap();
    assert_eq!(arrived, (7, vec![expected.clone(), expected.clone()], expected, "end".to_string()));
}

/// Encoding is refused; gives the reason.
#[track_caller]
fn refused_by_encoder<T: Serialize + 'static>(value: T) -> EncodeErrorKind {
    encode(&value).unwrap_err().kind().clone()
}

/// Decoding is refused, whatever stands before and behind; gives the reason.
#[track_caller]
fn refused_by_decoder<T: Serialize + DeserializeOwned + Debug + Clone + 'static>(value: T) -> DecodeErrorKind {
    let many = (value.clone(), [0_u8; 32]);
    decode::<(T, [u8; 32])>(encode(&many).unwrap()).unwrap_err();
    let error = decode::<T>(encode(&value).unwrap()).unwrap_err();
    assert!(error.to_string().contains("Described"), "no remedy in: {error}");
    error.kind().clone()
}

/// Wrapped as the errors advise, the value arrives.
#[track_caller]
fn arrives_described<T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + 'static>(value: T) {
    arrives(Described(value));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipIf {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    retries: Option<u8>,
    level: u8,
    id: u32,
}

#[test]
fn skip_serializing_if() {
    arrives(SkipIf { retries: Some(1), level: 1, id: 7 });
    let left_out = SkipIf { retries: None, level: 0, id: 300 };
    let expected = EncodeErrorKind::SkippedField { container: "SkipIf", field: "retries" };
    assert_eq!(refused_by_encoder(left_out.clone()), expected);
    assert_eq!(refused_by_encoder(vec![left_out.clone()]), expected);
    arrives_described(left_out);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum SkipIfVariant {
    Job {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retries: Option<u8>,
        level: u8,
    },
}

#[test]
fn skip_serializing_if_in_a_variant() {
    arrives(SkipIfVariant::Job { retries: Some(3), level: 9 });
    let left_out = SkipIfVariant::Job { retries: None, level: 9 };
    let expected = EncodeErrorKind::SkippedField { container: "Job", field: "retries" };
    assert_eq!(refused_by_encoder(left_out.clone()), expected);
    arrives_described(left_out);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipIfTuple(u8, u8, #[serde(skip_serializing_if = "Option::is_none", default)] Option<u8>);

#[test]
fn skip_serializing_if_in_a_tuple_struct() {
    arrives(SkipIfTuple(1, 2, Some(3)));
    let expected = DecodeErrorKind::Fields { container: "SkipIfTuple", found: 2 };
    assert_eq!(refused_by_decoder(SkipIfTuple(1, 2, None)), expected);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipBoth {
    before: u8,
    #[serde(skip)]
    cache: Option<String>,
    after: u8,
}

#[test]
fn skip_on_both_sides() {
    let cached = SkipBoth { before: 1, cache: Some("x".into()), after: 2 };
    arrives_as(cached.clone(), SkipBoth { cache: None, ..cached });
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipWriting {
    #[serde(skip_serializing)]
    secret: u8,
    shown: u8,
}

#[test]
fn skip_serializing() {
    let expected = DecodeErrorKind::Fields { container: "SkipWriting", found: 1 };
    assert_eq!(refused_by_decoder(SkipWriting { secret: 1, shown: 2 }), expected);
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct SkipWritingDefault {
    #[serde(skip_serializing)]
    secret: u8,
    shown: u8,
}

#[test]
fn skip_serializing_with_defaults_that_would_hide_the_shift() {
    let expected = DecodeErrorKind::Fields { container: "SkipWritingDefault", found: 1 };
    assert_eq!(refused_by_decoder(SkipWritingDefault { secret: 1, shown: 2 }), expected);
    let sent = Described(SkipWritingDefault { secret: 1, shown: 2 });
    arrives_as(sent, Described(SkipWritingDefault { secret: 0, shown: 2 }));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipReading {
    #[serde(skip_deserializing)]
    computed: u8,
    given: u8,
}

#[test]
fn skip_deserializing() {
    let expected = DecodeErrorKind::Fields { container: "SkipReading", found: 2 };
    assert_eq!(refused_by_decoder(SkipReading { computed: 1, given: 2 }), expected);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipCrosswise {
    #[serde(skip_serializing, default)]
    password: u64,
    #[serde(skip_deserializing)]
    id: u64,
}

#[test]
fn skip_serializing_of_one_field_and_skip_deserializing_of_another() {
    let expected = DecodeErrorKind::Fields { container: "SkipCrosswise", found: 1 };
    assert_eq!(refused_by_decoder(SkipCrosswise { password: 1, id: 2 }), expected);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipTuple(u8, #[serde(skip)] u8, u8);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipTupleWriting(u8, #[serde(skip_serializing)] u8, u8);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkipNewtype(#[serde(skip)] u8);

#[test]
fn skip_in_tuple_structs() {
    arrives_as(SkipTuple(1, 2, 3), SkipTuple(1, 0, 3));
    let expected = DecodeErrorKind::Fields { container: "SkipTupleWriting", found: 2 };
    assert_eq!(refused_by_decoder(SkipTupleWriting(1, 2, 3)), expected);
    arrives(SkipNewtype(5)); // The derive ignores the attribute here, on both sides.
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Alias {
    #[serde(alias = "label", alias = "title")]
    name: String,
    size: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AliasAndSkip {
    #[serde(skip_serializing, default)]
    hidden: u8,
    #[serde(alias = "other")]
    shown: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AliasAndSkipReading {
    #[serde(alias = "one", alias = "two", alias = "three")]
    given: u8,
    #[serde(skip_deserializing)]
    computed: u8,
}

#[test]
fn aliases() {
    arrives(Alias { name: "x".into(), size: 1 });
    let expected = DecodeErrorKind::Fields { container: "AliasAndSkip", found: 1 };
    assert_eq!(refused_by_decoder(AliasAndSkip { hidden: 1, shown: 2 }), expected);
    let expected = DecodeErrorKind::Fields { container: "AliasAndSkipReading", found: 2 };
    assert_eq!(refused_by_decoder(AliasAndSkipReading { given: 1, computed: 2 }), expected);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Renamed {
    first_field: u8,
    #[serde(rename = "second")]
    second_field: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RenamedOnce {
    #[serde(rename(serialize = "out", deserialize = "in"))]
    field: u8,
}

#[test]
fn renames() {
    arrives(Renamed { first_field: 1, second_field: 2 });
    let expected = DecodeErrorKind::Fields { container: "RenamedOnce", found: 1 };
    assert_eq!(refused_by_decoder(RenamedOnce { field: 1 }), expected);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum SkippedVariant {
    A,
    #[serde(skip)]
    #[expect(dead_code, reason = "it is there to shift the numbers of the others")]
    B,
    C,
    #[serde(alias = "Delta", alias = "Aleph")]
    D(u8),
    E {
        x: u8,
    },
}

#[test]
fn a_variant_behind_a_skipped_one_is_not_taken_for_its_neighbor() {
    arrives(vec![SkippedVariant::A, SkippedVariant::C, SkippedVariant::D(4), SkippedVariant::E { x: 5 }]);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum VariantReadOnly {
    A,
    #[serde(skip_deserializing)]
    Unread,
}

#[test]
fn a_variant_that_is_not_read_is_refused() {
    arrives(VariantReadOnly::A);
    let expected = DecodeErrorKind::Variant { container: "VariantReadOnly", index: 1 };
    assert_eq!(refused_by_decoder(VariantReadOnly::Unread), expected);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum SkipNewtypeVariant {
    Both(#[serde(skip)] u8),
    Writing(#[serde(skip_serializing)] u8),
    Reading(#[serde(skip_deserializing)] u8),
    Pair(u8, #[serde(skip_serializing)] u8),
}

#[test]
fn skip_in_variants() {
    arrives_as(SkipNewtypeVariant::Both(1), SkipNewtypeVariant::Both(0));
    let refused = |index| DecodeErrorKind::Variant { container: "SkipNewtypeVariant", index };
    assert_eq!(refused_by_decoder(SkipNewtypeVariant::Writing(1)), refused(1));
    assert_eq!(refused_by_decoder(SkipNewtypeVariant::Reading(1)), refused(2));
    let expected = DecodeErrorKind::Fields { container: "Pair", found: 1 };
    assert_eq!(refused_by_decoder(SkipNewtypeVariant::Pair(1, 2)), expected);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Other {
    Known(u8),
    #[serde(other)]
    Unknown,
}

#[test]
fn other() {
    arrives(vec![Other::Known(1), Other::Unknown]);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
    Fields { a: u8, b: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Fields { a: u8 },
    Unit,
    Newtype(Inner),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner {
    a: u8,
}

#[test]
fn untagged_and_internally_tagged_enums() {
    let untagged = [Untagged::Number(1), Untagged::Text("x".into()), Untagged::Fields { a: 1, b: Some("y".into()) }];
    for value in untagged {
        assert_eq!(refused_by_decoder(value.clone()), DecodeErrorKind::SelfDescribing);
        arrives_described(value);
    }
    for value in [Tagged::Fields { a: 1 }, Tagged::Unit, Tagged::Newtype(Inner { a: 2 })] {
        assert_eq!(refused_by_decoder(value.clone()), DecodeErrorKind::SelfDescribing);
        arrives_described(value);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
enum Adjacent {
    Fields { a: u8 },
    Newtype(String),
    Unit,
}

#[test]
fn adjacently_tagged_enums() {
    let values = [Adjacent::Fields { a: 1 }, Adjacent::Newtype("x".into()), Adjacent::Unit];
    for value in values.clone() {
        refused_by_decoder(value);
    }
    arrives_described(values.to_vec());
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flattened {
    #[serde(flatten)]
    inner: Inner,
    k: u8,
}

#[test]
fn flatten() {
    let value = Flattened { inner: Inner { a: 1 }, k: 2 };
    assert_eq!(refused_by_encoder(value.clone()), EncodeErrorKind::UnknownLength);
    arrives_described(value);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Empty {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct EmptyTuple();

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent {
    inner: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
struct Converted(u8);

impl From<u8> for Converted {
    fn from(value: u8) -> Self {
        Converted(value)
    }
}

impl From<Converted> for u8 {
    fn from(value: Converted) -> Self {
        value.0
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Generic<T> {
    marker: std::marker::PhantomData<T>,
    value: T,
}

#[test]
fn types_with_little_in_them() {
    arrives(Unit);
    arrives(Empty {});
    arrives(EmptyTuple());
    arrives(Transparent { inner: 4 });
    arrives(Converted(4));
    arrives(Generic { marker: std::marker::PhantomData, value: Some(Unit) });
    arrives([(); 3]);
    arrives([0_u8; 0]);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Defaults {
    a: u8,
    #[serde(default = "Defaults::seven")]
    b: u8,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults { a: 1, b: Defaults::seven() }
    }
}

impl Defaults {
    fn seven() -> u8 {
        7
    }
}

#[test]
fn defaults_alone_change_nothing() {
    arrives(Defaults { a: 3, b: 4 });
}
