//! The process that the Rust contestants of group `strangers` run in: `stranger 0`. What it is asked is told in
//! `procession_benches::runner`; the words of each request in `start`.

mod bare;
mod ours;
mod part; // What is done with connections of any kind.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use procession_benches::Result;
use procession_benches::runner::answer_all;

use crate::bare::Sockets;
use crate::ours::{Ring, Stream};
use crate::part::{Meeting, Runs, back, meet};

fn main() -> Result<ExitCode> {
    let mut started = HashMap::new();
    answer_all(0, env!("CARGO_PKG_NAME"), |asked, times| run(&mut started, asked, times))?;
    drop(started);
    Ok(ExitCode::SUCCESS)
}

/// Does what it is asked so many times, and says how long it took. Processes are started once.
fn run(started: &mut HashMap<String, Runs>, asked: &str, times: u64) -> Result<Duration> {
    if !started.contains_key(asked) {
        started.insert(asked.to_owned(), start(asked)?);
    }
    let run = started.get_mut(asked).ok_or("it has just been started")?;
    run(times)
}

/// Starts those who do what is asked: `unix` or `tcp`, who, and what.
fn start(asked: &str) -> Result<Runs> {
    let words: Vec<&str> = asked.split(' ').collect();
    let address = match words.first() {
        Some(&"unix") => format!("@procession-bench-{}-{}", std::process::id(), asked.replace(' ', "-")),
        _ => "127.0.0.1:0".to_owned(),
    };
    match words[..] {
        [_, "ring", ..] => act::<Ring>(&address, &words[2..]),
        [_, "stream", ..] => act::<Stream>(&address, &words[2..]),
        [_, "sockets", ..] => act::<Sockets>(&address, &words[2..]),
        _ => Err("there is no such contestant".into()),
    }
}

fn act<M: Meeting>(address: &str, words: &[&str]) -> Result<Runs> {
    match words {
        ["back", bytes] => back::<M>(address, bytes.parse()?),
        ["meet"] => meet::<M>(address),
        _ => Err("nobody knows how to do that".into()),
    }
}
