//! The name of an owner that no later one has: its number, and how often the number had been given away.
//!
//! For words in shared memory that say which process they are held by; `books.rs` gives the names.

use super::layout::OWNERS_MAX;

/// One process as it is known in one arena, for as long as it has a handle of any slot there.
///
/// The name fits a word of shared memory, and zero is nobody's. Numbers are given anew when their process is gone; the
/// rest of the name tells the old process from the new one, until the number has been given away 2²⁴ times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(u32);

const NUMBER_BITS: u32 = 8;
const NUMBERS: u32 = 1 << NUMBER_BITS;
const TIMES_END: u32 = 1 << (u32::BITS - NUMBER_BITS);

const _: () = assert!(OWNERS_MAX <= NUMBERS);

impl Owner {
    /// The `times`-th owner of a number; `times` counts from one.
    pub(super) fn new(number: u32, times: u32) -> Self {
        // Never zero, so that a name never is.
        let times = 1 + times.wrapping_sub(1) % (TIMES_END - 1);
        Self((times << NUMBER_BITS) | (number % NUMBERS))
    }

    /// What a word says; `None` for what nobody is called.
    #[must_use]
    #[inline]
    pub fn from_word(word: u32) -> Option<Self> {
        (word >> NUMBER_BITS != 0).then_some(Self(word))
    }

    /// The word that says it; not zero.
    #[must_use]
    #[inline]
    pub fn word(self) -> u32 {
        self.0
    }

    /// Its number, below [`OWNERS_MAX`].
    #[must_use]
    #[inline]
    pub fn number(self) -> u32 {
        self.0 % NUMBERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_zero_and_differs_from_the_last_of_its_number() {
        for times in [1, 2, TIMES_END - 1, TIMES_END, u32::MAX - 1, u32::MAX] {
            for number in [0, 1, OWNERS_MAX - 1] {
                let name = Owner::new(number, times);
                assert_eq!((name.number(), Owner::from_word(name.word())), (number, Some(name)));
                assert_ne!(name, Owner::new(number, times.wrapping_add(1)));
            }
        }
        assert_eq!((Owner::from_word(0), Owner::from_word(NUMBERS - 1)), (None, None));
    }
}
