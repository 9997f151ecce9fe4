//! A peer that writes anything into a queue's memory: every verb comes to an end, with an item or an error.
//!
//! Relies on libFuzzer for coverage; `fuzz/Cargo.toml` has the command. The peer maps what a handle's message brings: the
//! store. What it writes into the control words is in `src/hostile.rs`.

#![no_main]

use std::os::fd::AsFd;

use libfuzzer_sys::fuzz_target;
use procession_ipc::Queue;
use procession_sys::{Access, SharedMap, file_size};
use procession_wire::encode;

/// Where a store's own words are, and the first records, in double words.
const WORDS: usize = 1 << 17;

type Item = (u64, Vec<u8>);

fn use_it(queue: &Queue<Item>, bytes: u8) {
    drop(queue.try_put((7, vec![1; usize::from(bytes) << 10])));
    drop(queue.try_get());
    let _ = (queue.len(), queue.is_full(), format!("{queue:?}"));
}

fuzz_target!(|deeds: Vec<(u8, u32, u64)>| {
    let queue = Queue::<Item>::bounded(8).expect("a queue");
    let (_, descriptors) = encode(&queue).expect("a message").into_parts();
    // Only the store is as long.
    let store = descriptors.iter().find(|fd| file_size(fd).is_ok_and(|size| size > 1 << 30)).expect("a store");
    let peer = SharedMap::map(store.as_fd(), WORDS * 8, Access::ReadWrite).expect("a mapping");
    for (bytes, at, word) in deeds {
        use_it(&queue, bytes);
        drop(queue.try_put((1, vec![2; usize::from(bytes)])));
        peer.atomic_u64(at as usize % WORDS * 8).expect("a word").store(word, std::sync::atomic::Ordering::SeqCst);
        use_it(&queue, bytes);
    }
});
