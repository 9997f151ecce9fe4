//! Children that fail in every way that a process can, and what their parent learns of each.
//!
//! ```text
//! cargo run --example safe_process
//! ```
//!
//! Each child is named after what it does. The parent waits for it, then prints its exit code, how long it took from
//! start to join, what `join` says, and the first line that the child wrote to its standard error.

use std::fmt::Debug;
use std::hint::black_box;
use std::io::{self, PipeReader, Read};
use std::time::Instant;

use procession::{Passable, prelude::*};
use serde::{Deserialize, Serialize};

fn main() -> procession::Result<()> {
    println!("{:<30} {:>4} {:>9}   what join says, and what the child said", "a child that …", "exit", "time");
    let began = Instant::now();
    run("returns a value", square, (12,))?;
    run("returns an error of any type", read_number, ("twelve".to_string(),))?;
    run("returns an error of its own", withdraw, (30, 50))?;
    run("panics", pick, (vec![10, 20, 30], 7))?;
    run("exits with a code", leave, (3,))?;
    run("aborts", abort, ())?;
    run("overflows its stack", descend, (0,))?;
    run("asks for too much memory", reserve, (1 << 60,))?;
    run("returns what cannot be sent", half_a_profile, ())?;
    stop("is asked to end", Child::terminate)?;
    stop("is killed", Child::kill)?;
    refuse()?;
    run("comes after all of them", square, (13,))?;
    println!("this process goes on; all that took {:.0?}", began.elapsed());
    Ok(())
}

fn square(n: u64) -> u64 {
    n * n
}

/// `?` turns the standard library's error, which serde does not know, into a `Fault`.
fn read_number(text: String) -> Result<i64, Fault> {
    Ok(text.parse()?)
}

/// An error of this program, which travels as it is.
#[derive(Debug, Serialize, Deserialize)]
enum Refusal {
    Short { missing: u32 },
}

fn withdraw(balance: u32, wanted: u32) -> Result<u32, Refusal> {
    balance.checked_sub(wanted).ok_or(Refusal::Short { missing: wanted - balance })
}

fn pick(values: Vec<u32>, index: usize) -> u32 {
    values[index]
}

fn leave(code: i32) {
    std::process::exit(code)
}

fn abort() {
    std::process::abort()
}

/// Calls itself until the stack ends; the compiler must not see that nothing comes of it.
fn descend(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(descend(black_box(depth + 1))) + 1
}

fn reserve(bytes: usize) -> usize {
    black_box(Vec::<u8>::with_capacity(black_box(bytes))).capacity()
}

/// A type that leaves a field out now and then. It needs `Described`, which was forgotten here.
#[derive(Debug, Serialize, Deserialize)]
struct Profile {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    age: Option<u8>,
}

fn half_a_profile() -> Profile {
    Profile { name: "Ada".to_string(), age: None }
}

fn sleep() {
    std::thread::sleep(Duration::from_secs(60));
}

/// Starts a child, waits for it, and prints a line.
fn run<F, A>(what: &str, target: F, arguments: A) -> procession::Result<()>
where
    F: procession::Target<A>,
    F::Output: Debug,
    A: procession::Arguments,
{
    let began = Instant::now();
    let child = Process::builder(target, arguments).name(what).stderr(Stdio::pipe()).start()?;
    report(what, began, child)
}

/// Starts a child that would sleep for a minute, and stops it.
fn stop(what: &str, how: fn(&Child) -> Result<(), ControlError>) -> procession::Result<()> {
    let began = Instant::now();
    let child = Process::builder(sleep, ()).name(what).stderr(Stdio::pipe()).start()?;
    assert!(child.wait_timeout(Duration::from_millis(20))?.is_none(), "it sleeps");
    how(&child)?;
    report(what, began, child)
}

/// A child that never is: its argument cannot be sent, and `start` says so.
fn refuse() -> procession::Result<()> {
    let began = Instant::now();
    match Process::start(|profile: Profile| profile.name, (half_a_profile(),)) {
        Ok(child) => report("was to be refused", began, child),
        Err(error) => {
            print_line("is given what cannot be sent", "-", began, &format!("not started: {error}"));
            Ok(())
        }
    }
}

/// Waits for a child and prints a line about it.
fn report<R: Passable + Debug>(what: &str, began: Instant, child: Process<R>) -> procession::Result<()> {
    let said = first_line(child.take_stderr())?; // Ends when the child does.
    let exit_code = child.wait()?.exitcode().to_string();
    let outcome = match child.join() {
        Ok(value) => format!("Ok({value:?})"),
        Err(error) => format!("Err: {error}"),
    };
    print_line(what, &exit_code, began, &outcome);
    if let Some(said) = said.filter(|said| !outcome.contains(said.trim_end_matches(':'))) {
        println!("{:>45}   it said: {said}", "");
    }
    Ok(())
}

fn print_line(what: &str, exit_code: &str, began: Instant, outcome: &str) {
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    println!("{what:<30} {exit_code:>4} {milliseconds:>6.1} ms   {outcome}");
}

/// Reads all that comes and keeps the first line that is not empty.
fn first_line(stderr: Option<PipeReader>) -> io::Result<Option<String>> {
    let mut text = String::new();
    if let Some(mut stderr) = stderr {
        stderr.read_to_string(&mut text)?;
    }
    Ok(text.lines().find(|line| !line.is_empty()).map(str::to_owned))
}
