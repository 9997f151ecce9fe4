//! The process that the Rust contestants of group `channels` run in: `messenger 0`. What it is asked is told in
//! `procession_benches::runner`; the words of each request in `start`.

mod part; // What is done with a way from process to process.
mod way; // What such a way is.

mod iceoryx;
mod ipc;
mod limits;
mod ours;
mod threads;

use std::process::ExitCode;
use std::time::Duration;

use procession_benches::Result;
use procession_benches::runner::answer_all;

use crate::iceoryx::Folder;
use crate::ipc::{ByName, Bytes, Typed};
use crate::limits::{Blocks, Futex, Line, NUMBERS_UNDER_WAY, UNDER_WAY};
use crate::ours::{Lent, Piped, Queued};
use crate::part::{Runs, Started, asleep, round_trip, stream};
use crate::way::Nested;

fn main() -> Result<ExitCode> {
    let folder = Folder::new(); // Goes when whoever uses it has gone.
    let mut started = Started::new();
    answer_all(0, env!("CARGO_PKG_NAME"), |asked, times| run(&folder, &mut started, asked, times))?;
    drop(started);
    Ok(ExitCode::SUCCESS)
}

/// Does what it is asked so many times, and says how long it took. Processes are started once.
fn run(folder: &Folder, started: &mut Started, asked: &str, times: u64) -> Result<Duration> {
    if !started.contains_key(asked) {
        started.insert(asked.to_owned(), start(folder, asked)?);
    }
    let run = started.get_mut(asked).ok_or("it has just been started")?;
    run(times)
}

/// Starts those who do what is asked.
fn start(folder: &Folder, asked: &str) -> Result<Runs> {
    let place = |way: &str| folder.place(&format!("{asked} {way}"));
    match asked.split(' ').collect::<Vec<_>>()[..] {
        ["round-trip", "pipe"] => round_trip(Piped::there_and_back()?),
        ["round-trip", "queue"] => round_trip([Queued::unbounded()?, Queued::unbounded()?]),
        ["round-trip", "line"] => round_trip([Line::new()?, Line::new()?]),
        ["round-trip", "iceoryx2"] => round_trip([iceoryx::Numbers(place("there")?), iceoryx::Numbers(place("back")?)]),
        ["round-trip", "ipc-channel"] => round_trip([ByName::<Typed<u64>>::new()?, ByName::new()?]),
        ["asleep", "pipe"] => asleep(Piped::there_and_back()?),
        ["asleep", "queue"] => asleep([Queued::unbounded()?, Queued::unbounded()?]),
        ["asleep", "futex"] => asleep([Futex::new()?, Futex::new()?]),
        ["asleep", "ipc-channel"] => asleep([ByName::<Typed<u64>>::new()?, ByName::new()?]),
        ["numbers", "queue", pairs] => stream(Queued::<u64>::unbounded()?, pairs.parse()?),
        ["numbers", "bounded", pairs] => stream(Queued::<u64>::bounded(NUMBERS_UNDER_WAY)?, pairs.parse()?),
        ["numbers", "iceoryx2"] => stream(iceoryx::Numbers(place("")?), 1),
        ["numbers", "ipc-channel"] => stream(ByName::<Typed<u64>>::new()?, 1),
        ["numbers", "threads", pairs] => {
            let pairs = pairs.parse()?;
            Ok(Box::new(move |times| threads::stream(pairs, times)))
        }
        ["copied", "pipe-bytes"] => stream(ours::Bytes::new()?, 1),
        ["copied", "queue"] | ["item", "queue", "bytes"] => stream(Queued::<Vec<u8>>::bounded(UNDER_WAY)?, 1),
        ["copied", "memcpy"] | ["item", "memcpy", _] => Ok(Box::new(limits::copied)),
        ["copied", "blocks"] => stream(Blocks::new()?, 1),
        ["copied", "iceoryx2"] => stream(iceoryx::Copied::new(place("")?, UNDER_WAY), 1),
        ["copied", "ipc-channel"] => stream(ByName::<Bytes>::new()?, 1),
        ["lent", "queue", bytes] => stream(Lent::new(bytes.parse()?)?, 1),
        ["lent", "iceoryx2", bytes] => stream(iceoryx::Lent::new(place("")?, bytes.parse()?), 1),
        ["item", "pipe", "bytes"] => stream(Piped::<Vec<u8>, ()>::there()?, 1),
        ["item", "pipe", "numbers"] => stream(Piped::<Vec<f64>, ()>::there()?, 1),
        ["item", "pipe", "nested"] => stream(Piped::<Nested, ()>::there()?, 1),
        ["item", "queue", "numbers"] => stream(Queued::<Vec<f64>>::bounded(UNDER_WAY)?, 1),
        ["item", "queue", "nested"] => stream(Queued::<Nested>::bounded(UNDER_WAY)?, 1),
        ["item", "ipc-channel", "bytes"] => stream(ByName::<Typed<Vec<u8>>>::new()?, 1),
        ["item", "ipc-channel", "numbers"] => stream(ByName::<Typed<Vec<f64>>>::new()?, 1),
        ["item", "ipc-channel", "nested"] => stream(ByName::<Typed<Nested>>::new()?, 1),
        ["item", "gib-a-second", _] => Ok(Box::new(|times| Ok(limits::gib_a_second(times)))),
        _ => Err("there is no such contestant".into()),
    }
}
