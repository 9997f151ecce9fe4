//! Objects that live in a server process, and typed proxies that call them from anywhere.
//!
//! Layer 6. Uses `procession-sys`, `procession-wire`, `procession-boot`, `procession-launch` and `procession-ipc`.
//!
//! **Invariant:** knows objects and requests, not how other programs write them down: that is a codec's.
//! **Invariant:** nothing that a peer sends can have code run that the server's own image has not registered for just that.
//! **Invariant:** a client that dies gives back all that it had; a server that dies is an error at each of its proxies, at once.

#![doc(test(attr(deny(warnings))))]

pub mod data;

mod error;
mod identity; // What objects and servers are called.
mod shared; // Users' types as objects.

pub use crate::data::{Data, from_data, to_data};
pub use crate::error::{CallError, Refusal};
pub use crate::identity::ObjectId;
pub use crate::shared::{Answer, Call, Construct, Method, Run, Shared};
