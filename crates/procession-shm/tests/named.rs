//! Segments that have a name, as users see them: here, in children, and in Python.
//!
//! Relies on the test kit; names have the case's unique name in them, so what is left fails the case. The cases with
//! Python need a `python3`.

mod common;

use std::fs::{self, File};
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use common::owner::{Owner, eventually, exists, name, owns, path, trackers, wait_gone, warm_up};
use common::{methods, python, start};
use procession_launch::StartMethod;
use procession_shm::{NAMED_SEGMENTS_MAX, SEGMENT_NAME_BYTES_MAX, SharedArray, SharedMemory, ShmError};
use procession_testkit::unique_name;
use procession_wire::{Descriptor, encode};

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        a_name_is_created_opened_and_removed_once,
        a_segment_is_a_private_file_of_its_exact_size_with_its_room_set_aside,
        what_is_no_name_is_refused_everywhere,
        generated_names_differ_and_look_like_pythons,
        a_segment_without_bytes_is_refused,
        what_does_not_fit_is_refused_at_once_and_leaves_nothing,
        one_name_too_many_is_refused_until_others_are_gone,
        a_handle_without_a_name_has_none_to_remove,
        what_others_have_in_the_directory_is_not_mapped,
        a_read_only_handle_keeps_the_name,
        a_name_that_is_another_segments_by_now_is_not_removed,
        many_create_the_same_name_and_one_succeeds,
        whoever_finds_a_name_finds_it_whole,
        a_handle_that_arrives_is_checked,
        python_reads_what_is_created_here,
        what_python_creates_is_read_here,
        a_name_that_python_has_removed_is_not_found,
        a_named_array_is_as_long_as_its_file,
        a_named_array_cannot_be_frozen_and_keeps_its_name,
    ];
    cases for methods(), [
        a_handle_that_was_passed_is_the_same_segment,
        a_child_opens_by_name_and_its_end_removes_nothing,
        a_killed_child_that_had_it_open_removes_nothing,
        a_child_may_unlink_what_its_parent_owns,
        a_handle_that_was_passed_outlives_the_name,
    ];
    programs: [owns];
}

fn a_name_is_created_opened_and_removed_once() {
    let name = name("");
    assert!(matches!(SharedMemory::open(&name), Err(ShmError::NotFound { .. })));
    let memory = SharedMemory::create_named(&name, 1234).unwrap();
    assert_eq!((memory.name(), memory.len()), (Some(name.as_str()), 1234));
    assert!(matches!(SharedMemory::create_named(&name, 1), Err(ShmError::Exists { .. })));
    let other = SharedMemory::open(&name).unwrap();
    other.write(1230, b"last").unwrap();
    assert_eq!((other.name(), other.len()), (Some(name.as_str()), 1234));
    let mut bytes = [0; 4];
    memory.read(1230, &mut bytes).unwrap();
    assert_eq!(&bytes, b"last");
    drop((memory.clone(), other));
    assert!(exists(&name), "dropping handles removes nothing");
    SharedMemory::open(&name).unwrap().unlink().unwrap();
    assert!(matches!(memory.unlink(), Err(ShmError::NotFound { .. })));
    assert!(matches!(SharedMemory::unlink_named(&name), Err(ShmError::NotFound { .. })));
    memory.read(1230, &mut bytes).unwrap();
    assert_eq!(&bytes, b"last");
    SharedMemory::create_named(&name, 1).unwrap();
    SharedMemory::unlink_named(&name).unwrap();
    assert!(!exists(&name));
}

fn a_segment_is_a_private_file_of_its_exact_size_with_its_room_set_aside() {
    let name = name("");
    procession_sys::set_umask(0o777);
    let memory = SharedMemory::create_named(&name, (1 << 20) + 1).unwrap();
    let file = fs::metadata(path(&name)).unwrap();
    assert_eq!((file.mode() & 0o7777, file.len(), memory.len()), (0o600, (1 << 20) + 1, (1 << 20) + 1));
    assert!(file.blocks() * 512 > 1 << 20, "no write fails later");
    let mut bytes = vec![1; (1 << 20) + 1];
    memory.read(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
    memory.unlink().unwrap();
}

fn what_is_no_name_is_refused_everywhere() {
    let long = "x".repeat(SEGMENT_NAME_BYTES_MAX + 1);
    for wrong in ["", ".", "..", "a/b", "/a", "a\0b", "\0", &long] {
        let errors = [
            SharedMemory::create_named(wrong, 1).unwrap_err(),
            SharedMemory::open(wrong).unwrap_err(),
            SharedMemory::open_read_only(wrong).unwrap_err(),
            SharedMemory::unlink_named(wrong).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| matches!(error, ShmError::Name { .. })), "{wrong:?}: {errors:?}");
    }
    let unique = unique_name();
    let longest = format!("{unique}{}", "x".repeat(SEGMENT_NAME_BYTES_MAX - unique.len()));
    SharedMemory::create_named(&longest, 1).unwrap().unlink().unwrap();
}

fn generated_names_differ_and_look_like_pythons() {
    let memories: Vec<_> = (0..10).map(|_| SharedMemory::create_with_new_name(1).unwrap()).collect();
    let mut names: Vec<&str> = memories.iter().map(|memory| memory.name().unwrap()).collect();
    for name in &names {
        assert!(name.starts_with("psm_") && name.len() == 12 && exists(name), "{name}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 10);
    memories.iter().for_each(|memory| memory.unlink().unwrap());
}

fn a_segment_without_bytes_is_refused() {
    let name = name("");
    assert!(matches!(SharedMemory::create_named(&name, 0), Err(ShmError::Empty)));
    assert!(!exists(&name));
    File::create(path(&name)).unwrap();
    let error = SharedMemory::open(&name).unwrap_err();
    assert!(matches!(error, ShmError::Foreign { .. }) && error.to_string().contains("try again"), "{error}");
    assert!(exists(&name), "whoever creates it so will give it a size");
    SharedMemory::unlink_named(&name).unwrap();
}

fn what_does_not_fit_is_refused_at_once_and_leaves_nothing() {
    let name = name("");
    // One page more than there could ever be: asking for all that is free would take it from everybody else.
    let ask = "import os; s = os.statvfs('/dev/shm'); print((s.f_blocks + 1) * s.f_frsize)";
    let bytes = python(ask, &[]);
    match SharedMemory::create_named(&name, bytes.parse().unwrap()) {
        Err(ShmError::NoSpace { name: named, bytes: asked }) => {
            assert_eq!((named, asked.to_string()), (name.clone(), bytes.clone()));
        }
        other => panic!("{other:?}"),
    }
    assert!(!exists(&name));
    for bytes in [usize::MAX, i64::MAX as usize] {
        let error = SharedMemory::create_named(&name, bytes).unwrap_err();
        assert!(matches!(error, ShmError::Create { .. } | ShmError::NoSpace { .. }), "{error}");
    }
    let memory = SharedMemory::create_named(&name, 1).unwrap();
    let error = memory.grow(bytes.parse().unwrap()).unwrap_err();
    assert!(matches!(&error, ShmError::NoSpace { name: named, .. } if *named == name), "{error}");
    memory.grow(0).unwrap();
    assert_eq!(memory.len(), 1);
    memory.unlink().unwrap();
}

fn one_name_too_many_is_refused_until_others_are_gone() {
    let names: Vec<String> = (0..NAMED_SEGMENTS_MAX).map(|number| name(&number.to_string())).collect();
    names.iter().for_each(|name| drop(SharedMemory::create_named(name, 1).unwrap()));
    let more = name("more");
    let error = SharedMemory::create_named(&more, 1).unwrap_err();
    assert!(matches!(error, ShmError::TooManyNames { .. }), "{error}");
    assert!(!exists(&more));
    fs::remove_file(path(&names[7])).unwrap(); // By somebody else.
    SharedMemory::create_named(&more, 1).unwrap().unlink().unwrap();
    names.iter().filter(|name| exists(name)).for_each(|name| SharedMemory::unlink_named(name).unwrap());
}

fn a_handle_without_a_name_has_none_to_remove() {
    let memory = SharedMemory::create(1).unwrap();
    assert_eq!(memory.name(), None);
    assert!(matches!(memory.unlink(), Err(ShmError::Name { .. })));
}

fn what_others_have_in_the_directory_is_not_mapped() {
    let name = name("");
    fs::create_dir(path(&name)).unwrap();
    assert!(matches!(SharedMemory::open(&name), Err(ShmError::Foreign { .. })));
    assert!(matches!(SharedMemory::open_read_only(&name), Err(ShmError::Foreign { .. })));
    assert!(matches!(SharedMemory::create_named(&name, 1), Err(ShmError::Exists { .. })));
    fs::remove_dir(path(&name)).unwrap();
    std::os::unix::fs::symlink("/proc/self/exe", path(&name)).unwrap();
    for open in [SharedMemory::open, SharedMemory::open_read_only] {
        assert!(matches!(open(&name), Err(ShmError::Foreign { .. })), "a link");
    }
    fs::remove_file(path(&name)).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(path(&name)).unwrap();
    assert!(matches!(SharedMemory::open(&name), Err(ShmError::Foreign { .. })), "a socket");
    drop(listener);
    SharedMemory::unlink_named(&name).unwrap();
}

fn a_read_only_handle_keeps_the_name() {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 4).unwrap();
    memory.write(0, b"data").unwrap();
    let readers = [memory.read_only().unwrap(), SharedMemory::open_read_only(&name).unwrap()];
    for reader in &readers {
        let mut bytes = [0; 4];
        reader.read(0, &mut bytes).unwrap();
        assert_eq!((&bytes, reader.name()), (b"data", Some(name.as_str())));
        assert!(matches!(reader.write(0, b"x"), Err(ShmError::ReadOnly)));
    }
    readers[0].unlink().unwrap();
}

fn a_name_that_is_another_segments_by_now_is_not_removed() {
    let name = name("");
    let first = SharedMemory::create_named(&name, 1).unwrap();
    fs::remove_file(path(&name)).unwrap();
    let second = SharedMemory::create_named(&name, 2).unwrap();
    assert!(matches!(first.unlink(), Err(ShmError::NotFound { .. })));
    assert_eq!(SharedMemory::open(&name).unwrap().len(), 2);
    second.unlink().unwrap();
}

fn many_create_the_same_name_and_one_succeeds() {
    for round in 0..20 {
        let name = name(&round.to_string());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let name = name.clone();
                thread::spawn(move || SharedMemory::create_named(&name, 10))
            })
            .collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let is_exists = |result: &&Result<_, _>| matches!(result, Err(ShmError::Exists { .. }));
        assert_eq!(results.iter().filter(is_exists).count(), 3, "{results:?}");
        results.into_iter().find_map(Result::ok).unwrap().unlink().unwrap();
    }
}

fn whoever_finds_a_name_finds_it_whole() {
    let name = name("");
    let (mine, found) = (name.clone(), Arc::new(AtomicU32::new(0)));
    let seen = Arc::clone(&found);
    let creator = thread::spawn(move || {
        for round in 0.. {
            if round >= 500 && seen.load(Relaxed) >= 10 {
                break;
            }
            SharedMemory::create_named(&mine, 100_000).unwrap().unlink().unwrap();
        }
    });
    while !creator.is_finished() {
        match SharedMemory::open_read_only(&name) {
            Ok(memory) => {
                assert_eq!(memory.len(), 100_000);
                memory.read(99_999, &mut [0]).unwrap();
                found.fetch_add(1, Relaxed);
            }
            Err(ShmError::NotFound { .. }) => {}
            Err(error) => panic!("after {found:?}: {error}"),
        }
    }
    creator.join().unwrap();
}

/// What a receiver says to a file and a name that a process has sent as a segment.
fn arrive(file: impl Into<Descriptor>, name: Option<&str>) -> Result<SharedMemory, String> {
    let message = encode(&(file.into(), name.map(ToOwned::to_owned))).unwrap();
    procession_wire::decode(message).map_err(|error| error.to_string())
}

fn a_handle_that_arrives_is_checked() {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 3).unwrap();
    let file = || std::os::fd::OwnedFd::from(File::options().read(true).write(true).open(path(&name)).unwrap());
    assert_eq!(arrive(file(), Some(&name)).unwrap().len(), 3);
    assert!(arrive(file(), None).unwrap_err().contains("sealed"));
    for wrong in ["", "a/b", "..", "procession-names-0-1"] {
        assert!(arrive(file(), Some(wrong)).unwrap_err().contains("cannot be the name"), "{wrong}");
    }
    let elsewhere = File::open("/proc/self/exe").unwrap();
    assert!(arrive(std::os::fd::OwnedFd::from(elsewhere), Some(&name)).unwrap_err().contains("no file in /dev/shm"));
    let (read, _write) = common::pipe();
    assert!(arrive(read, Some(&name)).unwrap_err().contains("no file in /dev/shm"));
    let directory = File::open("/dev/shm").unwrap();
    assert!(arrive(std::os::fd::OwnedFd::from(directory), Some(&name)).is_err());
    memory.unlink().unwrap();
}

fn write_and_name(memory: SharedMemory) -> Option<String> {
    memory.write(0, b"child").unwrap();
    memory.name().map(ToOwned::to_owned)
}

fn a_handle_that_was_passed_is_the_same_segment(method: StartMethod) {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 5).unwrap();
    let child = start(method, write_and_name, (memory.clone(),));
    assert_eq!(child.join().unwrap().as_ref(), Some(&name));
    let mut bytes = [0; 5];
    memory.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"child");
    assert!(exists(&name));
    memory.unlink().unwrap();
}

fn open_and_write(name: String) -> usize {
    let memory = SharedMemory::open(&name).unwrap();
    memory.write(0, b"by name").unwrap();
    memory.len()
}

fn a_child_opens_by_name_and_its_end_removes_nothing(method: StartMethod) {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 7).unwrap();
    assert_eq!(start(method, open_and_write, (name.clone(),)).join().unwrap(), 7);
    let mut bytes = [0; 7];
    memory.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"by name");
    assert!(exists(&name));
    memory.unlink().unwrap();
}

fn open_tell_and_wait(memory: SharedMemory, name: String, opened: Descriptor) {
    let _both = (memory, SharedMemory::open(&name).unwrap());
    common::tell(&opened);
    loop {
        thread::park();
    }
}

fn a_killed_child_that_had_it_open_removes_nothing(method: StartMethod) {
    let (name, own) = (name("parents"), name("other"));
    let owner = Owner::of(&[&own]);
    let memory = SharedMemory::create_named(&name, 7).unwrap();
    let (opened, tell) = common::pipe();
    let child = start(method, open_tell_and_wait, (memory.clone(), name.clone(), tell));
    common::hear(&opened);
    child.kill().unwrap();
    assert!(child.join().is_err());
    // Trackers have seen another end since.
    owner.kill();
    wait_gone(&own);
    eventually("its tracker ends, and the other one stays", || trackers().len() == 1);
    assert!(exists(&name));
    memory.unlink().unwrap();
}

fn unlink(memory: SharedMemory) -> bool {
    memory.unlink().is_ok()
}

fn a_child_may_unlink_what_its_parent_owns(method: StartMethod) {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 7).unwrap();
    assert!(start(method, unlink, (memory.clone(),)).join().unwrap());
    assert!(matches!(memory.unlink(), Err(ShmError::NotFound { .. })));
    assert!(!exists(&name));
}

fn read_first(memory: SharedMemory) -> u8 {
    let mut byte = [0];
    memory.read(0, &mut byte).unwrap();
    byte[0]
}

fn a_handle_that_was_passed_outlives_the_name(method: StartMethod) {
    let memory = SharedMemory::create_named(&name(""), 7).unwrap();
    memory.write(0, &[42]).unwrap();
    memory.unlink().unwrap();
    assert_eq!(start(method, read_first, (memory,)).join().unwrap(), 42);
}

/// Opens a segment in Python as a program that is not to own it must before 3.13, and prints size and beginning.
const READ: &str = "
import sys
from multiprocessing import resource_tracker, shared_memory
memory = shared_memory.SharedMemory(sys.argv[1])
resource_tracker.unregister(memory._name, 'shared_memory')
print(memory.size, bytes(memory.buf[:6]).decode())
memory.buf[:6] = b'python'
memory.close()
try:
    shared_memory.SharedMemory(sys.argv[1], create=True, size=1)
except FileExistsError:
    print('exists')
";

fn python_reads_what_is_created_here() {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 12_345).unwrap();
    memory.write(0, b"rusted").unwrap();
    assert_eq!(python(READ, &[&name]), "12345 rusted\nexists");
    let mut bytes = [0; 6];
    memory.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"python");
    memory.unlink().unwrap();
}

/// Creates a segment in Python, prints its name, and removes it when its input ends.
const CREATE: &str = "
import sys
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(sys.argv[1] or None, create=True, size=4321)
memory.buf[4315:] = b'python'
print(memory.name, flush=True)
sys.stdin.read()
assert bytes(memory.buf[:6]) == b'rusted'
memory.close()
memory.unlink()
";

fn what_python_creates_is_read_here() {
    for name in [name(""), String::new()] {
        let mut command = Command::new("python3");
        command.arg("-c").arg(CREATE).arg(&name).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = command.spawn().expect("python3");
        let mut created = String::new();
        let output = python.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut created).unwrap();
        let memory = SharedMemory::open(created.trim()).unwrap();
        assert_eq!(memory.len(), 4321);
        let mut bytes = [0; 6];
        memory.read(4315, &mut bytes).unwrap();
        assert_eq!(&bytes, b"python");
        memory.write(0, b"rusted").unwrap();
        drop(memory);
        assert!(exists(created.trim()), "it is Python's");
        assert!(python.wait_with_output().unwrap().status.success());
        eventually("Python has removed it", || !exists(created.trim()));
    }
}

/// Opens a segment in Python, whose own tracker then takes it for Python's and removes it.
const OPEN_AND_END: &str = "
import sys
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(sys.argv[1])
memory.close()
memory.unlink()
";

fn a_name_that_python_has_removed_is_not_found() {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 1).unwrap();
    python(OPEN_AND_END, &[&name]);
    assert!(matches!(memory.unlink(), Err(ShmError::NotFound { .. })));
    SharedMemory::create_named(&name, 1).unwrap().unlink().unwrap();
}

fn a_named_array_is_as_long_as_its_file() {
    let name = name("");
    assert!(matches!(SharedArray::<u64>::open(&name), Err(ShmError::NotFound { .. })));
    assert!(matches!(SharedArray::<u64>::create_named(&name, 0), Err(ShmError::Empty)));
    assert!(matches!(SharedArray::<NonZero<u8>>::create_named(&name, 1), Err(ShmError::NoZero { .. })));
    assert!(!exists(&name));
    let array = SharedArray::<u32>::create_named(&name, 3).unwrap();
    array.copy_from(&[1, 2, 3]).unwrap();
    assert!(matches!(SharedArray::<u32>::create_named(&name, 3), Err(ShmError::Exists { .. })));
    assert_eq!(SharedArray::<u32>::open(&name).unwrap().to_vec().unwrap(), [1, 2, 3]);
    assert_eq!(SharedArray::<u16>::open(&name).unwrap().len(), 6);
    let error = SharedArray::<u64>::open(&name).unwrap_err();
    assert!(matches!(error, ShmError::Foreign { .. }) && error.to_string().contains("12 bytes"), "{error}");
    array.memory().unlink().unwrap();
}

fn a_named_array_cannot_be_frozen_and_keeps_its_name() {
    let name = name("");
    let memory = SharedMemory::create_named(&name, 4).unwrap();
    let refused = SharedArray::<u16>::from_memory(memory, 0, 2).unwrap().freeze().unwrap_err();
    assert!(matches!(refused.error(), ShmError::StillShared), "{refused}");
    let array = refused.into_array().unwrap();
    assert_eq!(array.memory().name(), Some(name.as_str()));
    array.memory().unlink().unwrap();
}
