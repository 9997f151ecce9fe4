//! What a peer may do to an arena: it has the whole of it mapped, and writes what it likes.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use procession_sys::{Access, MemoryFile, SharedMap, memory_file, reopen, sealed_file};
use proptest::prelude::*;

use super::books::Books;
use super::error::ArenaError;
use super::layout::{CLASS, CLASSES, FILE_BYTES, MAGIC_AT, OWNERS_AT, SIZE_AT, SLOTS, SLOTS_AT, VERSION_AT};
use super::process::{Arena, arrive};
use super::slot::Slot;

fn refusal(file: OwnedFd) -> String {
    arrive(file).expect_err("it is no arena").to_string()
}

fn file_of(bytes: usize) -> OwnedFd {
    memory_file("test", &MemoryFile { bytes: bytes as u64, huge_page_bits: None }).unwrap()
}

#[test]
fn what_is_no_arena_is_refused_and_says_why() {
    assert!(refusal(File::open("/dev/null").unwrap().into()).contains("sealed against shrinking"));
    assert!(refusal(sealed_file("test", &[b"short"]).unwrap()).contains("not as long"));
    assert!(refusal(file_of(FILE_BYTES - 1)).contains("not as long"));
    assert!(refusal(file_of(FILE_BYTES + 1)).contains("not as long"));
    assert!(refusal(file_of(FILE_BYTES)).contains("does not begin"));
    for (at, found) in [(MAGIC_AT, "does not begin"), (VERSION_AT, "another version"), (SIZE_AT, "another version")] {
        let books = Books::create().unwrap();
        books.map().atomic_u32(at).unwrap().fetch_add(1, SeqCst);
        assert!(refusal(reopen(&books.file, Access::ReadWrite).unwrap()).contains(found));
    }
}

#[test]
fn what_a_message_says_is_checked() {
    let arena = Arena::over(Books::create().unwrap()).unwrap();
    let found = arena.allocate(0, 8, 1).unwrap();
    for slot in [SLOTS, u32::MAX] {
        assert!(matches!(arena.receive(slot, 0), Err(ArenaError::Foreign { .. })));
    }
    for (slot, generation) in [(found.slot, 1), (found.slot, u32::MAX), (found.slot + 1, 0), (SLOTS - 1, 0)] {
        assert!(matches!(arena.receive(slot, generation), Err(ArenaError::Stale { .. })), "{slot} {generation}");
    }
    arena.books.map().atomic_u32(SLOTS_AT + super::layout::LEN_AT).unwrap().store(65, SeqCst);
    assert!(matches!(arena.receive(found.slot, 0), Err(ArenaError::Foreign { .. })));
    assert_eq!(arena.books.count(0, found.slot).load(SeqCst), 1, "what was refused is not counted");
}

/// What the peer or this process does.
#[derive(Clone, Debug)]
enum Deed {
    /// The peer writes a word of the books, near the beginning or anywhere.
    Write {
        at: usize,
        word: u32,
    },
    Allocate(usize),
    Clone(usize),
    Drop(usize),
    Send(usize),
    Receive {
        slot: u32,
        generation: u32,
    },
    Collect,
}

fn deed() -> impl Strategy<Value = Deed> {
    let near = prop_oneof![0..OWNERS_AT / 4, SLOTS_AT / 4..SLOTS_AT / 4 + 64, 0..FILE_BYTES / 4].prop_map(|at| 4 * at);
    let word = prop_oneof![any::<u32>(), 0..8_u32, Just(u32::MAX), Just(OWNERS_AT as u32)];
    prop_oneof![
        4 => (near, word.clone()).prop_map(|(at, word)| Deed::Write { at, word }),
        2 => (0..CLASSES).prop_map(Deed::Allocate),
        1 => any::<usize>().prop_map(Deed::Clone),
        2 => any::<usize>().prop_map(Deed::Drop),
        1 => any::<usize>().prop_map(Deed::Send),
        1 => (prop_oneof![0..4_u32, any::<u32>()], word).prop_map(|(slot, generation)| Deed::Receive { slot, generation }),
        1 => Just(Deed::Collect),
    ]
}

/// Does it as a process would that knows nothing of the peer's writing.
fn act(arena: &Arc<Arena>, peer: &SharedMap, handles: &mut Vec<Slot>, messages: &mut Vec<OwnedFd>, deed: Deed) {
    let pick = |choice: usize, handles: &Vec<Slot>| (!handles.is_empty()).then(|| choice % handles.len());
    match deed {
        Deed::Write { at, word } => peer.atomic_u32(at).unwrap().store(word, SeqCst),
        Deed::Allocate(class) => {
            let found = arena.allocate(class, CLASS[class].bytes as u32, 1);
            handles.extend(found.map(|found| Slot::of(Arc::clone(arena), found)));
        }
        Deed::Clone(choice) => {
            let copy = pick(choice, handles).map(|idx| handles[idx].clone());
            handles.extend(copy);
        }
        Deed::Drop(choice) => drop(pick(choice, handles).map(|idx| handles.swap_remove(idx))),
        Deed::Send(choice) => {
            let message = arena.open_for_message().unwrap();
            if let Some(idx) = pick(choice, handles) {
                let _ = arena.books.send(&message, handles[idx].found.slot);
            }
            messages.push(message);
        }
        Deed::Receive { slot, generation } => {
            let found = arena.receive(slot, generation);
            handles.extend(found.ok().map(|found| Slot::of(Arc::clone(arena), found)));
        }
        Deed::Collect => arena.books.collect(arena.owner().unwrap()),
    }
    for handle in handles.iter() {
        let mut bytes = vec![0; handle.len()];
        handle.read(0, &mut bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_into_it_nobody_panics_and_nobody_reaches_beyond_it(
        deeds in proptest::collection::vec(deed(), 1..60),
    ) {
        let arena = Arc::new(Arena::over(Books::create().unwrap()).unwrap());
        let peer = SharedMap::map(&arena.books.file, FILE_BYTES, Access::ReadWrite).unwrap();
        let (mut handles, mut messages) = (Vec::new(), Vec::new());
        for deed in deeds {
            act(&arena, &peer, &mut handles, &mut messages, deed);
        }
    }
}
