//! One direction of a stream as this process knows it: whose turn it is, and whether a message is half-way.
//!
//! Relies on `parking_lot` for the turn. A forked child gets a copy of the lock, perhaps held by a thread that it has
//! not, and of what was half-way, which its parent goes on with: it begins with a side of its own.

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use procession_sys::{Deadline, Origin};

/// A direction.
#[derive(Debug)]
pub(super) struct Side<T> {
    origin: Origin,
    /// Whether a message was begun and is not at its end, for those who cannot wait for the turn.
    is_half_way: AtomicBool,
    state: Mutex<T>,
    /// Whether this process was forked while its parent was half-way through a message, which is the parent's.
    is_spoilt: bool,
    /// The side of a process that was forked from the one which made this.
    forked: OnceLock<Box<Self>>,
}

/// A thread's turn at a side.
#[derive(Debug)]
pub(super) struct Turn<'a, T> {
    side: &'a Side<T>,
    state: MutexGuard<'a, T>,
}

impl<T: Default> Default for Side<T> {
    fn default() -> Self {
        Self::new(false)
    }
}

impl<T: Default> Side<T> {
    fn new(is_spoilt: bool) -> Self {
        Self {
            origin: Origin::here(),
            is_half_way: AtomicBool::new(is_spoilt),
            state: Mutex::default(),
            is_spoilt,
            forked: OnceLock::new(),
        }
    }

    /// This process's.
    fn own(&self) -> &Self {
        if self.origin.is_here() {
            return self;
        }
        self.forked.get_or_init(|| Box::new(Self::new(self.is_half_way.load(Relaxed)))).own()
    }

    /// The calling thread's turn; none after the deadline.
    pub(super) fn turn(&self, deadline: Deadline) -> Option<Turn<'_, T>> {
        let side = self.own();
        let state = match deadline.remaining() {
            None => Some(side.state.lock()),
            Some(Duration::ZERO) => side.state.try_lock(),
            Some(time) => side.state.try_lock_for(time),
        };
        Some(Turn { side, state: state? })
    }

    /// Whether the next byte begins a message.
    pub(super) fn is_between_messages(&self) -> bool {
        !self.own().is_half_way.load(Relaxed)
    }
}

impl<T> Turn<'_, T> {
    /// Whether the side cannot be used because the parent of this forked process is in the middle of a message.
    pub(super) fn is_spoilt(&self) -> bool {
        self.side.is_spoilt
    }

    /// Tells that a message has begun.
    pub(super) fn begin(&self) {
        self.side.is_half_way.store(true, Relaxed);
    }

    /// Tells that it is at its end.
    pub(super) fn end(&self) {
        self.side.is_half_way.store(false, Relaxed);
    }
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.state
    }
}

impl<T> DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.state
    }
}
