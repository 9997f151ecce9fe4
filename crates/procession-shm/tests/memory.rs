//! Segments as users see them: made here, used there.
//!
//! Relies on the test kit; each case runs for each start method.

mod common;

use common::{methods, start};
use procession_launch::StartMethod;
use procession_shm::{SharedArray, SharedMemory};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_reads_and_writes_the_parents_memory,
    ];
}

fn double(memory: SharedMemory, numbers: SharedArray<u64>) -> u64 {
    memory.write(0, b"from the child").unwrap();
    for index in 0..numbers.len() {
        numbers.set(index, 2 * numbers.get(index).unwrap()).unwrap();
    }
    numbers.iter().sum()
}

fn a_child_reads_and_writes_the_parents_memory(method: StartMethod) {
    let memory = SharedMemory::create(1 << 20).unwrap();
    let numbers = SharedArray::from_slice(&[1, 2, 3]).unwrap();
    let child = start(method, double, (memory.clone(), numbers.clone()));
    assert_eq!(child.join().unwrap(), 12);
    let mut bytes = [0; 14];
    memory.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"from the child");
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [2, 4, 6]);
}
