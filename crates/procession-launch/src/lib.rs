//! Runs functions in other processes: `spawn`, `forkserver` and `fork` behind one [`Process`] type.
//!
//! Layer 2. Uses `procession-sys`, `procession-wire`, `procession-boot`. Used by the pool and the managers.
//!
//! **Invariant:** does not know what a channel is: it talks to a child over one socket pair, however that was started.
//! **Invariant:** starts no thread in a user's process, unless a child's output or log is to be read.
//! **Invariant:** every child ends with its owner, whichever way the owner ends.
//! **Invariant:** what a forked child has of its parent's handles knows that it is the parent's.
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

mod initializer;
mod passable; // What may be an argument or a result.
mod target; // What may run in a child, // also before it does anything else.

mod builder; // What a child is started with.
mod context;
mod resource;
mod settings; // What a child sets for itself.
mod stdio;

mod child; // A child as its parent sees it. Read this first.
mod process;
mod registry;
mod status;
mod tree; // Ends a child with all that is below it.

mod fork; // The three ways to start one;
mod forkserver;
mod patience; // how long one waits for a server;
mod spawn;

mod protocol; // what all say to the child,
mod spin;

mod after_fork;
mod body; // and the child's side of it.
mod panics;

mod pump; // The thread that reads what children write and log,

mod logs; // hands on the one,
mod tail; // and keeps the end of the other.

mod ends; // How this process ends,
mod hooks; // and what runs then.

mod authkey;
mod current;
mod error;

#[doc(hidden)]
pub mod calls; // For pools and managers: functions that are called in processes which go on.

pub use crate::after_fork::register_after_fork;
pub use crate::authkey::{AUTH_KEY_BYTES, AUTH_KEY_BYTES_MAX, AuthKey, AuthKeyError, set_authkey};
pub use crate::builder::{Builder, Forked, NAME_BYTES_MAX};
pub use crate::child::Child;
pub use crate::context::{Context, StartMethod, cpu_count, get_start_method, set_start_method};
pub use crate::current::{CurrentProcess, ParentProcess, current_process, parent_process};
pub use crate::ends::exit;
pub use crate::error::{ControlError, JoinError, StartError};
pub use crate::forkserver::PreloadResult;
pub use crate::hooks::{ExitHook, at_exit, at_exit_with_priority, join_at_exit};
pub use crate::logs::{
    CALLSITE_TEXT_MAX, CALLSITES_MAX, CUT_MARK, FIELD_NAME_MAX, FIELDS_MAX, LogError, RECORD_BYTES_MAX, SPANS_MAX,
    log_level, log_to_file, log_to_stderr,
};
pub use crate::passable::{Arguments, Passable};
pub use crate::process::Process;
pub use crate::registry::{DAEMON_GRACE, active_children};
pub use crate::resource::Resource;
pub use crate::settings::{AFFINITY_PASSES_MAX, TITLE_BYTES_MAX};
pub use crate::status::ExitStatus;
pub use crate::stdio::Stdio;
#[doc(hidden)]
pub use crate::tail::shown;
pub use crate::tail::{TAIL_BYTES_MAX, TAIL_LINE_CHARS_SHOWN_MAX, TAIL_LINES_SHOWN_MAX};
pub use crate::target::{Captureless, Target};
pub use crate::tree::{TREE_END_MAX, TREE_PASSES_MAX, TREE_REST_MAX};
