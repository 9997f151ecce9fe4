//! Runs functions in other processes: `spawn` and `forkserver` behind one [`Process`] type.
//!
//! Layer 2. Uses `procession-sys`, `procession-wire`, `procession-boot`. Used by the pool and the managers.
//!
//! **Invariant:** does not know what a channel is: a child is booted with one frame over one socket pair.
//! **Invariant:** starts no thread in a user's process.
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

mod authkey;
mod current;
mod ends; // How this process ends,
mod error;
mod hooks; // and what runs then.

pub use crate::authkey::{AUTH_KEY_BYTES, AUTH_KEY_BYTES_MAX, AuthKey, AuthKeyError, set_authkey};
pub use crate::builder::Builder;
pub use crate::child::Child;
pub use crate::context::{Context, StartMethod, cpu_count, get_start_method, set_start_method};
pub use crate::current::{CurrentProcess, ParentProcess, current_process, parent_process};
pub use crate::ends::exit;
pub use crate::error::{ControlError, JoinError, StartError};
pub use crate::hooks::{ExitHook, at_exit, at_exit_with_priority, join_at_exit};
pub use crate::passable::{Arguments, Passable};
pub use crate::process::Process;
pub use crate::registry::{DAEMON_GRACE, active_children};
pub use crate::status::ExitStatus;
pub use crate::stdio::Stdio;
pub use crate::target::{Captureless, Target};
