//! Arrays and their parts as users see them: elements, bounds, and what is disjoint in other processes.
//!
//! Relies on the test kit; what concerns children runs for each start method.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{hear, holders, holds, methods, only_segment, pipe, start, tell};
use procession_launch::StartMethod;
use procession_shm::{Shareable, SharedArray, SharedMemory, SharedPart, ShmError};
use procession_sys::Signal;
use procession_wire::{DecodeError, Descriptor, decode, encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        arrays_travel_in_structs_vectors_maps_and_options,
        a_child_returns_an_array_that_it_made,
        parts_in_workers_fill_the_whole_array,
        a_part_is_split_again_where_it_is,
        a_worker_that_is_killed_leaves_what_it_wrote,
        the_last_handle_frees_the_memory,
        four_gib_travel_without_being_written,
        a_read_only_array_cannot_be_written_by_a_child,
    ];
    cases: [
        elements_are_read_and_written_within_bounds,
        slices_have_to_fit,
        an_array_of_nothing_is_one,
        elements_of_any_size_and_alignment_are_kept,
        values_of_a_words_size_are_never_half_written,
        large_elements_do_not_need_as_much_stack,
        what_cannot_be_had_is_an_error,
        bits_that_are_no_value_are_found_wherever_they_are_read,
        iterators_give_each_element_once_from_both_ends,
        any_steps_of_an_iterator_are_those_of_a_slice,
        what_is_changed_is_written_back_and_nothing_else,
        a_panic_in_an_update_leaves_the_block_as_it_was,
        any_split_covers_the_array_and_nothing_twice,
        a_part_writes_within_its_range_alone,
        no_parts_and_parts_to_read_are_errors,
        a_view_shows_a_segments_bytes,
        a_view_has_to_lie_within_the_segment_and_be_aligned,
        a_view_reaches_what_another_handle_made_grow,
        messages_that_lie_about_elements_are_refused,
        messages_that_lie_about_parts_are_refused,
    ];
}

/// More than two blocks of any number, and no multiple of one.
const LEN: usize = 10_007;

fn counted(len: usize) -> SharedArray<u64> {
    SharedArray::from_slice(&(0..len as u64).collect::<Vec<_>>()).unwrap()
}

#[derive(Serialize, Deserialize)]
struct Job {
    input: SharedArray<f32>,
    maybe: Option<SharedArray<u8>>,
    nothing: Option<SharedArray<u8>>,
    columns: Vec<SharedArray<i64>>,
    parts: BTreeMap<String, SharedPart<i64>>,
}

fn work(job: Job) -> Job {
    let Job { input, maybe, nothing, columns, mut parts } = job;
    let sum: f32 = input.iter().sum();
    maybe.as_ref().unwrap().set(0, sum as u8).unwrap();
    for (number, column) in columns.iter().enumerate() {
        column.fill(number as i64).unwrap();
    }
    parts.get_mut("last").unwrap().fill(-1).unwrap();
    Job { input, maybe, nothing, columns, parts }
}

fn arrays_travel_in_structs_vectors_maps_and_options(method: StartMethod) {
    let input = SharedArray::from_slice(&[1.5, 2.5_f32]).unwrap();
    let maybe = SharedArray::zeroed(1).unwrap();
    let columns: Vec<_> = (0..3).map(|_| SharedArray::zeroed(LEN).unwrap()).collect();
    let whole = SharedArray::zeroed(3).unwrap();
    let parts = whole.split_into(2).unwrap().zip(["first", "last"]).map(|(part, name)| (name.to_owned(), part));
    let job =
        Job { input, maybe: Some(maybe.clone()), nothing: None, columns: columns.clone(), parts: parts.collect() };
    let back = start(method, work, (job,)).join().unwrap();
    assert_eq!(maybe.get(0).unwrap(), 4);
    for (number, column) in (0..).zip(&columns) {
        assert!(column.iter().all(|element| element == number), "{number}");
    }
    assert_eq!(whole.to_vec().unwrap(), [0, 0, -1]);
    // What came back are handles of the same memory.
    assert!(back.nothing.is_none());
    back.columns[1].set(LEN - 1, 77).unwrap();
    assert_eq!(columns[1].get(LEN - 1).unwrap(), 77);
    assert_eq!(back.parts["last"].range(), 2..3);
}

fn squares(len: usize) -> SharedArray<u64> {
    let array = counted(len);
    for mut part in array.split_into(1).unwrap() {
        part.update(|element| element * element).unwrap();
    }
    array
}

fn a_child_returns_an_array_that_it_made(method: StartMethod) {
    let array = start(method, squares, (LEN,)).join().unwrap();
    assert!(array.iter().eq((0..LEN as u64).map(|element| element * element)));
}

/// Writes each element's index in the whole array, and says how many these were.
fn number(mut part: SharedPart<u64>) -> usize {
    let first = part.range().start as u64;
    for (offset, mut element) in (0..).zip(part.iter_mut()) {
        *element = first + offset;
    }
    part.len()
}

fn parts_in_workers_fill_the_whole_array(method: StartMethod) {
    let array = SharedArray::from_slice(&[u64::MAX; LEN]).unwrap();
    let workers: Vec<_> = array.split_into(3).unwrap().map(|part| start(method, number, (part,))).collect();
    let lens: Vec<usize> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    assert_eq!(lens, [3336, 3336, 3335]);
    assert!(array.iter().eq(0..LEN as u64));
}

fn number_by_threads(part: SharedPart<u64>) -> Vec<(usize, usize)> {
    let parts: Vec<_> = part.split_into(4).unwrap().collect();
    let ranges = parts.iter().map(|part| (part.range().start, part.range().end)).collect();
    std::thread::scope(|scope| {
        for part in parts {
            scope.spawn(|| number(part));
        }
    });
    ranges
}

fn a_part_is_split_again_where_it_is(method: StartMethod) {
    let array = SharedArray::from_slice(&[7; 21]).unwrap();
    let second = array.split_into(2).unwrap().nth(1).unwrap();
    let ranges = start(method, number_by_threads, (second,)).join().unwrap();
    assert_eq!(ranges, [(11, 14), (14, 17), (17, 19), (19, 21)]);
    let expected: Vec<u64> = [7; 11].into_iter().chain(11..21).collect();
    assert_eq!(array.to_vec().unwrap(), expected);
}

fn write_half_and_go_on(mut part: SharedPart<u32>, half: Descriptor) {
    for index in 0..part.len() / 2 {
        part.set(index, 1).unwrap();
    }
    tell(&half);
    loop {
        part.set(0, 1).unwrap();
    }
}

fn a_worker_that_is_killed_leaves_what_it_wrote(method: StartMethod) {
    let array = SharedArray::from_slice(&[0; 1000]).unwrap();
    let (from, half) = pipe();
    let part = array.split_into(2).unwrap().next().unwrap();
    let worker = start(method, write_half_and_go_on, (part, half));
    hear(&from);
    worker.kill().unwrap();
    assert_eq!(worker.wait().unwrap().signal(), Some(Signal::KILL.number()));
    let written = array.iter().position(|element| element == 0);
    assert_eq!((written, array.iter().sum::<u32>()), (Some(250), 250));
    // Another worker gets the same part, and finishes it.
    let again = array.split_into(2).unwrap().next().unwrap();
    assert_eq!(again.range(), 0..500);
    start(method, |mut part: SharedPart<u32>| part.fill(1).unwrap(), (again,)).join().unwrap();
    assert_eq!(array.iter().sum::<u32>(), 500);
}

fn hold_and_drop(array: SharedArray<u8>, part: SharedPart<u8>, told: Descriptor, end: Descriptor) {
    tell(&told);
    hear(&end);
    drop(array);
    assert_eq!(part.get(0).unwrap(), 5, "a part holds the memory by itself");
    drop(part);
    tell(&told);
    hear(&end);
}

fn the_last_handle_frees_the_memory(method: StartMethod) {
    let array = SharedArray::from_slice(&[5_u8; 1 << 16]).unwrap();
    let segment = only_segment();
    let ((from, told), (end, ending)) = (pipe(), pipe());
    let part = array.split_into(2).unwrap().next().unwrap();
    let child = start(method, hold_and_drop, (array.clone(), part, told, end));
    hear(&from);
    drop(array);
    assert!(!holds(std::process::id(), segment), "neither a descriptor nor a mapping is left here");
    assert!(holds(child.pid(), segment));
    tell(&ending);
    hear(&from);
    // A forked child has a copy of its parent's handles besides those that it was given, and that until its end.
    assert_eq!(holders(segment).is_empty(), method != StartMethod::Fork);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(holders(segment), [0_u32; 0]);
}

fn touch_both_ends(array: SharedArray<u64>) -> u64 {
    array.set(array.len() - 1, 2).unwrap();
    array.get(0).unwrap() + array.get(array.len() - 1).unwrap()
}

fn four_gib_travel_without_being_written(method: StartMethod) {
    let array = SharedArray::<u64>::zeroed((4 << 30) / 8).unwrap();
    array.set(0, 1).unwrap();
    let message = encode(&array).unwrap();
    assert!(message.bytes().len() < 100, "{} bytes", message.bytes().len());
    assert_eq!(start(method, touch_both_ends, (array.clone(),)).join().unwrap(), 3);
    assert_eq!(array.get(array.len() - 1).unwrap(), 2);
    assert_eq!(resident_in_segment(&array), 2 * 4096, "a page at each end");
}

/// Bytes of memory that an array's file has.
fn resident_in_segment<T: Shareable>(array: &SharedArray<T>) -> u64 {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;
    let (_, descriptors) = encode(array).unwrap().into_parts();
    let file: OwnedFd = descriptors.into_iter().next().unwrap().into_owned().unwrap();
    File::from(file).metadata().unwrap().blocks() * 512
}

fn try_to_write(array: SharedArray<u16>) -> (u16, Vec<String>) {
    let refused = [
        array.set(0, 9).unwrap_err(),
        array.fill(9).unwrap_err(),
        array.copy_from(&[9; 3]).unwrap_err(),
        array.write(1, &[9]).unwrap_err(),
        array.split_into(1).unwrap_err(),
    ];
    (array.get(0).unwrap(), refused.iter().map(ToString::to_string).collect())
}

fn a_read_only_array_cannot_be_written_by_a_child(method: StartMethod) {
    let array = SharedArray::from_slice(&[1_u16, 2, 3]).unwrap();
    let shown = array.read_only().unwrap();
    assert!(shown.is_read_only() && !array.is_read_only());
    let (first, refused) = start(method, try_to_write, (shown,)).join().unwrap();
    assert_eq!(first, 1);
    assert!(refused.iter().all(|error| error.contains("read-only")), "{refused:?}");
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
}

fn elements_are_read_and_written_within_bounds() {
    let array = counted(5);
    array.set(4, 40).unwrap();
    assert_eq!(array.get(4).unwrap(), 40);
    for index in [5, 6, usize::MAX / 8, usize::MAX] {
        assert!(matches!(array.get(index), Err(ShmError::Index { index: there, len: 5 }) if there == index));
        assert!(matches!(array.set(index, 1), Err(ShmError::Index { len: 5, .. })));
    }
    array.fill(3).unwrap();
    assert_eq!(array.to_vec().unwrap(), [3; 5]);
    let other = array.clone();
    other.set(1, 1).unwrap();
    assert_eq!(array.to_vec().unwrap(), [3, 1, 3, 3, 3]);
}

fn slices_have_to_fit() {
    let array = counted(4);
    let mut copy = [9; 4];
    array.copy_to(&mut copy).unwrap();
    assert_eq!(copy, [0, 1, 2, 3]);
    let mut short = [9; 3];
    assert!(matches!(array.copy_to(&mut short), Err(ShmError::Length { given: 3, len: 4 })));
    assert!(matches!(array.copy_from(&[9; 5]), Err(ShmError::Length { given: 5, len: 4 })));
    array.read(1, &mut short).unwrap();
    assert_eq!(short, [1, 2, 3]);
    assert!(matches!(array.read(2, &mut short), Err(ShmError::Range { start: 2, count: 3, len: 4 })));
    assert!(matches!(array.write(4, &[1]), Err(ShmError::Range { start: 4, count: 1, len: 4 })));
    assert!(matches!(array.write(usize::MAX, &[1]), Err(ShmError::Range { .. })));
    array.write(4, &[]).unwrap();
    array.write(2, &[20, 30]).unwrap();
    assert_eq!((short, array.to_vec().unwrap()), ([1, 2, 3], vec![0, 1, 20, 30]));
}

fn an_array_of_nothing_is_one() {
    for array in [SharedArray::<u32>::zeroed(0).unwrap(), SharedArray::from_slice(&[]).unwrap()] {
        assert!(array.is_empty() && array.get(0).is_err() && array.iter().next().is_none());
        array.fill(1).unwrap();
        array.copy_from(&[]).unwrap();
        assert_eq!(array.to_vec().unwrap(), [0_u32; 0]);
        let arrived: SharedArray<u32> = decode(encode(&array).unwrap()).unwrap();
        assert!(arrived.is_empty());
        let mut parts = array.split_into(2).unwrap();
        assert!(parts.all(|part| part.is_empty() && part.range() == (0..0)));
    }
    let memory = SharedMemory::create(8).unwrap();
    assert!(SharedArray::<u64>::from_memory(memory, 8, 0).unwrap().is_empty());
}

fn elements_of_any_size_and_alignment_are_kept() {
    fn kept<T: Shareable + PartialEq + std::fmt::Debug>(make: impl Fn(usize) -> T) {
        let elements: Vec<T> = (0..100).map(make).collect();
        let array = SharedArray::from_slice(&elements).unwrap();
        assert_eq!(array.to_vec().unwrap(), elements);
        assert!(array.try_iter().map(Result::unwrap).eq(elements.iter().copied()));
        let mut copy = vec![elements[0]; 100];
        array.copy_to(&mut copy).unwrap();
        assert_eq!(copy, elements);
        array.split_into(1).unwrap().next().unwrap().for_each_block(<[T]>::reverse).unwrap();
        let per_block = (4096 / size_of::<T>()).clamp(1, 100);
        let reversed: Vec<T> = elements.chunks(per_block).flat_map(|block| block.iter().rev().copied()).collect();
        assert_eq!(array.to_vec().unwrap(), reversed);
        array.fill(elements[42]).unwrap();
        assert_eq!(array.to_vec().unwrap(), vec![elements[42]; 100]);
    }
    kept(|n| n as u8);
    kept(|n| n % 3 == 0);
    kept(|n| char::from_u32(0x1F600 + n as u32).unwrap());
    kept(|n| n as f64 / 3.0);
    kept(|n| u128::MAX - n as u128);
    kept(|n| [n as u8; 3]);
    kept(|n| [n as u32; 511]);
    kept(|n| [n as u64; 513]);
    kept(|n| [[n % 2 == 0; 41]; 300]);
}

fn values_of_a_words_size_are_never_half_written() {
    #[derive(Clone, Copy, Shareable)]
    #[repr(C)]
    struct Twins(u32, u32);

    fn kept_whole<T: Shareable>(make: fn(u16) -> T, is_whole: fn(T) -> bool) {
        let array = SharedArray::from_slice(&[make(0)]).unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..200_000_u32).for_each(|number| array.set(0, make(number as u16)).unwrap());
                is_done.store(true, Ordering::Relaxed);
            });
            while !is_done.load(Ordering::Relaxed) {
                assert!(is_whole(array.get(0).unwrap()), "half of a {}", std::any::type_name::<T>());
            }
        });
    }
    kept_whole(|n| Twins(n.into(), n.into()), |twins| twins.0 == twins.1);
    kept_whole(|n| [n; 4], |all| all == [all[0]; 4]);
    kept_whole(|n| [n as u8; 8], |all| all == [all[0]; 8]);
    kept_whole(|n| [[n as u8; 2]; 2], |all| all == [[all[0][0]; 2]; 2]);
    kept_whole(|n| [n as u8; 2], |all| all[0] == all[1]);
}

fn large_elements_do_not_need_as_much_stack() {
    type Frame = [u8; 16 << 20];
    let frames = SharedArray::<Frame>::zeroed(3).unwrap();
    let bytes = SharedArray::<u8>::from_memory(frames.memory().clone(), 0, 3 * size_of::<Frame>()).unwrap();
    bytes.set(size_of::<Frame>(), 1).unwrap();
    let mut copy = frames.split_into(3).unwrap().nth(1).unwrap().to_vec().unwrap();
    assert_eq!((copy.len(), copy[0][0]), (1, 1));
    copy[0][1] = 2;
    frames.write(2, &copy).unwrap();
    assert_eq!(bytes.get(2 * size_of::<Frame>() + 1).unwrap(), 2);
    assert!(matches!(SharedArray::<[char; 4 << 20]>::zeroed(1).map(|array| array.len()), Ok(1)));
}

fn what_cannot_be_had_is_an_error() {
    assert!(matches!(SharedArray::<NonZero<u8>>::zeroed(1), Err(ShmError::NoZero { .. })));
    assert!(SharedArray::<NonZero<u8>>::zeroed(0).unwrap().is_empty(), "no element is no wrong one");

    assert!(matches!(SharedArray::<u64>::zeroed(usize::MAX), Err(ShmError::TooLarge { size: 8, .. })));
    assert!(matches!(SharedArray::<u64>::zeroed(1 << 61), Err(ShmError::TooLarge { .. })));
    assert!(matches!(SharedArray::<u8>::zeroed(usize::MAX), Err(ShmError::Create { .. })));
    let memory = SharedMemory::create(64).unwrap();
    assert!(matches!(SharedArray::<u16>::from_memory(memory, 0, usize::MAX), Err(ShmError::TooLarge { .. })));
}

fn bits_that_are_no_value_are_found_wherever_they_are_read() {
    let memory = SharedMemory::create(5000).unwrap();
    let flags = SharedArray::<bool>::from_memory(memory.clone(), 0, 5000).unwrap();
    memory.write(4500, &[2]).unwrap();
    let is_found = |error: ShmError| {
        assert!(matches!(error, ShmError::Invalid { index: 4500, type_name: "bool" }), "{error}");
    };
    is_found(flags.get(4500).unwrap_err());
    is_found(flags.to_vec().unwrap_err());
    is_found(flags.copy_to(&mut [true; 5000]).unwrap_err());
    is_found(flags.read(300, &mut [true; 4700]).unwrap_err());
    is_found(flags.try_iter().find_map(Result::err).unwrap());
    is_found(flags.try_iter().rev().find_map(Result::err).unwrap());
    let mut part = flags.split_into(1).unwrap().next().unwrap();
    is_found(part.update(|flag| !flag).unwrap_err());
    is_found(part.for_each_block(|flags| assert_eq!(flags.len(), 4096, "the second block is not shown")).unwrap_err());
    // The first block was replaced, the second, which holds it, was not.
    assert_eq!(flags.try_iter().flatten().filter(|&flag| flag).count(), 4096);
    flags.set(4500, true).unwrap();
    assert_eq!(flags.to_vec().unwrap().len(), 5000);
}

fn iterators_give_each_element_once_from_both_ends() {
    let array = counted(LEN);
    assert!(array.iter().eq(0..LEN as u64));
    assert!(array.iter().rev().eq((0..LEN as u64).rev()));
    assert_eq!(array.iter().len(), LEN);
    assert_eq!(array.iter().sum::<u64>(), (0..LEN as u64).sum());
    let mut seen = Vec::new();
    for element in &array {
        seen.push(element);
    }
    assert_eq!(seen.len(), LEN);
    // What is folded after some steps is what is left.
    let mut begun = array.iter();
    assert_eq!((begun.next(), begun.nth(600), begun.next_back()), (Some(0), Some(601), Some(LEN as u64 - 1)));
    assert_eq!(begun.sum::<u64>(), (602..LEN as u64 - 1).sum());
    assert!(array.try_iter().rev().map(Result::unwrap).eq((0..LEN as u64).rev()));
}

/// One step of an iterator.
#[derive(Debug, Clone, Copy)]
enum Step {
    Next,
    Back,
    Nth(usize),
    NthBack(usize),
}

fn any_steps_of_an_iterator_are_those_of_a_slice() {
    let jump = prop_oneof![Just(0_usize), 1..20_usize, 400..600_usize, Just(usize::MAX)];
    let step = prop_oneof![
        4 => Just(Step::Next),
        4 => Just(Step::Back),
        2 => jump.clone().prop_map(Step::Nth),
        1 => jump.prop_map(Step::NthBack),
    ];
    let steps = (prop_oneof![0..20_usize, 500..1600_usize], vec(step, 0..60));
    runner()
        .run(&steps, |(len, steps)| {
            let array = counted(len);
            let numbers: Vec<u64> = (0..len as u64).collect();
            let (mut ours, mut theirs) = (array.iter(), numbers.iter().copied());
            let mut part = array.split_into(1).unwrap().next().unwrap();
            let mut changing = part.iter_mut();
            for step in steps {
                prop_assert_eq!(ours.len(), theirs.len());
                let expected = taken(&mut theirs, step);
                prop_assert_eq!(taken(&mut ours, step), expected, "{:?}", step);
                prop_assert_eq!(taken(&mut changing, step).map(|element| *element), expected, "{:?}", step);
            }
            prop_assert_eq!(ours.size_hint(), theirs.size_hint());
            prop_assert!(ours.eq(theirs));
            Ok(())
        })
        .unwrap();
}

fn taken<I: DoubleEndedIterator>(iterator: &mut I, step: Step) -> Option<I::Item> {
    match step {
        Step::Next => iterator.next(),
        Step::Back => iterator.next_back(),
        Step::Nth(n) => iterator.nth(n),
        Step::NthBack(n) => iterator.nth_back(n),
    }
}

/// Runs properties on this very thread, and keeps no file of failures: what fails is shrunk and printed.
fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })
}

fn what_is_changed_is_written_back_and_nothing_else() {
    let array = counted(LEN);
    let mut part = array.split_into(1).unwrap().next().unwrap();
    let mut elements = part.iter_mut();
    let seen = elements.next().unwrap();
    let mut changed = elements.next().unwrap();
    *changed = 100;
    assert_eq!(array.get(1).unwrap(), 1, "it is a copy until it is dropped");
    array.set(0, 7).unwrap();
    drop((seen, changed));
    assert_eq!((array.get(0).unwrap(), array.get(1).unwrap()), (7, 100), "what was only looked at is not written");
    for mut element in elements.by_ref().rev().take(3) {
        *element *= 2;
    }
    assert_eq!(array.get(LEN - 3).unwrap(), 2 * (LEN as u64 - 3));
    assert_eq!(array.get(LEN - 4).unwrap(), LEN as u64 - 4);
    part.copy_from(&vec![1; LEN]).unwrap();
    part.update(|element| element + 1).unwrap();
    assert_eq!(part.iter().sum::<u64>(), 2 * LEN as u64);
    let mut index = 0;
    part.for_each_block(|elements| {
        for element in elements {
            *element = index;
            index += 1;
        }
    })
    .unwrap();
    assert!(array.iter().eq(0..LEN as u64));
}

fn a_panic_in_an_update_leaves_the_block_as_it_was() {
    let array = counted(LEN);
    let mut part = array.split_into(1).unwrap().next().unwrap();
    let panics_at = 512 + 5;
    let update = std::panic::AssertUnwindSafe(|| {
        part.update(|element| if element == panics_at { panic!("planned") } else { 0 })
    });
    assert!(std::panic::catch_unwind(update).is_err());
    assert!(array.iter().take(512).all(|element| element == 0));
    assert!(array.iter().skip(512).eq(512..LEN as u64));
}

fn any_split_covers_the_array_and_nothing_twice() {
    let lens = prop_oneof![0..30_usize, 0..3000_usize];
    let counts = prop_oneof![1..10_usize, 1..100_usize];
    runner()
        .run(&(lens, counts.clone(), counts), |(len, first, second)| {
            let array = SharedArray::<u32>::zeroed(len).unwrap();
            let parts = array.split_into(first).unwrap();
            prop_assert_eq!(parts.len(), first);
            let (mut end, mut lens) = (0, Vec::new());
            for part in parts {
                prop_assert_eq!(part.range().start, end);
                end = part.range().end;
                lens.push(part.len());
                // And once more, with every element counted where it is written.
                for mut piece in part.split_into(second).unwrap() {
                    piece.update(|element| element + 1).unwrap();
                }
            }
            prop_assert_eq!(end, len);
            prop_assert!(lens.iter().max().unwrap() - lens.iter().min().unwrap() <= 1, "{:?}", lens);
            prop_assert!(array.iter().all(|element| element == 1));
            Ok(())
        })
        .unwrap();
    let mut many = counted(3).split_into(usize::MAX).unwrap();
    assert_eq!(many.len(), usize::MAX);
    assert_eq!(many.next_back().unwrap().range(), 3..3);
}

fn a_part_writes_within_its_range_alone() {
    let array = counted(9);
    let parts: Vec<_> = array.split_into(3).unwrap().collect();
    let mut part: SharedPart<u64> = decode(encode(&parts[1]).unwrap()).unwrap();
    assert_eq!((part.range(), part.len(), part.to_vec().unwrap()), (3..6, 3, vec![3, 4, 5]));
    assert!(matches!(part.set(3, 9), Err(ShmError::Index { index: 3, len: 3 })));
    assert!(matches!(part.get(3), Err(ShmError::Index { .. })));
    assert!(matches!(part.write(1, &[9; 3]), Err(ShmError::Range { start: 1, count: 3, len: 3 })));
    assert!(matches!(part.copy_from(&[9; 4]), Err(ShmError::Length { given: 4, len: 3 })));
    let mut copy = [0; 3];
    part.copy_to(&mut copy).unwrap();
    part.read(2, &mut copy[..1]).unwrap();
    assert_eq!((copy, part.get(0).unwrap()), ([5, 4, 5], 3));
    part.fill(0).unwrap();
    assert_eq!(array.to_vec().unwrap(), [0, 1, 2, 0, 0, 0, 6, 7, 8]);
    part.write(1, &[10]).unwrap();
    part.set(2, 20).unwrap();
    assert_eq!(array.to_vec().unwrap(), [0, 1, 2, 0, 10, 20, 6, 7, 8]);
    assert_eq!(part.iter().rev().collect::<Vec<_>>(), [20, 10, 0]);
    assert_eq!(part.try_iter().flatten().collect::<Vec<_>>(), [0, 10, 20]);
}

fn no_parts_and_parts_to_read_are_errors() {
    let array = counted(4);
    assert!(matches!(array.split_into(0), Err(ShmError::NoParts)));
    let part = array.split_into(1).unwrap().next().unwrap();
    assert!(matches!(part.split_into(0), Err(ShmError::NoParts)));
    assert!(matches!(array.read_only().unwrap().split_into(2), Err(ShmError::ReadOnly)));
}

fn a_view_shows_a_segments_bytes() {
    let memory = SharedMemory::create(100).unwrap();
    let whole = SharedArray::<u8>::from_memory(memory.clone(), 0, 100).unwrap();
    let view = SharedArray::<u32>::from_memory(memory.clone(), 12, 3).unwrap();
    view.copy_from(&[1, 2, 0x0403_0201]).unwrap();
    assert_eq!((view.byte_offset(), view.memory().len()), (12, 100));
    assert_eq!(whole.iter().position(|byte| byte != 0), Some(12));
    assert_eq!(whole.get(23).unwrap(), 4);
    let arrived: SharedArray<u32> = decode(encode(&view).unwrap()).unwrap();
    memory.write(16, &7_u32.to_ne_bytes()).unwrap();
    assert_eq!(arrived.to_vec().unwrap(), [1, 7, 0x0403_0201]);
    let shown = arrived.read_only().unwrap();
    assert_eq!((shown.get(1).unwrap(), shown.byte_offset()), (7, 12));
    let mut last = view.split_into(3).unwrap().nth(2).unwrap();
    last.set(0, 0).unwrap();
    assert_eq!(whole.get(23).unwrap(), 0);
}

fn a_view_has_to_lie_within_the_segment_and_be_aligned() {
    let memory = SharedMemory::create(64).unwrap();
    let view = |at, len| SharedArray::<u64>::from_memory(memory.clone(), at, len);
    assert_eq!(view(0, 8).unwrap().len() + view(56, 1).unwrap().len() + view(64, 0).unwrap().len(), 9);
    for (at, len) in [(0, 9), (57, 1), (64, 1), (72, 0), (usize::MAX - 7, 1), (8, usize::MAX / 8)] {
        let error = view(at, len).unwrap_err();
        assert!(matches!(error, ShmError::OutOfRange { size: 64, .. }), "{at} {len}: {error}");
    }
    for at in [1, 4, 7] {
        let error = view(at, 1).unwrap_err();
        assert!(matches!(error, ShmError::Misaligned { align: 8, type_name: "u64", .. }), "{error}");
        assert!(error.to_string().contains(&format!("byte {at}:")), "{error}");
    }
    SharedArray::<[u8; 8]>::from_memory(memory.clone(), 1, 7).unwrap();
}

fn a_view_reaches_what_another_handle_made_grow() {
    let memory = SharedMemory::create(8).unwrap();
    let here: SharedMemory = decode(encode(&memory).unwrap()).unwrap();
    memory.grow(1 << 20).unwrap();
    memory.write((1 << 20) - 1, &[9]).unwrap();
    let array = SharedArray::<u8>::from_memory(here, 0, 1 << 20).unwrap();
    assert_eq!(array.iter().next_back(), Some(9));
}

fn refused<T: DeserializeOwned + std::fmt::Debug + 'static>(message: &(impl Serialize + 'static)) -> String {
    let error: DecodeError = decode::<T>(encode(message).unwrap()).unwrap_err();
    error.to_string()
}

fn messages_that_lie_about_elements_are_refused() {
    type Array = SharedArray<u64>;
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    let memory = SharedMemory::create(64).unwrap();
    let told = |signature: u64, at: u64, len: u64| (signature, memory.clone(), at, len);
    decode::<Array>(encode(&told(u64::SIGNATURE, 8, 7)).unwrap()).unwrap();
    let other = refused::<Array>(&SharedArray::from_slice(&[1_i64]).unwrap());
    assert!(other.contains("not of the type u64"), "{other}");
    assert!(refused::<SharedArray<[u64; 2]>>(&counted(2)).contains("not of the type [u64; 2]"));
    for (at, len) in [(0, 9), (8, 8), (64, 1), (72, 0), (u64::MAX, 1), (u64::MAX - 7, 1), (8, u64::MAX), (0, 1 << 61)] {
        let error = refused::<Array>(&told(u64::SIGNATURE, at, len));
        assert!(error.contains("cannot access") || error.contains("can address"), "{at} {len}: {error}");
    }
    let error = refused::<Array>(&told(u64::SIGNATURE, 4, 1));
    assert!(error.contains("cannot begin at byte 4"), "{error}");
    // Something else than a segment, and less than a message.
    let null = Descriptor::from(std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap()));
    let error = refused::<Array>(&(u64::SIGNATURE, (null, None::<String>), 0_u64, 1_u64));
    assert!(error.contains("no shared memory"), "{error}");
    refused::<Array>(&u64::SIGNATURE);
    drop(memory);
    assert_eq!(fs::read_dir("/proc/self/fd").unwrap().count(), open, "no descriptor is left");
}

fn messages_that_lie_about_parts_are_refused() {
    type Part = SharedPart<u64>;
    let memory = SharedMemory::create(64).unwrap();
    let told = |at: u64, len: u64, start: u64| ((u64::SIGNATURE, memory.clone(), at, len), start);
    let part: Part = decode(encode(&told(16, 2, 100)).unwrap()).unwrap();
    assert_eq!(part.range(), 100..102);
    assert!(refused::<Part>(&told(16, 7, 2)).contains("cannot access"));
    assert!(refused::<Part>(&told(4, 1, 0)).contains("cannot begin"));
    for start in [u64::MAX, u64::MAX - 1] {
        let error = refused::<Part>(&told(16, 2, start));
        assert!(error.contains("no array has 2 elements from"), "{error}");
    }
    let shown = memory.read_only().unwrap();
    let error = refused::<Part>(&((u64::SIGNATURE, shown, 0_u64, 1_u64), 0_u64));
    assert!(error.contains("read-only"), "{error}");
}
