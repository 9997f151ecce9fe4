//! Locks for readers and writers between processes: taken, waited for, and inherited from the dead.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use common::{hear, methods, pipe, start, tell};
use procession_launch::StartMethod;
use procession_sync::{LockError, RwLock};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        readers_share_and_writers_exclude,
    ];
}

fn write(lock: RwLock, held: Descriptor, release: Descriptor) {
    let _guard = lock.write().unwrap();
    tell(&held);
    hear(&release);
}

fn readers_share_and_writers_exclude(method: StartMethod) {
    let lock = RwLock::new().unwrap();
    let ((held, tells_held), (release, tells_release)) = (pipe(), pipe());
    let child = start(method, write, (lock.clone(), tells_held, release));
    hear(&held);
    assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
    assert_eq!(lock.writer().unwrap().pid, child.pid());
    tell(&tells_release);
    drop(lock.read().unwrap());
    child.join().unwrap();
}
