//! The start method `forkserver`: a small process of this image forks on request.
//!
//! The server has one thread and holds nothing of this process's memory, so a fork costs the same whatever this
//! process holds, and is safe whatever threads it runs. A start sends the server one end of a new socket pair; the
//! server forks, and parent and child talk over the pair alone. A killed server is replaced at the next start; its
//! children go on.

//!
//! A context that preloads has a server of its own, which runs the context's functions before it serves. A nursery is a
//! server that was forked from this process instead of executed, so its children are copies of what this process was.

mod client;
mod nursery;
mod preload;
mod server;
mod source; // The servers of this process, and whose they are.
mod waiting;

pub(crate) use client::start;
pub(crate) use nursery::nursery;
pub(crate) use preload::Preload;
pub use preload::PreloadResult;
pub(crate) use source::{Server, Source, reap, shared};
