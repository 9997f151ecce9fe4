//! Values and arrays without a lock.
//!
//! Relies on `cells.rs`, which accesses them by atomics.

use std::any::type_name;
use std::fmt;
use std::slice;

use procession_shm::arena::Slot;
use procession_shm::{Shareable, SharedArray};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::LockError;
use crate::cells::{Cells, Home, Step, numbers};
use crate::locked::{KIND_CELLS, received};

/// Integers of up to eight bytes, of which the processor changes one in one step.
///
/// It is implemented for all of the language's, and cannot be for others.
pub trait Number: numbers::Number {}

impl<T: numbers::Number> Number for T {}

/// A value that several processes share without a lock: a handle, whose clones are the same value.
///
/// A value of 1, 2, 4 or 8 bytes is read and written in one piece; a larger one may be read half old, half new, and what
/// two processes write at the same time may be left half of each: take a [`Value`](crate::Value) for these. Whoever reads
/// what another has written sees also what that one wrote elsewhere before.
///
/// A process that dies leaves what it has written.
///
/// # Python
/// `multiprocessing.RawValue`, and `Value(type, value, lock=False)`.
///
/// # Examples
/// ```
/// use procession_sync::RawValue;
///
/// let counter = RawValue::<i64>::new(40)?;
/// counter.fetch_add(1); // One step: no other process comes between.
/// counter.fetch_add(1);
/// assert_eq!(counter.get(), 42);
/// # Ok::<(), procession_sync::LockError>(())
/// ```
pub struct RawValue<T>(Cells<T>);

/// An array that several processes share without a lock: a handle, whose clones are the same elements.
///
/// What holds for a [`RawValue`] holds for each element. How many there are never changes; there may be none.
///
/// # Python
/// `multiprocessing.RawArray`, and `Array(type, elements, lock=False)`.
///
/// # Examples
/// ```
/// use procession_sync::RawArray;
///
/// let histogram = RawArray::<u32>::zeroed(256)?;
/// for byte in b"to be or not to be" {
///     histogram.fetch_add(usize::from(*byte), 1)?;
/// }
/// assert_eq!(histogram.get(usize::from(b'o'))?, 4);
/// assert!(histogram.get(256).is_err());
/// # Ok::<(), procession_sync::LockError>(())
/// ```
pub struct RawArray<T>(Cells<T>);

impl<T: Shareable> RawValue<T> {
    /// A shared copy of a value.
    ///
    /// # Errors
    /// [`LockError::Arena`] or [`LockError::Memory`] when there is no memory or no descriptor for it.
    pub fn new(value: T) -> Result<Self, LockError> {
        Cells::fresh(KIND_CELLS, 1, Some(slice::from_ref(&value))).map(Self)
    }

    /// The value, for types of which all bits are a value, such as numbers; for others it does not compile, and
    /// [`try_get`](Self::try_get) does.
    ///
    /// ```compile_fail,E0080
    /// let flag = procession_sync::RawValue::new(true)?;
    /// flag.get(); // Another process may have written what is no `bool`.
    /// # Ok::<(), procession_sync::LockError>(())
    /// ```
    ///
    /// # Panics
    /// Never, for such types.
    #[inline]
    #[must_use]
    pub fn get(&self) -> T {
        const { assert!(T::ANY_BITS, "not all bits are a value of this type: use `try_get`, which checks them") };
        self.0.load(0).expect("any bits are a value")
    }

    /// The value, if the bits there are one.
    ///
    /// # Errors
    /// [`LockError::Memory`].
    #[inline]
    pub fn try_get(&self) -> Result<T, LockError> {
        Ok(self.0.load(0)?)
    }

    /// Replaces the value, whatever it was.
    #[inline]
    pub fn set(&self, value: T) {
        self.0.store(0, value);
    }
}

impl<T: Shareable> RawArray<T> {
    /// An array of `len` elements whose bytes are zero.
    ///
    /// # Errors
    /// [`LockError::Memory`] for a type of which zero is no value, or when there is no memory for so many;
    /// [`LockError::Arena`].
    pub fn zeroed(len: usize) -> Result<Self, LockError> {
        Cells::fresh(KIND_CELLS, len, None).map(Self)
    }

    /// An array with a copy of these elements.
    ///
    /// # Errors
    /// As [`RawArray::zeroed`].
    pub fn from_slice(elements: &[T]) -> Result<Self, LockError> {
        Cells::fresh(KIND_CELLS, elements.len(), Some(elements)).map(Self)
    }

    /// An array of these elements, such as those of a range.
    ///
    /// # Errors
    /// As [`RawArray::zeroed`].
    pub fn from_items(items: impl IntoIterator<Item = T>) -> Result<Self, LockError> {
        Self::from_slice(&items.into_iter().collect::<Vec<_>>())
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// One element.
    ///
    /// # Errors
    /// [`LockError::Memory`] for an index that there is none of, and for bits that are no `T`.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, LockError> {
        Ok(self.0.load(self.0.check(index)?)?)
    }

    /// Replaces one element, whatever it was.
    ///
    /// # Errors
    /// [`LockError::Memory`] for an index that there is none of.
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), LockError> {
        self.0.store(self.0.check(index)?, value);
        Ok(())
    }

    /// Replaces elements from an index on, one by one.
    ///
    /// # Errors
    /// [`LockError::Memory`] when there are not so many; nothing was written.
    pub fn write(&self, index: usize, elements: &[T]) -> Result<(), LockError> {
        let Some(last) = elements.len().checked_sub(1) else { return Ok(()) };
        self.0.check(index.saturating_add(last))?;
        for (offset, &element) in elements.iter().enumerate() {
            self.0.store(index + offset, element);
        }
        Ok(())
    }

    /// A copy of all elements, which are read one by one.
    ///
    /// # Errors
    /// [`LockError::Memory`] for bits that are no `T`.
    pub fn to_vec(&self) -> Result<Vec<T>, LockError> {
        (0..self.len()).map(|index| self.get(index)).collect()
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident: $step:ident),* $(,)?) => {
        impl<T: Number> RawValue<T> {
            $(
                $(#[$doc])*
                /// One step, in one order that all processes see; gives what was there before.
                #[inline]
                pub fn $name(&self, operand: T) -> T {
                    T::step(&self.0, 0, Step::$step, operand)
                }
            )*
        }

        impl<T: Number> RawArray<T> {
            $(
                $(#[$doc])*
                /// One step, in one order that all processes see; gives what was there before.
                ///
                /// # Errors
                /// [`LockError::Memory`] for an index that there is none of.
                #[inline]
                pub fn $name(&self, index: usize, operand: T) -> Result<T, LockError> {
                    Ok(T::step(&self.0, self.0.check(index)?, Step::$step, operand))
                }
            )*
        }
    };
}

steps! {
    /// Adds, wrapping around at the end of the type.
    fetch_add: Add,
    /// Subtracts, wrapping around at the end of the type.
    fetch_sub: Sub,
    /// Keeps the bits that the operand has as well.
    fetch_and: And,
    /// Adds the bits of the operand.
    fetch_or: Or,
    /// Flips the bits of the operand.
    fetch_xor: Xor,
    /// Keeps the larger one.
    fetch_max: Max,
    /// Keeps the smaller one.
    fetch_min: Min,
    /// Replaces it.
    swap: Swap,
}

impl<T: Number> RawValue<T> {
    /// Replaces the value if it is `current`, in one step; gives what was there before.
    ///
    /// # Errors
    /// What is there instead.
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        T::exchange(&self.0, 0, current, new)
    }
}

impl<T: Number> RawArray<T> {
    /// Replaces an element if it is `current`, in one step; gives what was there before, or what is there instead.
    ///
    /// # Errors
    /// [`LockError::Memory`] for an index that there is none of.
    #[inline]
    pub fn compare_exchange(&self, index: usize, current: T, new: T) -> Result<Result<T, T>, LockError> {
        Ok(T::exchange(&self.0, self.0.check(index)?, current, new))
    }
}

/// What a message says of values: of which type, where they are, how many.
type Sent<T> = (u64, Option<Slot>, Option<SharedArray<T>>, u64);

fn send<T: Shareable, S: Serializer>(cells: &Cells<T>, serializer: S) -> Result<S::Ok, S::Error> {
    let (slot, array) = match cells.home() {
        Home::Slot(slot) => (Some(slot), None),
        Home::Segment(array) => (None, Some(array)),
    };
    (T::SIGNATURE, slot, array, cells.len() as u64).serialize(serializer)
}

fn receive<'de, T: Shareable, D: Deserializer<'de>>(deserializer: D) -> Result<Cells<T>, D::Error> {
    let (signature, slot, array, len) = Sent::<T>::deserialize(deserializer)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let nowhere = || Err(procession_shm::arena::ArenaError::Foreign { reason: "its values are nowhere" }.into());
    received(signature, slot, array, len, nowhere).map_err(de::Error::custom)
}

macro_rules! handles {
    ($($handle:ident),*) => {$(
        impl<T> Clone for $handle<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T> fmt::Debug for $handle<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle)).field("type", &type_name::<T>()).finish_non_exhaustive()
            }
        }

        impl<T: Shareable> Serialize for $handle<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                send(&self.0, serializer)
            }
        }
    )*};
}

handles!(RawValue, RawArray);

impl<'de, T: Shareable> Deserialize<'de> for RawValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cells = receive(deserializer)?;
        match cells.len() {
            1 => Ok(Self(cells)),
            _ => Err(de::Error::custom("a value is one, and this is an array")),
        }
    }
}

impl<'de, T: Shareable> Deserialize<'de> for RawArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        receive(deserializer).map(Self)
    }
}
