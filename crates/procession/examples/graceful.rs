//! Workers that are stopped step by step: asked, waited for, terminated, killed.
//!
//! ```text
//! cargo run --example graceful -- [SECONDS]
//! ```
//!
//! The request is an event that all workers have, and that Ctrl-C sets; without Ctrl-C it is set after so many seconds.
//! One worker looks at it between two pieces of work, one is too busy to look, and one hangs in a way that not even
//! SIGTERM ends. For each it prints what was done, how long that took, and what came of it. Only who ends normally gets
//! to run its exit hook.

use std::io::{Read, Write};
use std::process::Command;
use std::thread;
use std::time::Instant;

use procession::prelude::*;

/// How long to wait for Ctrl-C unless the command line says otherwise.
const SECONDS: f64 = 2.0;

/// How long a worker may take to end after it was asked.
const AFTER_REQUEST: Duration = Duration::from_millis(500);

/// How long it may take after SIGTERM.
const AFTER_TERMINATE: Duration = Duration::from_millis(300);

fn main() -> procession::Result<()> {
    let usage = |error| Fault::new(format!("usage: graceful [SECONDS]: {error}"));
    let seconds = std::env::args().nth(1).map_or(Ok(SECONDS), |arg| arg.parse()).map_err(usage)?;
    let patience = Duration::try_from_secs_f64(seconds).map_err(|error| Fault::new(error.to_string()))?;

    let stop = Event::new()?;
    let on_ctrl_c = stop.clone();
    ctrlc::set_handler(move || on_ctrl_c.set()).map_err(std::io::Error::other)?;
    // Ctrl-C goes to a whole process group, and what it is to do with the workers is decided here.
    let workers = [
        Process::builder(polite, (stop.clone(),)).name("polite").process_group(0).stdout(Stdio::pipe()).start()?,
        Process::builder(busy, ()).name("busy").process_group(0).stdout(Stdio::pipe()).start()?,
        Process::builder(stuck, ()).name("stuck").process_group(0).stdout(Stdio::pipe()).start()?,
    ];

    println!("Ctrl-C stops the workers; otherwise that is done in {patience:.1?}");
    let pressed = stop.wait_timeout(patience)?;
    println!("{}", if pressed { "Ctrl-C was pressed" } else { "nobody pressed Ctrl-C" });
    let began = Instant::now();
    stop.set();
    for worker in workers {
        end(worker)?;
    }
    println!("that took {:.0?} in all", began.elapsed());
    Ok(())
}

/// Works piece by piece until it is asked to stop; returns how many pieces it has done.
fn polite(stop: Event) -> Result<u64, Fault> {
    procession::at_exit(|| println!("its exit hook has tidied up"));
    say_ready();
    let mut pieces = 0;
    while !stop.wait_timeout(Duration::from_millis(5))? {
        pieces += 1;
    }
    Ok(pieces)
}

/// Works for an hour and looks at nothing.
fn busy() -> Result<u64, Fault> {
    procession::at_exit(|| println!("never said: SIGTERM ends a process at once"));
    say_ready();
    thread::sleep(Duration::from_secs(3600));
    Ok(1)
}

/// Stops itself, as a debugger or a terminal would; SIGTERM waits until somebody lets it go on.
fn stuck() -> Result<u64, Fault> {
    say_ready();
    let stopped = Command::new("sh").args(["-c", "kill -STOP $PPID"]).status()?;
    Ok(stopped.success().into())
}

/// Tells the parent that the work has begun.
fn say_ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

/// Ends a worker that was asked to stop, as gently as it lets itself be ended.
fn end(worker: Process<Result<u64, Fault>>) -> procession::Result<()> {
    let mut output = worker.take_stdout().ok_or_else(|| std::io::Error::other("its output was taken"))?;
    output.read_exact(&mut [0; "ready\n".len()])?;

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
        Ok(pieces) => println!("{name:<8} returned after {} pieces of work; {}", pieces?, said.trim_end()),
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
