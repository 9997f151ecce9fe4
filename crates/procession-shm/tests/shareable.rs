//! What may live in shared memory, as users see it: values come back as they were, and bits that are none are refused.
//!
//! Relies on the wire format of a `SharedArray`, a tuple that begins with its memory, to write what an array would not.

#![forbid(unsafe_code)]

use std::num::{NonZero, Saturating, Wrapping};

use procession_shm::{Shareable, SharedArray, SharedMemory, ShmError};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Shareable)]
#[repr(u8)]
enum Color {
    Red = 1,
    Green,
    Blue = 200,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Shareable)]
#[repr(i16)]
enum Level {
    Low = -300,
    High = 7,
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C)]
struct Pixel {
    at: Point,
    depth: u32,
    level: Level,
    color: Color,
    shown: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C)]
struct Pair<T>(T, [T; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// So many elements whose bytes are zero, also of a type of which zero is no value.
fn zeros<T: Shareable>(len: usize) -> SharedArray<T> {
    SharedArray::from_memory(SharedMemory::create(len * size_of::<T>()).unwrap(), 0, len).unwrap()
}

/// These values come back from shared memory as they were.
#[track_caller]
fn come_back<T: Shareable + PartialEq + std::fmt::Debug>(values: &[T]) {
    let array = SharedArray::from_slice(values).unwrap();
    for (index, value) in values.iter().enumerate() {
        assert_eq!(array.get(index).unwrap(), *value);
    }
    let again = zeros(values.len());
    for (index, value) in values.iter().enumerate() {
        again.set(index, *value).unwrap();
        assert_eq!(again.get(index).unwrap(), *value);
    }
}

/// What an array says of these bytes in the middle one of three elements, after the trait has said the same.
#[track_caller]
fn read<T: Shareable>(bytes: &[u8]) -> Result<T, ShmError> {
    let array: SharedArray<T> = zeros(3);
    array.memory().write(size_of::<T>(), bytes).unwrap();
    let read = array.get(1);
    assert_eq!(read.is_ok(), T::is_valid(bytes), "{bytes:?}");
    match &read {
        Ok(_) => {}
        Err(ShmError::Invalid { index: 1, type_name }) => assert_eq!(*type_name, std::any::type_name::<T>()),
        Err(other) => panic!("{other}"),
    }
    read
}

/// The bytes of which `T` makes a value.
fn valid_bytes<T: Shareable>() -> Vec<u8> {
    (0..=u8::MAX).filter(|&byte| read::<T>(&[byte]).is_ok()).collect()
}

#[test]
fn values_come_back_as_they_were() {
    come_back(&[true, false, true]);
    come_back(&['a', '\u{0}', '\u{d7ff}', '\u{e000}', char::MAX]);
    come_back(&[Color::Blue, Color::Red, Color::Green]);
    come_back(&[Level::High, Level::Low]);
    come_back(&[Wrapping(-1_i8), Wrapping(3)]);
    come_back(&[Saturating(u64::MAX)]);
    come_back(&[NonZero::new(5_u16), None, NonZero::new(u16::MAX)]);
    come_back(&[NonZero::new(-5_i128).unwrap()]);
    come_back(&[[[1.5_f32, -0.0], [f32::MAX, f32::INFINITY]]]);
    come_back(&[Pair('x', ['y', 'z'])]);
    come_back(&[Line([7; 8]), Line([8; 8])]);
    let pixel = |color| Pixel { at: Point { x: 1.0, y: -2.0 }, depth: 3, level: Level::Low, color, shown: true };
    come_back(&[pixel(Color::Red), pixel(Color::Blue)]);
}

#[test]
fn of_all_bytes_those_are_accepted_that_are_values() {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    assert_eq!(valid_bytes::<u8>(), all);
    assert_eq!(valid_bytes::<Wrapping<i8>>(), all);
    assert_eq!(valid_bytes::<Option<NonZero<u8>>>(), all);
    assert_eq!(valid_bytes::<NonZero<u8>>(), all[1..]);
    assert_eq!(valid_bytes::<NonZero<i8>>(), all[1..]);
    assert_eq!(valid_bytes::<bool>(), [0, 1]);
    assert_eq!(valid_bytes::<[bool; 1]>(), [0, 1]);
    assert_eq!(valid_bytes::<Color>(), [1, 2, 200]);
}

#[test]
fn larger_values_are_looked_at_as_a_whole() {
    let levels: Vec<i16> = (0..=u16::MAX).map(|bits| bits as i16).collect();
    let valid: Vec<i16> = levels.into_iter().filter(|level| Level::is_valid(&level.to_ne_bytes())).collect();
    assert_eq!(valid, [7, -300]);
    assert!(read::<NonZero<u32>>(&0_u32.to_ne_bytes()).is_err());
    assert_eq!(read::<NonZero<u32>>(&256_u32.to_ne_bytes()).unwrap().get(), 256);
    for (bits, valid) in [(0xd7ff_u32, true), (0xd800, false), (0xdfff, false), (0x10_ffff, true), (0x11_0000, false)] {
        assert_eq!(read::<char>(&bits.to_ne_bytes()).is_ok(), valid, "{bits:x}");
    }
    assert!(read::<[bool; 3]>(&[1, 0, 1]).is_ok());
    assert!(read::<[bool; 3]>(&[1, 0, 2]).is_err());
}

#[test]
fn zeros_that_are_no_value_are_refused() {
    assert!(matches!(SharedArray::<Color>::zeroed(2), Err(ShmError::NoZero { .. })));
    assert!(matches!(zeros::<Color>(2).get(1), Err(ShmError::Invalid { index: 1, .. })));
    assert!(zeros::<NonZero<u64>>(1).get(0).is_err());
    assert_eq!(SharedArray::<Option<NonZero<u64>>>::zeroed(1).unwrap().get(0).unwrap(), None);
}

#[test]
fn bytes_of_another_length_are_no_value() {
    for len in 0..size_of::<Pixel>() {
        assert!(!Pixel::is_valid(&vec![1; len]), "{len}");
    }
    assert!(!Color::is_valid(&[]));
    assert!(!Color::is_valid(&[1, 1]));
    assert!(!Level::is_valid(&[7]));
}

const _: () = assert!(Point::ANY_BITS && Line::ANY_BITS && Pair::<u8>::ANY_BITS && <[Point; 3]>::ANY_BITS);
const _: () = assert!(!Pixel::ANY_BITS && !Color::ANY_BITS && !Pair::<bool>::ANY_BITS && !NonZero::<u8>::ANY_BITS);

/// Types that differ from [`Point`] and [`Color`] in one respect each.
mod others {
    use procession_shm::Shareable;

    macro_rules! types {
        ($($module:ident: #[$repr:meta] $item:item)*) => {$(
            pub(super) mod $module {
                #[derive(Clone, Copy, procession_shm::Shareable)]
                #[$repr]
                $item
            }
        )*};
    }

    types! {
        same: #[repr(C)] pub(in super::super) struct Point { pub(super) x: f64, pub(super) y: f64 }
        named: #[repr(C)] pub(in super::super) struct Dot { pub(super) x: f64, pub(super) y: f64 }
        swapped: #[repr(C)] pub(in super::super) struct Point { pub(super) y: f64, pub(super) x: f64 }
        typed: #[repr(C)] pub(in super::super) struct Point { pub(super) x: f64, pub(super) y: u64 }
        longer: #[repr(C)] pub(in super::super) struct Point { pub(super) x: f64, pub(super) y: f64, pub(super) z: f64 }
        valued: #[repr(u8)] pub(in super::super) enum Color { Red = 1, Green = 3, Blue = 200 }
        sized: #[repr(u16)] pub(in super::super) enum Color { Red = 1, Green, Blue = 200 }
        fewer: #[repr(u8)] pub(in super::super) enum Color { Red = 1, Green }
    }

    pub(super) fn points() -> [u64; 4] {
        [named::Dot::SIGNATURE, swapped::Point::SIGNATURE, typed::Point::SIGNATURE, longer::Point::SIGNATURE]
    }

    pub(super) fn colors() -> [u64; 3] {
        [valued::Color::SIGNATURE, sized::Color::SIGNATURE, fewer::Color::SIGNATURE]
    }
}

#[test]
fn a_signature_tells_types_apart_by_name_size_fields_and_variants() {
    assert_eq!(others::same::Point::SIGNATURE, Point::SIGNATURE);
    let mut all = [others::points().to_vec(), others::colors().to_vec()].concat();
    all.extend([Point::SIGNATURE, Color::SIGNATURE, Pair::<u8>::SIGNATURE, Pair::<i8>::SIGNATURE]);
    all.extend([u8::SIGNATURE, Wrapping::<u8>::SIGNATURE, Saturating::<u8>::SIGNATURE, NonZero::<u8>::SIGNATURE]);
    all.extend([Option::<NonZero<u8>>::SIGNATURE, <[u8; 1]>::SIGNATURE, <[u8; 2]>::SIGNATURE]);
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn an_array_of_another_type_is_refused_where_it_arrives() {
    let send = || procession_wire::encode(&SharedArray::<Point>::zeroed(2).unwrap()).unwrap();
    assert_eq!(procession_wire::decode::<SharedArray<others::same::Point>>(send()).unwrap().len(), 2);
    let error = procession_wire::decode::<SharedArray<others::named::Dot>>(send()).unwrap_err();
    assert!(error.to_string().contains("others::named::Dot"), "{error}");
    procession_wire::decode::<SharedArray<others::swapped::Point>>(send()).unwrap_err();
}

/// The bytes of a pixel, most of which are one.
fn pixel_bytes() -> impl Strategy<Value = Vec<u8>> {
    let color = prop_oneof![4 => Just(200_u8), 1 => any::<u8>()];
    let level = prop_oneof![4 => Just(-300_i16), 1 => any::<i16>()];
    let shown = prop_oneof![4 => 0..2_u8, 1 => any::<u8>()];
    (any::<[u8; 20]>(), level, color, shown).prop_map(|(numbers, level, color, shown)| {
        [numbers.to_vec(), level.to_ne_bytes().to_vec(), vec![color, shown]].concat()
    })
}

proptest! {
    #[test]
    fn a_struct_is_valid_when_each_of_its_fields_is(bytes in pixel_bytes()) {
        let level = i16::from_ne_bytes([bytes[20], bytes[21]]);
        let expected = [-300, 7].contains(&level) && [1, 2, 200].contains(&bytes[22]) && bytes[23] < 2;
        prop_assert_eq!(Pixel::is_valid(&bytes), expected);
        let read = read::<Pixel>(&bytes);
        prop_assert_eq!(read.is_ok(), expected);
        if let Ok(pixel) = read {
            prop_assert_eq!(pixel.at.x.to_bits(), u64::from_ne_bytes(bytes[..8].try_into().unwrap()));
            prop_assert_eq!(pixel.depth, u32::from_ne_bytes(bytes[16..20].try_into().unwrap()));
            prop_assert_eq!((pixel.level as i16, pixel.color as u8, u8::from(pixel.shown)), (level, bytes[22], bytes[23]));
        }
    }

    #[test]
    fn a_struct_comes_back_as_it_was(x: f64, depth: u32, high: bool, shown: bool, color in 0..3_usize) {
        let color = [Color::Red, Color::Green, Color::Blue][color];
        let level = if high { Level::High } else { Level::Low };
        let pixel = Pixel { at: Point { x, y: x / 2.0 }, depth, level, color, shown };
        let array = SharedArray::from_slice(&[pixel; 2]).unwrap();
        prop_assert_eq!(array.get(1).unwrap(), pixel);
    }
}
