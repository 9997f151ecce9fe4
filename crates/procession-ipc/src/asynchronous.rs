//! Waiting in a task instead of a thread: the verbs with `_async`, for any executor.
//!
//! Relies on `asynchronous/reactor.rs`, one thread that watches descriptors for all tasks of the process, and on
//! `asynchronous/line.rs` for who waits for what. An object is known here by what it can do without waiting, and by the
//! bell that it shares with [`wait_ready`](crate::wait_ready). A task's wait goes like this:
//!
//! 1. If other tasks wait for the same, stand in line behind them. Otherwise try.
//! 2. If that was in vain: ask for the bell, and look again, as whoever makes the object ready may not have known.
//! 3. Have the reactor watch the descriptor. It tells the first in line, who tries, and then tells the next.
//!
//! A ringer may be killed before it rings. So the reactor looks at all that is waited for every
//! [`RECHECK`](procession_sync::RECHECK), without waking a task for it. Everything that takes or gives something happens
//! in one call of the task's: a future that is dropped has done all of it or nothing.

mod line;
mod own;
mod reactor;

mod verbs;

pub(crate) use line::{Awaited, Bell, Lines, Way, when};
