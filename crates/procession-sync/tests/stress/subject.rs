//! What is put to the test: one object, what a worker does with it, and where it may be killed meanwhile.

use std::fmt::Debug;

use procession_sync::LockError;

use crate::worker::Worker;

/// What a worker that is killed at a place has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// It has the object, or is in the middle of changing it: the next one must be told, or have what it had.
    Inside,
    /// It has it not yet, or not any more.
    Outside,
    /// The one or the other, as several steps pass there.
    Either,
    /// Nobody is sent there to die, because it comes there by accident only.
    Seldom,
}

/// A fail point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) is: Where,
    /// A worker comes there once in its life, or not often.
    pub(crate) is_rare: bool,
}

impl Place {
    const fn new(name: &'static str, is: Where) -> Self {
        Self { name, is, is_rare: false }
    }

    pub(crate) const fn rare(self) -> Self {
        Self { is_rare: true, ..self }
    }

    pub(crate) const fn inside(name: &'static str) -> Self {
        Self::new(name, Where::Inside)
    }

    pub(crate) const fn outside(name: &'static str) -> Self {
        Self::new(name, Where::Outside)
    }

    pub(crate) const fn either(name: &'static str) -> Self {
        Self::new(name, Where::Either)
    }

    pub(crate) const fn seldom(name: &'static str) -> Self {
        Self::new(name, Where::Seldom)
    }
}

/// The places of a lock's word.
pub(crate) const LOCK: &[Place] = &[
    Place::outside("lock: marked"),
    Place::outside("lock: woken"),
    Place::outside("lock: to take"),
    Place::inside("lock: taken"),
    Place::inside("lock: to free"),
    Place::seldom("lock: freed"), // By a guard, only if a mark goes away meanwhile.
    Place::outside("lock: freed, not woken"),
    Place::outside("lock: nobody woken"),
];

/// The places of a ledger, which are passed by who takes and by who gives.
pub(crate) const LEDGER: &[Place] = &[
    Place::either("ledger: to help").rare(),
    Place::either("ledger: to change"),
    Place::either("ledger: changed, not noted"),
    Place::either("ledger: noted"),
    Place::outside("ledger: marked"),
    Place::outside("ledger: to claim").rare(),
    Place::outside("ledger: claimed").rare(),
    Place::outside("ledger: given back, not woken").rare(),
];

/// One primitive.
pub(crate) trait Subject: Debug + Sized {
    /// Its name on the command line.
    const NAME: &'static str;

    /// All places of its protocols. One that is missing here is a failure.
    const PLACES: &'static [&'static [Place]];

    /// How often what wakes sleepers may happen while one sleeps on: twenty times as often as others can be before it.
    const PASSES_MAX: u64 = 64;

    /// Where a death leaves those asleep that were to be woken, until they look again: as the primitive's docs say.
    const STRANDS: &'static [&'static str] = &[];

    /// A new object.
    fn new() -> Self;

    /// One use of it, and what a survivor must see.
    fn turn(&self, worker: &Worker);

    /// What must hold when no other worker is there.
    fn is_quiet(&self, worker: &Worker);
}

/// A guard, and whether its taker is told of a death; `None` for a lock that others hold.
pub(crate) fn had<G>(guard: Result<G, LockError<G>>) -> Option<(G, bool)> {
    match guard {
        Ok(guard) => Some((guard, false)),
        Err(LockError::OwnerDied(guard)) => Some((guard, true)),
        Err(LockError::WouldBlock) => None,
        Err(error) => panic!("{error}"),
    }
}
