//! What the contestants have in common: a way from process to process, its two ends, and what goes through.

use procession::Passable;
use procession_benches::Result;

/// A way from those that put to those that take.
pub(crate) trait Way: Passable + Clone {
    /// What goes through.
    type Item: Item;

    /// One end of it, in the process that puts.
    fn producer(self) -> Result<impl Put<Self::Item>>;

    /// The other end, in the process that takes.
    fn consumer(self) -> Result<impl Take<Self::Item>>;
}

/// The end that items are put into.
pub(crate) trait Put<T> {
    /// Puts an item, as soon as there is room for it.
    fn put(&mut self, item: &T) -> Result;
}

/// The end that items come out of.
pub(crate) trait Take<T> {
    /// Looks at the next item, as soon as it is there.
    fn take<R>(&mut self, look: impl FnOnce(&T) -> R) -> Result<R>;
}

/// What goes through a way.
pub(crate) trait Item: Sized + PartialEq + 'static {
    /// One to be numbered.
    fn blank() -> Self;

    /// Writes a number into it, at every place that `number` looks at.
    fn set_number(&mut self, number: u64);

    /// The number, if it stands at all its places.
    fn number(&self) -> Option<u64>;

    /// True if it is what was put, to the last byte.
    fn is_whole(&self) -> bool {
        let mut same = Self::blank();
        self.number().is_some_and(|number| {
            same.set_number(number);
            same == *self
        })
    }
}

impl Item for u64 {
    fn blank() -> Self {
        0
    }

    fn set_number(&mut self, number: u64) {
        *self = number;
    }

    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

/// What is large has so many bytes.
pub(crate) const LARGE: usize = 1 << 20;

/// A number stands at the beginning of each of so many parts of what is large.
const PARTS: usize = 16;

impl Item for Vec<u8> {
    fn blank() -> Self {
        (0..LARGE).map(|at| (at ^ (at >> 8)) as u8 | 1).collect() // Nothing that memory holds by itself.
    }

    fn set_number(&mut self, number: u64) {
        for part in self.chunks_exact_mut(LARGE / PARTS) {
            part[..8].copy_from_slice(&number.to_le_bytes());
        }
    }

    fn number(&self) -> Option<u64> {
        let number = *self.first_chunk()?;
        let mut parts = self.chunks_exact(LARGE / PARTS);
        (self.len() == LARGE && parts.all(|part| part[..8] == number)).then(|| u64::from_le_bytes(number))
    }
}

impl Item for Vec<f64> {
    fn blank() -> Self {
        (0..LARGE / size_of::<f64>()).map(|at| at as f64).collect()
    }

    fn set_number(&mut self, number: u64) {
        for part in self.chunks_exact_mut(LARGE / size_of::<f64>() / PARTS) {
            part[0] = number as f64;
        }
    }

    fn number(&self) -> Option<u64> {
        let number = *self.first()?;
        let mut parts = self.chunks_exact(LARGE / size_of::<f64>() / PARTS);
        (size_of_val(&self[..]) == LARGE && parts.all(|part| part[0] == number)).then_some(number as u64)
    }
}

/// Bytes that are a part of something else.
pub(crate) type Nested = (u64, Vec<u8>);

impl Item for Nested {
    fn blank() -> Self {
        (0, Vec::blank())
    }

    fn set_number(&mut self, number: u64) {
        self.0 = number;
        self.1.set_number(number);
    }

    fn number(&self) -> Option<u64> {
        self.1.number().filter(|&number| number == self.0)
    }
}

/// A message that nobody copies: only its ends are written and looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ends {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Ends {
    /// Writes them into a message.
    pub(crate) fn write(self, message: &mut [u8]) {
        message[..8].copy_from_slice(&self.first.to_le_bytes());
        let last = message.len() - 8;
        message[last..].copy_from_slice(&self.last.to_le_bytes());
    }

    /// Those of a message.
    pub(crate) fn of(message: &[u8]) -> Result<Self> {
        let (first, last) = message.first_chunk().zip(message.last_chunk()).ok_or("the message has arrived short")?;
        Ok(Self { first: u64::from_le_bytes(*first), last: u64::from_le_bytes(*last) })
    }
}

impl Item for Ends {
    fn blank() -> Self {
        Self { first: 0, last: 0 }
    }

    fn set_number(&mut self, number: u64) {
        *self = Self { first: number, last: !number };
    }

    fn number(&self) -> Option<u64> {
        (self.last == !self.first).then_some(self.first)
    }
}
