//! Sequences of bytes that nothing marks as such, which take a way of their own: the form and the checks are everyone's.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Formatter;
use std::marker::PhantomData;

use procession_wire::{DecodeError, DecodeErrorKind, EncodeErrorKind, decode, decode_slice, encode};
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize};

#[test]
fn bytes_travel_as_postcard_has_them() {
    for len in [0, 1, 127, 128, 300, 70_000, (1 << 20) + 1] {
        let bytes: Vec<u8> = (0..len).map(|at| (at ^ (at >> 8)) as u8).collect();
        let deque: VecDeque<u8> = bytes.iter().copied().collect();
        let set: BTreeSet<u8> = bytes.iter().copied().collect();
        let boxed: Box<[u8]> = bytes.clone().into();
        let value = (7_u64, bytes, deque, set, boxed, vec![vec![1_u8, 2], vec![], vec![255]], "after");
        let sent = encode(&value).unwrap();
        assert_eq!(sent.bytes(), postcard::to_stdvec(&value).unwrap());
        type Arrived = (u64, Vec<u8>, VecDeque<u8>, BTreeSet<u8>, Box<[u8]>, Vec<Vec<u8>>, String);
        let arrived: Arrived = decode(sent).unwrap();
        assert_eq!((arrived.0, arrived.1, arrived.2, arrived.3), (value.0, value.1, value.2, value.3));
        assert_eq!((arrived.4, arrived.5, arrived.6.as_str()), (value.4, value.5, value.6));
    }
}

/// Bytes of which there are fewer or more than it says.
struct Liar(usize, Vec<u8>);

impl Serialize for Liar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(Counted { says: self.0, bytes: self.1.iter() })
    }
}

struct Counted<'a> {
    says: usize,
    bytes: std::slice::Iter<'a, u8>,
}

impl<'a> Iterator for Counted<'a> {
    type Item = &'a u8;

    fn next(&mut self) -> Option<&'a u8> {
        self.bytes.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.says, Some(self.says))
    }
}

#[test]
fn bytes_must_be_as_many_as_was_said() {
    let wrong = |declared| EncodeErrorKind::WrongLength { container: "sequence", declared };
    assert_eq!(encode(&(1_u8, Liar(3, vec![1, 2]))).unwrap_err().kind(), &wrong(3));
    assert_eq!(encode(&(1_u8, Liar(1, vec![1, 2]))).unwrap_err().kind(), &wrong(1));
    encode(&(1_u8, Liar(2, vec![1, 2]))).unwrap();
}

#[test]
fn what_is_cut_off_is_refused_wherever_that_is() {
    let whole = encode(&(1_u8, vec![9_u8; 200], 3_u8)).unwrap().bytes().to_vec();
    type Value = (u8, Vec<u8>, u8);
    decode_slice::<Value>(&whole, Vec::new()).unwrap();
    for len in 0..whole.len() {
        let error = decode_slice::<Value>(&whole[..len], Vec::new()).unwrap_err();
        assert_eq!(error.kind(), &DecodeErrorKind::UnexpectedEnd, "{len} bytes");
    }
    let mut long = whole;
    long.push(0);
    let error = decode_slice::<Value>(&long, Vec::new()).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::TrailingBytes { count: 1 });
}

#[test]
fn a_length_that_lies_reserves_nothing_and_is_refused() {
    let lengths: [&[u8]; 2] = [&[0xff, 0xff, 0x3f], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]];
    for length in lengths {
        let bytes = [&[1], length, &[1, 2, 3]].concat();
        decode_slice::<(u8, Vec<u8>)>(&bytes, Vec::new()).unwrap_err();
    }
}

/// Items of several kinds, in a type that is named as if they were bytes.
#[derive(Debug, PartialEq)]
struct Mixed<T> {
    text: String,
    of: PhantomData<T>,
}

struct Items;

impl Serialize for Items {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = serializer.serialize_seq(Some(8))?;
        items.serialize_element(&1_u8)?;
        items.serialize_element(&2_u8)?;
        items.serialize_element(&())?;
        items.serialize_element(&3_u8)?;
        items.serialize_element(&Some(1000_u16))?;
        items.serialize_element("text")?;
        items.serialize_element(&vec![4_u8, 5])?;
        items.serialize_element(&6_u8)?;
        items.end()
    }
}

/// Is there without being read.
struct Nothing;

impl<'de> DeserializeSeed<'de> for Nothing {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Ok(())
    }
}

impl<'de, T> Deserialize<'de> for Mixed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MixedVisitor(PhantomData))
    }
}

struct MixedVisitor<T>(PhantomData<T>);

impl<'de, T> Visitor<'de> for MixedVisitor<T> {
    type Value = Mixed<T>;

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("items of several kinds")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Mixed<T>, A::Error> {
        let mut text = format!("{:?}", items.size_hint());
        text += &format!(" {:?} {:?}", items.next_element::<u8>()?, items.next_element::<u8>()?);
        text += &format!(" {:?} {:?}", items.next_element_seed(Nothing)?, items.next_element::<u8>()?);
        text += &format!(" {:?} {:?}", items.next_element::<Option<u16>>()?, items.next_element::<String>()?);
        text += &format!(" {:?} {:?}", items.next_element::<Vec<u8>>()?, items.size_hint());
        text += &format!(" {:?} {:?}", items.next_element::<u8>()?, items.next_element::<u8>()?);
        Ok(Mixed { text, of: PhantomData })
    }
}

/// What comes of reading the items, and how many bytes that were.
fn read<T: 'static>() -> Result<(Mixed<T>, u8), DecodeError> {
    decode(encode(&(Items, 9_u8)).unwrap())
}

#[test]
fn items_of_other_kinds_are_read_among_bytes_as_anywhere() {
    let (bytes, last) = read::<u8>().unwrap();
    assert_eq!(last, 9);
    let as_said = "Some(8) Some(1) Some(2) Some(()) Some(3) Some(Some(1000)) Some(\"text\") Some([4, 5]) Some(1)";
    assert_eq!(bytes.text, format!("{as_said} Some(6) None"));
    assert_eq!(read::<u16>().unwrap().0.text, bytes.text, "the name makes no difference");
}

/// Reads the first item of a sequence and leaves the others.
#[derive(Debug)]
struct First<T>(u8, PhantomData<T>);

impl<'de, T> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FirstVisitor<T>(PhantomData<T>);
        impl<'de, T> Visitor<'de> for FirstVisitor<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<First<T>, A::Error> {
                Ok(First(items.next_element()?.unwrap_or_default(), PhantomData))
            }
        }
        deserializer.deserialize_seq(FirstVisitor(PhantomData))
    }
}

#[test]
fn no_byte_may_be_left_behind() {
    let error = decode::<(First<u8>, u8)>(encode(&(vec![1_u8, 2, 3], 9_u8)).unwrap()).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::UnreadItems { left: 2 });
    let (first, last) = decode::<(First<u8>, u8)>(encode(&(vec![1_u8], 9_u8)).unwrap()).unwrap();
    assert_eq!((first.0, last), (1, 9));
}
