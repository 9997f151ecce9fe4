//! Any bytes as any type: a value or an error, and what was decoded encodes again to what decodes alike.
//!
//! The first byte chooses the type. Relies on libFuzzer for coverage; `cargo xtask fuzz decode` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use procession_wire::{Decoder, Described, Descriptor, Fault, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, time::Duration};

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Null,
    Number(i64),
    Text(String),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    Pair(Box<(Tree, Tree)>),
    Named { left: Option<Box<Tree>>, right: Described<Option<Loose>> },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
    Flags(Vec<bool>),
    Named { left: u8, units: Vec<()> },
}

fn check<T: Serialize + DeserializeOwned + Debug + 'static>(bytes: &[u8]) {
    let Ok(value) = Decoder::new(bytes.to_vec(), Vec::new()).value::<T>() else {
        return;
    };
    let message = encode(&value).expect("what was decoded encodes");
    let again: T = message.into_decoder().value().expect("what was encoded decodes");
    assert_eq!(format!("{value:?}"), format!("{again:?}"));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    match choice % 8 {
        0 => check::<Tree>(bytes),
        1 => check::<Described<Vec<Loose>>>(bytes),
        2 => check::<Vec<Vec<()>>>(bytes),
        3 => check::<(Vec<u32>, Box<[i128]>, char, Option<Option<bool>>)>(bytes),
        4 => check::<Vec<u64>>(bytes),
        5 => check::<Result<BTreeMap<String, Duration>, Fault>>(bytes),
        6 => check::<Vec<[Option<String>; 3]>>(bytes),
        _ => drop(Decoder::new(bytes.to_vec(), Vec::new()).value::<Vec<Descriptor>>()),
    }
});
