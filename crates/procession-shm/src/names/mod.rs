//! Segments that have a name: files in `/dev/shm`, where Python and C programs find them as well.
//!
//! Relies on the file system: a segment is made whole, with its room set aside, before it gets its name, so nobody ever
//! opens one that is not ready, and no access fails later for lack of room.

mod name; // What may be a name.
mod record;

mod segment; // Creating, opening, removing.

pub(crate) use self::name::Name;
pub use self::name::SEGMENT_NAME_BYTES_MAX;
pub(crate) use self::segment::check_arrived;
