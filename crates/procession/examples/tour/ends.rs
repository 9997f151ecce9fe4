//! Settings of a child, its end, and its last words.

use std::io::{Read, Write};
use std::process::Command;
use std::thread;

use procession::prelude::*;

use crate::unexpected;

/// What the kernel says of this process under these headings.
fn status(headings: Vec<String>) -> Result<Vec<String>, Fault> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let wanted = |line: &&str| headings.iter().any(|heading| line.starts_with(&format!("{heading}:")));
    Ok(status.lines().filter(wanted).map(|line| line.replace('\t', " ")).collect())
}

pub(crate) fn settings() -> procession::Result<()> {
    let headings = ["Name", "Umask", "Cpus_allowed_list"].map(str::to_owned).to_vec();
    let child = Process::builder(status, (headings,)).title("resize: 3 of 10").umask(0o077).niceness(5);
    println!("  it is told: {}", child.cpu_affinity([0]).start()?.join()??.join(", "));

    let hungry = Process::builder(|| vec![1_u8; 1 << 30].len(), ()).memory_limit(256 << 20).stderr(Stdio::null());
    if let Err(error) = hungry.name("hungry").start()?.join() {
        println!("  a GiB with a limit of 256 MiB: {error}");
    }
    Ok(())
}

fn with_hooks() {
    procession::at_exit_with_priority(-1, || println!("  third, when its own children have ended"));
    procession::at_exit(|| println!("  second"));
    procession::at_exit(|| println!("  first"));
    procession::exit(4);
}

pub(crate) fn exit_hooks() -> procession::Result<()> {
    println!("  the exit code is {}", Process::start(with_hooks, ())?.wait()?.exitcode());
    Ok(())
}

/// Leaves a program in a session of its own behind, whose parent has ended, and waits.
fn leave_a_program() -> Result<(), Fault> {
    Command::new("sh").args(["-c", "setsid sleep 600 >/dev/null 2>&1 &"]).status()?;
    println!("ready");
    std::io::stdout().flush()?;
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

pub(crate) fn whole_tree() -> procession::Result<()> {
    let child = Process::builder(leave_a_program, ()).own_tree().stdout(Stdio::pipe()).start()?;
    if let Some(mut stdout) = child.take_stdout() {
        stdout.read_exact(&mut [0; "ready\n".len()])?;
    }
    println!("  killed {} processes; the child's {}", child.kill_tree()?, child.wait()?);
    Ok(())
}

fn give_up() {
    eprintln!("  the header says 9 layers, found 3");
    std::process::abort();
}

pub(crate) fn last_words() -> procession::Result<()> {
    let child = Process::builder(give_up, ()).name("loader").stderr(Stdio::tail()).start()?;
    match child.join() {
        Err(error) => println!("  the error has them: {}", error.to_string().replace('\n', " |")),
        other => return Err(unexpected(other)),
    }
    Ok(())
}

fn log_a_step(step: u32) {
    let _span = tracing::info_span!("work", step).entered();
    tracing::info!("done");
    tracing::debug!("not sent, as the parent does not want it");
}

pub(crate) fn logs() -> procession::Result<()> {
    log_to_stderr(LevelFilter::INFO)?; // Or any other subscriber.
    Process::builder(log_a_step, (1,)).name("worker").forward_logs().start()?.join()?;
    Process::builder(|| tracing::warn!("a child writes lines itself"), ()).name("writer").start()?.join()?;
    Ok(())
}
