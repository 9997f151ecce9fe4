//! What the tests of managers have in common.
//!
//! Relies on the testkit to run each case in a process tree of its own.

use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod};
use procession_manager::{BaseManager, CallError, Refusal, SyncManager};

pub(crate) fn methods() -> Vec<(&'static str, StartMethod)> {
    StartMethod::ALL.map(|method| (method.name(), method)).to_vec()
}

/// Starts and joins one child of each kind, so that what a process has once is there.
pub(crate) fn warm_up() {
    for (_, method) in methods() {
        Context::new(method).start(|| (), ()).unwrap().join().unwrap();
    }
}

/// A manager whose server is started by this method.
pub(crate) fn manager(method: StartMethod) -> SyncManager {
    BaseManager::builder().context(Context::new(method)).start().unwrap().into()
}

/// Why a call was refused.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, CallError>) -> Refusal {
    match result {
        Err(CallError::Refused { refusal, .. }) => refusal,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Ten times what anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// Waits until there are so many objects. One that nobody refers to any more, or whose client is gone, goes soon and not at
/// once: the thread that has answered the last call of it may still be about to leave.
#[track_caller]
pub(crate) fn await_objects(manager: &BaseManager, count: u64) {
    let begun = Instant::now();
    while manager.number_of_objects().unwrap() != count {
        assert!(begun.elapsed() < SOON, "{} objects are left", manager.number_of_objects().unwrap());
        std::thread::yield_now();
    }
}

/// Waits to be killed.
pub(crate) fn rest() -> ! {
    loop {
        std::thread::park();
    }
}
