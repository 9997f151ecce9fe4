//! Children with their processor time, memory and state while they run, as the kernel tells them.
//!
//! ```text
//! cargo run --release --example monitor
//! ```
//!
//! One child sleeps, one computes, one allocates, one ends early with an exit code. The table is printed
//! anew twice a second, and the program ends when the children have, after some three seconds.

use std::fs;
use std::hint::black_box;
use std::thread;
use std::time::Instant;

use procession::prelude::*;

/// How often the table is printed, and how long the children run.
const REFRESH: Duration = Duration::from_millis(500);
const LIFE: Duration = Duration::from_millis(2700);

/// What the allocating child asks for at a time, and how often.
const STEP_BYTES: usize = 16 << 20;
const STEP_TIME: Duration = Duration::from_millis(200);

/// The kernel counts processor time for `/proc` in hundredths of a second, on all machines that Linux runs on today
/// (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Where the fields stand in `/proc/PID/stat` after the name, which may hold blanks (proc_pid_stat(5), fields 3, 14
/// and 15).
const STATE: usize = 0;
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;

fn sleep() {
    thread::sleep(LIFE);
}

fn compute() {
    let began = Instant::now();
    let mut sum = 0;
    while began.elapsed() < LIFE {
        sum = black_box((0..100_000_u64).fold(sum, |sum, n| sum ^ n.wrapping_mul(sum | 1)));
    }
}

fn allocate() {
    let began = Instant::now();
    let mut held = Vec::new();
    while began.elapsed() < LIFE {
        held.push(vec![1_u8; STEP_BYTES]);
        thread::sleep(STEP_TIME);
    }
    black_box(held);
}

fn end_early() {
    thread::sleep(LIFE / 3);
    std::process::exit(3);
}

/// What the kernel says of a process at one moment.
struct Sample {
    state: char,
    processor_seconds: f64,
    /// Resident, and of that its own alone; `None` where the kernel does not tell.
    memory_kib: Option<(u64, u64)>,
}

/// Reads a sample; `None` when the process is gone.
fn sample(pid: u32) -> Option<Sample> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(USER_TICKS)?.parse::<f64>().ok()? + fields.get(SYSTEM_TICKS)?.parse::<f64>().ok()?;
    Some(Sample {
        state: fields.get(STATE)?.chars().next()?,
        processor_seconds: ticks / TICKS_PER_SECOND,
        memory_kib: memory(pid),
    })
}

/// Resident and private memory in KiB.
fn memory(pid: u32) -> Option<(u64, u64)> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |key: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some((kib("Rss:")?, kib("Private_Clean:")? + kib("Private_Dirty:")?))
}

/// The kernel's letter as a word.
fn word(state: char) -> &'static str {
    match state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "waiting for a device",
        'T' | 't' => "stopped",
        'Z' | 'X' => "ended",
        _ => "unknown",
    }
}

/// Prints a line about a child and says whether it still runs; `before` is its processor time at the last line.
fn show(child: &Child, before: &mut f64) -> procession::Result<bool> {
    let head = format!("{:<10} {:>8}", child.name(), child.pid());
    if let Some(status) = child.try_wait()? {
        println!("{head} {:>7} {:>9} {:>11} {:>11}   ended, {status}", "", "", "", "");
        return Ok(false);
    }
    // Gone since the line above: the next table has its exit code.
    let Some(Sample { state, processor_seconds, memory_kib }) = sample(child.pid()) else { return Ok(true) };
    let percent = 100.0 * (processor_seconds - *before) / REFRESH.as_secs_f64();
    *before = processor_seconds;
    let mib = |kib: Option<u64>| kib.map_or("-".to_owned(), |kib| format!("{:.1} MiB", kib as f64 / 1024.0));
    println!(
        "{head} {percent:>5.0} % {processor_seconds:>7.2} s {:>11} {:>11}   {}",
        mib(memory_kib.map(|(resident, _)| resident)),
        mib(memory_kib.map(|(_, private)| private)),
        word(state)
    );
    Ok(true)
}

/// Prints the table, headed by the time, and says whether a child still runs.
fn show_all(children: &[Process<()>], processor_seconds: &mut [f64], began: Instant) -> procession::Result<bool> {
    println!("\nafter {:.1} s", began.elapsed().as_secs_f64());
    println!(
        "{:<10} {:>8} {:>7} {:>9} {:>11} {:>11}   state",
        "child", "pid", "now", "processor", "resident", "private"
    );
    let mut any = false;
    for (child, before) in children.iter().zip(processor_seconds) {
        any |= show(child, before)?;
    }
    Ok(any)
}

fn main() -> procession::Result<()> {
    let began = Instant::now();
    let children = [
        Process::builder(sleep, ()).name("sleeper").start()?,
        Process::builder(compute, ()).name("computer").start()?,
        Process::builder(allocate, ()).name("allocator").start()?,
        Process::builder(end_early, ()).name("early").start()?,
    ];
    let mut processor_seconds = [0.0; 4];
    let mut any = true;
    while any {
        thread::sleep(REFRESH);
        any = show_all(&children, &mut processor_seconds, began)?;
    }
    println!();
    for child in children {
        let name = child.name().to_owned();
        match child.join() {
            Ok(()) => println!("{name} returned"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
