//! Words that no protocol has written, for the tests of what they do to an object.
//!
//! A peer may write anything: at worst nobody gets any further, which tests see by their timeouts.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// How often an object's words are all written anew.
const TIMES: u64 = 64;

/// Fills the words with what means something, with what does not, and with anything, and has `run` use the object.
pub(crate) fn fill_and(words: &[AtomicU64], mut run: impl FnMut()) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for time in 0..TIMES {
        for word in words {
            // Marsaglia's xorshift, so that a failure comes again.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = match time {
                0 => u64::MAX,
                1 => 1,
                2 => u64::MAX << 32,
                3 => u64::from(u32::MAX),
                _ if time % 2 == 0 => state & (state >> 32 | 3),
                _ => state,
            };
            word.store(value, SeqCst);
        }
        run();
    }
    for word in words {
        word.store(0, SeqCst);
    }
}
