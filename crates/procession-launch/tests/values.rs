//! What may be an argument or a result: every kind of value, of every size, with descriptors in it.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use common::{again, file, methods, pipe, rest, start, tell};
use procession_launch::StartMethod;
use procession_testkit::open_descriptors;
use procession_wire::Descriptor;
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        every_kind_of_value_comes_back_as_it_was,
        values_around_the_size_of_a_packet_come_back_as_they_were,
        a_value_of_300_mib_goes_both_ways within 60,
        a_large_argument_does_not_delay_its_start_until_it_is_read,
        a_large_result_does_not_delay_the_childs_end,
        a_descriptor_is_the_childs_own,
        more_than_253_descriptors_travel_in_one_argument_list,
        more_than_253_descriptors_travel_in_one_result,
        results_and_options_are_values_like_others,
    ];
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Polygon { corners: Vec<(i32, i32)>, name: Option<String> },
}

type Everything = (
    (u8, i8, u16, i16, u32, i32, u64, i64),
    (u128, i128, f32, f64, bool, char),
    (String, Vec<u8>, Vec<String>, Option<u8>, Option<()>, ()),
    (BTreeMap<String, Vec<u32>>, HashMap<u8, bool>, [u16; 4], Box<str>),
    Vec<Shape>,
    (Duration, std::path::PathBuf, std::net::IpAddr),
);

fn everything() -> Everything {
    (
        (u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN, u64::MAX, i64::MIN),
        (u128::MAX, i128::MIN, f32::MIN_POSITIVE, -0.0, true, '\u{10ffff}'),
        ("näh\0".into(), vec![0, 255], vec![String::new()], None, Some(()), ()),
        ([("a".into(), vec![1, 2])].into(), [(7, true)].into(), [1, 2, 3, 4], "boxed".into()),
        vec![Shape::Point, Shape::Circle(1.5), Shape::Polygon { corners: vec![(1, -1)], name: None }],
        (Duration::from_nanos(1), "/a/b".into(), [127, 0, 0, 1].into()),
    )
}

fn same<T>(value: T) -> T {
    value
}

fn every_kind_of_value_comes_back_as_it_was(method: StartMethod) {
    assert_eq!(start(method, same::<Everything>, (everything(),)).join().unwrap(), everything());
    let nan = start(method, same::<f64>, (f64::NAN,)).join().unwrap();
    assert_eq!(nan.to_bits(), f64::NAN.to_bits());
}

fn values_around_the_size_of_a_packet_come_back_as_they_were(method: StartMethod) {
    // Frames change their form at 64 KiB, and a socket's buffer is some 200 KiB.
    for bytes in [0, 1, 65_000, 65_535, 65_536, 65_537, 66_000, 131_072, 212_992, 300_000, 1 << 20] {
        let text = "ab".repeat(bytes / 2) + if bytes % 2 == 1 { "c" } else { "" };
        assert_eq!(start(method, same::<String>, (text.clone(),)).join().unwrap(), text, "{bytes} bytes");
    }
}

/// Text, because a debug build takes half a minute to look at so many bytes one by one.
fn a_value_of_300_mib_goes_both_ways(method: StartMethod) {
    let text = "0123456789abcdef".repeat((300 << 20) / 16);
    let back = start(method, same::<String>, (text.clone(),)).join().unwrap();
    assert!(back == text, "{} bytes came back", back.len());
}

/// The start returns although the child is not there to read: it is stopped before it can.
fn a_large_argument_does_not_delay_its_start_until_it_is_read(method: StartMethod) {
    let (read, write) = pipe();
    let ignore = |to: Descriptor, text: String| {
        tell(&to);
        text.len()
    };
    let children: Vec<_> = (0..8).map(|_| start(method, ignore, (write.clone(), "x".repeat(8 << 20)))).collect();
    drop(write);
    for child in children {
        assert_eq!(child.join().unwrap(), 8 << 20);
    }
    assert_eq!(rest(read).len(), 8);
}

/// The child has ended before anybody reads its result.
fn a_large_result_does_not_delay_the_childs_end(method: StartMethod) {
    let child = start(method, || "x".repeat(64 << 20), ());
    assert!(child.wait().unwrap().success());
    assert_eq!(child.join().unwrap().len(), 64 << 20);
}

fn a_descriptor_is_the_childs_own(method: StartMethod) {
    let (read, write) = pipe();
    let write_and_return = |to: Descriptor| {
        tell(&to);
        to
    };
    let back = start(method, write_and_return, (write,)).join().unwrap();
    tell(&back);
    drop(back);
    assert_eq!(rest(read), "..");
}

/// More than any one packet can hold, each for a pipe of its own, so that none can take another's place.
fn more_than_253_descriptors_travel_in_one_argument_list(method: StartMethod) {
    let pipes: Vec<_> = (0..300).map(|_| pipe()).collect();
    let (reads, writes): (Vec<Descriptor>, Vec<Descriptor>) = pipes.into_iter().unzip();
    let number_all = |writes: Vec<Descriptor>| {
        use std::io::Write;
        for (number, write) in writes.iter().enumerate() {
            write!(File::from(again(write)), "{number}").unwrap();
        }
    };
    start(method, number_all, (writes,)).join().unwrap();
    for (number, read) in reads.into_iter().enumerate() {
        assert_eq!(rest(read), number.to_string());
    }
}

fn more_than_253_descriptors_travel_in_one_result(method: StartMethod) {
    let before = open_descriptors().len();
    let make = || {
        let numbered = (0..300_u32).map(|number| {
            let (read, write) = pipe();
            std::io::Write::write_all(&mut file(write), number.to_string().as_bytes()).unwrap();
            read
        });
        numbered.collect::<Vec<_>>()
    };
    let reads = start(method, make, ()).join().unwrap();
    assert_eq!(reads.len(), 300);
    assert!(reads.iter().all(|read| read.as_fd().try_clone_to_owned().is_ok()));
    assert!(open_descriptors().len() >= before + 300);
    for (number, read) in reads.into_iter().enumerate() {
        assert_eq!(rest(read), number.to_string());
    }
}

fn half(n: u32) -> Result<u32, String> {
    if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) }
}

/// An `Err` is a result and no failure: the child has ended well.
fn results_and_options_are_values_like_others(method: StartMethod) {
    assert_eq!(start(method, half, (4,)).join().unwrap(), Ok(2));
    let odd = start(method, half, (5,));
    assert!(odd.wait().unwrap().success());
    assert_eq!(odd.join().unwrap(), Err("5 is odd".into()));
    assert_eq!(start(method, |n: Option<u8>| n, (None,)).join().unwrap(), None);
}
