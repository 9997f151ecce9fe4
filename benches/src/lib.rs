//! The bench groups, shared by criterion and by the report: who is compared, in which processes, and what is shown.
//!
//! Nothing is timed in the process that measures: each contestant runs in a process of its own kind, which holds as
//! much memory as the group asks for, has one thread, and answers how long its runs took.

pub mod channels;
pub mod contest;
pub mod gang;
pub mod locks;
pub mod machine;
pub mod managers;
pub mod page;
pub mod plot;
pub mod pool;
pub mod rounds;
pub mod runner;
pub mod shared_memory;
pub mod start_methods;
pub mod strangers;

/// What everything here returns: the bench has failed, and the message says who did.
pub type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;
