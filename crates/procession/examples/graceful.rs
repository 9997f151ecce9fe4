//! Workers that are stopped step by step: asked, waited for, terminated, killed.
//!
//! ```text
//! cargo run --example graceful
//! ```
//!
//! The request is the end of a worker's standard input. One worker looks at it between two pieces of work, one is too
//! busy to look, and one hangs in a way that not even SIGTERM ends. For each it prints what was done, how long that
//! took, and what came of it. Only who ends normally gets to run its exit hook.

use std::io::{Read, Write};
use std::process::Command;
use std::thread;
use std::time::Instant;

use procession::prelude::*;

/// How long a worker may take to end after it was asked.
const AFTER_REQUEST: Duration = Duration::from_millis(500);

/// How long it may take after SIGTERM.
const AFTER_TERMINATE: Duration = Duration::from_millis(300);

fn main() -> procession::Result<()> {
    let workers = [
        Process::builder(polite, ()).name("polite").stdin(Stdio::pipe()).stdout(Stdio::pipe()).start()?,
        Process::builder(busy, ()).name("busy").stdin(Stdio::pipe()).stdout(Stdio::pipe()).start()?,
        Process::builder(stuck, ()).name("stuck").stdin(Stdio::pipe()).stdout(Stdio::pipe()).start()?,
    ];
    let began = Instant::now();
    for worker in workers {
        stop(worker)?;
    }
    println!("that took {:.0?} in all", began.elapsed());
    Ok(())
}

/// Works piece by piece until it is asked to stop; returns how many pieces it has done.
fn polite() -> u64 {
    procession::at_exit(|| println!("its exit hook has tidied up"));
    let requested = thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new())); // Ends with the parent's end.
    say_ready();
    let mut pieces = 0;
    while !requested.is_finished() {
        thread::sleep(Duration::from_millis(5));
        pieces += 1;
    }
    pieces
}

/// Works for an hour and looks at nothing.
fn busy() -> u64 {
    procession::at_exit(|| println!("never said: SIGTERM ends a process at once"));
    say_ready();
    thread::sleep(Duration::from_secs(3600));
    1
}

/// Stops itself, as a debugger or a terminal would; SIGTERM waits until somebody lets it go on.
fn stuck() -> u64 {
    say_ready();
    let stopped = Command::new("sh").args(["-c", "kill -STOP $PPID"]).status();
    u64::from(stopped.is_ok_and(|status| status.success()))
}

/// Tells the parent that the work has begun.
fn say_ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

/// Stops a worker as gently as it lets itself be stopped.
fn stop(worker: Process<u64>) -> procession::Result<()> {
    let mut output = worker.take_stdout().ok_or_else(|| std::io::Error::other("its output was taken"))?;
    output.read_exact(&mut [0; "ready\n".len()])?;

    drop(worker.take_stdin());
    if !ends_within(&worker, "asked to stop", AFTER_REQUEST)? {
        worker.terminate()?;
        if !ends_within(&worker, "sent SIGTERM", AFTER_TERMINATE)? {
            worker.kill()?;
            ends_within(&worker, "sent SIGKILL", Duration::MAX)?;
        }
    }
    let mut said = String::new();
    output.read_to_string(&mut said)?;
    let name = worker.name().to_owned();
    match worker.join() {
        Ok(pieces) => println!("{name:<8} returned after {pieces} pieces of work; {}", said.trim_end()),
        Err(error) => println!("{name:<8} {error}{}", said.trim_end()),
    }
    Ok(())
}

/// Waits for the worker's end, says how long that took, and whether it came.
fn ends_within(worker: &Child, done: &str, timeout: Duration) -> procession::Result<bool> {
    let began = Instant::now();
    let status = worker.wait_timeout(timeout)?;
    let outcome = status.map_or_else(|| "runs on".to_owned(), |status| status.to_string());
    println!("{:<8} {done}: {outcome} after {:.0?}", worker.name(), began.elapsed());
    Ok(status.is_some())
}
