//! What may cross a process boundary: serde values as bytes, and the descriptors that travel with them.
//!
//! Layer 1. Uses a limit of `procession-sys`. Used by every crate that sends a value to another process.
//!
//! **Invariant:** wire does no IO of its own; whoever owns the socket or the ring moves the bytes.
//! **Invariant:** hostile bytes never panic, over-allocate, loop without bound or leave a descriptor open.
//! **Invariant:** a value that was accepted by [`Encoder::value`] is never delivered as another value; what
//! the byte format cannot express is an error that names the remedy.
//!
//! # Which part do I want?
//!
//! * one value to bytes and back: [`Encoder`], [`Message`], [`Decoder`], or [`encode`] and [`decode`];
//! * a descriptor inside a value: [`Descriptor`], or [`fd`] for a `File` or a socket;
//! * an untagged, flattened or partly skipped type: [`Described`];
//! * one descriptor for many handles: [`once`];
//! * a field of many numbers: [`bulk`];
//! * messages over a packet socket: [`frame`];
//! * any error at all as a value: [`Fault`].
//!
//! # The bytes
//!
//! Primitives, strings, sequences, maps, options and tuples are written as postcard writes them. Structs and
//! enum variants carry three bytes more, a count and a signature of their names, because serde's derive may
//! write other fields, or other variants, than it reads; without them the reader would not notice.
//!
//! # Examples
//!
//! ```
//! use procession_wire::{Decoder, Encoder};
//!
//! let mut encoder = Encoder::new();
//! encoder.value(&"Worker-1".to_string())?;
//! encoder.value(&3_u32)?;
//! let message = encoder.finish();
//!
//! let mut decoder = Decoder::new(message.bytes().to_vec(), Vec::new());
//! assert_eq!(decoder.value::<String>()?, "Worker-1");
//! assert_eq!(decoder.value::<u32>()?, 3);
//! decoder.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![doc(test(attr(deny(warnings))))]

mod error;
mod names; // What tells a struct or a variant from its neighbor.
mod scope; // The side table of the message that this thread is working on.

mod decode;
mod encode;
mod message;

mod described;
mod descriptor;
mod fault;

pub mod bulk;
pub mod frame;
pub mod once;

pub use crate::{
    decode::Decoder,
    described::Described,
    descriptor::{Descriptor, fd},
    encode::Encoder,
    error::{DecodeError, DecodeErrorKind, DescriptorError, EncodeError, EncodeErrorKind},
    fault::Fault,
    message::{Message, decode, decode_slice, encode},
};
pub use crate::{encode::DEPTH_MAX, encode::UNSIZED_ITEMS_MAX, fault::FAULT_CHAIN_MAX, scope::DESCRIPTORS_MAX};
