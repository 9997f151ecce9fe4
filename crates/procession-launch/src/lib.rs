//! Runs functions in other processes: `spawn` and `forkserver` behind one [`Process`] type.
//!
//! Layer 2. Uses `procession-sys`, `procession-wire`, `procession-boot`. Used by the pool and the managers.
//!
//! **Invariant:** does not know what a channel is: a child is booted with one frame over one socket pair.
//! **Invariant:** starts no thread in a user's process, unless a child's output or log is to be read.
//! **Invariant:** every child ends with its owner, whichever way the owner ends.
//!
//! # Examples
//! ```
//! use procession_launch::Process;
//!
//! fn add(a: u64, b: u64) -> u64 {
//!     a + b
//! }
//!
//! let child = Process::start(add, (2, 3))?;
//! assert_eq!(child.join()?, 5);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#![doc(test(attr(deny(warnings))))]

mod passable; // What may be an argument or a result.
mod target; // What may run in a child.

mod builder; // What a child is started with.
mod context;
mod stdio;

mod child; // A child as its parent sees it. Read this first.
mod process;
mod registry;
mod status;

mod body; // and the child's side of it.
mod forkserver;
mod panics;
mod protocol; // what both say to the child,
mod spawn;
mod spin; // The two ways to start one,

mod logs;
mod pump; // What reads children's output,
mod tail; // and keeps the end of it, // or hands on what they log.

mod current;
mod error;

pub use crate::builder::Builder;
pub use crate::child::Child;
pub use crate::context::{Context, StartMethod, cpu_count, get_start_method, set_start_method};
pub use crate::current::{CurrentProcess, ParentProcess, current_process, parent_process};
pub use crate::error::{ControlError, JoinError, StartError};
pub use crate::logs::{
    CALLSITE_TEXT_MAX, CALLSITES_MAX, CUT_MARK, FIELD_NAME_MAX, FIELDS_MAX, LogError, RECORD_BYTES_MAX, SPANS_MAX,
    log_level, log_to_file, log_to_stderr,
};
pub use crate::passable::{Arguments, Passable};
pub use crate::process::Process;
pub use crate::registry::{DAEMON_GRACE, active_children};
pub use crate::status::ExitStatus;
pub use crate::stdio::Stdio;
pub use crate::tail::{TAIL_BYTES_MAX, TAIL_LINE_CHARS_SHOWN_MAX, TAIL_LINES_SHOWN_MAX};
pub use crate::target::{Captureless, Target};
