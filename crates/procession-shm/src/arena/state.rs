//! The word that says what a slot is, and everything that may become of it.
//!
//! | bits | meaning |
//! |---|---|
//! | 0–1 | [`Tag`] |
//! | 2–31 | stamp |
//! | 32–63 | generation: how often the slot has been freed |
//!
//! | from | to | by whom |
//! |---|---|---|
//! | `Free`, g | `Claimed`, g, stamp: the claimer's owner number | who allocates |
//! | `Claimed`, g | `Live`, g, stamp 0 | the claimer, when the slot is ready and counted |
//! | `Claimed`, g, e | `Free`, g + 1 | who recovers the dead owner e |
//! | `Live` or `Freeing`, g, s | `Freeing`, g, s + 1 | who finds the slot without a reference, or has just given up one |
//! | `Freeing`, g, s | `Free`, g + 1 | who made it so, after it has found no reference |
//! | `Freeing`, g, s | `Live`, g, s | who made it so and found a reference, or who adds one |
//!
//! The stamp of `Freeing` grows with every attempt of a generation, so no two attempts ever have the same word: who was
//! interrupted between looking and freeing does nothing when it goes on, whatever happened meanwhile. A slot whose stamp
//! or generation is used up is never freed or never allocated again.

/// What a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Nobody's; what a file of zeros has.
    Free,
    /// Being made ready by one process.
    Claimed,
    /// Somebody's.
    Live,
    /// Perhaps nobody's: somebody looks.
    Freeing,
}

/// A slot's word, taken apart by its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(u64);

/// Stamps are below this.
pub(super) const STAMP_END: u32 = 1 << 30;

const TAG_BITS: u32 = 2;
const GENERATION_SHIFT: u32 = 32;

impl State {
    pub(super) fn new(tag: Tag, stamp: u32, generation: u32) -> Self {
        Self(u64::from(generation) << GENERATION_SHIFT | u64::from(stamp % STAMP_END) << TAG_BITS | tag as u64)
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    pub(super) fn tag(self) -> Tag {
        match self.0 % (1 << TAG_BITS) {
            0 => Tag::Free,
            1 => Tag::Claimed,
            2 => Tag::Live,
            _ => Tag::Freeing,
        }
    }

    pub(super) fn stamp(self) -> u32 {
        (self.0 as u32) >> TAG_BITS // The lower half.
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32 // The upper half.
    }

    /// True for a slot that is free for ever, its generations being used up.
    pub(super) fn is_retired(self) -> bool {
        self.tag() == Tag::Free && self.generation() == u32::MAX
    }

    /// Claimed by `owner`, if it may be.
    pub(super) fn claimed_by(self, owner: u32) -> Option<Self> {
        (self.tag() == Tag::Free && !self.is_retired()).then(|| Self::new(Tag::Claimed, owner, self.generation()))
    }

    /// True while `owner` makes the slot ready.
    pub(super) fn is_claimed_by(self, owner: u32) -> bool {
        self.tag() == Tag::Claimed && self.stamp() == owner
    }

    /// Made ready.
    pub(super) fn ready(self) -> Self {
        Self::new(Tag::Live, 0, self.generation())
    }

    /// With a new attempt to free it, if it is somebody's or being freed.
    pub(super) fn freeing(self) -> Option<Self> {
        let stamp = self.stamp() + 1;
        let may = matches!(self.tag(), Tag::Live | Tag::Freeing) && stamp < STAMP_END;
        may.then(|| Self::new(Tag::Freeing, stamp, self.generation()))
    }

    /// Found to be somebody's.
    pub(super) fn kept(self) -> Self {
        Self::new(Tag::Live, self.stamp(), self.generation())
    }

    /// Nobody's.
    pub(super) fn freed(self) -> Self {
        Self::new(Tag::Free, 0, self.generation().saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_it_was_made_of_and_zero_is_free() {
        assert_eq!(State::from_word(0), State::new(Tag::Free, 0, 0));
        for tag in [Tag::Free, Tag::Claimed, Tag::Live, Tag::Freeing] {
            let state = State::new(tag, STAMP_END - 1, u32::MAX);
            assert_eq!((state.tag(), state.stamp(), state.generation()), (tag, STAMP_END - 1, u32::MAX));
            assert_eq!(State::from_word(state.word()), state);
        }
    }

    #[test]
    fn no_two_attempts_to_free_have_the_same_word() {
        let live = State::new(Tag::Free, 0, 7).claimed_by(3).unwrap().ready();
        let first = live.freeing().unwrap();
        let taken_over = first.freeing().unwrap();
        let again = first.kept().freeing().unwrap();
        assert_ne!(first, taken_over);
        assert_ne!(first, again);
        assert_eq!(first.freed(), State::new(Tag::Free, 0, 8));
        assert_eq!(live.freed().freeing(), None);
    }

    #[test]
    fn what_is_used_up_stays_as_it_is() {
        assert_eq!(State::new(Tag::Live, STAMP_END - 1, 0).freeing(), None);
        let last = State::new(Tag::Freeing, 1, u32::MAX - 1).freed();
        assert!(last.is_retired());
        assert_eq!(last.claimed_by(0), None);
    }
}
