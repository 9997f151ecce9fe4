//! What the tests of managers have in common.
//!
//! Relies on the testkit to run each case in a process tree of its own.

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

/// Waits to be killed.
pub(crate) fn rest() -> ! {
    loop {
        std::thread::park();
    }
}
