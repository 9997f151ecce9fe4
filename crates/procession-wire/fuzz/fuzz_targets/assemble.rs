//! Any packets: a frame or an error, and a frame holds exactly what its packets brought.
//!
//! Each packet of the input is two bytes, its length and how many descriptors come with it, and then its
//! bytes. Relies on libFuzzer for coverage; `cargo xtask fuzz assemble` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use procession_wire::frame::{Assembler, Body};
use std::{fs::File, os::fd::OwnedFd};

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut assembler = Assembler::new();
    let mut brought = 0;
    while let [length, count, bytes @ ..] = rest {
        let (packet, behind) = bytes.split_at(bytes.len().min(usize::from(*length)));
        rest = behind;
        let descriptors: Vec<OwnedFd> = (0..count % 8).map(|_| null()).collect();
        brought += descriptors.len();
        let Ok(frame) = assembler.push(packet, descriptors) else {
            assert!(assembler.push(packet, Vec::new()).is_err(), "a failed assembler goes on");
            return;
        };
        if let Some(frame) = frame {
            let files = usize::from(matches!(frame.body, Body::MemoryFile { .. }));
            assert_eq!(frame.descriptors.len() + files, brought);
            brought = 0;
        }
    }
});

fn null() -> OwnedFd {
    File::open("/dev/null").expect("the null device opens").into()
}
