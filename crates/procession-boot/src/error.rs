//! What can be wrong with an image, a function or a mark.

use std::io;
use std::path::PathBuf;

use crate::FunctionId;

/// Why this process cannot start or run a function of its image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// This code is not part of the main executable, so a re-executed child would run a foreign `main`.
    #[error(
        "this copy of procession is not part of the main executable but of a shared object in a foreign program; \
         link it into the program itself, or use the start method fork, which executes nothing"
    )]
    ForeignHost,
    /// This process has rights that its user has not: a set-user-id program, one with file capabilities, or one whose
    /// effective user or group is not its real one.
    #[error(
        "this process has rights that its user has not (set-user-id, file capabilities, or an effective user that is \
         not the real one), and a child of it could be given orders by that user; drop them, or take them on for good, \
         before starting processes"
    )]
    Privileged,
    /// The constructor has not run: the linker dropped it, or a constructor before it is starting processes.
    #[error(
        "procession's constructor has not run in this process: processes cannot be started before it, \
         and a linker script must keep `.init_array`"
    )]
    NotConstructed,
    /// The function's code lies in another shared object than this crate.
    #[error("the function lies in another shared object than procession; define it in the program itself")]
    ForeignFunction,
    /// A peer named a function that this image has not, or one of another signature.
    #[error(
        "{0} is not a function of this program with the expected signature; parent and child must be the same build"
    )]
    UnknownFunction(FunctionId),
    /// The executable is another build than this process.
    #[error(
        "{path:?} is another program or another build than this process (this is {own}, that is {other}); \
             use an executable of the same build"
    )]
    OtherImage {
        /// The executable.
        path: PathBuf,
        /// This process's identity.
        own: String,
        /// The executable's, or why it has none.
        other: String,
    },
    /// The executable cannot be read or run.
    #[error("cannot run {path:?}: {error}")]
    Executable {
        /// The executable.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The lifeline, the pipe whose closing ends the children, could not be made.
    #[error("cannot make the lifeline that ends children with this process: {0}")]
    Lifeline(io::Error),
}
