//! Structs with a lock among their fields, between processes.
//!
//! Relies on the test kit; order is told by pipes.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_launch::{Context, StartMethod};
use procession_shm::arena::Slot;
use procession_shm::{Shareable, SharedArray, SharedMemory, ShmError};
use procession_sync::{LockError, LockField, LockWord, RecordGuard, Records, field};
use procession_wire::{Descriptor, decode, encode};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        no_increment_of_any_record_is_lost,
        a_killed_holder_concerns_its_record_alone,
    ];
    cases: [
        a_record_is_written_around_its_lock,
        each_record_is_locked_once,
        a_holder_is_known_and_since_when,
        what_the_dead_left_is_held_by_whoever_is_told,
        a_lock_may_be_the_last_field_anywhere_in_memory,
        who_comes_first_at_once_finds_the_same_names,
        messages_that_lie_about_locks_are_refused,
        locks_of_other_records_are_refused,
        what_is_no_lock_is_refused,
        a_guards_copy_in_a_forked_child_is_refused,
        random_words_block_or_are_errors,
    ];
}

#[derive(Clone, Copy, Debug, Shareable)]
#[repr(C)]
struct Account {
    id: u64,
    lock: LockWord,
    cents: i64,
    open: bool,
    name: [u8; 7],
}

fn account(id: u64) -> Account {
    Account { id, lock: LockWord::FREE, cents: 100, open: true, name: *b"account" }
}

fn accounts(number: u64) -> Records<Account> {
    let all: Vec<_> = (0..number).map(account).collect();
    Records::new(SharedArray::from_slice(&all).unwrap(), field!(Account.lock)).unwrap()
}

const TIMES: u64 = 3_000;

fn pay(accounts: Records<Account>) {
    for time in 0..TIMES {
        let mut record = accounts.lock(time as usize % 3).unwrap();
        record.update(|account| account.cents += 1).unwrap();
    }
}

fn no_increment_of_any_record_is_lost(method: StartMethod) {
    let accounts = accounts(4);
    let children = [(); 2].map(|()| start(method, pay, (accounts.clone(),)));
    pay(accounts.clone());
    let _ = children.map(|child| child.join().unwrap());
    let cents: Vec<_> = accounts.array().try_iter().map(|account| account.unwrap().cents).collect();
    assert_eq!(cents, [3100, 3100, 3100, 100]);
}

fn close_half(accounts: Records<Account>, done: Descriptor, never: Descriptor) {
    let mut record = accounts.lock(1).unwrap();
    record.update(|account| account.cents = 0).unwrap();
    tell(&done);
    hear(&never);
    record.update(|account| account.open = false).unwrap();
}

fn a_killed_holder_concerns_its_record_alone(method: StartMethod) {
    let accounts = accounts(3);
    let ((done, tells), (never, _open)) = (pipe(), pipe());
    let child = start(method, close_half, (accounts.clone(), tells, never));
    hear(&done);
    let holder = accounts.holder(1).unwrap().unwrap();
    assert_eq!((holder.pid, holder.is_alive), (child.pid(), true));
    assert!(matches!(accounts.try_lock(1), Err(LockError::WouldBlock)));
    assert!(matches!(accounts.lock_timeout(1, Duration::from_millis(1)), Err(LockError::Timeout)));
    assert_eq!(accounts.lock(0).unwrap().get().unwrap().cents, 100);
    child.kill().unwrap();
    let repair = |mut record: RecordGuard<'_, Account>| record.update(|account| account.open = account.cents != 0);
    match accounts.lock(1) {
        Err(LockError::OwnerDied(record)) => repair(record).unwrap(),
        other => panic!("{other:?}"),
    }
    for index in [0, 1, 2] {
        assert_eq!(accounts.lock(index).unwrap().get().unwrap().open, index != 1, "the next takers are not told");
    }
    assert!(child.join().is_err());
}

fn a_record_is_written_around_its_lock() {
    let accounts = accounts(2);
    let mut record = accounts.lock(1).unwrap();
    record.set(&Account { cents: 7, name: *b"renamed", ..account(9) }).unwrap();
    assert!(matches!(accounts.try_lock(1), Err(LockError::WouldBlock)), "its lock is not overwritten");
    let read = record.get().unwrap();
    assert_eq!((read.id, read.cents, &read.name, record.index()), (9, 7, b"renamed", 1));
    let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        record.update(|account| {
            account.cents = -1;
            panic!("half way");
        })
    }));
    assert!(changed.is_err());
    assert_eq!(record.get().unwrap().cents, 7);
    drop(record);
    assert_eq!(accounts.array().get(0).unwrap().id, 0);
    // What is no value can be replaced.
    let offset = std::mem::offset_of!(Account, open);
    accounts.array().memory().write(offset, &[5]).unwrap();
    let mut record = accounts.lock(0).unwrap();
    assert!(matches!(record.get(), Err(LockError::Memory(ShmError::Invalid { .. }))));
    record.set(&account(0)).unwrap();
    assert!(record.get().unwrap().open);
}

fn each_record_is_locked_once() {
    let accounts = accounts(3);
    let same: Records<Account> = decode(encode(&accounts).unwrap()).unwrap();
    let guards = (accounts.lock(0).unwrap(), same.lock(2).unwrap());
    assert!(matches!(same.lock(0), Err(LockError::HeldByThisThread)));
    assert!(matches!(accounts.try_lock(2), Err(LockError::WouldBlock)));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| same.lock(0).is_ok());
        while accounts.waiters(0).unwrap() == 0 {
            std::thread::yield_now();
        }
        drop(guards.0);
        assert!(other.join().unwrap());
    });
    std::mem::forget(guards.1);
    assert!(matches!(accounts.lock(2), Err(LockError::HeldByThisThread)));
    for index in [3, usize::MAX] {
        assert!(matches!(accounts.lock(index), Err(LockError::Memory(ShmError::Index { .. }))));
        assert!(accounts.holder(index).is_err() && accounts.waiters(index).is_err());
    }
}

fn a_holder_is_known_and_since_when() {
    const TICK: Duration = Duration::from_millis(5);
    let accounts = accounts(1);
    assert_eq!(accounts.holder(0).unwrap(), None);
    let record = accounts.lock(0).unwrap();
    let first = accounts.holder(0).unwrap().unwrap();
    assert_eq!((first.pid, first.thread), (std::process::id(), procession_sys::thread_id()));
    // What is measured is that it grows.
    std::thread::park_timeout(TICK);
    let second = accounts.holder(0).unwrap().unwrap();
    assert!(second.held_for >= first.held_for + TICK / 2, "{first:?} {second:?}");
    drop(record);
    let record = accounts.lock(0).unwrap();
    assert!(accounts.holder(0).unwrap().unwrap().held_for < second.held_for, "it begins anew");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let _record = accounts.lock(0).unwrap();
            accounts.holder(0).unwrap().unwrap().held_for
        });
        while accounts.waiters(0).unwrap() == 0 {
            std::thread::yield_now();
        }
        std::thread::park_timeout(TICK);
        let freed = Instant::now();
        drop(record);
        assert!(waits.join().unwrap() <= freed.elapsed(), "who waited has not held it before");
    });
}

fn forget(accounts: Records<Account>) {
    std::mem::forget(accounts.lock(0).unwrap());
}

fn what_the_dead_left_is_held_by_whoever_is_told() {
    let accounts = accounts(1);
    for tries in [true, false] {
        start(StartMethod::Spawn, forget, (accounts.clone(),)).join().unwrap();
        assert!(!accounts.holder(0).unwrap().unwrap().is_alive);
        let told = if tries { accounts.try_lock(0) } else { accounts.lock_timeout(0, Duration::MAX) };
        let told = told.unwrap_err();
        assert!(matches!(accounts.try_lock(0), Err(LockError::WouldBlock)), "who is told holds it");
        assert!(matches!(LockError::<()>::from(told), LockError::OwnerDied(())));
        drop(accounts.try_lock(0).unwrap());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C)]
struct Numbers {
    left: u64,
    right: u64,
}

#[derive(Clone, Copy, Debug, Shareable)]
#[repr(C)]
struct Last {
    numbers: Numbers,
    lock: LockWord,
}

fn a_lock_may_be_the_last_field_anywhere_in_memory() {
    let memory = SharedMemory::create(4096).unwrap();
    memory.write(0, &[7; 4096]).unwrap();
    let array = SharedArray::<Last>::from_memory(memory.clone(), 72, 2).unwrap();
    array.fill(Last { numbers: Numbers { left: 0, right: 0 }, lock: LockWord::FREE }).unwrap();
    let records = Records::new(array, field!(Last.lock)).unwrap();
    for index in [0, 1] {
        let mut record = records.lock(index).unwrap();
        record.update(|last| last.numbers = Numbers { left: 1, right: 2 }).unwrap();
        assert_eq!(record.get().unwrap().numbers, Numbers { left: 1, right: 2 });
    }
    let (mut before, mut after) = ([0; 72], [0; 40]);
    memory.read(0, &mut before).unwrap();
    memory.read(72 + 80, &mut after).unwrap();
    assert!(before == [7; 72] && after == [7; 40], "nothing else is written to");
}

fn who_comes_first_at_once_finds_the_same_names() {
    const RECORDS: usize = 1_000;
    let records = Records::new(SharedArray::<Last>::zeroed(RECORDS).unwrap(), field!(Last.lock)).unwrap();
    let arrived = AtomicUsize::new(0);
    let visit_all = || {
        for index in 0..RECORDS {
            arrived.fetch_add(1, SeqCst);
            // Both come to each record at once.
            for spins in 0_u32.. {
                match arrived.load(SeqCst) {
                    count if count > 2 * index + 1 => break,
                    _ if spins < 10_000 => std::hint::spin_loop(),
                    _ => std::thread::yield_now(),
                }
            }
            drop(records.lock(index).unwrap());
        }
    };
    std::thread::scope(|scope| [(); 2].map(|()| scope.spawn(visit_all)).map(|visits| visits.join().unwrap()));
}

fn messages_that_lie_about_locks_are_refused() {
    let accounts = accounts(2);
    let (array, lock) = (accounts.array(), std::mem::offset_of!(Account, lock) as u64);
    let (_, names, _): (SharedArray<Account>, Slot, u64) = decode(encode(&accounts).unwrap()).unwrap();
    let decode_with = |array: &SharedArray<Account>, names: &Slot, at: u64| {
        decode::<Records<Account>>(encode(&(array.clone(), names.clone(), at)).unwrap())
    };
    drop(decode_with(array, &names, lock).unwrap().lock(0).unwrap());
    for at in [lock + 1, size_of::<Account>() as u64 - 16, 1 << 40, u64::MAX - 8, u64::MAX] {
        assert!(decode_with(array, &names, at).is_err(), "{at}");
    }
    let other = Slot::allocate(8, 5).unwrap();
    assert!(decode_with(array, &other, lock).is_err(), "names of another kind");
    assert!(decode_with(&array.read_only().unwrap(), &names, lock).is_err());
}

fn locks_of_other_records_are_refused() {
    let accounts = accounts(2);
    let other = Records::new(accounts.array().clone(), field!(Account.lock)).unwrap();
    drop(accounts.lock(0).unwrap());
    assert!(matches!(other.lock(0), Err(LockError::OtherNames)));
    other.lock(1).unwrap().set(&account(1)).unwrap();
    assert!(matches!(accounts.try_lock(1), Err(LockError::OtherNames)), "what is set is not whose lock it is");
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Wide {
    lock: LockWord,
    rest: [u64; 3],
}

fn what_is_no_lock_is_refused() {
    let array = || SharedArray::<Wide>::zeroed(2).unwrap();
    for offset in [4, 1, 32, 48, usize::MAX - 4] {
        let lie = LockField::new(offset, |wide: &Wide| &wide.lock);
        assert!(matches!(Records::new(array(), lie), Err(LockError::Memory(_))), "{offset}");
    }
    let read_only = array().read_only().unwrap();
    assert!(matches!(Records::new(read_only, field!(Wide.lock)), Err(LockError::Memory(ShmError::ReadOnly))));
    static LOCK: LockWord = LockWord::FREE;
    let odd = SharedArray::<[u8; 28]>::zeroed(2).unwrap();
    let refused = Records::new(odd, LockField::new(0, |_: &[u8; 28]| &LOCK));
    assert!(matches!(refused, Err(LockError::Memory(ShmError::Misaligned { .. }))), "every other one would be");
    let records = Records::new(array(), field!(Wide.lock)).unwrap();
    records.lock(1).unwrap().set(&Wide { lock: LockWord::FREE, rest: [1, 2, 3] }).unwrap();
    assert_eq!(records.array().get(1).unwrap().rest, [1, 2, 3]);
}

fn a_guards_copy_in_a_forked_child_is_refused() {
    let accounts = accounts(1);
    let mut kept = Some(accounts.lock(0).unwrap());
    let child = Context::new(StartMethod::Fork).fork(|| {
        let record = kept.as_mut().unwrap();
        let refused = matches!(record.set(&account(5)), Err(LockError::NotItsLock)) && record.get().is_err();
        kept = None; // Drops the child's copy.
        (refused, matches!(accounts.try_lock(0), Err(LockError::WouldBlock)))
    });
    assert_eq!(child.unwrap().join().unwrap(), (true, true));
    assert_eq!(kept.unwrap().get().unwrap().id, 0);
}

fn random_words_block_or_are_errors() {
    let accounts = accounts(1);
    let offset = std::mem::offset_of!(Account, lock);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..500 {
        for byte in [0, 8, 16] {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Names are right half of the time, so that what comes behind them is reached.
            if byte == 8 && round % 2 == 0 {
                accounts.array().memory().write(offset + byte, &[0; 8]).unwrap();
            } else {
                accounts.array().memory().write(offset + byte, &(seed >> (round % 64)).to_ne_bytes()).unwrap();
            }
        }
        let _ = accounts.holder(0).unwrap();
        let _ = accounts.lock_timeout(0, Duration::from_micros(10)).map(|mut record| record.update(|_| ()));
        drop(accounts.try_lock(0));
    }
}
