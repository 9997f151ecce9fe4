//! A walk through everything that there is so far, one short section each.
//!
//! ```text
//! cargo run --example tour
//! ```
//!
//! Each section prints what it did and how long it took.

mod ends;
mod managers;
mod messages;
mod pools;
mod processes;
mod shared;

use std::fmt::Debug;
use std::time::Instant;

fn main() -> procession::Result<()> {
    let began = Instant::now();
    section("a function in another process", processes::first_child)?;
    section("methods, generic functions, closures", processes::targets)?;
    section("a name, a directory, an environment, streams", processes::builder)?;
    section("waiting and stopping", processes::waiting)?;
    section("exit codes and errors", processes::errors)?;
    section("values of your own, many numbers, descriptors", processes::values)?;
    section("children side by side", processes::side_by_side)?;
    section("children of children", processes::family)?;
    section("start methods", processes::start_methods)?;
    section("a fork with what its closure captures", processes::captures)?;
    section("large data, built once for all children", processes::preload)?;
    section("memory that processes share", shared::shared_memory)?;
    section("what processes change together", shared::shared_state)?;
    section("a lock whose holder is killed", shared::killed_holder)?;
    section("queues", messages::queues)?;
    section("a queue that knows what is done", messages::joinable_queue)?;
    section("pipes", messages::pipes)?;
    section("strangers", messages::strangers)?;
    section("a function for many items", pools::maps)?;
    section("tasks and their futures", pools::futures)?;
    section("a task that takes its worker down", pools::crash)?;
    section("time limits, retries, urgency", pools::options)?;
    section("objects in a server", managers::containers)?;
    section("types of your own in a server", managers::own_types)?;
    section("settings of a child", ends::settings)?;
    section("exit hooks", ends::exit_hooks)?;
    section("a child with all that it has started", ends::whole_tree)?;
    section("the last words of a child", ends::last_words)?; // Starts a thread here: no more forks of this process.
    section("what a child logs", ends::logs)?;
    println!("\nall of it took {:.0?}", began.elapsed());
    Ok(())
}

/// Runs one section and prints how long it took.
fn section(title: &str, run: fn() -> procession::Result<()>) -> procession::Result<()> {
    println!("\n{title}");
    let began = Instant::now();
    run()?;
    println!("  ({:.1} ms)", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// The error of a section in which something else happened than what it is there to show.
pub(crate) fn unexpected(other: impl Debug) -> procession::Error {
    std::io::Error::other(format!("not expected: {other:?}")).into()
}
