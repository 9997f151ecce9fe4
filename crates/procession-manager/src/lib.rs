//! Objects that live in a server process, and typed proxies that call them from anywhere.
//!
//! Layer 6. Uses `procession-sys`, `procession-wire`, `procession-boot`, `procession-launch` and `procession-ipc`.
//!
//! **Invariant:** knows objects and requests, not how other programs write them down: that is a codec's.
//! **Invariant:** nothing that a peer sends can have code run that the server's own image has not registered for just that.
//! **Invariant:** a client that dies gives back all that it had; a server that dies is an error at each of its proxies, at once.

#![doc(test(attr(deny(warnings))))]

extern crate self as procession_manager; // What `#[shared]` writes calls this crate by its name, also in here.

mod data; // Values without a type.
#[doc(hidden)] // Called by what `#[shared]` writes, and not meant for anybody else.
pub mod derived;
mod error;
mod identity; // What objects and servers are called.
mod shared; // Users' types as objects.

pub use crate::data::Data;
pub use crate::error::{CallError, Refusal};
pub use crate::identity::ObjectId;
pub use crate::shared::{Answer, Call, Construct, METHODS_MAX, Method, Run, Shared};
pub use procession_macros::shared;
