//! What the master and its workers agree on.

use std::time::Instant;

use procession::prelude::*;
use serde::{Deserialize, Serialize};

/// The name of the queue of tasks,
pub(crate) const TASKS: &str = "tasks";
/// and that of results.
pub(crate) const RESULTS: &str = "results";

/// A task: the numbers from `begin` to below `end`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// What came of one: where it begins, how many primes there are, and who has counted them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) begin: u64,
    pub(crate) count: u64,
    pub(crate) pid: u32,
}

/// What stands behind a name on the command line.
pub(crate) fn option(name: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1)
}

/// Where the master is, unless that is said.
pub(crate) fn address() -> String {
    option("--address").unwrap_or_else(|| "127.0.0.1:50000".to_owned())
}

/// What master and workers prove to each other. Choose another one where others reach the address.
pub(crate) fn key() -> String {
    option("--key").unwrap_or_else(|| "a secret of the example".to_owned())
}

/// How long a worker waits for a master.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the master, who may come a little later.
fn connect(address: &str, key: &str) -> procession::Result<SyncManager> {
    let begun = Instant::now();
    loop {
        match SyncManager::connect(address, key) {
            Err(ManagerError::Connect { error: ConnectError::System { .. }, .. }) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            connected => return Ok(connected?),
        }
    }
}

/// Does tasks until the master is gone; how many.
pub(crate) fn work(address: &str, key: &str) -> procession::Result<u64> {
    let manager = connect(address, key)?;
    let (tasks, results): (JoinableQueueProxy<Range>, QueueProxy<Done>) = (manager.get(TASKS)?, manager.get(RESULTS)?);
    let mut done = 0;
    loop {
        let Range { begin, end } = match tasks.get() {
            Ok(range) => range,
            Err(CallError::Disconnected { .. }) => return Ok(done),
            Err(error) => return Err(error.into()),
        };
        let count = (begin..end).filter(|&n| is_prime(n)).count() as u64;
        results.put(&Done { begin, count, pid: std::process::id() })?;
        tasks.task_done()?; // Whoever dies before this leaves it to another one.
        done += 1;
    }
}

fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|divisor| divisor * divisor <= n).all(|divisor| !n.is_multiple_of(divisor))
}
