//! A shared object with a copy of procession of its own, for a foreign host to load.
//!
//! # Safety
//! The exported function takes and returns plain numbers.

#![expect(unsafe_code, reason = "exports a function under a name that a C program can look up")]

use procession::{Context, StartMethod};

/// Zero when every start method refuses to start a child of a foreign host, as it should: a re-executed child would
/// run the host's own `main`.
#[unsafe(no_mangle)]
pub extern "C" fn start_in_foreign_host() -> i32 {
    let refused = |method: StartMethod| {
        let error = Context::new(method).start(|| (), ()).expect_err("a foreign host has no children");
        println!("{method}: {error}");
        error.to_string().contains("shared object")
    };
    i32::from(!StartMethod::ALL.into_iter().all(refused))
}
