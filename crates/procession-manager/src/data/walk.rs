//! Every value in a value, from outside to inside, and values made again from such a list; both without recursion.
//!
//! Cloning is walking and building, and so are writing and reading. Relies on nothing but what a reference is.

use std::slice;

use crate::data::items::{Map, Set};
use crate::data::{DATA_DEPTH_MAX, Data};
use crate::proxy::RawProxy;

/// Gives a value and all that are in it, each before what it holds.
pub(super) struct Walk<'d> {
    root: Option<&'d Data>,
    open: Vec<Held<'d>>,
}

/// What is left of a container.
enum Held<'d> {
    Items(slice::Iter<'d, Data>),
    Pairs { value: Option<&'d Data>, pairs: slice::Iter<'d, (Data, Data)> },
}

impl<'d> Walk<'d> {
    pub(super) fn new(root: &'d Data) -> Self {
        Self { root: Some(root), open: Vec::new() }
    }

    /// How many containers there are around what comes next, at most.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    fn following(&mut self) -> Option<&'d Data> {
        if let Some(root) = self.root.take() {
            return Some(root);
        }
        loop {
            let next = match self.open.last_mut()? {
                Held::Items(items) => items.next(),
                Held::Pairs { value, pairs } => value.take().or_else(|| {
                    let (key, follows) = pairs.next()?;
                    *value = Some(follows);
                    Some(key)
                }),
            };
            if next.is_some() {
                return next;
            }
            self.open.pop();
        }
    }
}

impl<'d> Iterator for Walk<'d> {
    type Item = &'d Data;

    fn next(&mut self) -> Option<&'d Data> {
        let next = self.following()?;
        match next {
            Data::List(items) | Data::Tuple(items) => self.open.push(Held::Items(items.iter())),
            Data::Set(items) => self.open.push(Held::Items(items.iter())),
            Data::Map(pairs) => self.open.push(Held::Pairs { value: None, pairs: pairs.iter() }),
            _ => {}
        }
        Some(next)
    }
}

/// The kinds of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    List,
    Tuple,
    Map,
    Set,
}

/// Makes a value of those that a [`Walk`] gives.
pub(super) struct Builder {
    open: Vec<Growing>,
    depth_max: usize,
    /// Whether maps and sets are those of a value, and need not be looked at again.
    are_known: bool,
}

/// A container that is not complete.
struct Growing {
    container: Container,
    /// How many values are still to come, of which each pair has two.
    left: usize,
    items: Vec<Data>,
}

/// Why nothing can be made of what came.
pub(super) enum Unbuilt {
    TooDeep,
    /// A key or a member came for the second time.
    Repeated(Data),
}

impl Builder {
    /// One for what is in a value already.
    fn of_known() -> Self {
        Self { open: Vec::new(), depth_max: usize::MAX, are_known: true }
    }

    /// One for what a peer has sent.
    pub(super) fn of_foreign() -> Self {
        Self { open: Vec::new(), depth_max: DATA_DEPTH_MAX, are_known: false }
    }

    /// A value that holds no other. Gives the whole, if this was all.
    pub(super) fn leaf(&mut self, mut value: Data) -> Result<Option<Data>, Unbuilt> {
        while let Some(growing) = self.open.last_mut() {
            growing.items.push(value);
            growing.left -= 1;
            if growing.left > 0 {
                return Ok(None);
            }
            let Some(grown) = self.open.pop() else { return Ok(None) };
            value = grown.end(self.are_known)?;
        }
        Ok(Some(value))
    }

    /// A container of so many values, or pairs, which come next.
    pub(super) fn container(&mut self, container: Container, count: usize) -> Result<Option<Data>, Unbuilt> {
        if self.open.len() >= self.depth_max {
            return Err(Unbuilt::TooDeep);
        }
        let left = if container == Container::Map { count.saturating_mul(2) } else { count };
        let growing = Growing { container, left, items: Vec::with_capacity(left) };
        if left == 0 {
            return growing.end(true).and_then(|value| self.leaf(value));
        }
        self.open.push(growing);
        Ok(None)
    }
}

impl Growing {
    fn end(self, is_known: bool) -> Result<Data, Unbuilt> {
        let items = self.items;
        match self.container {
            Container::List => Ok(Data::List(items.into())),
            Container::Tuple => Ok(Data::Tuple(items.into())),
            Container::Set if is_known => Ok(Data::Set(Set::of_known(items))),
            Container::Set => Set::of_unique(items).map(Data::Set).map_err(Unbuilt::Repeated),
            Container::Map => {
                let mut pairs = Vec::with_capacity(items.len() / 2);
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                if is_known {
                    return Ok(Data::Map(Map::of_known(pairs)));
                }
                Map::of_unique(pairs).map(Data::Map).map_err(Unbuilt::Repeated)
            }
        }
    }
}

impl Data {
    /// How deep lists, tuples, maps and sets nest in it; 0 for a value that is none of these.
    ///
    /// What is deeper than [`DATA_DEPTH_MAX`] cannot be sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// assert_eq!(Data::from(1).depth(), 0);
    /// assert_eq!(Data::list([Data::list([1])]).depth(), 2);
    /// ```
    #[must_use]
    pub fn depth(&self) -> usize {
        let mut walk = Walk::new(self);
        let mut deepest = 0;
        while walk.next().is_some() {
            deepest = deepest.max(walk.depth());
        }
        deepest
    }

    /// Whether Python would have it as a key: there is no list and no map in it.
    ///
    /// # Python
    /// `hash(value)` raises no `TypeError`, if sets are `frozenset`s.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_manager::Data;
    ///
    /// assert!(Data::tuple([1, 2]).is_hashable());
    /// assert!(!Data::list([1, 2]).is_hashable());
    /// ```
    #[must_use]
    pub fn is_hashable(&self) -> bool {
        !Walk::new(self).any(|value| matches!(value, Self::List(_) | Self::Map(_)))
    }

    /// The objects that it refers to, each as often as it does.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procession_manager::Data::list([1, 2]).objects().count(), 0);
    /// ```
    pub fn objects(&self) -> impl Iterator<Item = &RawProxy> {
        Walk::new(self).filter_map(|value| if let Self::Object(proxy) = value { Some(&**proxy) } else { None })
    }

    /// The kind of container that it is, and how much that holds.
    pub(super) fn as_container(&self) -> Option<(Container, usize)> {
        match self {
            Self::List(items) => Some((Container::List, items.len())),
            Self::Tuple(items) => Some((Container::Tuple, items.len())),
            Self::Map(pairs) => Some((Container::Map, pairs.len())),
            Self::Set(items) => Some((Container::Set, items.len())),
            _ => None,
        }
    }

    /// A copy of a value that holds no others.
    fn leaf(&self) -> Self {
        match self {
            Self::Bool(value) => Self::Bool(*value),
            Self::Integer(value) => Self::Integer(*value),
            Self::BigInteger(value) => Self::BigInteger(value.clone()),
            Self::Float(value) => Self::Float(*value),
            Self::Bytes(value) => Self::Bytes(value.clone()),
            Self::Text(value) => Self::Text(value.clone()),
            Self::Surrogates(value) => Self::Surrogates(value.clone()),
            Self::Opaque(value) => Self::Opaque(value.clone()),
            Self::Object(proxy) => Self::Object(proxy.clone()),
            Self::Null | Self::List(_) | Self::Tuple(_) | Self::Map(_) | Self::Set(_) => Self::Null,
        }
    }
}

impl Clone for Data {
    fn clone(&self) -> Self {
        if self.as_container().is_none() {
            return self.leaf();
        }
        let mut builder = Builder::of_known();
        for value in Walk::new(self) {
            let made = match value.as_container() {
                Some((container, count)) => builder.container(container, count),
                None => builder.leaf(value.leaf()),
            };
            if let Ok(Some(whole)) = made {
                return whole;
            }
        }
        Self::Null // Not reached: the walk ends with what completes the value.
    }
}
