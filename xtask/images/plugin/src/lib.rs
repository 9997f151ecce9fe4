//! A shared object with a copy of procession of its own, for a foreign host to load.
//!
//! # Safety
//! The exported function takes and returns plain numbers.

#![expect(unsafe_code, reason = "exports a function under a name that a C program can look up")]

use procession_launch::{Context, StartMethod};

/// Zero when the start methods that execute refuse to start a child of a foreign host, as they should, for a re-executed
/// child would run the host's own `main`; and when fork, which executes nothing, starts one.
#[unsafe(no_mangle)]
pub extern "C" fn start_in_foreign_host() -> i32 {
    let refused = |method: StartMethod| {
        let error = Context::new(method).start(|| (), ()).expect_err("a foreign host has no children");
        println!("{method}: {error}");
        error.to_string().contains("shared object")
    };
    let forked = Context::new(StartMethod::Fork).start(|n: u64| n + 1, (4,)).expect("a copy of the host").join();
    println!("fork: {forked:?}");
    let is_right = [StartMethod::ForkServer, StartMethod::Spawn].into_iter().all(refused) && matches!(forked, Ok(5));
    i32::from(!is_right)
}
