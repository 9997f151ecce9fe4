//! Any frame: a request, an answer or an error, and what it says is all that it had.
//!
//! The first byte of the input is how many descriptors come with the rest. What is read is written anew, which must give the
//! same bytes: nothing was left out, nothing read twice. Relies on libFuzzer for coverage; `cargo xtask fuzz requests` runs it.

#![no_main]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use procession_manager::fuzzing::{is_greeting, rewrite_request, rewrite_response};
use procession_wire::Descriptor;

static NULL: LazyLock<Arc<OwnedFd>> =
    LazyLock::new(|| Arc::new(File::open("/dev/null").expect("the null device opens").into()));

fuzz_target!(|input: &[u8]| {
    let Some((count, bytes)) = input.split_first() else { return };
    let count = usize::from(count % 8);
    for rewrite in [rewrite_request, rewrite_response] {
        let descriptors = (0..count).map(|_| Descriptor::from(Arc::clone(&NULL))).collect();
        if let Some((rewritten, carried)) = rewrite(bytes.to_vec(), descriptors) {
            assert!(rewritten == bytes && carried == count, "a frame says something else than it is");
        }
    }
    let _ = is_greeting(bytes.to_vec());
    let greeting = [b"PRCmgr\x00\x01", bytes].concat();
    let _ = is_greeting(greeting);
});
