//! What a peer may do to those who hold blocks: whatever it writes, no two slices of this process show the same memory.
//!
//! It may write into blocks that it does not hold, so what they show may be anything.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use proptest::prelude::*;

use super::{Deed, act, deed};
use crate::Queue;
use crate::channel::TAKEN_COUNT;
use crate::lent::{Lent, Loan};
use crate::protocol::ring::{ONE, count_of};
use crate::store::STORE_BYTES_MIN;

/// Where the directory and the states of a store's blocks are, in double words.
const STATES: Range<usize> = 512..640;

/// What a state says of a block that is held, and of one that an item has.
const HELD: u64 = 1 << 62;
const QUEUED: u64 = 2 << 62;

/// So many slices of a kind this process keeps.
const KEPT_MAX: usize = 4;

/// What the peer does to blocks, or this process.
#[derive(Clone, Debug)]
enum Hold {
    /// What is done to any queue.
    Any(Deed),
    /// The peer has one state, or entry of the directory, say what another does,
    Copy {
        from: usize,
        to: usize,
    },
    /// has a block be nobody's,
    Free(usize),
    /// or has the item come again that was taken last, with its block.
    Again,
    Lend(usize),
    PutLoan(usize),
    DropLoan(usize),
    Put(usize),
    GetLent,
    DropLent(usize),
}

fn hold() -> impl Strategy<Value = Hold> {
    let len = || prop_oneof![1..100_usize, 3_000..20_000_usize, Just(100_000_usize)];
    let which = || 0..KEPT_MAX;
    prop_oneof![
        2 => deed().prop_map(Hold::Any),
        2 => (STATES, STATES).prop_map(|(from, to)| Hold::Copy { from, to }),
        1 => STATES.prop_map(Hold::Free),
        3 => Just(Hold::Again),
        3 => len().prop_map(Hold::Lend),
        2 => which().prop_map(Hold::PutLoan),
        1 => which().prop_map(Hold::DropLoan),
        3 => len().prop_map(Hold::Put),
        6 => Just(Hold::GetLent),
        1 => which().prop_map(Hold::DropLent),
    ]
}

/// A queue of numbers, and what this process holds of it.
struct Scene {
    queue: Queue<Vec<u64>>,
    lents: Vec<Lent<u64>>,
    loans: Vec<Loan<u64>>,
}

impl Scene {
    fn new() -> Self {
        let queue = Queue::builder().items(8).bytes(STORE_BYTES_MIN).create().expect("a queue");
        Self { queue, lents: Vec::new(), loans: Vec::new() }
    }

    fn state(&self, at: usize) -> &AtomicU64 {
        self.queue.0.items.channel.store().map().atomic_u64(at * 8).expect("a word")
    }

    fn act(&mut self, hold: Hold) {
        match hold {
            Hold::Any(deed) => act(&Arc::clone(&self.queue.0.items), deed),
            Hold::Copy { from, to } => self.state(to).store(self.state(from).load(SeqCst), SeqCst),
            Hold::Free(at) => self.state(at).store(0, SeqCst),
            Hold::Again => self.have_come_again(),
            Hold::Lend(len) => self.loans.extend(self.queue.try_lend(len)),
            Hold::PutLoan(which) if which < self.loans.len() => drop(self.loans.swap_remove(which).try_put()),
            Hold::DropLoan(which) if which < self.loans.len() => drop(self.loans.swap_remove(which)),
            Hold::Put(len) => drop(self.queue.try_put(vec![1; len])),
            Hold::GetLent => self.lents.extend(self.queue.try_get_lent()),
            Hold::DropLent(which) if which < self.lents.len() => drop(self.lents.swap_remove(which)),
            Hold::PutLoan(_) | Hold::DropLoan(_) | Hold::DropLent(_) => {}
        }
        self.lents.truncate(KEPT_MAX);
        self.loans.truncate(KEPT_MAX);
    }

    fn have_come_again(&self) {
        let taken = &self.queue.0.items.channel.slot().words()[TAKEN_COUNT];
        let item = count_of(taken.fetch_sub(ONE, SeqCst)).wrapping_sub(1);
        for state in STATES.map(|at| self.state(at)).filter(|state| state.load(SeqCst) >> 62 == HELD >> 62) {
            state.store(QUEUED | item & (HELD - 1), SeqCst);
        }
    }

    /// All that is shown is mapped, and each number by one slice alone.
    fn check(&mut self) {
        let lents = self.lents.iter().map(|lent| lent.as_ptr_range());
        let mut all: Vec<_> = lents.chain(self.loans.iter().map(|loan| loan.as_ptr_range())).collect();
        all.retain(|range| !range.is_empty());
        all.sort_by_key(|range| range.start);
        assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start), "{all:?}");
        for numbers in &self.lents {
            black_box((numbers.first().copied(), numbers.last().copied()));
        }
        for numbers in &mut self.loans {
            numbers.iter_mut().step_by(500).for_each(|number| *number = 7);
        }
    }
}

proptest! {
    #[test]
    fn a_peer_that_writes_anything_has_no_memory_shown_twice(
        holds in prop::collection::vec(hold(), 1..24),
    ) {
        let mut scene = Scene::new();
        for hold in holds {
            scene.act(hold);
            scene.check();
        }
    }
}

/// What the random one comes to now and then.
#[test]
fn an_item_that_comes_again_is_not_shown_again() {
    let mut scene = Scene::new();
    for hold in [Hold::Put(50_000), Hold::Put(50_000), Hold::GetLent, Hold::Again, Hold::GetLent] {
        scene.act(hold);
        scene.check();
    }
    assert_eq!(scene.lents.len(), 1);
    // Its block is nobody's now, so it is had by who asks for one.
    for hold in [Hold::Free(520), Hold::Free(521), Hold::Free(522), Hold::Lend(50_000), Hold::Lend(50_000)] {
        scene.act(hold);
        scene.check();
    }
}
