//! From an input to chunks: takes items, and writes them into the arguments of a call.
//!
//! Relies on the trampolines of [`call`](crate::call). The iterator and what encodes its items are the user's: they may panic,
//! which ends the input after the items before.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use procession_boot::FunctionId;
use procession_launch::{Arguments, Target};
use procession_wire::{EncodeError, Encoder};

use crate::call::{Call, Load, PARTS, name_chunk};
use crate::error::SubmitError;

/// The first arguments' room: most chunks need less or much more.
const ROOM_FIRST: usize = 256;

/// For how long a chunk is filled, about. An input that takes longer is a slow one: results that have come are given out
/// before more of it is read.
pub const FILL_TIME_MAX: Duration = Duration::from_millis(10);

/// A chunk, and why it has no more items.
pub(super) struct Filled {
    pub(super) call: Option<Call>,
    pub(super) items: u32,
    pub(super) stop: Stop,
    /// True if it took so long to read the input that whoever takes results would notice.
    pub(super) is_slow: bool,
}

/// Why a chunk has no more items.
pub(super) enum Stop {
    /// It is full.
    Full,
    /// The input has ended.
    Ended,
    /// The next item cannot be encoded; the one after it begins another chunk.
    Refused(EncodeError),
    /// The input, or what encodes it, has panicked; nothing more comes.
    Panicked(Box<dyn Any + Send>),
}

/// What chunks are made of, whatever its types are.
pub(super) trait Feed {
    /// Makes a chunk of up to so many items, which ends when it has so many bytes.
    fn fill(&mut self, items: usize, bytes: usize) -> Filled;

    /// How many items are left, if that is known.
    fn left(&self) -> Option<usize>;
}

/// The items of an iterator, each the arguments of one call.
pub(super) struct Feeder<I> {
    function: FunctionId,
    input: I,
    /// How many bytes the last chunk had.
    room: usize,
}

impl<A: Arguments, I: Iterator<Item = A>> Feeder<I> {
    pub(super) fn new<F: Target<A>>(function: F, input: I) -> Result<Self, SubmitError> {
        let function = name_chunk::<F, A>(function).map_err(|error| SubmitError::Image { error })?;
        Ok(Self { function, input, room: ROOM_FIRST })
    }
}

impl<A: Arguments, I: Iterator<Item = A>> Feed for Feeder<I> {
    fn fill(&mut self, items: usize, bytes: usize) -> Filled {
        let mut encoder = Encoder::with_buffer(Vec::with_capacity(self.room));
        encoder.bytes(&[A::number_width().map_or(PARTS, |width| width as u8)]); // At most 16.
        let mut count = 0;
        let begun = Instant::now();
        let input = &mut self.input;
        let write = AssertUnwindSafe(|| {
            while (count as usize) < items && encoder.position() < bytes {
                // The clock is looked at ever more seldom: that takes longer than most items.
                if u32::is_power_of_two(count) && begun.elapsed() > FILL_TIME_MAX {
                    break;
                }
                let Some(arguments) = input.next() else { return Stop::Ended };
                match arguments.number() {
                    Some(number) => encoder.bytes(number),
                    None => {
                        if let Err(error) = encoder.part(|part| arguments.encode(part)) {
                            return Stop::Refused(error);
                        }
                    }
                }
                count += 1;
            }
            Stop::Full
        });
        // A part that was not written whole is taken back, and the iterator is not asked again after a panic.
        let stop = panic::catch_unwind(write).unwrap_or_else(Stop::Panicked);
        let arguments = encoder.finish();
        self.room = arguments.bytes().len().max(ROOM_FIRST);
        let call = (count > 0).then_some(Call { function: self.function, arguments: Load::Encoded(arguments) });
        Filled { call, items: count, stop, is_slow: begun.elapsed() > FILL_TIME_MAX }
    }

    fn left(&self) -> Option<usize> {
        match self.input.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        }
    }
}
