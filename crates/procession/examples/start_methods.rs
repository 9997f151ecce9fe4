//! The same target by each start method: how long a start takes, and what the child has of its parent.
//!
//! ```text
//! cargo run --release --example start_methods
//! ```
//!
//! Before it starts a child, this process changes a static counter and opens a file; the builder sets a variable. The
//! child looks which of these it finds, and whose child it is for the kernel.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use procession::prelude::*;
use serde::{Deserialize, Serialize};

/// How many starts are timed, after one that is not: it starts the server where there is one.
const TIMED_STARTS: usize = 51;

/// 1 in a new program; this process sets it to 5 before it starts a child.
static COUNTER: AtomicU32 = AtomicU32::new(1);

/// What a child finds.
#[derive(Serialize, Deserialize)]
struct Found {
    counter: u32,
    variable: Option<String>,
    file: bool,
    directory: bool,
    kernels_parent: u32,
}

/// The target: looks around. It gets the descriptor's number, not the descriptor, which would travel with it.
fn look_around(file: i32, path: String, directory: String) -> Result<Found, Fault> {
    Ok(Found {
        counter: COUNTER.load(Ordering::Relaxed),
        variable: std::env::var("GREETING").ok(),
        file: std::fs::read_link(format!("/proc/self/fd/{file}")).is_ok_and(|open| open.to_string_lossy() == path),
        directory: std::env::current_dir()?.to_string_lossy() == directory,
        kernels_parent: parent_id(),
    })
}

fn nothing() {}

/// The median of some starts, each with its join.
fn time(context: &Context) -> procession::Result<Duration> {
    let mut times = Vec::with_capacity(TIMED_STARTS);
    for _ in 0..=TIMED_STARTS {
        let began = Instant::now();
        context.start(nothing, ())?.join()?;
        times.push(began.elapsed());
    }
    let timed = &mut times[1..];
    timed.sort_unstable();
    Ok(timed[TIMED_STARTS / 2])
}

fn main() -> procession::Result<()> {
    let file = File::open("/proc/self/exe")?;
    let path = std::env::current_exe()?.to_string_lossy().into_owned();
    let directory = std::env::current_dir()?.to_string_lossy().into_owned();
    COUNTER.store(5, Ordering::Relaxed);
    let me = std::process::id();
    println!("this process is {me}; the counter was 1 when it began and is 5 now\n");
    println!(
        "{:<12} {:>14} {:>8} {:>10} {:>10} {:>10}   kernel's parent",
        "method", "start and join", "counter", "variable", "open file", "directory"
    );
    for method in StartMethod::ALL {
        let context = Context::new(method);
        let arguments = (file.as_raw_fd(), path.clone(), directory.clone());
        let child = context.builder(look_around, arguments).env("GREETING", "hello").start()?;
        let found = child.join()??;
        let parent = if found.kernels_parent == me { "this process" } else { "the server" };
        let has = |it: bool| if it { "inherited" } else { "no" };
        println!(
            "{:<12} {:>11.0} us {:>8} {:>10} {:>10} {:>10}   {parent} ({})",
            method.name(),
            time(&context)?.as_secs_f64() * 1e6,
            found.counter,
            found.variable.as_deref().unwrap_or("no"),
            has(found.file),
            has(found.directory),
            found.kernels_parent
        );
    }
    Ok(())
}
