//! Where bodies of messages are: blocks of one sparse memory file, and the segments that records stand in.
//!
//! A file holds one store or several, one after the other; places are from where a store begins.
//!
//! Every process computes from the number of bytes that a channel may hold where everything is. What the file itself says is
//! a peer's word: states are compared, numbers of blocks checked.
//!
//! | where | what |
//! |---|---|
//! | 0 | [`MAGIC`], the limits of bytes and items |
//! | [`USED_AT`] | for each class how many of its blocks were ever used |
//! | [`DIRECTORY_AT`] | for each segment by the lower bits of its number, its block |
//! | then | for each block its state, and how much memory it has |
//! | then | the blocks, class by class |
//!
//! | state of a block from | to | by whom |
//! |---|---|---|
//! | free | held by X | X, a producer that is going to write a body |
//! | held by X | queued as n | the same, having the producers' lock, before item n is published |
//! | queued as n | held by Y | Y, the consumer that has taken item n, still having the consumers' lock |
//! | held by Y | free | the same, after reading |
//! | free | segment s | a producer that has the lock and needs one |
//! | segment s | free | a consumer that has the lock, after the last record there was taken |
//! | held by a dead one | held by X | X, when no block is free |
//! | queued as n, never published | free | the heir of the producers' lock |
//! | queued as n, taken | free | the heir of the consumers' lock |
//! | segment s, not begun; over | free | the heir of the producers' lock; of the consumers' |

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use procession_shm::arena::Owner;
use procession_sys::{
    Access, MemoryFile, SharedMap, fail_point, file_size, has_huge_pages, memory_file, never_shrinks, reserve_range,
};

/// How long a segment is, and the smallest block.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;

/// How many times as long the blocks of the next class are.
const CLASS_STEP_BITS: u32 = 2;
/// Classes of blocks: 64 KiB, 256 KiB, 1 MiB, 4 MiB, 16 MiB, 64 MiB.
const CLASSES: usize = 6;
/// The longest body that a block holds. A longer one is a memory file of its own.
pub(crate) const BLOCK_BYTES_MAX: u64 = SEGMENT_BYTES << (CLASS_STEP_BITS * (CLASSES as u32 - 1));
/// So many blocks of a class there are at least, so that one can be written while one is read.
const BLOCKS_MIN: u64 = 2;

/// So many of the smallest blocks are for segments alone: the one that the next record begins in, and the one that it may
/// have to go on to. So there is room for a record whenever there is no item, whoever holds blocks for bodies.
const SEGMENTS_MIN: u64 = 2;

/// The fewest bytes that a channel may be made for.
pub(crate) const STORE_BYTES_MIN: u64 = SEGMENT_BYTES;
/// The most.
pub(crate) const STORE_BYTES_MAX: u64 = 1 << 40;

const MAGIC: u64 = u64::from_le_bytes(*b"prcnstr\x01");
const BYTES_AT: u64 = 8;
const ITEMS_AT: u64 = 16;
const USED_AT: u64 = 64;
const DIRECTORY_AT: u64 = 4096;
const WORD: u64 = size_of::<u64>() as u64;
/// A block's state, and how much memory it has.
const BLOCK_WORDS: u64 = 2;

/// The name that `/proc/PID/maps` shows.
const LABEL: &str = "procession-channel";

/// What a channel may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

/// Where everything is in a store for so many bytes.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    counts: [u64; CLASSES],
    /// One less than the directory's length, which is a power of two: to find a segment costs no division.
    directory_mask: u64,
    tables: [u64; CLASSES],
    blocks: [u64; CLASSES],
    end: u64,
}

impl Geometry {
    fn of(bytes: u64) -> Self {
        let mut counts = [0; CLASSES];
        let mut tables = [0; CLASSES];
        let mut blocks = [0; CLASSES];
        for (class, count) in counts.iter_mut().enumerate() {
            // What is in a block is longer than the blocks of the next smaller class, or it would be there: so many are
            // enough for as many bytes as the store is for. One more, since a segment may be hardly used.
            *count = ((bytes << CLASS_STEP_BITS) / class_bytes(class) + 1).max(BLOCKS_MIN);
        }
        counts[0] += SEGMENTS_MIN;
        let directory = counts[0].next_power_of_two();
        let mut at = DIRECTORY_AT + directory * WORD;
        for (table, count) in tables.iter_mut().zip(counts) {
            *table = at;
            at += count * BLOCK_WORDS * WORD;
        }
        at = at.next_multiple_of(SEGMENT_BYTES);
        for (class, block) in blocks.iter_mut().enumerate() {
            *block = at;
            at += counts[class] * class_bytes(class);
        }
        Self { counts, directory_mask: directory - 1, tables, blocks, end: at }
    }
}

fn foreign(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn class_bytes(class: usize) -> u64 {
    SEGMENT_BYTES << (CLASS_STEP_BITS * class as u32) // At most five.
}

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Held(Owner),
    Queued(u64),
    Segment(u64),
}

const TAG_SHIFT: u32 = 62;
const NUMBER_MASK: u64 = (1 << TAG_SHIFT) - 1;

impl State {
    fn word(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Held(owner) => 1 << TAG_SHIFT | u64::from(owner.word()),
            Self::Queued(number) => 2 << TAG_SHIFT | number & NUMBER_MASK,
            Self::Segment(number) => 3 << TAG_SHIFT | number & NUMBER_MASK,
        }
    }

    /// What a word says; `None` for what no word of ours does.
    fn of(word: u64) -> Option<Self> {
        let number = word & NUMBER_MASK;
        match word >> TAG_SHIFT {
            0 => (number == 0).then_some(Self::Free),
            1 => Owner::from_word(u32::try_from(number).ok()?).map(Self::Held),
            2 => Some(Self::Queued(number)),
            _ => Some(Self::Segment(number)),
        }
    }
}

/// A block, by its class and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    class: u8,
    number: u32,
}

impl Block {
    /// As a record, or the directory, says it; never zero.
    pub(crate) fn word(self) -> u64 {
        (u64::from(self.class) << 32) | (u64::from(self.number) + 1)
    }
}

/// How many blocks are used for what.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that the items count for.
    pub bytes: u64,
    /// By those who write or read bodies.
    pub held: usize,
    /// By those who have died of that, until a block is needed.
    pub left: usize,
    /// By items.
    pub queued: usize,
    /// By what is in no block of its own.
    pub segments: usize,
}

/// Why there is no block.
#[derive(Debug)]
pub(crate) enum NoBlock {
    /// All are used.
    Full,
    /// There is no memory.
    System(io::Error),
}

/// The memory file of one or more stores as one process maps it.
#[derive(Debug)]
struct Memory {
    file: OwnedFd,
    map: SharedMap,
}

/// The store as one process maps it.
#[derive(Debug)]
pub(crate) struct Store {
    memory: Arc<Memory>,
    /// Where it begins in the file; everything else is relative to that.
    base: u64,
    geometry: Geometry,
    limits: Limits,
}

impl Store {
    /// An empty one.
    pub(crate) fn create(limits: Limits) -> io::Result<Self> {
        let [store] = Self::create_all([limits])?;
        Ok(store)
    }

    /// Several empty ones, one after the other in one file.
    pub(crate) fn create_all<const N: usize>(limits: [Limits; N]) -> io::Result<[Self; N]> {
        let limits =
            limits.map(|limits| Limits { bytes: limits.bytes.clamp(STORE_BYTES_MIN, STORE_BYTES_MAX), ..limits });
        let bytes = limits.iter().map(|limits| Geometry::of(limits.bytes).end).sum();
        let file = memory_file(LABEL, &MemoryFile { bytes, huge_page_bits: None })?;
        let memory = Arc::new(Memory { map: SharedMap::map(&file, bytes as usize, Access::ReadWrite)?, file });
        let mut base = 0;
        Ok(limits.map(|limits| {
            let store = Self { memory: Arc::clone(&memory), base, geometry: Geometry::of(limits.bytes), limits };
            for (at, value) in [(0, MAGIC), (BYTES_AT, limits.bytes), (ITEMS_AT, limits.items)] {
                store.known(at).store(value, Relaxed);
            }
            base += store.geometry.end;
            store
        }))
    }

    /// One that came from a peer, if it is one.
    pub(crate) fn open(file: OwnedFd) -> io::Result<Self> {
        let [store] = Self::open_all(file)?;
        Ok(store)
    }

    /// As many as were created together.
    pub(crate) fn open_all<const N: usize>(file: OwnedFd) -> io::Result<[Self; N]> {
        let size = file_size(&file)?;
        if !never_shrinks(&file) || size < DIRECTORY_AT {
            return Err(foreign("the descriptor is not of a channel's memory file"));
        }
        if has_huge_pages(&file)? {
            return Err(foreign("the file is of huge pages, which may not be there when they are touched"));
        }
        let bytes = usize::try_from(size).map_err(|_| foreign("the file is longer than any channel's"))?;
        let memory = Arc::new(Memory { map: SharedMap::map(&file, bytes, Access::ReadWrite)?, file });
        let mut base = 0;
        let stores: Vec<Self> = (0..N)
            .map(|_| {
                let store = Self::found(&memory, base)?;
                base += store.geometry.end;
                Ok(store)
            })
            .collect::<io::Result<_>>()?;
        if base != size {
            return Err(foreign("the file is not as long as the channel says"));
        }
        stores.try_into().map_err(|_| foreign("the file is not as long as the channel says"))
    }

    /// The store that begins there, if one does. Whether all of it is there is not looked at.
    fn found(memory: &Arc<Memory>, base: u64) -> io::Result<Self> {
        let word = |at: u64| memory.map.atomic_u64((base + at) as usize).map(|word| word.load(Relaxed));
        let limits = Limits { bytes: word(BYTES_AT)?, items: word(ITEMS_AT)? };
        if word(0)? != MAGIC || !(STORE_BYTES_MIN..=STORE_BYTES_MAX).contains(&limits.bytes) {
            return Err(foreign("the file does not begin as a channel's does"));
        }
        Ok(Self { memory: Arc::clone(memory), base, geometry: Geometry::of(limits.bytes), limits })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.memory.file.as_fd()
    }

    /// Where bytes are copied from and to, by places that were got from here.
    #[inline]
    pub(crate) fn map(&self) -> &SharedMap {
        &self.memory.map
    }

    /// A word that is within the store by its geometry.
    #[inline]
    fn known(&self, at: u64) -> &AtomicU64 {
        self.map().atomic_u64((self.base + at) as usize).expect("the geometry is within the mapping")
    }

    // Blocks.

    /// The block that a record or the directory says, if there is such a one.
    #[inline]
    pub(crate) fn block(&self, word: u64) -> Option<Block> {
        let class = u8::try_from(word >> 32).ok()?;
        let number = (word as u32).checked_sub(1)?; // The lower half.
        let count = *self.geometry.counts.get(usize::from(class))?;
        (u64::from(number) < count).then_some(Block { class, number })
    }

    /// Where a block's bytes begin.
    #[inline]
    pub(crate) fn place(&self, block: Block) -> usize {
        let class = usize::from(block.class);
        (self.base + self.geometry.blocks[class] + u64::from(block.number) * class_bytes(class)) as usize
    }

    /// How many bytes it has.
    pub(crate) fn block_bytes(&self, block: Block) -> u64 {
        class_bytes(usize::from(block.class))
    }

    fn state(&self, block: Block) -> &AtomicU64 {
        self.known(self.entry(block))
    }

    fn entry(&self, block: Block) -> u64 {
        self.geometry.tables[usize::from(block.class)] + u64::from(block.number) * BLOCK_WORDS * WORD
    }

    fn change(&self, block: Block, from: State, to: State) -> bool {
        self.state(block).compare_exchange(from.word(), to.word(), AcqRel, Relaxed).is_ok()
    }

    /// A block for so many bytes, held by `own`.
    pub(crate) fn claim(&self, bytes: u64, own: Owner, is_alive: impl Fn(Owner) -> bool) -> Result<Block, NoBlock> {
        let class = (0..CLASSES).find(|&class| class_bytes(class) >= bytes).ok_or(NoBlock::Full)?;
        fail_point!("store: to claim");
        let held = State::Held(own);
        // What the dead have left goes before what was never used, so that no memory piles up.
        let used = self.used_count(class);
        let block = self.find(class, 0..used, held).or_else(|| self.inherit(class, held, is_alive));
        let block = block.or_else(|| self.find(class, used..u64::MAX, held)).ok_or(NoBlock::Full)?;
        self.furnish(block, bytes, held)?;
        Ok(block)
    }

    /// Takes the first free block of a class among these.
    fn find(&self, class: usize, among: Range<u64>, to: State) -> Option<Block> {
        let kept = if class == 0 && !matches!(to, State::Segment(_)) { SEGMENTS_MIN } else { 0 };
        let end = among.end.min(self.geometry.counts[class]);
        self.blocks(class, among.start.max(kept)..end).find(|&block| {
            if self.state(block).load(Relaxed) != State::Free.word() {
                return false;
            }
            // Before it is taken, so that whoever looks for what the dead have left looks here.
            self.used(class).fetch_max(u64::from(block.number) + 1, Relaxed);
            self.change(block, State::Free, to)
        })
    }

    /// Takes the first block of a class that a dead process has held.
    fn inherit(&self, class: usize, to: State, is_alive: impl Fn(Owner) -> bool) -> Option<Block> {
        self.blocks(class, 0..self.used_count(class)).find(|&block| match State::of(self.state(block).load(Relaxed)) {
            Some(State::Held(owner)) => !is_alive(owner) && self.change(block, State::Held(owner), to),
            _ => false,
        })
    }

    fn blocks(&self, class: usize, among: Range<u64>) -> impl Iterator<Item = Block> + use<> {
        // A channel has fewer blocks than a word has numbers, and six classes.
        (among.start as u32..among.end as u32).map(move |number| Block { class: class as u8, number })
    }

    fn used(&self, class: usize) -> &AtomicU64 {
        self.known(USED_AT + class as u64 * WORD)
    }

    fn used_count(&self, class: usize) -> u64 {
        self.used(class).load(Relaxed).min(self.geometry.counts[class])
    }

    /// Sees to it that a block has memory for so many bytes; frees it if there is none.
    fn furnish(&self, block: Block, bytes: u64, state: State) -> Result<(), NoBlock> {
        let has = self.known(self.entry(block) + WORD);
        if has.load(Relaxed) >= bytes {
            return Ok(());
        }
        reserve_range(self.file(), self.place(block) as u64, bytes).map_err(|error| {
            self.change(block, state, State::Free);
            NoBlock::System(error)
        })?;
        has.store(bytes, Relaxed);
        Ok(())
    }

    /// Makes a block that `own` holds an item's; false if it is not `own`'s, which a peer has seen to.
    pub(crate) fn enqueue(&self, block: Block, own: Owner, item: u64) -> bool {
        self.change(block, State::Held(own), State::Queued(item))
    }

    /// Makes an item's block `own`'s; false if it is not the item's.
    pub(crate) fn dequeue(&self, block: Block, item: u64, own: Owner) -> bool {
        self.change(block, State::Queued(item), State::Held(own))
    }

    /// Gives back a block that `own` holds.
    pub(crate) fn free(&self, block: Block, own: Owner) {
        self.change(block, State::Held(own), State::Free);
    }

    /// How its blocks are used. `is_alive` says whether a process is.
    pub(crate) fn usage(&self, is_alive: impl Fn(Owner) -> bool) -> Usage {
        let mut usage = Usage::default();
        for block in (0..CLASSES).flat_map(|class| self.blocks(class, 0..self.used_count(class))) {
            match State::of(self.state(block).load(Acquire)) {
                Some(State::Free) => {}
                Some(State::Held(owner)) if is_alive(owner) => usage.held += 1,
                Some(State::Queued(_)) => usage.queued += 1,
                Some(State::Segment(_)) => usage.segments += 1,
                Some(State::Held(_)) | None => usage.left += 1,
            }
        }
        usage
    }

    // Segments.

    #[inline]
    fn directory(&self, segment: u64) -> &AtomicU64 {
        self.known(DIRECTORY_AT + (segment & self.geometry.directory_mask) * WORD)
    }

    /// The block of a segment; `None` if it has none, or a peer has written what cannot be.
    #[inline]
    pub(crate) fn segment(&self, segment: u64) -> Option<Block> {
        self.block(self.directory(segment).load(Acquire)).filter(|block| block.class == 0)
    }

    /// The block of a segment that a producer begins, having the lock.
    pub(crate) fn begin(&self, segment: u64) -> Result<Block, NoBlock> {
        let state = State::Segment(segment);
        // Who died after it had begun it has left one.
        if let Some(block) = self.segment(segment).filter(|&block| self.state(block).load(Acquire) == state.word()) {
            return Ok(block);
        }
        let block = self.find(0, 0..u64::MAX, state).ok_or(NoBlock::Full)?;
        fail_point!("store: segment taken");
        self.furnish(block, SEGMENT_BYTES, state)?;
        self.directory(segment).store(block.word(), Release);
        fail_point!("store: segment begun");
        Ok(block)
    }

    /// Gives back the block of a segment of which the last record was taken.
    pub(crate) fn end(&self, segment: u64) {
        if let Some(block) = self.segment(segment) {
            fail_point!("store: segment to end");
            self.change(block, State::Segment(segment), State::Free);
        }
    }

    /// What the heir of the producers' lock does: frees what was begun for items from `item` on, which nobody has put, and
    /// for segments from `segment` on.
    pub(crate) fn forget_begun(&self, item: u64, segment: u64) {
        self.sweep(|state| match state {
            State::Queued(number) => number >= item,
            State::Segment(number) => number >= segment,
            _ => false,
        });
    }

    /// What the heir of the consumers' lock does: frees what was left of items before `item`, which were taken, and of
    /// segments before `segment`.
    pub(crate) fn forget_taken(&self, item: u64, segment: u64) {
        self.sweep(|state| match state {
            State::Queued(number) => number < item,
            State::Segment(number) => number < segment,
            _ => false,
        });
    }

    fn sweep(&self, is_left: impl Fn(State) -> bool) {
        for class in 0..CLASSES {
            for block in self.blocks(class, 0..self.used_count(class)) {
                if let Some(state) = State::of(self.state(block).load(Acquire)).filter(|&state| is_left(state)) {
                    self.change(block, state, State::Free);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
