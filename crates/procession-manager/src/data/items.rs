//! What holds other values: items in order, pairs, and members.
//!
//! Each of them ends without recursion, whatever somebody has made by hand. Keys and members are unique by [`equal`], which is
//! found out in one pass; there is no index, as these values travel and are not where a server keeps its objects' state.

use std::mem::take;
use std::ops::{Deref, DerefMut};

use crate::data::Data;
use crate::data::equal::{self, Rule};

/// The values of a list or a tuple: a `Vec` in all but its end.
///
/// # Examples
///
/// ```
/// use procession_manager::Data;
///
/// let mut list = Data::list([1, 2]);
/// if let Data::List(items) = &mut list {
///     items.push("three".into());
/// }
/// assert_eq!(list.to_string(), r#"[1, 2, "three"]"#);
/// ```
#[derive(Clone, Default)]
pub struct Items(Vec<Data>);

/// Pairs with unique keys, in the order in which they were inserted.
///
/// Looking one up passes over all before it. To insert many, collect them.
///
/// # Python
/// `dict`.
///
/// # Examples
///
/// ```
/// use procession_manager::data::Map;
///
/// let mut ages: Map = [("ann", 31), ("bob", 47)].into_iter().collect();
/// assert_eq!(ages.insert("ann".into(), 32.into()), Some(31.into()));
/// assert_eq!(ages.get(&"ann".into()), Some(&32.into()));
/// assert_eq!(ages[0].0, "ann");
/// ```
#[derive(Clone, Default)]
pub struct Map(Vec<(Data, Data)>);

/// Unique values, in the order in which they were inserted, which means nothing.
///
/// Looking one up passes over all before it. To insert many, collect them.
///
/// # Python
/// `set` and `frozenset`.
///
/// # Examples
///
/// ```
/// use procession_manager::data::Set;
///
/// let mut primes: Set = [2, 3, 5].into_iter().collect();
/// assert!(!primes.insert(3.into()));
/// assert!(primes.contains(&5.0.into()));
/// ```
#[derive(Clone, Default)]
pub struct Set(Vec<Data>);

impl Items {
    /// The values.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<Data> {
        take(&mut self.0)
    }
}

impl Map {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &Data) -> Option<&Data> {
        self.position(key).map(|at| &self.0[at].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &Data) -> Option<&mut Data> {
        self.position(key).map(|at| &mut self.0[at].1)
    }

    /// Whether there is such a key.
    #[must_use]
    pub fn contains_key(&self, key: &Data) -> bool {
        self.position(key).is_some()
    }

    /// Gives a key a value. A key that is there stays as and where it is, and its former value is given back.
    pub fn insert(&mut self, key: Data, value: Data) -> Option<Data> {
        if let Some(slot) = self.get_mut(&key) {
            return Some(std::mem::replace(slot, value));
        }
        self.0.push((key, value));
        None
    }

    /// Takes a key away, and gives its value.
    pub fn remove(&mut self, key: &Data) -> Option<Data> {
        self.position(key).map(|at| self.0.remove(at).1)
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Data> + DoubleEndedIterator {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Data> + DoubleEndedIterator {
        self.0.iter().map(|(_, value)| value)
    }

    /// The pairs.
    #[must_use]
    pub fn into_pairs(mut self) -> Vec<(Data, Data)> {
        take(&mut self.0)
    }

    /// A map of pairs whose keys are all different; else the first key that is there for the second time.
    pub(super) fn of_unique(mut pairs: Vec<(Data, Data)>) -> Result<Self, Data> {
        match equal::repeated(pairs.iter().map(|(key, _)| key)) {
            None => Ok(Self(pairs)),
            Some(at) => Err(take(&mut pairs[at].0)),
        }
    }

    /// A map of another map's pairs.
    pub(super) fn of_known(pairs: Vec<(Data, Data)>) -> Self {
        Self(pairs)
    }

    fn position(&self, key: &Data) -> Option<usize> {
        self.keys().position(|other| equal::same(other, key, Rule::Keys))
    }
}

impl Set {
    /// Whether the value is in it.
    #[must_use]
    pub fn contains(&self, item: &Data) -> bool {
        self.0.iter().any(|other| equal::same(other, item, Rule::Keys))
    }

    /// Puts a value in; false if it was there.
    pub fn insert(&mut self, item: Data) -> bool {
        let is_new = !self.contains(&item);
        if is_new {
            self.0.push(item);
        }
        is_new
    }

    /// Takes a value out; false if it was not there.
    pub fn remove(&mut self, item: &Data) -> bool {
        let found = self.0.iter().position(|other| equal::same(other, item, Rule::Keys));
        found.map(|at| self.0.remove(at)).is_some()
    }

    /// The values.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<Data> {
        take(&mut self.0)
    }

    /// A set of values that are all different; else the first that is there for the second time.
    pub(super) fn of_unique(mut items: Vec<Data>) -> Result<Self, Data> {
        match equal::repeated(items.iter()) {
            None => Ok(Self(items)),
            Some(at) => Err(take(&mut items[at])),
        }
    }

    /// A set of another set's values.
    pub(super) fn of_known(items: Vec<Data>) -> Self {
        Self(items)
    }
}

impl Deref for Items {
    type Target = Vec<Data>;

    fn deref(&self) -> &Vec<Data> {
        &self.0
    }
}

impl DerefMut for Items {
    fn deref_mut(&mut self) -> &mut Vec<Data> {
        &mut self.0
    }
}

impl Deref for Map {
    type Target = [(Data, Data)];

    fn deref(&self) -> &[(Data, Data)] {
        &self.0
    }
}

impl Deref for Set {
    type Target = [Data];

    fn deref(&self) -> &[Data] {
        &self.0
    }
}

impl From<Vec<Data>> for Items {
    fn from(items: Vec<Data>) -> Self {
        Self(items)
    }
}

impl<T: Into<Data>> FromIterator<T> for Items {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().map(Into::into).collect())
    }
}

impl From<Vec<(Data, Data)>> for Map {
    /// Of keys that are equal the first place and the last value stay.
    fn from(mut pairs: Vec<(Data, Data)>) -> Self {
        let Some(first) = equal::repeated(pairs.iter().map(|(key, _)| key)) else {
            return Self(pairs);
        };
        let places = equal::firsts(pairs.iter().map(|(key, _)| key));
        for at in first..pairs.len() {
            if places[at] != at {
                pairs[places[at]].1 = take(&mut pairs[at].1);
            }
        }
        let mut places = places.into_iter().enumerate();
        pairs.retain(|_| places.next().is_some_and(|(at, place)| at == place));
        Self(pairs)
    }
}

impl<K: Into<Data>, V: Into<Data>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self::from(pairs)
    }
}

impl From<Vec<Data>> for Set {
    /// Of values that are equal the first stays.
    fn from(mut items: Vec<Data>) -> Self {
        if equal::repeated(items.iter()).is_some() {
            let mut places = equal::firsts(items.iter()).into_iter().enumerate();
            items.retain(|_| places.next().is_some_and(|(at, place)| at == place));
        }
        Self(items)
    }
}

impl<T: Into<Data>> FromIterator<T> for Set {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items: Vec<_> = items.into_iter().map(Into::into).collect();
        Self::from(items)
    }
}

/// Iteration over what they hold, by value and by reference.
macro_rules! iterates {
    ($($container:ty: $item:ty),* $(,)?) => {
        $(
            impl IntoIterator for $container {
                type Item = $item;
                type IntoIter = std::vec::IntoIter<$item>;

                fn into_iter(mut self) -> Self::IntoIter {
                    take(&mut self.0).into_iter()
                }
            }

            impl<'a> IntoIterator for &'a $container {
                type Item = &'a $item;
                type IntoIter = std::slice::Iter<'a, $item>;

                fn into_iter(self) -> Self::IntoIter {
                    self.0.iter()
                }
            }

            impl Drop for $container {
                fn drop(&mut self) {
                    let mut left = Remains::default();
                    left.take_from(&mut self.0);
                    left.end();
                }
            }
        )*
    };
}

iterates!(Items: Data, Map: (Data, Data), Set: Data);

/// What is still to be dropped of a value that ends.
#[derive(Default)]
struct Remains {
    items: Vec<Vec<Data>>,
    pairs: Vec<Vec<(Data, Data)>>,
}

impl Remains {
    /// Takes what the containers among these hold, so that their own ends have nothing to do.
    fn take_from<T: Holder>(&mut self, items: &mut [T]) {
        items.iter_mut().flat_map(T::held).for_each(|item| self.take(item));
    }

    fn take(&mut self, item: &mut Data) {
        match item {
            Data::List(Items(held)) | Data::Tuple(Items(held)) | Data::Set(Set(held)) if !held.is_empty() => {
                self.items.push(take(held));
            }
            Data::Map(Map(held)) if !held.is_empty() => self.pairs.push(take(held)),
            _ => {}
        }
    }

    fn end(mut self) {
        loop {
            if let Some(mut items) = self.items.pop() {
                self.take_from(&mut items);
            } else if let Some(mut pairs) = self.pairs.pop() {
                self.take_from(&mut pairs);
            } else {
                return;
            }
        }
    }
}

/// A place in a container.
trait Holder {
    fn held(&mut self) -> impl Iterator<Item = &mut Data>;
}

impl Holder for Data {
    fn held(&mut self) -> impl Iterator<Item = &mut Data> {
        std::iter::once(self)
    }
}

impl Holder for (Data, Data) {
    fn held(&mut self) -> impl Iterator<Item = &mut Data> {
        [&mut self.0, &mut self.1].into_iter()
    }
}
