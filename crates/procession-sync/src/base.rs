//! What a condition needs of the lock under which its waiters wait.
//!
//! Relies on nothing; the locks implement it beside what they are.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::LockError;

/// A lock that a [`Condition`](crate::Condition) can be over. Only locks of this crate are.
pub trait BaseLock: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static + Sealed {
    /// What holds it.
    type Guard<'a>;

    /// What it was held like, for taking it again in the same way.
    #[doc(hidden)]
    type Saved;

    /// Waits until it is free and takes it.
    #[doc(hidden)]
    fn take(&self) -> Result<Self::Guard<'_>, LockError<Self::Guard<'static>>>;

    /// Whether the guard is one of this very lock, and this process holds it by that.
    #[doc(hidden)]
    fn is_held_by(&self, guard: &Self::Guard<'_>) -> bool;

    /// Frees it, however often it is held.
    #[doc(hidden)]
    fn release_all(guard: Self::Guard<'_>) -> Self::Saved;

    /// Waits until it is free and takes it as it was held before.
    #[doc(hidden)]
    fn restore(&self, saved: Self::Saved) -> Result<Self::Guard<'_>, LockError<Self::Guard<'static>>>;
}

/// Keeps others from implementing [`BaseLock`].
pub trait Sealed {}
