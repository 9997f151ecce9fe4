//! What can go wrong with what is waited for.

use std::fmt;

use procession_boot::BootError;
use procession_shm::ShmError;
use procession_shm::arena::ArenaError;

use crate::{HOLDERS_MAX, PARTIES_MAX, PERMITS_MAX};

/// Why a guard, a permit or a turn was not had, or under which circumstances it was.
///
/// `G` is what was asked for. Through `?` into `procession::Error` a guard is dropped, so its lock is free again, and the
/// error is the news.
///
/// # Examples
/// ```
/// use procession_sync::{LockError, Value};
///
/// fn withdraw(balance: &Value<[i64; 2]>) -> Result<(), LockError> {
///     let mut accounts = match balance.lock() {
///         Err(LockError::OwnerDied(mut accounts)) => {
///             accounts[1] = 100 - accounts[0]; // Make good what the dead one may have left half done.
///             accounts
///         }
///         locked => locked?,
///     };
///     accounts[0] -= 10;
///     accounts[1] += 10;
///     Ok(())
/// }
/// # let balance = Value::new([100, 0])?;
/// # withdraw(&balance)?;
/// # assert_eq!(balance.get()?, [90, 10]);
/// # Ok::<(), LockError>(())
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LockError<G = ()> {
    /// The process that held it died, so what it guards may be half changed. The guard is in here: repair what it guards, or
    /// drop it. Nobody but this taker is told.
    #[error(
        "the process that held the lock died while it did, so what the lock guards may be half changed: check it, and repair it"
    )]
    OwnerDied(G),
    /// It is held, by others or by the calling thread itself, or all of its permits are.
    #[error("it is held, perhaps by this thread, or all of its permits are: ask the object by whom, or wait for it")]
    WouldBlock,
    /// It was held all the time, or all of its permits were.
    #[error(
        "it was held, or all of its permits were, for as long as was waited: ask the object by whom, or wait longer"
    )]
    Timeout,
    /// The calling thread itself holds it, so it would wait for ever.
    #[error("this thread holds the lock already: drop its guard first, or use an `RLock`")]
    HeldByThisThread,
    /// As many processes hold or have held it as it has room for.
    #[error(
        "{limit} processes use this object already, which is what it was made for: make it with a larger `holders`"
    )]
    TooManyHolders {
        /// How many it has room for.
        limit: u32,
    },
    /// There would be more permits than the semaphore can have, so none was added.
    #[error(
        "cannot release {count}: a bounded semaphore gets back no more than was forgotten, and none has more than {PERMITS_MAX}"
    )]
    OverRelease {
        /// How many were to be released.
        count: u32,
    },
    /// No semaphore has so many permits.
    #[error("a semaphore of {permits} permits: ask for at most {PERMITS_MAX}")]
    TooManyPermits {
        /// How many were asked for.
        permits: u32,
    },
    /// No object has room for so many processes, or none for any.
    #[error("room for {holders} processes: ask for 1 to {HOLDERS_MAX}")]
    InvalidHolders {
        /// How many were asked for.
        holders: u32,
    },
    /// As many threads wait at a condition as it has room for.
    #[error("{limit} threads wait at this condition, which is the most there is room for: let fewer wait at once")]
    TooManyWaiters {
        /// How many it has room for.
        limit: u32,
    },
    /// A thread holds it as many times as can be counted.
    #[error(
        "this thread holds the lock {limit} times, which is as often as can be counted: drop guards that it forgot"
    )]
    TooDeep {
        /// How many times that is.
        limit: u64,
    },
    /// The guard that was given is of another lock than this object's, or a forked child's copy of its parent's guard.
    #[error(
        "the guard given is not one of this object's lock, held by this process: take that lock first, in the process that goes on"
    )]
    NotItsLock,
    /// The record's lock was taken through other records, whose names for processes mean nothing here.
    #[error(
        "the lock of this record was taken through other `Records`: pass on the handle that was made first, or a clone"
    )]
    OtherNames,
    /// The array, the index, or the bits that are there. Nothing is held.
    #[error(transparent)]
    Memory(#[from] ShmError),
    /// The object's memory could not be had or used.
    #[error(transparent)]
    Arena(#[from] ArenaError),
}

impl<G> LockError<G> {
    /// The same with something else made of the guard; with `drop` the lock is free again.
    pub fn map<H>(self, change: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            Self::OwnerDied(guard) => LockError::OwnerDied(change(guard)),
            Self::WouldBlock => LockError::WouldBlock,
            Self::Timeout => LockError::Timeout,
            Self::HeldByThisThread => LockError::HeldByThisThread,
            Self::TooManyHolders { limit } => LockError::TooManyHolders { limit },
            Self::OverRelease { count } => LockError::OverRelease { count },
            Self::TooManyPermits { permits } => LockError::TooManyPermits { permits },
            Self::InvalidHolders { holders } => LockError::InvalidHolders { holders },
            Self::TooManyWaiters { limit } => LockError::TooManyWaiters { limit },
            Self::TooDeep { limit } => LockError::TooDeep { limit },
            Self::NotItsLock => LockError::NotItsLock,
            Self::OtherNames => LockError::OtherNames,
            Self::Memory(error) => LockError::Memory(error),
            Self::Arena(error) => LockError::Arena(error),
        }
    }

    /// The guard, if the error is that its former holder died.
    ///
    /// # Errors
    /// Every other error, as it is.
    ///
    /// # Examples
    /// ```
    /// use procession_sync::{Lock, LockError};
    ///
    /// let lock = Lock::new()?;
    /// // A program that can go on whatever its lock's last holder was about to do.
    /// let guard = lock.lock().or_else(LockError::into_guard)?;
    /// # drop(guard);
    /// # Ok::<(), LockError>(())
    /// ```
    pub fn into_guard(self) -> Result<G, LockError> {
        match self {
            Self::OwnerDied(guard) => Ok(guard),
            error => Err(error.map(drop)),
        }
    }
}

impl LockError {
    /// The same for whoever asked for something else, which it has not.
    ///
    /// # Panics
    /// Not for what `Lock::take` returns, which has no guard.
    pub(crate) fn without_guard<G>(self) -> LockError<G> {
        self.map(|()| unreachable!("a lock that was had is no error here"))
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str("OwnerDied(..)"),
            Self::WouldBlock => f.write_str("WouldBlock"),
            Self::Timeout => f.write_str("Timeout"),
            Self::HeldByThisThread => f.write_str("HeldByThisThread"),
            Self::TooManyHolders { limit } => f.debug_struct("TooManyHolders").field("limit", limit).finish(),
            Self::OverRelease { count } => f.debug_struct("OverRelease").field("count", count).finish(),
            Self::TooManyPermits { permits } => f.debug_struct("TooManyPermits").field("permits", permits).finish(),
            Self::InvalidHolders { holders } => f.debug_struct("InvalidHolders").field("holders", holders).finish(),
            Self::TooManyWaiters { limit } => f.debug_struct("TooManyWaiters").field("limit", limit).finish(),
            Self::TooDeep { limit } => f.debug_struct("TooDeep").field("limit", limit).finish(),
            Self::NotItsLock => f.write_str("NotItsLock"),
            Self::OtherNames => f.write_str("OtherNames"),
            Self::Memory(error) => f.debug_tuple("Memory").field(error).finish(),
            Self::Arena(error) => f.debug_tuple("Arena").field(error).finish(),
        }
    }
}

/// Why a party did not pass a barrier, or there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The round broke: a party was killed while it waited or had no more time, the action panicked, or somebody broke the
    /// barrier or began it anew.
    #[error(
        "the barrier is broken: a party died or came too late, its action failed, or it was aborted or reset; mend what \
         the parties do together, and then `reset` it"
    )]
    Broken,
    /// The others did not come in time; they find the round broken.
    #[error("not all parties of the barrier came in time, so the round is broken: wait longer, or see who is missing")]
    Timeout,
    /// Others have not come yet.
    #[error("the barrier waits for other parties: wait with `wait` or `wait_timeout`")]
    WouldBlock,
    /// A barrier for nobody.
    #[error("a barrier of no parties holds nobody back: make it for at least one")]
    NoParties,
    /// A barrier for more than there is room for.
    #[error("a barrier of {parties} parties is too large: make it for at most {max}", max = PARTIES_MAX)]
    TooManyParties {
        /// How many there were to be.
        parties: usize,
    },
    /// The barrier's memory could not be had or used.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// The action cannot be named for other processes.
    #[error(transparent)]
    Action(#[from] BootError),
}
