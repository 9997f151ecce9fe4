//! How an executable image becomes a child: caught before `main`, sent into a role, tied to its owner's life.
//!
//! Layer 1. Uses `procession-sys`. Used by whatever starts processes or names functions across them.
//!
//! A child runs the same executable as its parent. A constructor of this crate sees the mark that [`Launch`] put into
//! its environment, checks it, and calls the role that the mark names; `main` is never reached, so no guard and no
//! initialization call is needed in it. A function is named by its place in the image ([`FunctionId`]) and looked up
//! in a table that the linker collects, so that a number from a peer can never become a jump to somewhere else.
//!
//! **Invariant:** knows roles, not what they do.
//! **Invariant:** one constructor per image acts, and only in the main executable.
//!
//! # Examples
//! ```
//! use procession_boot::{Entry, function_id, resolve};
//!
//! struct Double;
//! impl Entry for Double {
//!     type Input = u64;
//!     type Output = u64;
//!     fn enter(input: u64) -> u64 { 2 * input }
//! }
//!
//! let id = function_id::<Double>()?; // Two numbers, good in every process that runs this image.
//! let double = resolve::<u64, u64>(id)?;
//! assert_eq!(double(21), 42);
//! assert!(resolve::<u64, String>(id).is_err()); // Another signature is refused.
//! # Ok::<_, procession_boot::BootError>(())
//! ```

#![doc(test(attr(deny(warnings))))]

mod bequest; // What a process hands down to those that it starts.

mod error;
mod image; // Which image this is.
mod table; // Which functions it has.

mod procedure; // One of them as a value.

mod lifeline; // How a child ends with its owner.
mod mark; // What a parent tells the constructor.

mod constructor;
mod end; // What is done last.
mod launch; // The parent's side: how a child of this image is started.

pub use crate::bequest::{BEQUESTS_BYTES_MAX, Bequest, bequeath, bequest, bequests, inherit};
pub use crate::constructor::Boot;
pub use crate::end::at_very_end;
pub use crate::error::BootError;
pub use crate::image::ImageId;
pub use crate::launch::Launch;
pub use crate::lifeline::{open_lifeline, own_lifeline, tie_to_lifeline};
pub use crate::procedure::Procedure;
pub use crate::table::{Entry, FunctionId, function_id, resolve};
