//! The process that the Rust contestants of group `pool` run in: `pooler 0`. What it is asked is told in
//! `procession_benches::runner`; the words of each request in `start`.

mod begun; // How a task tells that it has begun.
mod work; // What tasks do.

mod ours;
mod peers;

use std::process::ExitCode;
use std::time::Duration;

use procession_benches::Result;
use procession_benches::runner::answer_all;

/// Does its work so many times, and says how long that took.
type Runs = Box<dyn FnMut(u64) -> Result<Duration>>;

fn main() -> Result<ExitCode> {
    procspawn::init();
    let mut held = None;
    answer_all(0, env!("CARGO_PKG_NAME"), |asked, times| run(&mut held, asked, times))?;
    drop(held);
    Ok(ExitCode::SUCCESS)
}

/// Does what it is asked so many times, and says how long it took. One contestant has workers at a time: the last one.
fn run(held: &mut Option<(String, Runs)>, asked: &str, times: u64) -> Result<Duration> {
    if held.as_ref().is_some_and(|(name, _)| name != asked) {
        *held = None; // Ends its workers before others begin.
    }
    let (_, runs) = match held {
        Some(held) => held,
        none => none.insert((asked.to_owned(), start(asked)?)),
    };
    runs(times)
}

/// Starts those who do what is asked, and has each of them do a task.
fn start(asked: &str) -> Result<Runs> {
    match asked.split(' ').collect::<Vec<_>>()[..] {
        ["number", seconds] => {
            let number = Duration::from_secs_f64(seconds.parse()?);
            Ok(Box::new(move |times| Ok(number.mul_f64(times as f64))))
        }
        ["made", who] => made(who),
        ["round-trip", "executor"] => ours::round_trip_executor(),
        ["round-trip", "pool"] => ours::round_trip_pool(),
        ["round-trip", "threads"] => ours::round_trip_threads(),
        ["round-trip", "procspawn"] => peers::round_trip_procspawn(),
        ["round-trip", "rayon"] => peers::round_trip_rayon(),
        ["batch", "executor"] => ours::batch(ours::executor(2)?),
        ["batch", "threads"] => ours::batch(ours::threads(2)?),
        ["batch", "procspawn"] => peers::batch_procspawn(),
        ["single", "pool"] => ours::single_pool(),
        ["single", "executor"] => ours::single_executor(),
        ["single", "procspawn"] => peers::batch_procspawn(), // It has no map, so each item is a task.
        ["many", "rayon", work] => peers::many_rayon(work),
        ["many", who, work] => ours::many(who, work),
        ["large", "pool"] => ours::large_pool(),
        ["large", "lent"] => ours::large_lent(),
        ["large", "memcpy"] => Ok(peers::large_memcpy()),
        ["large", "procspawn"] => peers::large_procspawn(),
        ["killed", "executor"] => ours::killed(),
        ["killed", "procspawn"] => peers::killed_procspawn(),
        ["replaced", "executor"] => ours::replaced_executor(),
        ["replaced", "pool"] => ours::replaced_pool(),
        ["replaced", "procspawn"] => peers::replaced_procspawn(),
        ["waiting", "executor", tasks] => {
            let tasks = tasks.parse()?;
            Ok(Box::new(move |times| ours::waiting(tasks, times)))
        }
        ["divided", "pool"] => ours::divided(),
        ["divided", "serial"] => Ok(Box::new(peers::divided_serial)),
        ["divided", "rayon"] => peers::divided_rayon(),
        ["divided", "procspawn"] => peers::divided_procspawn(),
        ["idle", "pool"] => ours::idle(),
        ["idle", "procspawn"] => peers::idle_procspawn(),
        _ => Err("there is no such contestant".into()),
    }
}

/// Workers that are made for one task.
fn made(who: &str) -> Result<Runs> {
    let once = match who {
        "pool" => ours::made_pool,
        "executor" => ours::made_executor,
        "child" => ours::made_child,
        "procspawn" => peers::made_procspawn,
        _ => return Err("there is no such contestant".into()),
    };
    once()?; // Whatever is started once only.
    Ok(Box::new(move |times| procession_benches::runner::timed(times, once)))
}
