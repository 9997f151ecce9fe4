//! Segments that have a name, as users see them.
//!
//! Relies on the test kit; names have the case's unique name in them, so what is left fails the case.

mod common;

use common::{methods, start};
use procession_launch::StartMethod;
use procession_shm::{SharedMemory, ShmError};
use procession_testkit::unique_name;

procession_testkit::main! {
    warm_up: common::owner::warm_up;
    cases: [
        a_name_is_created_opened_and_removed_once,
    ];
    cases for methods(), [
        a_handle_that_was_passed_is_the_same_segment,
    ];
}

fn a_name_is_created_opened_and_removed_once() {
    let name = unique_name();
    assert!(matches!(SharedMemory::open(&name), Err(ShmError::NotFound { .. })));
    let memory = SharedMemory::create_named(&name, 1234).unwrap();
    assert_eq!((memory.name(), memory.len()), (Some(name.as_str()), 1234));
    assert!(matches!(SharedMemory::create_named(&name, 1), Err(ShmError::Exists { .. })));
    let other = SharedMemory::open(&name).unwrap();
    other.write(1230, b"last").unwrap();
    assert_eq!(other.len(), 1234);
    let mut bytes = [0; 4];
    let reader = SharedMemory::open_read_only(&name).unwrap();
    reader.read(1230, &mut bytes).unwrap();
    assert_eq!(&bytes, b"last");
    assert!(matches!(reader.write(0, b"x"), Err(ShmError::ReadOnly)));
    other.unlink().unwrap();
    assert!(matches!(memory.unlink(), Err(ShmError::NotFound { .. })));
    assert!(matches!(SharedMemory::unlink_named(&name), Err(ShmError::NotFound { .. })));
    memory.read(1230, &mut bytes).unwrap();
}

fn write_and_name(memory: SharedMemory) -> Option<String> {
    memory.write(0, b"child").unwrap();
    memory.name().map(ToOwned::to_owned)
}

fn a_handle_that_was_passed_is_the_same_segment(method: StartMethod) {
    let name = unique_name();
    let memory = SharedMemory::create_named(&name, 5).unwrap();
    let child = start(method, write_and_name, (memory.clone(),));
    assert_eq!(child.join().unwrap(), Some(name));
    let mut bytes = [0; 5];
    memory.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"child");
    memory.unlink().unwrap();
}
