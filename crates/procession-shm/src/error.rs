//! What can go wrong with shared memory.

use std::io;

use procession_sys::AccessError;

use crate::ListError;

/// Why shared memory could not be had or used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShmError {
    /// A segment of no bytes was asked for.
    #[error("cannot create shared memory of 0 bytes: a segment has at least one")]
    Empty,
    /// The system has no room for it, or no descriptor.
    #[error("cannot create shared memory of {bytes} bytes: {error}{}", remedy(.error))]
    Create {
        /// The size that was asked for.
        bytes: u64,
        /// What the system said.
        error: io::Error,
    },
    /// The system has not enough huge pages.
    #[error(
        "cannot create shared memory of {bytes} bytes in huge pages of {page_bytes}: {error}{}",
        remedy_of_pages(.error)
    )]
    HugePages {
        /// The size that was asked for, in whole pages.
        bytes: u64,
        /// The size of a page.
        page_bytes: usize,
        /// What the system said.
        error: io::Error,
    },
    /// A segment cannot be mapped into this process.
    #[error("cannot map {bytes} bytes of shared memory: {error}{}", remedy(.error))]
    Map {
        /// Its size.
        bytes: u64,
        /// What the system said.
        error: io::Error,
    },
    /// A name that no segment can have.
    #[error("{name:?} cannot be the name of shared memory: {reason}")]
    Name {
        /// The name, or its beginning.
        name: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// There is a segment of this name, or another file.
    #[error("there is shared memory named {name:?} already: open it, unlink it, or take another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no segment of this name, or not any more.
    #[error("there is no shared memory named {name:?}: its owner has not created it, has unlinked it, or has ended")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The file system of the names is full: it has less room than the machine has memory.
    #[error(
        "there is no room in /dev/shm for shared memory {name:?} of {bytes} bytes: remove what is not needed there, or \
         have its file system made larger"
    )]
    NoSpace {
        /// The name.
        name: String,
        /// The size that was asked for.
        bytes: u64,
    },
    /// This process owns as many named segments as it may.
    #[error(
        "cannot create shared memory {name:?}: this process has {max} named segments, unlink some or create it without a name"
    )]
    TooManyNames {
        /// The name.
        name: String,
        /// How many one process may have.
        max: usize,
    },
    /// The name could not be written down for removal after this process's end, so the segment was not created.
    #[error("cannot create shared memory {name:?}: its name cannot be {action}: {error}{}", remedy(.error))]
    Untracked {
        /// The name.
        name: String,
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// An access beyond the end.
    #[error("cannot access {len} bytes at {at} of shared memory of {size} bytes")]
    OutOfRange {
        /// Where it began.
        at: usize,
        /// How many bytes it was to be.
        len: usize,
        /// How many there are.
        size: usize,
    },
    /// An index beyond the end.
    #[error("there is no element {index} in a shared array of {len}")]
    Index {
        /// The index.
        index: usize,
        /// How many elements there are.
        len: usize,
    },
    /// A range that reaches beyond the end.
    #[error("there are no {count} elements from {start} on in a shared array of {len}")]
    Range {
        /// Its first index.
        start: usize,
        /// How many elements it has.
        count: usize,
        /// How many elements there are.
        len: usize,
    },
    /// A slice that is to be copied to or from all elements, and has more of them or fewer.
    #[error(
        "a slice of {given} elements is no copy of a shared array of {len}: use one of the same length, or a range"
    )]
    Length {
        /// How many it has.
        given: usize,
        /// How many elements there are.
        len: usize,
    },
    /// More elements than an address can tell apart.
    #[error("cannot have {len} elements of {size} bytes each: they are more than this process can address")]
    TooLarge {
        /// How many elements there were to be.
        len: usize,
        /// The bytes of one.
        size: usize,
    },
    /// Elements were to begin where their type cannot stand.
    #[error("elements of the type {type_name} cannot begin at byte {at}: they need a multiple of {align}")]
    Misaligned {
        /// Where they were to begin.
        at: usize,
        /// What the type needs.
        align: usize,
        /// The type's name.
        type_name: &'static str,
    },
    /// An array of zeros was asked for, of a type of which zero is no value.
    #[error("zero is no value of the type {type_name}: make the array from elements that you have")]
    NoZero {
        /// The type's name.
        type_name: &'static str,
    },
    /// An array was to be split into no part at all.
    #[error("cannot split a shared array into 0 parts: ask for one or more")]
    NoParts,
    /// A write through a handle that is for reading.
    #[error("cannot write to shared memory through a handle that is read-only: ask its owner for a writable one")]
    ReadOnly,
    /// An array that somebody can still write to was to be made constant.
    #[error(
        "cannot freeze a shared array that another handle can write to: drop the clones and parts of it in this process, \
         and join the processes that were given it"
    )]
    StillShared,
    /// What came from another process, or lies in the memory, is not what it should be.
    #[error("this is no shared memory of the kind expected: {reason}")]
    Foreign {
        /// What is wrong with it.
        reason: String,
    },
    /// The memory holds bits that are no value of the type.
    #[error("the bits of element {index} are no value of the type {type_name}")]
    Invalid {
        /// Where they are.
        index: usize,
        /// The type's name.
        type_name: &'static str,
    },
    /// A list could not be made, or an item of it read or written.
    #[error(transparent)]
    List(#[from] ListError),
    /// The system refused what was to be done with a name, such as for lack of rights.
    #[error("cannot {action} shared memory {name:?}, which is /dev/shm/{name}: {error}{}", remedy(.error))]
    Named {
        /// The name.
        name: String,
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The system refused another operation.
    #[error("cannot {action} shared memory: {error}{}", remedy(.error))]
    System {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl ShmError {
    /// What a refused access of `len` bytes at `at` is called.
    pub(crate) fn access(error: AccessError, at: usize, len: usize, size: usize) -> Self {
        match error {
            AccessError::ReadOnly => Self::ReadOnly,
            AccessError::OutOfRange | AccessError::Misaligned => Self::OutOfRange { at, len, size },
        }
    }

    pub(crate) fn foreign(reason: impl Into<String>) -> Self {
        Self::Foreign { reason: reason.into() }
    }

    /// For `map_err`: what the system said to an action.
    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { action, error }
    }
}

/// What helps against what the system said, where something does.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    /// `EACCES`, `EMFILE`, `ENFILE`, `EROFS`.
    const REMEDIES: [(i32, &str); 4] = [
        (13, "; whoever it belongs to must give this user access"),
        (24, "; raise the limit of open files (RLIMIT_NOFILE) or drop some segments: each takes a descriptor"),
        (23, "; the system's table of open files is full"),
        (30, "; it must be a file system that can be written to, as a tmpfs is"),
    ];
    REMEDIES.iter().find(|(errno, _)| error.raw_os_error() == Some(*errno)).map_or("", |(_, remedy)| remedy)
}

/// The same where huge pages were wanted.
fn remedy_of_pages(error: &io::Error) -> &'static str {
    match remedy(error) {
        "" => "; an administrator sets them aside by writing their number to /proc/sys/vm/nr_hugepages",
        other => other,
    }
}
