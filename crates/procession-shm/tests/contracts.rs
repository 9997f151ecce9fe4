//! Promises that CPython's own tests make and that no other test file here proves alone: one case for each.
//!
//! Relies on programs that are not this one's children, which obey line by line, and on `python3`.
//! `docs/conformance.txt` says which promise is proved by which case.

mod common;

use std::process::Command;
use std::sync::Mutex;

use common::owner::{self, Owner, exists, name, wait_gone};
use common::{methods, start};
use procession_launch::StartMethod;
use procession_shm::{SharedMemory, ShmError};
use procession_testkit::program;

procession_testkit::main! {
    warm_up: owner::warm_up;
    cases: [
        a_program_that_only_opens_a_segment_takes_nothing_at_its_end,
        a_python_program_that_tracks_what_it_opens_takes_the_name_alone,
    ];
    cases for methods(), [
        a_static_segment_is_each_processs_own_and_goes_with_it,
    ];
    programs: [opens];
}

/// Creates the first name that it reads, so that a tracker learns of its end, and opens the others.
fn opens() {
    let mut names = std::io::stdin().lines().map(Result::unwrap);
    let mut memories = vec![SharedMemory::create_named(&names.next().unwrap(), 1).unwrap()];
    println!("done");
    for name in names {
        memories.push(SharedMemory::open(&name).unwrap());
        println!("done");
    }
}

fn a_program_that_only_opens_a_segment_takes_nothing_at_its_end() {
    let (shared, own) = (name("shared"), name("own"));
    let memory = SharedMemory::create_named(&shared, 1).unwrap();
    for end in [Owner::end, Owner::kill] {
        end(Owner::start(program("opens"), &[&own, &shared]));
        wait_gone(&own);
        assert!(exists(&shared));
    }
    memory.unlink().unwrap();
}

/// Opens a segment as Python does unless it is told otherwise: its own tracker removes the name.
const TRACKS: &str = "
import sys
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(sys.argv[1])
memory.buf[:6] = b'python'
";

fn a_python_program_that_tracks_what_it_opens_takes_the_name_alone() {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 6).unwrap();
    // Its standard error is open until its tracker has ended.
    let output = Command::new("python3").args(["-c", TRACKS, &name]).output().expect("python3");
    let warning = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warning.contains("leaked shared_memory"), "{warning}");
    assert!(!exists(&name));
    let mut bytes = [0; 6];
    memory.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"python");
    assert!(matches!(memory.unlink(), Err(ShmError::NotFound { .. })));
    SharedMemory::create_named(&name, 1).unwrap().unlink().unwrap();
}

/// Made where it is first used: in this process, and anew in each that does not begin as its copy.
static SEGMENT: Mutex<Option<SharedMemory>> = Mutex::new(None);

/// The name of the static segment, and of one that this process has made in any case.
fn names() -> [String; 2] {
    let named = |memory: &SharedMemory| memory.name().unwrap().to_owned();
    let new = || SharedMemory::create_with_new_name(1).unwrap();
    [named(SEGMENT.lock().unwrap().get_or_insert_with(new)), named(&new())]
}

fn a_static_segment_is_each_processs_own_and_goes_with_it(method: StartMethod) {
    let [parents, other] = names();
    let [childs, childs_other] = start(method, names, ()).join().unwrap();
    if method == StartMethod::Fork {
        assert_eq!(childs, parents);
    } else {
        wait_gone(&childs);
    }
    wait_gone(&childs_other);
    assert!(exists(&parents));
    SEGMENT.lock().unwrap().take().unwrap().unlink().unwrap();
    SharedMemory::unlink_named(&other).unwrap();
}
