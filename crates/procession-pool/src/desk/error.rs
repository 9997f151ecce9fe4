//! What may go wrong at a desk.

use std::io;

/// Why an order was not offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOffered {
    /// The worker has too much before it already; it will have room when it has done some of that.
    #[error("the worker has too much before it")]
    NoRoom,
    /// The worker has ended, or is about to.
    #[error("the worker has ended")]
    Gone,
    /// The worker has broken the desk.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The system refuses; nothing was offered.
    #[error("cannot send a task's large arguments to its worker: {0}")]
    System(#[source] io::Error),
}

/// Why what a worker has reported was not read to the end. What was read before is good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDrained {
    /// The worker has broken the desk.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The system refuses for now, mostly because this process has no descriptors left. Nothing was lost: it is worth
    /// another try when there are some.
    #[error("cannot receive a task's large result from its worker: {0}")]
    System(#[source] io::Error),
}

/// A worker has written what none of ours writes. Nothing that it says from now on is worth anything, so it is to be
/// killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Corrupt {
    /// A position.
    #[error("a worker has overwritten a position in a stream")]
    Position,
    /// What came over the link.
    #[error("a worker has sent what is no frame of its report")]
    Frame,
}
