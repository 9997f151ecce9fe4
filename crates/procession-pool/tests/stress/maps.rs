//! A thread that maps functions over items while their workers die: each item has its own result or error, and none that was
//! begun is begun anew.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use procession_pool::{ExecutorExt, TaskError};
use procession_testkit::Random;

use crate::board::{Board, ITEMS, TASKS};
use crate::chase::Front;
use crate::job::{self, Item};

/// Items of a chunk, at most.
const CHUNK_MAX: u64 = 12;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) results: u64,
    pub(crate) errors: u64,
    pub(crate) failure: Option<String>,
}

/// Maps until it is to end, or something is wrong.
pub(crate) fn run(front: &dyn Front, mut random: Random, mut serial: u64, ends: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !ends.load(SeqCst) && seen.failure.is_none() {
        let items: Vec<Item> = (0..1 + random.below(ITEMS as u64)).map(|at| Item::new(at, serial + at)).collect();
        serial += ITEMS as u64;
        items.iter().for_each(|item| Board::get().enter(TASKS + item.at as usize, item.serial));
        let chunks = front.chunked(1 + random.below(CHUNK_MAX) as usize);
        // It takes none any more when something was wrong elsewhere.
        let Ok(results) = chunks.map_results(job::run_item, items.clone()) else { return seen };
        if results.len() != items.len() {
            seen.failure = Some(format!("{} items have {} results", items.len(), results.len()));
        }
        for (item, result) in items.into_iter().zip(results) {
            let begun = Board::get().leave(TASKS + item.at as usize);
            *(if result.is_ok() { &mut seen.results } else { &mut seen.errors }) += 1;
            if let Some(objection) = judge(item, &result, begun) {
                seen.failure = Some(format!("item {} of a map, begun {begun} times: {objection}", item.at));
            }
        }
    }
    seen
}

/// What is wrong with how an item ended.
fn judge(item: Item, result: &Result<u64, TaskError>, begun: u64) -> Option<String> {
    let is_right = match result {
        Ok(result) => *result == !item.serial && begun == 1 && !item.panics() && !item.dies(),
        Err(TaskError::Panicked { message, .. }) => item.panics() && message == "planned" && begun == 1,
        Err(TaskError::WorkerDied { signal, attempts, .. }) => begun <= 1 && *signal == Some(9) && *attempts == 1,
        Err(_) => false,
    };
    (!is_right).then(|| format!("{result:?}"))
}
