//! The process that the Rust contestants of group `managers` run in: `keeper 0`. What it is asked is told in
//! `procession_benches::runner`; the words of each request in `start`.

mod keys; // What is set.

mod ours;
mod redis;

use std::process::ExitCode;
use std::time::Duration;

use procession_benches::Result;
use procession_benches::runner::answer_all;

/// Does its work so many times, and says how long that took.
type Runs = Box<dyn FnMut(u64) -> Result<Duration>>;

fn main() -> Result<ExitCode> {
    let mut held = None;
    answer_all(0, env!("CARGO_PKG_NAME"), |asked, times| run(&mut held, asked, times))?;
    drop(held);
    Ok(ExitCode::SUCCESS)
}

/// Does what it is asked so many times, and says how long it took. There are one server and its clients at a time, as one that
/// nobody asks wakes up now and then.
fn run(held: &mut Option<(String, Runs)>, asked: &str, times: u64) -> Result<Duration> {
    if held.as_ref().is_some_and(|(name, _)| name != asked) {
        *held = None;
    }
    let (_, runs) = match held {
        Some(held) => held,
        none => none.insert((asked.to_owned(), start(asked)?)),
    };
    runs(times)
}

/// Starts those who do what is asked.
fn start(asked: &str) -> Result<Runs> {
    match asked.split(' ').collect::<Vec<_>>()[..] {
        ["set", place] => ours::set(place),
        ["later", place] => ours::later(place),
        ["extend", place] => ours::extend(place),
        ["four", place] => ours::four(place),
        ["queue"] => ours::queue(),
        ["method"] => ours::method(),
        ["lock"] => ours::lock(),
        ["redis", place] => redis::set(place),
        ["redis-pipeline", place] => redis::pipeline(place),
        ["redis-four", place] => redis::four(place),
        _ => Err("there is no such contestant".into()),
    }
}
