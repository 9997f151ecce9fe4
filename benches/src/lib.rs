//! The contestants of each bench group, shared by criterion and by the report of ratios.

pub mod rounds;
pub mod start_methods;
