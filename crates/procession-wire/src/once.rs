//! One descriptor for many handles of the same message.
//!
//! Two handles of one object, or of two objects that lie in one file, need the file once. They attach it under a key
//! that they have in common, and each writes the position that it got; on arrival each gets a clone. Relies on
//! `scope.rs` for the table of the message that is being written or read.

use crate::{Descriptor, DescriptorError, scope};
use std::{io, os::fd::OwnedFd};

/// Attaches what `make` returns to the message that this thread is encoding, unless something is attached under the
/// same key already; gives its position, and itself.
///
/// For implementations of `Serialize`. The key is the caller's to choose so that no other descriptor has it, such as a
/// file's device and number.
///
/// # Errors
///
/// What `make` says; [`DescriptorError`] as the source when there is no message, or it has too many.
///
/// # Examples
///
/// ```
/// use procession_wire::{Descriptor, decode, encode, once};
/// use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
/// use std::{fs::File, os::fd::{AsFd, AsRawFd}};
///
/// struct Null(Descriptor);
///
/// impl Serialize for Null {
///     fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
///         let open = || Ok(File::open("/dev/null")?.into());
///         let (position, _) = once::attach((1, 3), open).map_err(ser::Error::custom)?;
///         position.serialize(serializer)
///     }
/// }
///
/// impl<'de> Deserialize<'de> for Null {
///     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
///         once::detach(u32::deserialize(deserializer)?).map(Null).map_err(de::Error::custom)
///     }
/// }
///
/// # let null = || Null(Descriptor::from(std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap())));
/// let message = encode(&vec![null(), null(), null()])?;
/// assert_eq!(message.descriptor_count(), 1);
/// let arrived: Vec<Null> = decode(message)?;
/// assert!(arrived.iter().all(|null| null.0.as_fd().as_raw_fd() == arrived[0].0.as_fd().as_raw_fd()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn attach(key: (u64, u64), make: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<(u32, Descriptor)> {
    if let Some(attached) = scope::attached(key) {
        return Ok(attached);
    }
    let descriptor = Descriptor::from(make()?);
    let position = scope::attach(&descriptor, Some(key)).map_err(io::Error::other)?;
    Ok((position, descriptor))
}

/// As [`attach`], for a descriptor that exists already: attached once, however many of its clones a message holds.
///
/// # Errors
///
/// There is no message, or it has too many.
pub fn attach_shared(key: (u64, u64), descriptor: &Descriptor) -> Result<u32, DescriptorError> {
    match scope::attached(key) {
        Some((position, _)) => Ok(position),
        None => scope::attach(descriptor, Some(key)),
    }
}

/// The descriptor at this position of the message that this thread is decoding. It stays with the message, for other
/// handles that ask for it this way, until the message is decoded.
///
/// For implementations of `Deserialize`.
///
/// # Errors
///
/// There is no message, it has no such position, or what is there belongs to one handle alone.
pub fn detach(position: u32) -> Result<Descriptor, DescriptorError> {
    scope::share(position)
}
