//! Segments as users see them: made here, used there, gone with the last holder.
//!
//! Relies on the test kit; each case runs for each start method.

mod common;

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{hear, holders, holds, methods, only_segment, pipe, start, tell};
use procession_launch::StartMethod;
use procession_shm::{FrozenArray, HugePages, Shareable, ShareableList, SharedArray, SharedMemory, ShmError};
use procession_sys::{MemoryFile, Scarcity, Signal, limit, memory_file, reopen, sealed_file};
use procession_wire::{Descriptor, decode, encode};
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_reads_and_writes_the_parents_memory,
        handles_travel_in_structs_vectors_and_options,
        a_child_that_is_killed_leaves_what_it_wrote,
        the_last_holder_frees_the_memory,
        what_one_process_makes_grow_the_others_reach,
        a_read_only_handle_reads_in_the_child_and_cannot_write,
        what_is_frozen_is_a_slice_that_nobody_can_change,
        what_a_child_can_write_to_cannot_be_frozen,
        what_a_child_is_about_to_get_cannot_be_frozen,
    ];
    cases: [
        a_frozen_copy_of_a_slice_is_constant_everywhere,
        what_does_not_fit_is_an_error_and_changes_nothing,
        threads_that_make_it_grow_reach_what_they_made,
        what_cannot_be_mapped_does_not_grow,
        a_segment_of_nothing_and_one_of_too_much_are_errors,
        what_is_reserved_takes_its_memory_at_once,
        huge_pages_are_given_or_refused_by_name,
        what_is_no_segment_is_refused_on_arrival,
        frozen_bits_that_are_no_value_are_refused_on_arrival,
        what_cannot_be_frozen_comes_back_with_the_reason,
        a_message_that_lies_about_frozen_elements_is_refused,
        bits_that_are_no_value_are_found_before_it_is_too_late_to_mend_them,
        frozen_arrays_and_segments_of_one_message_are_told_apart,
        what_is_under_way_cannot_be_frozen,
        one_message_tells_segments_apart_that_are_gone_by_then,
        without_descriptors_all_that_needs_one_is_an_error,
        without_addresses_nothing_is_made_longer_or_kept,
        beyond_the_limit_of_file_sizes_is_an_error_and_no_signal,
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
    assert_eq!(text(&memory, 0, 14), "from the child");
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [2, 4, 6]);
}

/// Bytes of a segment as text.
fn text(memory: &SharedMemory, at: usize, len: usize) -> String {
    let mut bytes = vec![0; len];
    memory.read(at, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[derive(Serialize, Deserialize)]
struct Job {
    name: String,
    input: Option<SharedMemory>,
    parts: Vec<SharedMemory>,
    by_name: HashMap<String, SharedArray<u8>>,
    nothing: Option<SharedMemory>,
}

fn answer(job: Job) -> Job {
    let mut input = [0; 2];
    job.input.as_ref().unwrap().read(0, &mut input).unwrap();
    for (index, part) in job.parts.iter().enumerate() {
        part.write(index, &input).unwrap();
    }
    job.by_name["answer"].set(0, 42).unwrap();
    job
}

fn handles_travel_in_structs_vectors_and_options(method: StartMethod) {
    let input = SharedMemory::create(2).unwrap();
    input.write(0, b"in").unwrap();
    let common = SharedMemory::create(8).unwrap();
    let job = Job {
        name: "job".into(),
        input: Some(input),
        parts: vec![common.clone(), SharedMemory::create(3).unwrap(), common.clone()],
        by_name: [("answer".into(), SharedArray::zeroed(1).unwrap())].into(),
        nothing: None,
    };
    let message = encode(&job).unwrap();
    assert_eq!(message.descriptor_count(), 4, "one for each segment, however often it is named");
    let back = start(method, answer, (job,)).join().unwrap();
    assert_eq!((back.name.as_str(), back.nothing.is_none()), ("job", true));
    assert_eq!(text(&common, 0, 4), "inin", "the first and the third are the same memory");
    assert_eq!(text(&back.parts[1], 0, 3), "\0in");
    assert_eq!(back.by_name["answer"].get(0).unwrap(), 42);
}

fn write_and_block(memory: SharedMemory, ready: Descriptor) {
    memory.write(0, b"written").unwrap();
    tell(&ready);
    loop {
        memory.write(100, b"again and again").unwrap();
    }
}

fn a_child_that_is_killed_leaves_what_it_wrote(method: StartMethod) {
    let memory = SharedMemory::create(200).unwrap();
    let (from, ready) = pipe();
    let child = start(method, write_and_block, (memory.clone(), ready));
    hear(&from);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.number()));
    assert_eq!(text(&memory, 0, 7), "written");
    memory.write(0, b"goes on").unwrap();
}

fn hold_until_told(memory: SharedMemory, ready: Descriptor, end: Descriptor) {
    tell(&ready);
    hear(&end);
    drop(memory);
    tell(&ready);
    hear(&end);
}

fn the_last_holder_frees_the_memory(method: StartMethod) {
    let memory = SharedMemory::create(1 << 16).unwrap();
    let inode = only_segment();
    let ((from, ready), (end, ending)) = (pipe(), pipe());
    let child = start(method, hold_until_told, (memory.clone(), ready, end));
    hear(&from);
    assert!(holders(inode).contains(&child.pid()));
    drop(memory);
    assert!(!holds(std::process::id(), inode), "neither a descriptor nor a mapping is left here");
    tell(&ending);
    hear(&from);
    // A forked child has a copy of its parent's handle besides the one that it was given, and that until its end.
    assert_eq!(holders(inode).is_empty(), method != StartMethod::Fork);
    tell(&ending);
    child.join().unwrap();
    assert_eq!(holders(inode), [0_u32; 0]);
}

fn grow_twice(memory: SharedMemory) -> usize {
    memory.grow(1 << 16).unwrap();
    memory.grow(10).unwrap();
    memory.write((1 << 16) - 3, b"end").unwrap();
    memory.len()
}

fn what_one_process_makes_grow_the_others_reach(method: StartMethod) {
    let memory = SharedMemory::create(10).unwrap();
    memory.write(7, b"old").unwrap();
    assert!(matches!(memory.write(8, b"old"), Err(ShmError::OutOfRange { at: 8, len: 3, size: 10 })));
    assert_eq!(start(method, grow_twice, (memory.clone(),)).join().unwrap(), 1 << 16);
    assert_eq!(memory.len(), 1 << 16);
    assert_eq!(text(&memory, (1 << 16) - 4, 4), "\0end");
    assert_eq!(text(&memory, 6, 5), "\0old\0");
}

fn try_to_write(memory: SharedMemory) -> (String, bool, String) {
    let read = text(&memory, 0, 5);
    let refused = memory.write(0, b"x").unwrap_err();
    assert!(matches!(memory.grow(1 << 20), Err(ShmError::ReadOnly)));
    (read, memory.is_read_only(), refused.to_string())
}

fn a_read_only_handle_reads_in_the_child_and_cannot_write(method: StartMethod) {
    let memory = SharedMemory::create(10).unwrap();
    memory.write(0, b"hello").unwrap();
    let view = memory.read_only().unwrap();
    let (read, read_only, refused) = start(method, try_to_write, (view.clone(),)).join().unwrap();
    assert_eq!((read.as_str(), read_only), ("hello", true));
    assert!(refused.contains("read-only"), "{refused}");
    assert!(!memory.is_read_only() && view.is_read_only());
    memory.write(0, b"HELLO").unwrap();
    assert_eq!(text(&view, 0, 5), "HELLO");
}

fn search(table: FrozenArray<u64>, numbers: Vec<FrozenArray<u64>>) -> (Option<usize>, u64) {
    (table.binary_search(&81).ok(), numbers.iter().flat_map(|numbers| numbers.iter()).sum())
}

fn what_is_frozen_is_a_slice_that_nobody_can_change(method: StartMethod) {
    let squares = SharedArray::<u64>::zeroed(1000).unwrap();
    for index in 0..squares.len() {
        squares.set(index, (index * index) as u64).unwrap();
    }
    let segment = only_segment();
    let table = squares.freeze().unwrap();
    assert_eq!(table.len(), 1000);
    let given = (table.clone(), vec![table.clone(), table.clone()]);
    let (found, sum) = start(method, search, given).join().unwrap();
    assert_eq!((found, sum), (Some(9), 2 * table.iter().sum::<u64>()));
    // Nor can whoever opens the file anew.
    let own = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let file = own
        .map(|fd| fd.path())
        .find(|path| fs::metadata(path).is_ok_and(|file| std::os::unix::fs::MetadataExt::ino(&file) == segment));
    let file = fs::OpenOptions::new().write(true).open(file.unwrap()).unwrap();
    assert!(std::os::unix::fs::FileExt::write_at(&file, b"x", 0).is_err());
    assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
    let empty = SharedArray::<u64>::zeroed(0).unwrap().freeze().unwrap();
    assert!(empty.is_empty());
}

fn hold(numbers: SharedArray<u64>, ready: Descriptor, end: Descriptor) {
    tell(&ready);
    hear(&end);
    drop(numbers);
}

fn what_a_child_can_write_to_cannot_be_frozen(method: StartMethod) {
    let numbers = SharedArray::from_slice(&[1_u64, 2]).unwrap();
    let ((from, ready), (end, ending)) = (pipe(), pipe());
    let child = start(method, hold, (numbers.clone(), ready, end));
    hear(&from);
    let refused = numbers.freeze().unwrap_err();
    assert!(matches!(refused.error(), ShmError::StillShared), "{refused}");
    let numbers = refused.into_array().unwrap();
    numbers.set(0, 3).unwrap();
    tell(&ending);
    child.join().unwrap();
    let clone = numbers.clone();
    let numbers = numbers.freeze().unwrap_err().into_array().unwrap();
    drop(clone);
    assert_eq!(*numbers.freeze().unwrap(), [3, 2]);
}

fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let memory = SharedMemory::create(8).unwrap();
    memory.write(0, b"12345678").unwrap();
    for at in [5, 8, 9, usize::MAX] {
        assert!(matches!(memory.write(at, b"abcd"), Err(ShmError::OutOfRange { len: 4, size: 8, .. })));
        let mut bytes = *b"mine";
        assert!(memory.read(at, &mut bytes).is_err());
        assert_eq!(&bytes, b"mine");
    }
    memory.write(8, b"").unwrap();
    assert_eq!(text(&memory, 0, 8), "12345678");
}

fn threads_that_make_it_grow_reach_what_they_made() {
    const PAGE: usize = 4096;
    const ROUNDS: usize = 3000;
    let memory = SharedMemory::create(PAGE).unwrap();
    let (pages, growing) = (AtomicUsize::new(1), AtomicUsize::new(3));
    let grow = || {
        for _ in 0..ROUNDS {
            let bytes = PAGE * pages.fetch_add(1, Ordering::Relaxed);
            memory.grow(bytes).unwrap();
            let last = SharedArray::<u8>::from_memory(memory.clone(), bytes - 3, 3).unwrap();
            memory.write(bytes - 3, b"end").unwrap();
            assert_eq!(last.iter().collect::<Vec<_>>(), b"end");
        }
        growing.fetch_sub(1, Ordering::Relaxed);
    };
    let look_beyond = || {
        while growing.load(Ordering::Relaxed) > 0 {
            assert!(matches!(memory.read(1 << 40, &mut [0]), Err(ShmError::OutOfRange { .. })));
        }
    };
    std::thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(grow)));
        scope.spawn(look_beyond);
    });
    assert_eq!(memory.len(), 3 * ROUNDS * PAGE);
}

fn what_cannot_be_mapped_does_not_grow() {
    let memory = SharedMemory::create(10).unwrap();
    let error = memory.grow(1 << 60).unwrap_err(); // A file may have as many, a process has not so many addresses.
    assert!(matches!(error, ShmError::Map { .. } | ShmError::Create { .. }), "{error}");
    assert_eq!(memory.len(), 10);
    decode::<SharedMemory>(encode(&memory).unwrap()).unwrap().write(7, b"end").unwrap();
    assert_eq!(text(&memory, 7, 3), "end");
}

fn a_segment_of_nothing_and_one_of_too_much_are_errors() {
    assert!(matches!(SharedMemory::create(0), Err(ShmError::Empty)));
    for bytes in [usize::MAX, 1 << 63, 1 << 62] {
        let error = SharedMemory::create(bytes).unwrap_err();
        assert!(matches!(error, ShmError::Create { .. } | ShmError::Map { .. }), "{error}");
    }
    assert!(SharedArray::<u64>::zeroed(usize::MAX).is_err());
    let memory = SharedMemory::create(1).unwrap();
    assert!(memory.grow(usize::MAX).is_err());
    assert_eq!(memory.len(), 1);
}

/// Bytes of segments that this process has in memory and mapped.
fn resident() -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let own = maps.lines().skip_while(|line| !line.contains("procession-shm"));
    let line = own.into_iter().find_map(|line| line.strip_prefix("Rss:")).expect("a mapped segment");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn what_is_reserved_takes_its_memory_at_once() {
    const BYTES: usize = 8 << 20;
    let sparse = SharedMemory::create(BYTES).unwrap();
    assert_eq!(resident(), 0);
    drop(sparse);
    let reserved = SharedMemory::builder(BYTES).prefault(true).create().unwrap();
    assert_eq!(resident(), BYTES as u64);
    drop(reserved);
    let error = SharedMemory::builder(1 << 60).prefault(true).create().unwrap_err();
    assert!(matches!(error, ShmError::Create { .. }), "{error}");
}

fn huge_pages_are_given_or_refused_by_name() {
    match SharedMemory::builder(1).huge_pages(HugePages::Size2MiB).create() {
        Ok(memory) => {
            assert_eq!(memory.len(), HugePages::Size2MiB.bytes());
            memory.write(memory.len() - 1, b"x").unwrap();
            match memory.grow(memory.len() + 1) {
                Ok(()) => assert_eq!(memory.len(), 2 * HugePages::Size2MiB.bytes()),
                Err(error) => assert!(matches!(error, ShmError::Map { .. }), "{error}"),
            }
        }
        Err(error) => {
            assert!(error.to_string().contains("nr_hugepages"), "{error}");
            let ShmError::HugePages { bytes, page_bytes, .. } = error else { panic!("{error}") };
            assert_eq!((bytes, page_bytes), (2 << 20, 2 << 20));
        }
    }
}

fn what_is_no_segment_is_refused_on_arrival() {
    let arrives = |file: OwnedFd| decode::<SharedMemory>(encode(&(Descriptor::from(file), None::<String>)).unwrap());
    let (read, _write) = procession_sys::pipe().unwrap();
    let strangers = [
        fs::File::open("/dev/null").unwrap().into(),
        fs::File::open("/dev/zero").unwrap().into(),
        fs::File::open("/proc/self").unwrap().into(),
        fs::File::open("/proc/self/exe").unwrap().into(),
        read,
    ];
    for stranger in strangers {
        let error = arrives(stranger).unwrap_err();
        assert!(error.to_string().contains("no shared memory"), "{error}");
    }
    let file = memory_file("empty", &MemoryFile { bytes: 0, huge_page_bits: None }).unwrap();
    assert!(arrives(file).is_err());
    let constant = sealed_file("constant", &[b"constant"]).unwrap();
    let view = arrives(reopen(&constant, procession_sys::Access::ReadOnly).unwrap()).unwrap();
    assert_eq!(text(&view, 0, 8), "constant");
    assert!(arrives(constant).is_err(), "a writable descriptor of what cannot be written");
}

fn frozen_bits_that_are_no_value_are_refused_on_arrival() {
    let bools = SharedArray::from_slice(&[true, false]).unwrap().freeze().unwrap();
    let message = encode(&bools).unwrap();
    let bytes = message.bytes().to_vec();
    let arrives = |content: &[u8]| {
        let file = sealed_file("hostile", &[content]).unwrap();
        procession_wire::decode_slice::<FrozenArray<bool>>(&bytes, vec![file])
    };
    assert_eq!(*arrives(&[0, 1]).unwrap(), [false, true]);
    for content in [&[0, 2][..], &[1], &[]] {
        assert!(arrives(content).is_err(), "{content:?}");
    }
    let unsealed = memory_file("hostile", &MemoryFile { bytes: 2, huge_page_bits: None }).unwrap();
    let error = procession_wire::decode_slice::<FrozenArray<bool>>(&bytes, vec![unsealed]).unwrap_err();
    assert!(error.to_string().contains("sealed"), "{error}");
    let file = message.descriptors().next().unwrap().as_fd().try_clone_to_owned().unwrap();
    assert!(procession_wire::decode_slice::<FrozenArray<u8>>(&bytes, vec![file]).is_err(), "another type");
}

fn what_cannot_be_frozen_comes_back_with_the_reason() {
    #[derive(Clone, Copy, Shareable)]
    #[repr(C)]
    struct Bare(u32); // Without `Debug`, which no result of ours asks for.
    let array = SharedArray::from_slice(&[Bare(1), Bare(2), Bare(3)]).unwrap();
    let view = SharedArray::<Bare>::from_memory(array.memory().clone(), 4, 2).unwrap();
    let refused = view.freeze().unwrap_err();
    assert!(matches!(refused.error(), ShmError::StillShared), "{refused}");
    let view = refused.into_array().unwrap();
    assert_eq!((view.byte_offset(), view.len(), view.get(0).unwrap().0), (4, 2, 2));
    let refused = array.read_only().unwrap().freeze().unwrap_err();
    assert!(matches!(refused.error(), ShmError::ReadOnly), "{refused}");
    assert_eq!(refused.into_array().unwrap().get(2).unwrap().0, 3);
    drop(array);
    let frozen = view.freeze().unwrap();
    assert_eq!((frozen.len(), frozen[1].0), (2, 3), "the elements of the view alone");
    let arrived: FrozenArray<Bare> = decode(encode(&frozen).unwrap()).unwrap();
    assert_eq!((arrived.len(), arrived[0].0), (2, 2));
}

fn a_message_that_lies_about_frozen_elements_is_refused() {
    let arrives = |start: u64, end: u64| {
        let file = Descriptor::from(sealed_file("hostile", &[&[1, 0, 2, 0, 3, 0, 0]]).unwrap());
        decode::<FrozenArray<u16>>(encode(&(file, start, end, u16::SIGNATURE)).unwrap())
    };
    assert_eq!(*arrives(0, 6).unwrap(), [1, 2, 3]);
    assert_eq!((&*arrives(2, 4).unwrap(), arrives(4, 4).unwrap().len()), (&[2][..], 0));
    for (start, end) in [(1, 3), (0, 7), (0, 8), (6, 8), (4, 2), (0, u64::MAX), (u64::MAX - 1, u64::MAX)] {
        let error = arrives(start, end).unwrap_err().to_string();
        assert!(error.contains("do not lie within it"), "{start} {end}: {error}");
    }
}

fn bits_that_are_no_value_are_found_before_it_is_too_late_to_mend_them() {
    let flags = SharedArray::from_slice(&[true, false, true]).unwrap();
    flags.memory().write(1, &[2]).unwrap();
    let refused = flags.freeze().unwrap_err();
    assert!(matches!(refused.error(), ShmError::Invalid { index: 1, type_name: "bool" }), "{refused}");
    let flags = refused.into_array().expect("the array, which can still be written to");
    flags.set(1, true).unwrap();
    assert_eq!(*flags.freeze().unwrap(), [true; 3]);
}

fn frozen_arrays_and_segments_of_one_message_are_told_apart() {
    let array = |number: u8| SharedArray::from_slice(&[number]).unwrap();
    let frozen = |number| array(number).freeze().unwrap();
    let (first, second) = (frozen(1), array(2));
    let message = encode(&(first.clone(), second.clone(), frozen(3), array(4), first, second)).unwrap();
    assert_eq!(message.descriptor_count(), 4);
    type Frozen = FrozenArray<u8>;
    type Array = SharedArray<u8>;
    let (a, b, c, d, e, f) = decode::<(Frozen, Array, Frozen, Array, Frozen, Array)>(message).unwrap();
    assert_eq!([a[0], b.get(0).unwrap(), c[0], d.get(0).unwrap(), e[0], f.get(0).unwrap()], [1, 2, 3, 4, 1, 2]);
}

fn what_is_under_way_cannot_be_frozen() {
    let array = SharedArray::from_slice(&[1_u8, 2]).unwrap();
    let message = encode(&(array.clone(), 1)).unwrap();
    let refused = array.freeze().unwrap_err();
    assert!(matches!(refused.error(), ShmError::StillShared), "{refused}");
    let arrived: (SharedArray<u8>, i32) = decode(message).unwrap();
    let array = refused.into_array().unwrap();
    let array = array.freeze().unwrap_err().into_array().unwrap();
    drop(arrived);
    assert_eq!(*array.freeze().unwrap(), [1, 2]);
    let array = SharedArray::from_slice(&[3_u8]).unwrap();
    drop(encode(&array).unwrap());
    let view = encode(&array.read_only().unwrap()).unwrap();
    assert_eq!(*array.freeze().unwrap(), [3], "who reads is in nobody's way");
    assert_eq!(decode::<SharedArray<u8>>(view).unwrap().get(0).unwrap(), 3);
}

fn one_message_tells_segments_apart_that_are_gone_by_then() {
    let mut encoder = procession_wire::Encoder::new();
    for number in 0..3_u8 {
        // The descriptor's number is free for the next one, the message has its own.
        encoder.value(&SharedArray::from_slice(&[number]).unwrap()).unwrap();
    }
    let mut decoder = encoder.finish().into_decoder();
    for number in 0..3 {
        assert_eq!(decoder.value::<SharedArray<u8>>().unwrap().get(0).unwrap(), number);
    }
}

fn what_a_child_is_about_to_get_cannot_be_frozen(method: StartMethod) {
    let array = SharedArray::from_slice(&[1_u64, 2]).unwrap();
    let ((from, ready), (end, ending)) = (pipe(), pipe());
    let child = start(method, hold, (array.clone(), ready, end));
    // Wherever the child is: the handle is under way, or it has it.
    let array = array.freeze().unwrap_err().into_array().unwrap();
    hear(&from);
    let array = array.freeze().unwrap_err().into_array().unwrap();
    tell(&ending);
    child.join().unwrap();
    assert_eq!(*array.freeze().unwrap(), [1, 2]);
}

fn a_frozen_copy_of_a_slice_is_constant_everywhere() {
    let primes = FrozenArray::from_slice(&[2_u16, 3, 5]).unwrap();
    assert_eq!(*primes, [2, 3, 5]);
    let arrived: FrozenArray<u16> = decode(encode(&primes).unwrap()).unwrap();
    assert_eq!(*arrived, [2, 3, 5]);
    assert!(FrozenArray::<bool>::from_slice(&[]).unwrap().is_empty());
}

/// How many descriptors this process has open, and how many segments mapped.
fn held() -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let segments = maps.lines().filter(|line| line.contains("procession-shm")).count();
    (fs::read_dir("/proc/self/fd").unwrap().count(), segments)
}

/// What happens while this process has not more than so much of something.
fn with_at_most<R>(what: Scarcity, bytes: u64, work: impl FnOnce() -> R) -> R {
    let before = limit(what, Some(bytes)).unwrap();
    let result = work();
    limit(what, before).unwrap();
    result
}

fn without_descriptors_all_that_needs_one_is_an_error() {
    let memory = SharedMemory::create(4096).unwrap();
    let array = SharedArray::from_slice(&[1_u8, 2]).unwrap();
    let message = encode(&(memory.clone(), array.clone())).unwrap();
    let before = held();
    let errors = with_at_most(Scarcity::OpenFiles, 0, || {
        let refused = [
            SharedMemory::create(1).map(drop),
            SharedMemory::builder(1).prefault(true).create().map(drop),
            SharedMemory::create_with_new_name(1).map(drop),
            SharedArray::<u8>::zeroed(1).map(drop),
            ShareableList::from_items(["a".into()]).map(drop),
            memory.read_only().map(drop),
            array.read_only().map(drop),
        ];
        // What has its descriptor already needs no other.
        memory.grow(8192).unwrap();
        memory.write(8191, b"x").unwrap();
        let (_, arrived) = decode::<(SharedMemory, SharedArray<u8>)>(message).unwrap();
        assert_eq!(arrived.get(1).unwrap(), 2);
        let errors = refused.map(|refused| refused.unwrap_err().to_string());
        assert!(errors.iter().all(|error| error.contains("RLIMIT_NOFILE")), "the remedy: {errors:?}");
        errors
    });
    assert!(errors.iter().all(|error| error.contains("Too many open files")), "{errors:?}");
    assert_eq!(held(), (before.0 - 2, before.1), "the message's own are gone with it");
    assert_eq!(*with_at_most(Scarcity::OpenFiles, 0, || array.freeze().unwrap()), [1, 2]);
}

fn without_addresses_nothing_is_made_longer_or_kept() {
    const MUCH: usize = 1 << 40;
    let memory = SharedMemory::create(4096).unwrap();
    let large = SharedMemory::create(MUCH).unwrap();
    let message = encode(&large).unwrap();
    drop(large);
    let before = held();
    let errors = with_at_most(Scarcity::AddressSpace, 1 << 39, || {
        let arrived = decode::<SharedMemory>(message).unwrap_err().to_string();
        let refused = [SharedMemory::create(MUCH).map(drop), memory.grow(MUCH)];
        assert!(refused.iter().all(|refused| matches!(refused, Err(ShmError::Map { .. }))), "{refused:?}");
        [arrived].into_iter().chain(refused.map(|refused| refused.unwrap_err().to_string())).collect::<Vec<_>>()
    });
    assert!(errors.iter().all(|error| error.contains("cannot map 1099511627776 bytes")), "{errors:?}");
    assert_eq!((held(), memory.len()), ((before.0 - 1, before.1), 4096), "the message's descriptor is gone as well");
}

fn beyond_the_limit_of_file_sizes_is_an_error_and_no_signal() {
    let memory = SharedMemory::create(4096).unwrap();
    let before = held();
    let builder = SharedMemory::builder(4097);
    let refused = with_at_most(Scarcity::File, 4096, || {
        [
            builder.clone().create().map(drop),
            builder.prefault(true).create().map(drop),
            SharedMemory::create_with_new_name(4097).map(drop),
            memory.grow(4097),
        ]
    });
    assert!(refused.iter().all(|refused| matches!(refused, Err(ShmError::Create { bytes: 4097, .. }))), "{refused:?}");
    assert_eq!((held(), memory.len()), (before, 4096));
}
