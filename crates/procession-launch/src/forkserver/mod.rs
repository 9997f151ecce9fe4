//! The start method `forkserver`: a small process of this image forks on request.
//!
//! The server has one thread and holds nothing of this process's memory, so a fork costs the same whatever this
//! process holds, and is safe whatever threads it runs. A start sends the server one end of a new socket pair; the
//! server forks, and parent and child talk over the pair alone. A killed server is replaced at the next start; its
//! children go on.

mod client;
mod server;

pub(crate) use client::{Server, reap, start};
