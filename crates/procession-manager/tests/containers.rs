//! What managers hold for their clients: lists, sets, values, namespaces.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use procession_launch::{Context, StartMethod};
use procession_manager::{
    CallError, DictProxy, ListProxy, NamespaceProxy, Proxy, Refusal, SetProxy, SyncManager, ValueProxy,
};
use serde::{Deserialize, Serialize};

use common::{await_objects, manager, methods, refusal, warm_up};

/// A number that is read only if it is even.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
struct Even(u64);

impl TryFrom<u64> for Even {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        if number.is_multiple_of(2) { Ok(Self(number)) } else { Err(format!("{number} is odd")) }
    }
}

impl From<Even> for u64 {
    fn from(Even(number): Even) -> Self {
        number
    }
}

/// A key of which all are in one place, that may have no place, or may not be compared with others.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
struct Touchy(String);

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        assert!(self.0 != "no place", "there is no place for {:?}", self.0);
        0.hash(state);
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        for key in [self, other] {
            assert!(key.0 != "alone", "{:?} is left alone", key.0);
        }
        self.0 == other.0
    }
}

fn touchy(text: &str) -> Touchy {
    Touchy(text.to_owned())
}

/// That a call was refused, as something panicked there with these words.
#[track_caller]
fn panicked<T: std::fmt::Debug>(result: Result<T, CallError>, words: &str) {
    let said = result.as_ref().map_or_else(ToString::to_string, |_| String::new());
    assert!(said.contains("panicked") && said.contains(words), "{result:?}");
}

const NO_PLACE: &str = "there is no place for \"no place\"";
const ALONE: &str = "\"alone\" is left alone";

fn what_a_key_panics_with_is_told_and_changes_nothing() {
    let manager = SyncManager::start().unwrap();
    let dict: DictProxy<Touchy, u8> = manager.dict().unwrap();
    dict.insert(touchy("a"), 1).unwrap();
    panicked(dict.insert(touchy("no place"), 0), NO_PLACE);
    panicked(dict.get(&touchy("no place")), NO_PLACE);
    panicked(dict.insert(touchy("alone"), 0), ALONE);
    panicked(dict.get(&touchy("alone")), ALONE);
    panicked(dict.contains_key(&touchy("alone")), ALONE);
    panicked(dict.remove(&touchy("alone")), ALONE);
    panicked(dict.update(touchy("alone"), |_| 0), ALONE);
    panicked(dict.get_or_insert(touchy("alone"), 0), ALONE);
    panicked(dict.with(&touchy("alone"), |_, (): ()| (), ()), ALONE);
    let some = [("b", 2), ("a", 3), ("alone", 4), ("c", 5)].map(|(key, value)| (touchy(key), value));
    panicked(dict.extend(some), ALONE);
    assert_eq!(dict.iter().map(Result::unwrap).collect::<Vec<_>>(), [(touchy("a"), 1)], "all of them or none");
    dict.extend([(touchy("b"), 2), (touchy("a"), 3)]).unwrap();
    assert_eq!((dict.get(&touchy("b")).unwrap(), dict.pop_item().unwrap()), (Some(2), Some((touchy("b"), 2))));
    assert_eq!((dict.get(&touchy("a")).unwrap(), dict.len().unwrap()), (Some(3), 1));
    let set: SetProxy<Touchy> = manager.set().unwrap();
    assert!(set.insert(touchy("alone")).unwrap());
    panicked(set.insert(touchy("a")), ALONE);
    panicked(set.contains(&touchy("a")), ALONE);
    panicked(set.remove(&touchy("a")), ALONE);
    panicked(set.remove(&touchy("no place")), NO_PLACE);
    assert_eq!((set.pop().unwrap().map(|key| key.0).as_deref(), set.len().unwrap()), (Some("alone"), 0));
}

fn what_a_comparison_panics_with_is_told() {
    let manager = SyncManager::start().unwrap();
    let list: ListProxy<Touchy> = manager.list().unwrap();
    list.extend(["a", "b"].map(touchy)).unwrap();
    panicked(list.position(&touchy("alone")), ALONE);
    panicked(list.count(&touchy("alone")), ALONE);
    panicked(list.remove_item(&touchy("alone")), ALONE);
    assert!(list.remove_item(&touchy("a")).unwrap() && !list.remove_item(&touchy("a")).unwrap());
    assert_eq!((list.position(&touchy("b")).unwrap(), list.len().unwrap()), (Some(0), 1));
    let value = manager.value(touchy("a")).unwrap();
    panicked(value.compare_exchange(&touchy("alone"), touchy("b")), ALONE);
    assert_eq!(value.get().unwrap(), touchy("a"));
}

/// What an iteration gives, which ends with an error.
#[track_caller]
fn up_to_an_error<T>(mut items: impl Iterator<Item = Result<T, CallError>>) -> Vec<T> {
    let read: Vec<T> = items.by_ref().map_while(Result::ok).collect(); // It has taken the error as well.
    assert!(items.next().is_none() && items.next().is_none(), "there is nothing after an error");
    read
}

fn an_iteration_ends_with_an_error() {
    let manager = SyncManager::start().unwrap();
    let dict: DictProxy<u64, u64> = manager.dict().unwrap();
    dict.extend([(2, 4), (3, 6), (8, 10), (12, 13), (14, 16)]).unwrap();
    let keys = DictProxy::<Even, u64>::from_raw(dict.as_raw().clone());
    assert_eq!(up_to_an_error(keys.iter()), [(Even(2), 4)]);
    let values = DictProxy::<u64, Even>::from_raw(dict.as_raw().clone());
    assert_eq!(up_to_an_error(values.iter()), [(2, Even(4)), (3, Even(6)), (8, Even(10))]);
    let list: ListProxy<u64> = manager.list().unwrap();
    list.extend([2, 4, 5, 6]).unwrap();
    let items = ListProxy::<Even>::from_raw(list.as_raw().clone());
    assert_eq!(up_to_an_error(items.iter()), [Even(2), Even(4)]);
    let set: SetProxy<u64> = manager.set().unwrap();
    assert!([2, 3, 4].iter().all(|&number| set.insert(number).unwrap()));
    assert_eq!(up_to_an_error(SetProxy::<Even>::from_raw(set.as_raw().clone()).iter()), [Even(2)]);
}

fn a_list_is_one() {
    let manager = SyncManager::start().unwrap();
    let list: ListProxy<String> = manager.list().unwrap();
    let text = |text: &str| text.to_owned();
    list.push(text("b")).unwrap();
    list.extend(["d", "a", "a"].map(text)).unwrap();
    list.insert(1, text("c")).unwrap();
    assert_eq!(list.to_vec().unwrap(), ["b", "c", "d", "a", "a"]);
    assert_eq!((list.len().unwrap(), list.get(1).unwrap(), list.get(9).unwrap()), (5, Some(text("c")), None));
    assert_eq!((list.position(&text("a")).unwrap(), list.count(&text("a")).unwrap()), (Some(3), 2));
    assert!(list.contains(&text("d")).unwrap() && !list.contains(&text("z")).unwrap());
    list.sort().unwrap();
    list.reverse().unwrap();
    assert_eq!(list.to_vec().unwrap(), ["d", "c", "b", "a", "a"]);
    assert_eq!(list.set(0, text("e")).unwrap(), "d");
    assert_eq!(list.update(0, |text: String| text + "!").unwrap(), "e!");
    assert_eq!((list.remove(1).unwrap(), list.pop().unwrap()), (text("c"), Some(text("a"))));
    list.truncate(1).unwrap();
    assert_eq!(list.to_vec().unwrap(), ["e!"]);
    list.clear().unwrap();
    assert!(list.is_empty().unwrap() && list.pop().unwrap().is_none());
    list.extend((0..5000).map(|n| n.to_string())).unwrap();
    assert!(list.iter().map(Result::unwrap).eq((0..5000).map(|n| n.to_string())), "in several batches");
}

fn what_a_list_cannot_do_changes_nothing() {
    let manager = SyncManager::start().unwrap();
    let list: ListProxy<i64> = manager.list().unwrap();
    list.extend([3, 1, 2]).unwrap();
    assert_eq!(refusal(list.set(3, 0)), Refusal::OutOfRange { index: 3, len: 3 });
    assert_eq!(refusal(list.insert(4, 0)), Refusal::OutOfRange { index: 4, len: 3 });
    assert_eq!(refusal(list.remove(usize::MAX)), Refusal::OutOfRange { index: u64::MAX, len: 3 });
    let panicked = refusal(list.update(0, |n| if n == 3 { panic!("no threes") } else { n }));
    assert!(matches!(&panicked, Refusal::Panicked { message, .. } if message == "no threes"), "{panicked}");
    assert_eq!(list.to_vec().unwrap(), [3, 1, 2], "and the list is not poisoned");
}

fn lists_in_lists_stay_alive() {
    let manager = SyncManager::start().unwrap();
    let outer: ListProxy<ListProxy<i64>> = manager.list().unwrap();
    let inner = manager.list().unwrap();
    outer.push(inner.clone()).unwrap();
    inner.push(1).unwrap();
    drop(inner);
    let inner = outer.get(0).unwrap().unwrap();
    assert_eq!(inner.to_vec().unwrap(), [1], "a change of the inner one is seen through the outer one");
    outer.clear().unwrap();
    drop(outer);
    await_objects(&manager, 1);
    assert_eq!(inner.len().unwrap(), 1);
}

fn a_set_has_each_value_once() {
    let manager = SyncManager::start().unwrap();
    let set: SetProxy<u64> = manager.set().unwrap();
    assert!((0..3000).all(|n| set.insert(n % 1500).unwrap() == (n < 1500)));
    assert_eq!(set.len().unwrap(), 1500);
    assert!(set.remove(&7).unwrap() && !set.remove(&7).unwrap() && !set.contains(&7).unwrap());
    assert_eq!(set.pop().unwrap(), Some(1499));
    assert_eq!(set.to_set().unwrap(), (0..1499).filter(|&n| n != 7).collect::<HashSet<_>>());
    set.clear().unwrap();
    assert!(set.is_empty().unwrap());
}

fn a_value_is_changed_at_once(method: StartMethod) {
    let manager = manager(method);
    let value: ValueProxy<u64> = manager.value(1).unwrap();
    assert_eq!((value.replace(2).unwrap(), value.get().unwrap()), (1, 2));
    assert_eq!(value.compare_exchange(&1, 9).unwrap(), Err(2));
    assert_eq!(value.compare_exchange(&2, 0).unwrap(), Ok(()));
    let adds = |value: ValueProxy<u64>| {
        for _ in 0..100 {
            value.update(|n| n + 1).unwrap();
        }
    };
    let children: Vec<_> = (0..4).map(|_| Context::new(method).start(adds, (value.clone(),)).unwrap()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(value.get().unwrap(), 400, "no update is lost");
}

fn a_namespace_has_values_of_all_types() {
    let manager = SyncManager::start().unwrap();
    let space: NamespaceProxy = manager.namespace().unwrap();
    space.set("n", 5_u64).unwrap();
    space.set("name", "text".to_owned()).unwrap();
    assert_eq!((space.get::<u64>("n").unwrap(), space.get::<String>("name").unwrap()), (Some(5), Some("text".into())));
    assert!(space.get::<u64>("other").unwrap().is_none());
    assert!(matches!(space.get::<Vec<String>>("n"), Err(CallError::Output { .. })), "of another type");
    assert_eq!(space.names().unwrap(), ["n", "name"]);
    assert!(space.remove("n").unwrap() && !space.remove("n").unwrap());
}

type Containers = (ListProxy<i64>, ValueProxy<i64>, NamespaceProxy, SetProxy<i64>);

fn children_use_all_containers(method: StartMethod) {
    let manager = manager(method);
    let (list, value) = (manager.list().unwrap(), manager.value(1).unwrap());
    let (space, set) = (manager.namespace().unwrap(), manager.set().unwrap());
    list.extend([3, 1, 2, 1]).unwrap();
    space.set("seen", false).unwrap();
    let uses = |(list, value, space, set): Containers| {
        assert_eq!((list.count(&1).unwrap(), list.position(&2).unwrap()), (2, Some(2)));
        list.sort().unwrap();
        list.reverse().unwrap();
        let sum = list.iter().map(Result::unwrap).sum();
        assert_eq!((list.len().unwrap(), list.pop().unwrap()), (4, Some(1)));
        value.set(value.get().unwrap() + sum).unwrap();
        space.set("seen", !space.get::<bool>("seen").unwrap().unwrap()).unwrap();
        set.insert(sum).unwrap();
    };
    let containers = (list.clone(), value.clone(), space.clone(), set.clone());
    Context::new(method).start(uses, (containers,)).unwrap().join().unwrap();
    assert_eq!((list.to_vec().unwrap(), value.get().unwrap()), (vec![3, 2, 1], 8));
    assert_eq!((space.get::<bool>("seen").unwrap(), set.contains(&7).unwrap()), (Some(true), true));
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [a_value_is_changed_at_once, children_use_all_containers];
    cases: [
        a_list_is_one,
        what_a_list_cannot_do_changes_nothing,
        lists_in_lists_stay_alive,
        a_set_has_each_value_once,
        a_namespace_has_values_of_all_types,
        an_iteration_ends_with_an_error,
        what_a_key_panics_with_is_told_and_changes_nothing,
        what_a_comparison_panics_with_is_told,
    ];
}
