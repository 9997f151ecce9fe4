//! What is put to the test: one object, what a worker does with it, and where it may be killed meanwhile.

use crate::board::Board;
use crate::worker::Worker;

/// Who is killed at a place has the object, or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// It has: the next one must be told, or get back what it had.
    Inside,
    /// It has not yet, or not any more.
    Outside,
    /// Nobody is sent there to die, because it comes there only after a kill elsewhere.
    Seldom,
}

/// A fail point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) is: Where,
}

impl Place {
    pub(crate) const fn inside(name: &'static str) -> Self {
        Self { name, is: Where::Inside }
    }

    pub(crate) const fn outside(name: &'static str) -> Self {
        Self { name, is: Where::Outside }
    }

    pub(crate) const fn seldom(name: &'static str) -> Self {
        Self { name, is: Where::Seldom }
    }
}

/// One primitive.
pub(crate) trait Subject: Sized {
    /// Its name on the command line.
    const NAME: &'static str;

    /// All places of its protocols. One that is missing here is a failure.
    const PLACES: &'static [Place];

    /// How often what wakes one sleeper may happen while another sleeps on.
    const PASSES_MAX: u64 = 64;

    /// A new object.
    fn new(board: &Board) -> Self;

    /// One use of it, and what a survivor must see.
    fn turn(&self, worker: &Worker);

    /// What must hold when no other worker is there.
    fn is_quiet(&self, worker: &Worker);
}
