//! How many items the next chunk gets: enough that handing it over costs little, and few enough that all workers end together.
//!
//! Pure: told how long chunks ran, it answers.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How long a chunk should run. A hand-over costs some microseconds, so that is a thousandth, also where it takes them from
/// a worker; a thread that waits hears of results often enough for a progress bar.
pub const CHUNK_TIME: Duration = Duration::from_millis(4);

/// How many items a chunk has at most. More make nothing faster, and what is lost with a result that cannot be carried stays
/// small.
pub const CHUNK_ITEMS_MAX: usize = 1 << 16;

/// How many bytes of encoded arguments end a chunk, so that it goes through a worker's memory in one piece.
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;

/// The same of a chunk whose size is given: an endless input of large items is not all read for the first chunk.
pub const GIVEN_CHUNK_BYTES_MAX: usize = 16 << 20;

/// How much larger a chunk may be than the one that its size follows from: the first ones say little.
const GROWTH_MAX: usize = 8;

/// How many chunks for each worker a map has submitted and not given back. With fewer, workers would wait for whoever takes the
/// results; with more, a slow taker would have more in memory.
pub const WINDOW_CHUNKS: usize = 4;

/// The same of chunks that run much shorter than [`CHUNK_TIME`], as those of a given size may: as many as run for that time,
/// and not more than these.
pub const WINDOW_CHUNKS_MAX: usize = 64;

/// What the chunks so far tell.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    fixed: Option<NonZeroUsize>,
    items: usize,
    window: usize,
}

impl Pace {
    /// One that adapts, or one that gives always so many.
    pub(super) fn new(fixed: Option<NonZeroUsize>) -> Self {
        Self { fixed, items: 1, window: WINDOW_CHUNKS }
    }

    /// How many items the next chunk may have, of `left` if that is known.
    pub(super) fn items(&self, left: Option<usize>, workers: usize) -> usize {
        if let Some(fixed) = self.fixed {
            return fixed.get().min(CHUNK_ITEMS_MAX);
        }
        // Towards the end each worker has two more, of what is left by then.
        let share = left.map_or(usize::MAX, |left| left.div_ceil(workers.max(1).saturating_mul(2)));
        self.items.min(share).max(1)
    }

    /// How many chunks may be under way for each worker.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// How many bytes of arguments end a chunk.
    pub(super) fn bytes(&self) -> usize {
        if self.fixed.is_some() { GIVEN_CHUNK_BYTES_MAX } else { CHUNK_BYTES_MAX }
    }

    /// A chunk of so many items ran for so long.
    pub(super) fn ran(&mut self, items: usize, nanos: u64) {
        let time = CHUNK_TIME.as_nanos() as usize;
        let nanos = usize::try_from(nanos).unwrap_or(usize::MAX).max(1);
        self.window = (time / nanos).clamp(WINDOW_CHUNKS, WINDOW_CHUNKS_MAX);
        let wanted = (time.saturating_mul(items) / nanos).clamp(1, CHUNK_ITEMS_MAX);
        // A small chunk does not say that large ones are wrong, and what it says of much larger ones is a guess.
        self.items =
            if wanted < self.items { wanted } else { self.items.max(wanted.min(items.saturating_mul(GROWTH_MAX))) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tasks_make_chunks_grow_to_their_time() {
        let mut pace = Pace::new(None);
        let mut sizes = Vec::new();
        for _ in 0..8 {
            let items = pace.items(None, 4);
            sizes.push(items);
            pace.ran(items, items as u64 * 1000); // A microsecond each: four thousand in a chunk.
        }
        assert_eq!(sizes, [1, 8, 64, 512, 4000, 4000, 4000, 4000]);
    }

    #[test]
    fn chunks_that_were_small_do_not_make_later_ones_grow_by_each_of_them() {
        let mut pace = Pace::new(None);
        for _ in 0..20 {
            pace.ran(1, 1000);
        }
        assert_eq!(pace.items(None, 4), 8);
    }

    #[test]
    fn a_long_task_makes_them_shrink_at_once() {
        let mut pace = Pace::new(None);
        pace.ran(1000, 1_000_000);
        assert_eq!(pace.items(None, 4), 4000);
        pace.ran(4000, 4_000_000_000);
        assert_eq!(pace.items(None, 4), 4);
        pace.ran(2, u64::MAX);
        assert_eq!(pace.items(None, 4), 1);
    }

    #[test]
    fn the_end_is_shared_among_the_workers() {
        let mut pace = Pace::new(None);
        pace.ran(1000, 1000);
        assert_eq!(pace.items(Some(100), 4), 13);
        assert_eq!(pace.items(Some(3), 4), 1);
        assert_eq!(pace.items(Some(0), 0), 1);
    }

    #[test]
    fn short_chunks_are_submitted_further_ahead() {
        let mut pace = Pace::new(NonZeroUsize::new(1));
        assert_eq!(pace.window(), WINDOW_CHUNKS);
        for (nanos, window) in [(100, WINDOW_CHUNKS_MAX), (200_000, 20), (10_000_000, WINDOW_CHUNKS)] {
            pace.ran(1, nanos);
            assert_eq!(pace.window(), window);
        }
    }

    #[test]
    fn a_given_size_is_kept() {
        let mut pace = Pace::new(NonZeroUsize::new(64));
        pace.ran(64, 1);
        assert_eq!((pace.items(Some(1), 4), pace.bytes()), (64, GIVEN_CHUNK_BYTES_MAX));
    }
}
