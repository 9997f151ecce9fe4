//! Group `arena`: what a slot costs to make, to share and to send, beside a segment of its own.
//! `cargo xtask bench arena`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use procession_shm::SharedMemory;
use procession_shm::arena::Slot;
use procession_wire::{decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The size of a lock or a counter with room to spare: the smallest slot there is.
const BYTES: usize = 64;

/// How many handles a message has that has many.
const MANY: usize = 100;

fn slot() -> Slot {
    Slot::allocate(BYTES, 1).expect("a slot")
}

fn segment() -> SharedMemory {
    SharedMemory::create(BYTES).expect("a segment")
}

fn made_and_freed(criterion: &mut Criterion) {
    let _kept = slot(); // As in a program that has any, so that the arena itself stays.
    let mut group = criterion.benchmark_group("arena/made and freed");
    group.bench_function("slot", |bencher| bencher.iter(slot));
    group.bench_function("slot of 4096 bytes", |bencher| bencher.iter(|| Slot::allocate(4096, 1)));
    group.bench_function("segment", |bencher| bencher.iter(segment));
    group.finish();
}

fn cloned_and_dropped(criterion: &mut Criterion) {
    let (slot, segment, plain) = (slot(), segment(), Arc::new(0_u64));
    let mut group = criterion.benchmark_group("arena/cloned and dropped");
    group.bench_function("slot", |bencher| bencher.iter(|| black_box(&slot).clone()));
    group.bench_function("segment", |bencher| bencher.iter(|| black_box(&segment).clone()));
    group.bench_function("Arc", |bencher| bencher.iter(|| Arc::clone(black_box(&plain))));
    group.finish();
}

fn encoded_and_decoded(criterion: &mut Criterion) {
    let (slot, segment) = (slot(), segment());
    let slots: Vec<Slot> = (0..MANY).map(|_| self::slot()).collect();
    let mut group = criterion.benchmark_group("arena/encoded and decoded");
    group.bench_function("slot", |bencher| bencher.iter(|| through_a_message(&slot)));
    group.bench_function(format!("{MANY} slots"), |bencher| bencher.iter(|| through_a_message(&slots)));
    group.bench_function("segment", |bencher| bencher.iter(|| through_a_message(&segment)));
    group.finish();
}

fn through_a_message<T: Serialize + DeserializeOwned + 'static>(value: &T) -> T {
    decode(encode(value).expect("a message")).expect("what was encoded")
}

fn used(criterion: &mut Criterion) {
    let slot = slot();
    let mut group = criterion.benchmark_group("arena/used");
    group.bench_function("a word of a slot is found", |bencher| {
        bencher.iter(|| black_box(&slot).atomic_u32(black_box(8)).map(std::ptr::from_ref));
    });
    group.finish();
}

criterion_group!(arena, made_and_freed, cloned_and_dropped, encoded_and_decoded, used);
criterion_main!(arena);
