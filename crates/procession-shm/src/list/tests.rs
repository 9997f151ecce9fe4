//! Lists that no honest program writes: whatever the bytes are, an item is a value or an error.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;

use super::cells::variable_part;
use super::layout::{LENGTHS_MAGIC, Layout, slot_for};
use super::*;

/// How long one small list may take at most; a debug build on a busy machine is slow.
const SOON: Duration = Duration::from_secs(10);

fn of_bytes(bytes: &[u8]) -> Result<ShareableList, ShmError> {
    let memory = SharedMemory::create(bytes.len().max(1)).unwrap();
    memory.write(0, bytes).unwrap();
    ShareableList::from_memory(memory)
}

fn bytes_of(list: &ShareableList) -> Vec<u8> {
    let mut bytes = vec![0; list.memory.len()];
    list.memory.read(0, &mut bytes).unwrap();
    bytes
}

fn is_damaged(result: Result<ShareableList, ShmError>) -> bool {
    matches!(result, Err(ShmError::List(ListError::Damaged { .. })))
}

fn is_damaged_item<T>(result: Result<T, ShmError>, of: usize) -> bool {
    matches!(result, Err(ShmError::List(ListError::DamagedItem { index, .. })) if index == of)
}

/// Does to a list whatever can be done. What was set is there, or was refused.
fn survives(bytes: &[u8]) {
    let begun = Instant::now();
    if let Ok(list) = of_bytes(bytes) {
        assert!(list.len() <= bytes.len() / 17, "{} items in {} bytes", list.len(), bytes.len());
        let _ = (list.to_vec(), list.count(&1.into()), list.index(&"a".into()));
        for index in 0..=list.len() {
            let _ = (list.format(index), list.get(index));
            for item in ["a\0".into(), 7.into(), ShareableItem::None, vec![1; 100].into()] {
                if list.set(index, item.clone()).is_ok() {
                    let expected = if list.cells.has_lengths || item != "a\0".into() { item } else { "a".into() };
                    assert_eq!(list.get(index).unwrap(), expected);
                }
            }
        }
    }
    assert!(begun.elapsed() < SOON, "took {:?} for {bytes:?}", begun.elapsed());
}

fn item() -> impl Strategy<Value = ShareableItem> {
    prop_oneof![
        Just(ShareableItem::None),
        any::<bool>().prop_map(ShareableItem::from),
        any::<i64>().prop_map(ShareableItem::from),
        (-1e300..1e300).prop_map(ShareableItem::from),
        "[a-zäß漢🦀\0]{0,20}".prop_map(ShareableItem::from),
        prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..40).prop_map(ShareableItem::from),
    ]
}

/// A number as it might stand in a list, of which most are wrong.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        (-2_i64..12).prop_map(|number| number * 8),
        -2_i64..100,
        Just(i64::MAX),
        Just(i64::MIN),
        Just(i64::MAX - 7),
        Just(1 << 61),
        Just(i64::from_ne_bytes(*b"9999992s")),
        Just(i64::from_ne_bytes(*b"16s\0\0\0\0\0")),
        Just(i64::from_ne_bytes(*b"0s\0\0\0\0\0\0")),
        Just(i64::from_ne_bytes(LENGTHS_MAGIC)),
        any::<i64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_list_or_one(numbers in prop::collection::vec(number(), 0..40), rest in any::<[u8; 7]>()) {
        let bytes: Vec<u8> = numbers.into_iter().flat_map(i64::to_ne_bytes).chain(rest).collect();
        survives(&bytes);
    }

    #[test]
    fn a_damaged_list_is_an_error_or_a_list(
        items in prop::collection::vec(item(), 0..6),
        damages in prop::collection::vec((any::<Index>(), number(), 1_usize..=8), 1..4),
        pythons in any::<bool>(),
    ) {
        let list = ShareableList::from_items(items).unwrap();
        let mut bytes = bytes_of(&list);
        if pythons {
            bytes.truncate(list.cells.layout.python_bytes());
        }
        for (at, number, len) in damages {
            let at = at.index(bytes.len() / 8) * 8;
            bytes[at..at + len].copy_from_slice(&number.to_ne_bytes()[..len]);
        }
        survives(&bytes);
    }

    #[test]
    fn a_list_does_what_a_vector_does(
        mut model in prop::collection::vec(item(), 1..6),
        sets in prop::collection::vec((any::<Index>(), item()), 1..20),
    ) {
        let list = ShareableList::from_items(model.clone()).unwrap();
        let slots: Vec<_> = model.iter().map(|item| slot_for(variable_part(item).map_or(0, <[u8]>::len))).collect();
        for (at, item) in sets {
            let index = at.index(model.len());
            let fits = variable_part(&item).is_none_or(|bytes| bytes.len() <= slots[index]);
            prop_assert_eq!(list.set(index, item.clone()).is_ok(), fits);
            if fits {
                model[index] = item;
            }
            prop_assert_eq!(list.to_vec().unwrap(), model.clone());
        }
        let opened = ShareableList::from_memory(list.memory.clone()).unwrap();
        prop_assert_eq!(opened.to_vec().unwrap(), model);
    }
}

#[test]
fn a_number_of_items_that_cannot_be_is_no_list() {
    let bytes = bytes_of(&ShareableList::from_items(["a".into(), 1.into()]).unwrap());
    for count in [-1, i64::MIN, i64::MAX, 1 << 24, (1 << 24) + 1, 1 << 61, 5] {
        let mut bytes = bytes.clone();
        bytes[..8].copy_from_slice(&i64::to_ne_bytes(count));
        assert!(is_damaged(of_bytes(&bytes)), "{count}");
    }
    for len in 0..65 {
        assert!(is_damaged(of_bytes(&bytes[..len])), "{len} bytes of a list");
    }
}

#[test]
fn a_layout_is_of_what_a_list_can_have() {
    assert!(Layout::new(LIST_ITEMS_MAX, 8 * LIST_ITEMS_MAX).is_some());
    assert!(Layout::new(LIST_ITEMS_MAX + 1, 8 * LIST_ITEMS_MAX).is_none());
    assert!(Layout::new(1, 12).is_none());
    assert!(Layout::new(1, usize::MAX - 7).is_none());
}

#[test]
fn an_empty_list_is_told_from_one_that_is_being_made() {
    assert!(of_bytes(&[0; 16]).unwrap().is_empty());
    assert!(is_damaged(of_bytes(&[0; 24])));
    assert!(is_damaged(of_bytes(&[0; 4096])));
}

#[test]
fn offsets_that_no_writer_leaves_are_an_error_of_their_items() {
    let items: [ShareableItem; 3] = ["a".into(), "a text of more".into(), 1.into()];
    let list = ShareableList::from_items(items).unwrap();
    let whole = bytes_of(&list);
    // The slot of the item in the middle is from 8 to 24; there are 32 bytes of data.
    let begins = [24, 32, 9, -8, i64::MAX, i64::MAX - 7].map(|begin| (1, begin));
    let ends = [8, 0, 9, 40, -8, i64::MAX - 7, i64::MIN].map(|end| (2, end));
    for (which, offset) in begins.into_iter().chain(ends) {
        list.memory.write(0, &whole).unwrap();
        list.memory.write(list.cells.layout.offset(which), &offset.to_ne_bytes()).unwrap();
        let before = bytes_of(&list);
        assert!(is_damaged_item(list.get(1), 1), "{which} {offset}");
        assert!(is_damaged_item(list.set(1, "b"), 1), "{which} {offset}");
        assert_eq!(before, bytes_of(&list));
    }
}

#[test]
fn a_mark_that_no_writer_leaves_is_an_error_of_its_item_until_it_is_set() {
    let list = ShareableList::from_items(["a".into(), 1.into()]).unwrap();
    for (format, code) in [(b"16s\0\0\0\0\0", 1), (b"9999999s", 1), (b"8s\0\0\0\0\0\0", 0), (b"q\0\0\0\0\0\0\0", 3)] {
        list.memory.write(list.cells.layout.format(0), format).unwrap();
        list.memory.write(list.cells.layout.code(0), &[code]).unwrap();
        assert!(is_damaged_item(list.get(0), 0), "{format:?} {code}");
        assert!(is_damaged_item(list.format(0), 0), "{format:?} {code}");
        assert!(is_damaged_item(list.index(&1.into()), 0) && is_damaged_item(list.count(&1.into()), 0));
        assert_eq!(list.get(1).unwrap(), 1.into());
        list.set(0, "b").unwrap();
        assert_eq!(list.get(0).unwrap(), "b".into());
    }
}

#[test]
fn any_byte_but_zero_is_true_as_in_python() {
    let list = ShareableList::from_items([false.into()]).unwrap();
    for byte in [1, 2, 0x80, 0xff] {
        // The last byte of the one slot, which is followed by the formats.
        list.memory.write(list.cells.layout.format(0) - 1, &[byte]).unwrap();
        assert_eq!(list.get(0).unwrap(), true.into(), "{byte}");
    }
}

#[test]
fn a_table_of_lengths_that_is_cut_is_none() {
    let bytes = bytes_of(&ShareableList::from_items(["a\0".into(), 1.into()]).unwrap());
    assert_eq!(of_bytes(&bytes).unwrap().get(0).unwrap(), "a\0".into());
    for cut in 1..40 {
        let list = of_bytes(&bytes[..bytes.len() - cut]).unwrap();
        assert_eq!(list.get(0).unwrap(), "a".into());
        list.set(1, "b").unwrap();
        assert_eq!(list.get(1).unwrap(), "b".into());
    }
}

#[test]
fn a_huge_list_of_holes_costs_nothing() {
    let memory = SharedMemory::create(1 << 30).unwrap();
    memory.write(0, &(LIST_ITEMS_MAX as i64).to_ne_bytes()).unwrap();
    let begun = Instant::now();
    let list = ShareableList::from_memory(memory).unwrap();
    assert!(is_damaged_item(list.to_vec(), 0));
    assert!(begun.elapsed() < SOON);
}

#[test]
fn what_cannot_be_written_is_not() {
    let list = ShareableList::from_items(["a".into()]).unwrap();
    let reader = ShareableList::from_memory(list.memory.read_only().unwrap()).unwrap();
    assert!(matches!(reader.set(0, "b"), Err(ShmError::ReadOnly)));
    list.set(0, "c").unwrap();
    assert_eq!(reader.get(0).unwrap(), "c".into());
}
