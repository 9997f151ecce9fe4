//! Segments that have a name: files in `/dev/shm`, where Python and C programs find them as well.
//!
//! Relies on the file system: a segment is made whole, with its room set aside, before it gets its name, so nobody ever
//! opens one that is not ready, and no access fails later for lack of room.

mod name; // What may be a name.
mod segment; // Creating, opening, removing.

mod owner;
mod record; // What each process writes down of the names that it owns,
mod sweep; // and what is done with that when it has ended:
mod tracker; // at once, by a process that waits for it, // which the owner starts, and keeps a connection to.

pub(crate) use self::name::Name;
pub use self::name::SEGMENT_NAME_BYTES_MAX;
pub use self::record::NAMED_SEGMENTS_MAX;
pub(crate) use self::segment::{check_arrived, refused};
pub use self::sweep::sweep;
pub use self::tracker::TRACKED_OWNERS_MAX;
