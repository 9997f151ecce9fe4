//! Each line of the table of blocks' states, and what is left when a process dies after it.

use super::*;

fn store() -> Store {
    Store::create(Limits { items: 8, bytes: STORE_BYTES_MIN }).expect("a store")
}

fn owner(number: u32) -> Owner {
    Owner::from_word(1 << 8 | number).expect("a name")
}

const ALL_LIVE: fn(Owner) -> bool = |_| true;

/// How many are held, left by the dead, queued, and segments.
fn usage(store: &Store, is_alive: impl Fn(Owner) -> bool) -> [usize; 4] {
    let usage = store.usage(is_alive);
    [usage.held, usage.left, usage.queued, usage.segments]
}

#[test]
fn a_block_goes_from_who_writes_it_to_its_item_to_who_reads_it() {
    let (store, [writer, reader]) = (store(), [1, 2].map(owner));
    let block = store.claim(100, writer, ALL_LIVE).expect("a block");
    assert_eq!(usage(&store, ALL_LIVE), [1, 0, 0, 0]);
    assert!(!store.enqueue(block, reader, 7), "it is not the reader's");
    assert!(store.enqueue(block, writer, 7));
    assert_eq!(usage(&store, ALL_LIVE), [0, 0, 1, 0]);
    assert!(!store.enqueue(block, writer, 8), "it is an item's");
    assert!(!store.dequeue(block, 8, reader), "it is another item's");
    assert!(store.dequeue(block, 7, reader));
    store.free(block, writer);
    assert_eq!(usage(&store, ALL_LIVE), [1, 0, 0, 0], "who does not hold it frees nothing");
    store.free(block, reader);
    assert_eq!(usage(&store, ALL_LIVE), [0; 4]);
}

#[test]
fn what_a_dead_process_held_goes_before_what_was_never_used() {
    let (store, [dead, heir]) = (store(), [1, 2].map(owner));
    let left = store.claim(100_000, dead, ALL_LIVE).expect("a block");
    let is_alive = |owner: Owner| owner != dead;
    assert_eq!(usage(&store, is_alive), [0, 1, 0, 0]);
    assert_eq!(store.claim(100_000, heir, is_alive).expect("a block"), left);
    assert_ne!(store.claim(100_000, heir, is_alive).expect("another"), left, "who lives keeps its own");
}

#[test]
fn a_block_that_was_taken_by_who_died_at_once_is_found() {
    let (store, [dead, heir]) = (store(), [1, 2].map(owner));
    let block = Block { class: 1, number: 0 };
    // All that `find` does before a block is had.
    store.used(1).fetch_max(1, Relaxed);
    assert!(store.change(block, State::Free, State::Held(dead)));
    assert_eq!(store.claim(100_000, heir, |owner| owner != dead).expect("a block"), block);
}

#[test]
fn a_producers_heir_frees_what_was_begun_and_nothing_else() {
    let (store, own) = (store(), owner(1));
    for item in [6, 7] {
        let block = store.claim(100_000, own, ALL_LIVE).expect("a block");
        assert!(store.enqueue(block, own, item));
    }
    let held = store.claim(100, own, ALL_LIVE).expect("a block");
    for segment in [3, 4] {
        store.begin(segment).expect("a segment");
    }
    store.forget_begun(7, 4);
    assert_eq!(usage(&store, ALL_LIVE), [1, 0, 1, 1], "item 6, segment 3 and who writes are left");
    assert!(store.segment(3).is_some_and(|block| store.state(block).load(Relaxed) == State::Segment(3).word()));
    store.free(held, own);
}

#[test]
fn a_consumers_heir_frees_what_was_taken_and_nothing_else() {
    let (store, own) = (store(), owner(1));
    for item in [6, 7] {
        let block = store.claim(100_000, own, ALL_LIVE).expect("a block");
        assert!(store.enqueue(block, own, item));
    }
    for segment in [3, 4] {
        store.begin(segment).expect("a segment");
    }
    store.forget_taken(7, 4);
    assert_eq!(usage(&store, ALL_LIVE), [0, 0, 1, 1], "item 7 and segment 4 are left");
    assert!(store.segment(4).is_some_and(|block| store.state(block).load(Relaxed) == State::Segment(4).word()));
}

#[test]
fn a_segment_that_was_begun_is_gone_on_with() {
    let store = store();
    let block = store.begin(5).expect("a segment");
    assert_eq!(store.begin(5).expect("the same"), block);
    assert_eq!(usage(&store, ALL_LIVE), [0, 0, 0, 1]);
    store.end(6);
    assert_eq!(usage(&store, ALL_LIVE), [0, 0, 0, 1], "another one's end");
    store.end(5);
    assert_eq!(usage(&store, ALL_LIVE), [0; 4]);
}

#[test]
fn there_is_room_for_two_segments_whoever_holds_blocks() {
    let (store, own) = (store(), owner(1));
    while store.claim(100, own, ALL_LIVE).is_ok() {}
    for segment in 0..SEGMENTS_MIN {
        store.begin(segment).expect("a segment of its own");
    }
    assert!(matches!(store.begin(SEGMENTS_MIN), Err(NoBlock::Full)));
}

#[test]
fn words_that_no_process_of_ours_writes_are_no_state() {
    for state in [State::Free, State::Held(owner(3)), State::Queued(9), State::Segment(9)] {
        assert_eq!(State::of(state.word()), Some(state));
    }
    for word in [1, 1 << TAG_SHIFT, 1 << TAG_SHIFT | 1 << 33] {
        assert_eq!(State::of(word), None, "{word:#x}");
    }
    let store = store();
    for word in [0, 1 << 40, u64::MAX, 6 << 32 | 1, 1000] {
        assert_eq!(store.block(word), None, "{word:#x}");
    }
}
