//! Objects of all kinds go everywhere: whatever started the process that made one, and whatever started its users.
//!
//! Relies on the test kit, in whose cases a process may fork.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use common::{methods, start};
use procession_launch::StartMethod;
use procession_sync::{
    Array, BoundedSemaphore, Condition, Event, Lock, LockError, RLock, RawArray, RawValue, RwLock, Semaphore, Value,
};
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        objects_work_whatever_started_their_makers_and_users,
    ];
}

/// One of each kind.
#[derive(Clone, Serialize, Deserialize)]
struct Kit {
    lock: Lock,
    rlock: RLock,
    rwlock: RwLock,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    event: Event,
    condition: Condition,
    value: Value<u32>,
    array: Array<u32>,
    raw: RawValue<u32>,
    raw_array: RawArray<u32>,
}

impl Kit {
    fn new() -> Self {
        Self {
            lock: Lock::new().unwrap(),
            rlock: RLock::new().unwrap(),
            rwlock: RwLock::new().unwrap(),
            semaphore: Semaphore::new(0).unwrap(),
            bounded: BoundedSemaphore::new(1).unwrap(),
            event: Event::new().unwrap(),
            condition: Condition::new().unwrap(),
            value: Value::new(0).unwrap(),
            array: Array::zeroed(2).unwrap(),
            raw: RawValue::new(0).unwrap(),
            raw_array: RawArray::zeroed(2).unwrap(),
        }
    }

    /// Takes each once and leaves a trace in those that keep one.
    fn use_all(&self) {
        let _all = (self.lock.lock().unwrap(), self.rlock.lock().unwrap(), self.bounded.acquire().unwrap());
        let _guard = self.condition.wait_for(self.condition.lock().unwrap(), || self.event.is_set()).unwrap();
        drop(self.rwlock.read().unwrap());
        let _writing = self.rwlock.write().unwrap();
        self.semaphore.release(1).unwrap();
        *self.value.lock().unwrap() += 1;
        self.array.lock().unwrap()[1] += 1;
        self.raw.fetch_add(1);
        self.raw_array.fetch_add(1, 1).unwrap();
    }

    /// How often all of them were used.
    fn traces(&self) -> [u32; 5] {
        let (array, raw_array) = (self.array.get(1).unwrap(), self.raw_array.get(1).unwrap());
        [self.semaphore.available(), self.value.get().unwrap(), array, self.raw.get(), raw_array]
    }
}

fn use_all(kit: Kit) {
    kit.event.wait().unwrap();
    kit.use_all();
}

/// Another process has all of them that one can have.
fn find_held(kit: Kit) {
    assert!(matches!(kit.lock.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(kit.rlock.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(kit.rwlock.try_read(), Err(LockError::WouldBlock)));
    assert!(matches!(kit.bounded.try_acquire(), Err(LockError::WouldBlock)));
}

/// Makes objects, has children of every kind use them and the given ones, and returns its own.
fn make_and_pass_on(given: Kit) -> Kit {
    let made = Kit::new();
    made.event.set();
    for kit in [&given, &made] {
        for method in StartMethod::ALL {
            start(method, use_all, (kit.clone(),)).join().unwrap();
        }
    }
    made
}

fn objects_work_whatever_started_their_makers_and_users(method: StartMethod) {
    let given = Kit::new();
    given.event.set();
    let made = start(method, make_and_pass_on, (given.clone(),)).join().unwrap();
    for kit in [given, made] {
        assert_eq!(kit.traces(), [3; 5]);
        kit.use_all();
        assert_eq!(kit.traces(), [4; 5]);
        let _locks = (kit.lock.lock().unwrap(), kit.rlock.lock().unwrap(), kit.rwlock.write().unwrap());
        let _permit = kit.bounded.acquire().unwrap();
        for method in StartMethod::ALL {
            start(method, find_held, (kit.clone(),)).join().unwrap();
        }
    }
}
