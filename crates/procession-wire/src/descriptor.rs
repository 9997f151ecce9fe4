//! A descriptor as a value.
//!
//! Relies on [`scope`](crate::scope) for the table of the message that is being written or read.

use crate::scope;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// An open descriptor that may be a field of any value that goes to another process.
///
/// A clone is the same descriptor. Inside a message it travels in the message's side table, and the receiver
/// gets a descriptor of its own for the same open file; the sender keeps this one. If the receiver dies, the
/// kernel closes what was under way. Handles of the other crates hold a `Descriptor` and derive serde.
///
/// # Python
///
/// `multiprocessing.reduction.DupFd`.
///
/// # Examples
///
/// ```
/// use procession_wire::{Descriptor, decode, encode};
/// use std::{fs::File, io::Read, os::fd::OwnedFd};
///
/// let file = Descriptor::from(OwnedFd::from(File::open("/proc/self/comm")?));
/// let message = encode(&("comm".to_string(), file))?;
/// assert_eq!(message.descriptor_count(), 1);
///
/// let (name, file): (String, Descriptor) = decode(message)?;
/// let mut text = String::new();
/// File::from(file.into_owned()?).read_to_string(&mut text)?;
/// assert_eq!(name, "comm");
/// # assert!(!text.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Descriptor(Arc<OwnedFd>);

impl Descriptor {
    /// The descriptor as the only owner has it: itself where nobody shares it, otherwise a duplicate.
    ///
    /// # Errors
    ///
    /// The duplicate could not be made, because the process has too many files open.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Descriptor;
    /// use std::{fs::File, os::fd::{AsFd, AsRawFd, OwnedFd}};
    ///
    /// let descriptor = Descriptor::from(OwnedFd::from(File::open("/dev/null")?));
    /// let number = descriptor.as_fd().as_raw_fd();
    /// assert_eq!(descriptor.into_owned()?.as_raw_fd(), number);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_owned(self) -> io::Result<OwnedFd> {
        match Arc::try_unwrap(self.0) {
            Ok(owned) => Ok(owned),
            Err(shared) => shared.try_clone(),
        }
    }

    /// The descriptor itself, or the handle back if somebody else shares it.
    ///
    /// # Errors
    ///
    /// A clone of this handle exists.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Descriptor;
    /// use std::{fs::File, os::fd::OwnedFd};
    ///
    /// let descriptor = Descriptor::from(OwnedFd::from(File::open("/dev/null")?));
    /// let clone = descriptor.clone();
    /// let descriptor = descriptor.try_into_owned().unwrap_err();
    /// drop(clone);
    /// assert!(descriptor.try_into_owned().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_into_owned(self) -> Result<OwnedFd, Descriptor> {
        Arc::try_unwrap(self.0).map_err(Descriptor)
    }

    /// Whether another handle holds the same descriptor.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(owned: OwnedFd) -> Self {
        Descriptor(Arc::new(owned))
    }
}

impl From<Arc<OwnedFd>> for Descriptor {
    fn from(shared: Arc<OwnedFd>) -> Self {
        Descriptor(shared)
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = scope::attach(self, None).map_err(serde::ser::Error::custom)?;
        serializer.serialize_u32(index)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        scope::detach(index).map_err(serde::de::Error::custom)
    }
}

/// Lets a field that owns a descriptor travel: `#[serde(with = "procession_wire::fd")]`.
///
/// For `File`, `TcpStream`, `UnixStream`, `OwnedFd` and everything else that is `AsFd` and `From<OwnedFd>`.
/// The sender's field is duplicated, so it stays open and usable.
///
/// # Examples
///
/// ```
/// use procession_wire::{decode, encode};
/// use serde::{Deserialize, Serialize};
/// use std::{fs::File, io::Read};
///
/// #[derive(Serialize, Deserialize)]
/// struct Log {
///     #[serde(with = "procession_wire::fd")]
///     file: File,
/// }
///
/// let log = Log { file: File::open("/proc/self/comm")? };
/// let mut arrived: Log = decode(encode(&log)?)?;
/// assert!(arrived.file.read_to_end(&mut Vec::new())? > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod fd {
    use super::Descriptor;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::os::fd::{AsFd, OwnedFd};

    /// Duplicates the field's descriptor into the message.
    ///
    /// # Errors
    ///
    /// The duplicate could not be made, or no message is being encoded.
    pub fn serialize<T: AsFd, S: Serializer>(field: &T, serializer: S) -> Result<S::Ok, S::Error> {
        let owned = field.as_fd().try_clone_to_owned();
        let owned = owned.map_err(|error| {
            serde::ser::Error::custom(format_args!("cannot duplicate a descriptor to send it: {error}"))
        })?;
        Descriptor::from(owned).serialize(serializer)
    }

    /// Takes the field's descriptor out of the message.
    ///
    /// # Errors
    ///
    /// The descriptor did not arrive or was taken already, or no message is being decoded.
    pub fn deserialize<'de, T: From<OwnedFd>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let owned = Descriptor::deserialize(deserializer)?.into_owned();
        let owned = owned.map_err(|error| {
            serde::de::Error::custom(format_args!("cannot duplicate a descriptor that arrived: {error}"))
        })?;
        Ok(T::from(owned))
    }
}
