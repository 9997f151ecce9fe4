//! The lock between processes: taken, waited for, and inherited from the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_launch::StartMethod;
use procession_sync::{Lock, LockError, RECHECK};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_lock_excludes_other_processes,
        a_killed_holder_is_told_of_once,
    ];
}

fn hold(lock: Lock, held: Descriptor, release: Descriptor) {
    let _guard = lock.lock().unwrap();
    tell(&held);
    hear(&release);
}

fn a_lock_excludes_other_processes(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let child = start(method, hold, (lock.clone(), tells_held, release));
    hear(&held);
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(lock.lock_timeout(Duration::from_millis(5)), Err(LockError::Timeout)));
    let holder = lock.holder().unwrap();
    assert_eq!((holder.pid, holder.is_alive), (child.pid(), true));
    tell(&tells_release);
    drop(lock.lock().unwrap());
    child.join().unwrap();
    assert_eq!(lock.holder(), None);
}

fn a_killed_holder_is_told_of_once(method: StartMethod) {
    let lock = Lock::new().unwrap();
    let ((held, tells_held), (release, _open)) = (pipe(), pipe());
    let child = start(method, hold, (lock.clone(), tells_held, release));
    hear(&held);
    child.kill().unwrap();
    let killed = Instant::now();
    match lock.lock() {
        Err(LockError::OwnerDied(guard)) => drop(guard),
        other => panic!("{other:?}"),
    }
    assert!(killed.elapsed() < 20 * RECHECK);
    drop(lock.lock().unwrap());
    assert!(child.join().is_err());
}
