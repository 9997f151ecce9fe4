//! Waiting in a task instead of a thread: the verbs that end in `_async`. With the feature `async`.
//!
//! Each does what its twin without the ending does, and gives the same errors; where that would block its thread, this
//! lets other tasks run. They work on every executor, tokio's and all others, with any number of threads: one thread of this
//! library, which begins with the first wait, watches for all tasks of the process. A wait for what has come costs no
//! thread and no descriptor, and no processor time but a look at the object every 50 ms.
//!
//! - **Dropping a future** loses nothing. An item is taken, or put, in the same call in which the future is done. Only a stream
//!   socket takes messages in parts: see [`BytesConnection::send_async`](crate::BytesConnection::send_async).
//! - **Time**: there is no verb that waits for so long at most, because every runtime has one.
//! - **Order**: tasks that wait by one handle are served in the order in which they came. One that was told to go on and does
//!   not, because its executor is busy, lets the next go on after 50 to 100 ms.
//! - **Death**: what the twin promises of peers that are killed holds, within the same 50 ms.
//! - **Fork**: a forked child has no tasks and no such thread; it begins with a thread of its own when it first waits. Start
//!   by [`StartMethod::Fork`](procession_launch::StartMethod) before: a process with two threads cannot.
//! - **Other tasks** of the thread wait for a few milliseconds at most while another process is stopped in the middle of
//!   taking or putting. Making an item bytes, and bytes an item, is done on the thread, as long as it takes.
// How it works:
//
// Relies on `asynchronous/reactor.rs`, one thread that watches descriptors for all tasks of the process, and on
// `asynchronous/line.rs` for who waits for what. An object is known here by what it can do without waiting, and by the
// bell that it shares with `wait_ready`. A task's wait goes like this:
//
// 1. If other tasks wait for the same, stand in line behind them. Otherwise try.
// 2. If that was in vain: ask for the bell, and look again, as whoever makes the object ready may not have known.
// 3. Have the reactor watch the descriptor. It tells the first in line, who tries, and then tells the next.
//
// A ringer may be killed before it rings. So the reactor looks at all that is waited for every `RECHECK`, without waking a
// task for it. Everything that takes or gives something happens in one call of the task's.

mod line;
mod own;
mod reactor;

mod verbs;
mod wait;

pub(crate) use line::{Awaited, Bell, Lines, Way, when};
pub use wait::wait_ready_async;
