//! Lists as Rust and Python programs share them.
//!
//! Relies on the test kit and on `python3`, whose `ShareableList` is the other side; the scripts tell it to leave to us
//! what has a name.

mod common;

use common::{methods, start};
use procession_launch::StartMethod;
use procession_shm::{LIST_ITEM_BYTES_MAX, ListError, ShareableItem, ShareableList, SharedMemory, ShmError};
use procession_testkit::unique_name;
use procession_wire::{decode, encode};

procession_testkit::main! {
    warm_up: common::owner::warm_up;
    cases: [
        items_of_every_kind_are_read_as_they_were_written,
        items_change_their_kind_and_keep_to_their_slot,
        count_and_index_find_equal_items,
        a_duplicate_is_a_list_of_its_own,
        a_list_may_be_empty,
        a_list_with_a_new_name_is_found_by_it,
        what_python_cannot_describe_is_refused,
        our_bytes_are_pythons,
        python_reads_our_lists,
        python_writes_to_our_lists,
        we_read_pythons_lists,
        we_write_to_pythons_lists,
        text_that_is_cut_is_an_error_with_its_bytes,
        a_list_is_passed_in_a_few_bytes,
        a_list_is_found_in_memory_that_another_handle_made_grow,
    ];
    cases for methods(), [
        a_passed_list_is_the_same_list,
        a_passed_list_outlives_its_name,
        what_is_read_while_it_is_written_is_an_item_or_an_error,
    ];
}

/// One item of each kind, and of each length around that of a slot.
fn assorted() -> Vec<ShareableItem> {
    vec![
        "text".into(),
        b"bytes\0\xff".into(),
        1.into(),
        i64::MIN.into(),
        i64::MAX.into(),
        2.5.into(),
        (-0.0).into(),
        f64::INFINITY.into(),
        f64::MIN_POSITIVE.into(),
        true.into(),
        false.into(),
        ShareableItem::None,
        "".into(),
        "1234567".into(),
        "12345678".into(),
        "zwölf Größen: ΑΒΓΔΕΖΗΘ 漢字漢字漢字 🦀🦀🦀🦀".into(),
        "ends in NULs\0\0\0".into(),
        "\0".into(),
        b"\0\0\0\0\0\0\0\0\0".into(),
        b"".into(),
    ]
}

fn a_list_with_a_new_name_is_found_by_it() {
    let list = ShareableList::create_with_new_name(assorted()).unwrap();
    let other = ShareableList::create_with_new_name([]).unwrap();
    let name = list.name().unwrap();
    assert!(name.starts_with("psm_") && Some(name) != other.name(), "{name}");
    assert_eq!(ShareableList::open(name).unwrap().to_vec().unwrap(), assorted());
    assert_eq!(ShareableList::open(name).unwrap().name(), Some(name));
    assert_eq!(ShareableList::from_items([]).unwrap().name(), None);
    list.unlink().unwrap();
    other.unlink().unwrap();
}

fn items_of_every_kind_are_read_as_they_were_written() {
    let list = ShareableList::from_items(assorted()).unwrap();
    assert_eq!(list.len(), assorted().len());
    assert_eq!(list.to_vec().unwrap(), assorted());
    list.set(0, f64::NAN).unwrap();
    assert!(matches!(list.get(0).unwrap(), ShareableItem::Float(number) if number.is_nan()));
    let ShareableItem::Float(zero) = list.get(6).unwrap() else { panic!("no float") };
    assert!(zero.is_sign_negative());
}

fn items_change_their_kind_and_keep_to_their_slot() {
    let list = ShareableList::from_items([1.into(), "seven b".into(), 3.into()]).unwrap();
    assert_eq!([0, 1, 2].map(|index| list.format(index).unwrap()), ["q", "8s", "q"]);
    for item in
        [ShareableItem::from("12345678"), b"\0\0\0\0\0\0\0\0".into(), true.into(), 2.5.into(), None::<u8>.into()]
    {
        list.set(1, item.clone()).unwrap();
        assert_eq!(list.to_vec().unwrap(), [1.into(), item, 3.into()]);
    }
    assert_eq!(list.format(1).unwrap(), "xxxxxx?x");
    let error = list.set(1, "123456789").unwrap_err();
    assert!(matches!(error, ShmError::List(ListError::DoesNotFit { index: 1, bytes: 9, slot: 8 })), "{error}");
    assert!(error.to_string().contains("make the list with an item there"), "{error}");
    assert_eq!(list.to_vec().unwrap(), [1.into(), ShareableItem::None, 3.into()]);
    let beyond = |result: Result<(), ShmError>| {
        assert!(matches!(result, Err(ShmError::List(ListError::Index { index: 3, len: 3 }))));
    };
    beyond(list.set(3, 0));
    beyond(list.get(3).map(drop));
    beyond(list.format(3).map(drop));
}

fn count_and_index_find_equal_items() {
    let list = ShareableList::from_items(["a".into(), 1.into(), true.into(), "a".into(), f64::NAN.into()]).unwrap();
    assert_eq!(list.count(&"a".into()).unwrap(), 2);
    assert_eq!(list.count(&1.into()).unwrap(), 1);
    assert_eq!(list.count(&f64::NAN.into()).unwrap(), 0);
    assert_eq!(list.index(&"a".into()).unwrap(), Some(0));
    assert_eq!(list.index(&true.into()).unwrap(), Some(2));
    assert_eq!(list.index(&"b".into()).unwrap(), None);
}

fn a_duplicate_is_a_list_of_its_own() {
    let list = ShareableList::from_items(assorted()).unwrap();
    let copy = ShareableList::from_items(list.to_vec().unwrap()).unwrap();
    copy.set(0, "new").unwrap();
    assert_eq!(list.get(0).unwrap(), "text".into());
    list.clone().set(0, "both").unwrap();
    assert_eq!(list.get(0).unwrap(), "both".into());
    let name = unique_name();
    let named = ShareableList::create_named(&name, list.to_vec().unwrap()).unwrap();
    let second = ShareableList::open(&name).unwrap();
    second.set(2, -1).unwrap();
    assert_eq!((named.get(2).unwrap(), list.get(2).unwrap()), ((-1).into(), 1.into()));
    assert_eq!(named.memory().name(), Some(name.as_str()));
    assert!(matches!(ShareableList::create_named(&name, []), Err(ShmError::Exists { .. })));
    named.unlink().unwrap();
}

fn a_list_may_be_empty() {
    let name = unique_name();
    let list = ShareableList::create_named(&name, []).unwrap();
    let same = ShareableList::open(&name).unwrap();
    assert!(list.is_empty() && same.is_empty());
    assert_eq!(same.to_vec().unwrap(), []);
    assert_eq!(same.index(&1.into()).unwrap(), None);
    assert_eq!(python(&[&name], "print(len(attach()), attach().format == '')"), "0 True");
    list.unlink().unwrap();
    assert!(matches!(ShareableList::open(&name), Err(ShmError::NotFound { .. })));
}

fn what_python_cannot_describe_is_refused() {
    let largest = "x".repeat(LIST_ITEM_BYTES_MAX);
    let list = ShareableList::from_items([largest.as_str().into()]).unwrap();
    assert_eq!(list.format(0).unwrap(), "9999992s");
    assert_eq!(list.get(0).unwrap(), largest.as_str().into());
    let error = ShareableList::from_items([1.into(), (largest + "x").into()]).unwrap_err();
    assert!(matches!(error, ShmError::List(ListError::ItemTooLarge { index: 1, bytes: 9_999_992 })), "{error}");
    let error = ShareableList::from_items(std::iter::repeat(ShareableItem::None)).unwrap_err();
    assert!(matches!(error, ShmError::List(ListError::TooManyItems)), "{error}");
}

/// What comes before every script: the first argument is the list's name, and no name is remembered, so that none is
/// removed at the end.
const PRELUDE: &str = "
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import ShareableList
resource_tracker.register = resource_tracker.unregister = lambda *_: None
name = sys.argv[1]
attach = lambda: ShareableList(name=name)
";

/// What a script prints, which has the list of the name that is its first argument.
fn python(arguments: &[&str], script: &str) -> String {
    common::python(&format!("{PRELUDE}{script}"), arguments)
}

/// The items as Python shows them, without the NULs that it does not keep.
const ASSORTED_IN_PYTHON: &str = r"['text', b'bytes\x00\xff', 1, -9223372036854775808, 9223372036854775807, 2.5, -0.0, inf, 2.2250738585072014e-308, True, False, None, '', '1234567', '12345678', 'zwölf Größen: ΑΒΓΔΕΖΗΘ 漢字漢字漢字 🦀🦀🦀🦀', 'ends in NULs', '', b'', b'']";

fn python_reads_our_lists() {
    let name = unique_name();
    let list = ShareableList::create_named(&name, assorted()).unwrap();
    let script = "sys.stdout.reconfigure(encoding='utf8'); print(list(attach())); print(attach().format)";
    let formats: String = (0..list.len()).map(|index| list.format(index).unwrap()).collect();
    assert_eq!(python(&[&name], script), format!("{ASSORTED_IN_PYTHON}\n{formats}"));
    list.unlink().unwrap();
}

fn our_bytes_are_pythons() {
    let name = unique_name();
    let list = pythons_list(&name, "['text', 'eight by', b'bytes\\xff', b'', -2, 2.5, nan, True, False, None]");
    let items = list.to_vec().unwrap();
    let mut theirs = vec![0; list.memory().len()];
    list.memory().read(0, &mut theirs).unwrap();
    let mut ours = vec![0; theirs.len()];
    ShareableList::from_items(items).unwrap().memory().read(0, &mut ours).unwrap();
    assert_eq!(ours, theirs);
    list.unlink().unwrap();
}

fn python_writes_to_our_lists() {
    let name = unique_name();
    let first = ["a\0\0".into(), "keeps its NUL\0".into(), b"\0\0".into(), "a long text".into(), 1.into(), 2.into()];
    let list = ShareableList::create_named(&name, first).unwrap();
    python(&[&name], "l = attach(); l[0] = 'longer'; l[2] = True; l[3] = -5; l[4] = 'ä\\0'; l[5] = float('nan')");
    let items = list.to_vec().unwrap();
    let kept = ["longer".into(), "keeps its NUL\0".into(), true.into(), (-5).into(), "ä".into()];
    assert_eq!(items[..5], kept);
    assert!(matches!(items[5], ShareableItem::Float(number) if number.is_nan()));
    list.set(3, "ours\0again").unwrap();
    list.set(5, b"8 bytes!").unwrap();
    assert_eq!(python(&[&name], "l = attach(); print(repr(l[3]), l[5])"), "'ours\\x00again' b'8 bytes!'");
    python(&[&name], "l = attach(); l[0] = 'b'; l[3] = None; l[2] = b'\\0\\0'");
    assert_eq!((list.get(0).unwrap(), list.get(3).unwrap()), ("b".into(), ShareableItem::None));
    assert_eq!(list.get(2).unwrap(), b"\0\0".into(), "the very bytes that we wrote last are ours");
    list.set(2, 7).unwrap();
    python(&[&name], "l = attach(); l[2] = b'\\0\\0'");
    assert_eq!(list.get(2).unwrap(), b"".into(), "we wrote a number last");
    list.unlink().unwrap();
}

/// Makes a list in Python, which leaves its name to us.
fn pythons_list(name: &str, items: &str) -> ShareableList {
    python(&[name], &format!("nan = float('nan'); inf = float('inf'); ShareableList({items}, name=name)"));
    ShareableList::open(name).unwrap()
}

fn we_read_pythons_lists() {
    let name = unique_name();
    let items = "['text', 'ä', 'NUL\\0', b'b\\0\\xff', b'', '', 2**63 - 1, -2**63, nan, -inf, -0.0, True, False, None]";
    let list = pythons_list(&name, items);
    let items = list.to_vec().unwrap();
    let texts = ["text".into(), "ä".into(), "NUL".into(), b"b\0\xff".into(), b"".into(), "".into()];
    assert_eq!(items[..6], texts);
    assert_eq!(items[6..8], [i64::MAX.into(), i64::MIN.into()]);
    assert!(matches!(items[8], ShareableItem::Float(number) if number.is_nan()));
    assert!(matches!(items[10], ShareableItem::Float(number) if number == 0.0 && number.is_sign_negative()));
    assert_eq!(items[11..], [true.into(), false.into(), ShareableItem::None]);
    assert_eq!(items[9], f64::NEG_INFINITY.into());
    list.unlink().unwrap();
    let empty = pythons_list(&name, "[]");
    assert!(empty.is_empty());
    empty.unlink().unwrap();
}

fn we_write_to_pythons_lists() {
    let name = unique_name();
    let list = pythons_list(&name, "['seven b', 'x' * 20, 1, 2.5, None, True, b'bytes']");
    let new: [ShareableItem; 6] =
        ["ΑΒΓ".into(), i64::MIN.into(), "12345678".into(), false.into(), (-0.0).into(), b"\x01\0\x02".into()];
    for (index, item) in new.iter().enumerate() {
        list.set(index, item.clone()).unwrap();
    }
    list.set(6, "NULs\0\0").unwrap();
    assert!(matches!(list.set(6, "123456789"), Err(ShmError::List(ListError::DoesNotFit { slot: 8, .. }))));
    let script = "sys.stdout.reconfigure(encoding='utf8'); print(list(attach()))";
    let shown = "['ΑΒΓ', -9223372036854775808, '12345678', False, -0.0, b'\\x01\\x00\\x02', 'NULs']";
    assert_eq!(python(&[&name], script), shown);
    assert_eq!(list.to_vec().unwrap()[..6], new);
    assert_eq!(list.get(6).unwrap(), "NULs".into(), "a list of Python's has no place for more");
    list.unlink().unwrap();
}

fn text_that_is_cut_is_an_error_with_its_bytes() {
    let name = unique_name();
    let list = pythons_list(&name, "['a' * 20, 'next']");
    let cut = "l = attach(); l[0] = ('a' + 'é' * 15).encode()[:24]; l.shm.buf[l._offset_back_transform_codes] = 1";
    python(&[&name], cut); // As CPython cuts text for which it has counted characters, not bytes.
    let Err(ShmError::List(ListError::NotText { index: 0, error })) = list.get(0) else { panic!("{:?}", list.get(0)) };
    assert_eq!(error.into_bytes(), [b"a", "é".repeat(11).as_bytes(), b"\xc3"].concat());
    assert_eq!(list.get(1).unwrap(), "next".into());
    list.set(0, "é").unwrap();
    assert_eq!(list.get(0).unwrap(), "é".into());
    list.unlink().unwrap();
}

fn a_list_is_passed_in_a_few_bytes() {
    let name = unique_name();
    let short = ShareableList::create_named(&name, [1.into()]).unwrap();
    let long = ShareableList::from_items((0..10_000).map(ShareableItem::from)).unwrap();
    for (list, at_most) in [(&short, 16 + name.len()), (&long, 16)] {
        let message = encode(list).unwrap();
        assert!(message.bytes().len() <= at_most, "{} bytes", message.bytes().len());
        let same: ShareableList = decode(message).unwrap();
        same.set(0, 77).unwrap();
        assert_eq!(list.get(0).unwrap(), 77.into());
    }
    short.unlink().unwrap();
}

fn a_list_is_found_in_memory_that_another_handle_made_grow() {
    let list = ShareableList::from_items(assorted()).unwrap();
    let mut bytes = vec![0; list.memory().len()];
    list.memory().read(0, &mut bytes).unwrap();
    let memory = SharedMemory::create(8).unwrap();
    let other: SharedMemory = decode(encode(&memory).unwrap()).unwrap();
    other.grow(bytes.len()).unwrap();
    other.write(0, &bytes).unwrap();
    assert_eq!(ShareableList::from_memory(memory).unwrap().to_vec().unwrap(), assorted());
}

fn change(list: ShareableList, name: Option<String>) -> Vec<ShareableItem> {
    let before = list.to_vec().unwrap();
    let same = name.map_or(list, |name| ShareableList::open(&name).unwrap());
    same.set(0, "child\0").unwrap();
    same.set(2, "also").unwrap();
    before
}

fn a_passed_list_is_the_same_list(method: StartMethod) {
    let name = unique_name();
    for list in [ShareableList::from_items(assorted()), ShareableList::create_named(&name, assorted())] {
        let list = list.unwrap();
        let named = list.memory().name().map(ToOwned::to_owned);
        let child = start(method, change, (list.clone(), named));
        assert_eq!(child.join().unwrap(), assorted());
        assert_eq!(list.get(0).unwrap(), "child\0".into());
        assert_eq!(list.get(2).unwrap(), "also".into());
        assert_eq!(list.get(3).unwrap(), i64::MIN.into());
    }
    SharedMemory::unlink_named(&name).unwrap();
}

fn read_unlinked(list: ShareableList, name: String) -> (ShareableItem, bool) {
    let gone = matches!(ShareableList::open(&name), Err(ShmError::NotFound { .. }));
    (list.get(0).unwrap(), gone)
}

fn a_passed_list_outlives_its_name(method: StartMethod) {
    let name = unique_name();
    let list = ShareableList::create_named(&name, ["still there\0".into()]).unwrap();
    list.unlink().unwrap();
    let child = start(method, read_unlinked, (list, name));
    assert_eq!(child.join().unwrap(), ("still there\0".into(), true));
}

/// Items that are written in turn to one slot: of other kinds, other lengths, and not ASCII.
fn in_turn() -> Vec<ShareableItem> {
    let long = "漢".repeat(100);
    vec!["a\0".into(), long.as_str().into(), 1.into(), long.as_bytes().into(), true.into(), ShareableItem::None]
}

fn write_in_turn(list: ShareableList) {
    for round in 0..2000 {
        for item in in_turn() {
            list.set(0, item).unwrap();
        }
        list.set(1, round).unwrap();
    }
    list.set(1, "done").unwrap();
}

fn what_is_read_while_it_is_written_is_an_item_or_an_error(method: StartMethod) {
    assert!((0..5).any(|_| items_read_while_they_are_written(method) > 0), "whoever reads is always late");
}

fn items_read_while_they_are_written(method: StartMethod) -> usize {
    let list = ShareableList::from_items(["x".repeat(300).into(), "....".into(), 3.into()]).unwrap();
    let child = start(method, write_in_turn, (list.clone(),));
    let mut items = 0;
    while list.get(1).ok() != Some("done".into()) {
        match list.get(0) {
            Ok(_) => items += 1,
            Err(ShmError::List(ListError::DamagedItem { .. } | ListError::NotText { .. })) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(list.get(2).unwrap(), 3.into());
    }
    child.join().unwrap();
    assert_eq!(list.get(0).unwrap(), ShareableItem::None);
    items
}
