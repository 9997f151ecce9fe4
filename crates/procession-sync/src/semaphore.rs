//! Semaphores, and the permits that processes have of them.
//!
//! Relies on `semaphore/stock.rs` for all that happens.

mod stock;

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::time::Duration;

use procession_shm::arena::{Owner, Slot};
use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::stock::Stock;
use crate::LockError;
use crate::table::HOLDERS;

/// What tells semaphores from other objects in the arena.
const KIND: u64 = u64::from_le_bytes(*b"semaph\0\x01");
const KIND_BOUNDED: u64 = u64::from_le_bytes(*b"bsemaph\x01");

/// Permits that several processes share: a handle, whose clones are the same semaphore.
///
/// A permit belongs to the process that took it, until it is dropped or forgotten. Who signals rather than guards forgets
/// the permits that it takes, and adds new ones with [`Semaphore::release`]: those are nobody's.
///
/// At most [`PERMITS_MAX`](crate::PERMITS_MAX) permits, and [`HOLDERS`] processes that take any, or as many as its
/// builder was told. A process keeps its place for as long as it has a handle of any object of the same arena. There is
/// no order among those that wait.
///
/// # Crashes and fork
/// The permits of a process that dies come back, and nobody is told: to whoever waits, or comes, within
/// 2 × [`RECHECK`](crate::RECHECK). Forgotten ones do not. Whoever waits is served whichever process is killed at
/// whatever instant. In a forked child the copy of a permit is inert: the parent has it.
///
/// # Python
/// `multiprocessing.Semaphore`. There a permit is never anybody's, and is lost with the process that took it;
/// `get_value` is [`Semaphore::available`].
///
/// Source: futex(2), sem_overview(7).
///
/// # Examples
/// ```
/// use procession_sync::Semaphore;
///
/// let semaphore = Semaphore::new(2)?;
/// let permit = semaphore.acquire()?;
/// semaphore.acquire()?.forget();
/// assert!(semaphore.try_acquire().is_err());
/// drop(permit);
/// semaphore.release(1)?;
/// assert_eq!(semaphore.available(), 2);
/// # Ok::<(), procession_sync::LockError>(())
/// ```
#[derive(Clone)]
pub struct Semaphore(Stock);

/// A [`Semaphore`] that never has more permits than at first: a handle, whose clones are the same one.
///
/// Permits that are there, permits that processes have, and those that were forgotten are together as many as it was made
/// with, at every instant: [`BoundedSemaphore::release`] refuses what nobody has forgotten.
///
/// # Crashes and fork
/// As with a [`Semaphore`].
///
/// # Python
/// `multiprocessing.BoundedSemaphore`, whose check two processes can pass at once.
///
/// Source: futex(2), sem_overview(7).
///
/// # Examples
/// ```
/// use procession_sync::{BoundedSemaphore, LockError};
///
/// let semaphore = BoundedSemaphore::new(2)?;
/// let permit = semaphore.acquire()?;
/// assert!(matches!(semaphore.release(1), Err(LockError::OverRelease { .. })));
/// permit.forget();
/// semaphore.release(1)?;
/// # Ok::<(), LockError>(())
/// ```
#[derive(Clone)]
pub struct BoundedSemaphore(Stock);

/// Options of a [`Semaphore`] or a [`BoundedSemaphore`].
///
/// # Examples
/// ```
/// use procession_sync::Semaphore;
///
/// let semaphore = Semaphore::builder(2).holders(256).build()?;
/// # drop(semaphore);
/// # Ok::<(), procession_sync::LockError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SemaphoreBuilder<S = Semaphore> {
    permits: u32,
    holders: u32,
    _of: PhantomData<fn() -> S>,
}

impl<S> SemaphoreBuilder<S> {
    fn new(permits: u32) -> Self {
        Self { permits, holders: HOLDERS, _of: PhantomData }
    }

    /// How many processes can take permits, [`HOLDERS`] unless it is said, [`HOLDERS_MAX`](crate::HOLDERS_MAX) at most.
    /// Each costs 12 bytes.
    #[must_use]
    pub fn holders(self, holders: u32) -> Self {
        Self { holders, ..self }
    }
}

/// The methods that both have.
macro_rules! semaphore {
    ($Name:ident, $kind:expr, $is_bounded:expr) => {
        impl SemaphoreBuilder<$Name> {
            /// Makes it.
            ///
            /// # Errors
            /// [`LockError::TooManyPermits`], [`LockError::InvalidHolders`]; [`LockError::Arena`] when there is no memory
            /// or no descriptor for it.
            pub fn build(self) -> Result<$Name, LockError> {
                Ok($Name(Stock::new($kind, self.permits, self.holders, $is_bounded)?))
            }
        }

        impl $Name {
            /// A semaphore with so many permits.
            ///
            /// # Errors
            /// [`LockError::TooManyPermits`]; [`LockError::Arena`] when there is no memory or no descriptor for it.
            pub fn new(permits: u32) -> Result<Self, LockError> {
                Self::builder(permits).build()
            }

            /// Options of a semaphore with so many permits.
            #[must_use]
            pub fn builder(permits: u32) -> SemaphoreBuilder<Self> {
                SemaphoreBuilder::new(permits)
            }

            /// Waits until there is a permit and takes it.
            ///
            /// # Errors
            /// [`LockError::TooManyHolders`], at once; [`LockError::Arena`] in a forked child whose handles could not be
            /// counted.
            #[inline]
            pub fn acquire(&self) -> Result<Permit<'_>, LockError> {
                self.0.acquire(Deadline::NEVER)
            }

            /// Takes a permit if there is one.
            ///
            /// # Errors
            /// [`LockError::WouldBlock`], [`LockError::TooManyHolders`], [`LockError::Arena`].
            pub fn try_acquire(&self) -> Result<Permit<'_>, LockError> {
                self.0.try_acquire()
            }

            /// Waits until there is a permit, for so long at most, and takes it. One that is there is taken also when no
            /// time is left.
            ///
            /// # Errors
            /// [`LockError::Timeout`], [`LockError::TooManyHolders`], [`LockError::Arena`].
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, LockError> {
                self.0.acquire(Deadline::after(timeout))
            }

            /// How many permits are there. It may be another number when this returns. Those of a process that has died
            /// are there once somebody has missed them.
            #[must_use]
            pub fn available(&self) -> u32 {
                self.0.available()
            }

            /// The processes that have permits: number, in its own namespace, and how many.
            #[must_use]
            pub fn holders(&self) -> Vec<(u32, u32)> {
                self.0.holders()
            }

            /// How many threads sleep until there is a permit, in all processes.
            #[must_use]
            pub fn waiters(&self) -> usize {
                self.0.waiters()
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = f.debug_struct(stringify!($Name));
                text.field("available", &self.available()).field("holders", &self.holders()).finish()
            }
        }

        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.slot().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let slot = Slot::deserialize(deserializer)?;
                Stock::over(slot, $kind, $is_bounded).map(Self).map_err(de::Error::custom)
            }
        }
    };
}

semaphore!(Semaphore, KIND, false);
semaphore!(BoundedSemaphore, KIND_BOUNDED, true);

impl Semaphore {
    /// Adds permits that are nobody's, and wakes as many as wait for them. With 0 nothing happens.
    ///
    /// # Errors
    /// [`LockError::OverRelease`] and no new permit, if there were more than [`PERMITS_MAX`](crate::PERMITS_MAX).
    #[inline]
    pub fn release(&self, count: u32) -> Result<(), LockError> {
        self.0.release(count)
    }
}

impl BoundedSemaphore {
    /// Gives back permits that were forgotten, and wakes as many as wait for them. With 0 nothing happens.
    ///
    /// # Errors
    /// [`LockError::OverRelease`] and no new permit, if fewer are forgotten: of two processes that release the same permit
    /// at once, one gets it.
    #[inline]
    pub fn release(&self, count: u32) -> Result<(), LockError> {
        self.0.release(count)
    }
}

/// A permit that this process has; dropping it gives it back.
///
/// Any thread of the process may drop it. One that is leaked comes back when the process ends, unlike one that is
/// [forgotten](Permit::forget).
#[must_use = "a permit is given back as soon as it is dropped"]
pub struct Permit<'a> {
    stock: &'a Stock,
    own: Owner,
    at: usize,
}

impl<'a> Permit<'a> {
    #[inline]
    fn new(stock: &'a Stock, own: Owner, at: usize) -> Self {
        Self { stock, own, at }
    }

    /// Makes it nobody's: it comes back when somebody calls `release`, and by nothing else.
    ///
    /// # Examples
    /// ```
    /// let items = procession_sync::Semaphore::new(0)?;
    /// items.release(1)?; // One process says that there is something,
    /// items.acquire()?.forget(); // another that it has taken it.
    /// # Ok::<(), procession_sync::LockError>(())
    /// ```
    #[inline]
    pub fn forget(self) {
        self.stock.forget(self.own, self.at);
        mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.stock.give(self.own, self.at);
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
