//! Semaphores between processes: permits taken, waited for, and given back by the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{hear, methods, pipe, start, tell};
use procession_launch::StartMethod;
use procession_sync::{LockError, Semaphore};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        permits_are_shared_and_come_back,
    ];
}

fn hold(semaphore: Semaphore, held: Descriptor, release: Descriptor) {
    let _permit = semaphore.acquire().unwrap();
    semaphore.acquire().unwrap().forget();
    tell(&held);
    hear(&release);
}

fn permits_are_shared_and_come_back(method: StartMethod) {
    let semaphore = Semaphore::new(2).unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let child = start(method, hold, (semaphore.clone(), tells_held, release));
    hear(&held);
    assert_eq!(semaphore.holders(), [(child.pid(), 1)]);
    assert!(matches!(semaphore.try_acquire(), Err(LockError::WouldBlock)));
    assert!(matches!(semaphore.acquire_timeout(Duration::from_millis(5)), Err(LockError::Timeout)));
    tell(&tells_release);
    let permit = semaphore.acquire().unwrap();
    assert_eq!(semaphore.available(), 0);
    child.join().unwrap();
    drop(permit);
    assert_eq!(semaphore.available(), 1);
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.available(), 2);
}
