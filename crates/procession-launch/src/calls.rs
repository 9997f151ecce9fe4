//! What pools and managers need of this crate and users do not: naming a function together with what is done with it, and
//! catching what it does.

pub use crate::initializer::{Initializer, InitializerFailure, NoInitializer};
pub use crate::panics::{CaughtPanic, catch_call, see_panics};
pub use crate::target::{Caller, name_call, procession_calls_target};
