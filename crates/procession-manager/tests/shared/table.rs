//! Types whose methods take and return references, and types with parameters.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use procession_manager::shared;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    key: String,
    value: u64,
}

impl Row {
    pub(crate) fn new(key: &str, value: u64) -> Self {
        Self { key: key.to_owned(), value }
    }
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    numbers: Vec<f64>,
    rows: Vec<Row>,
}

#[shared]
impl Table {
    pub(crate) fn new(name: &str, number: Option<f64>) -> Self {
        Self { name: name.to_owned(), numbers: number.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn insert(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn describe(&self, name: &str, numbers: &[f64], row: &Row) -> String {
        format!("{}: {name}, {numbers:?}, {}={}", self.name, row.key, row.value)
    }

    pub(crate) fn perhaps(&self, text: Option<&str>, numbers: Option<&[f64]>, row: Option<&Row>) -> String {
        format!("{text:?} {numbers:?} {:?}", row.map(|row| &row.key))
    }

    pub(crate) fn file_name(&self, path: &Path) -> Option<String> {
        Some(path.file_name()?.to_str()?.to_owned())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    pub(crate) fn find<'a>(&'a self, key: &str) -> Option<&'a Row> {
        self.rows.iter().find(|row| row.key == key)
    }

    pub(crate) fn row(&self, key: &str) -> Result<&Row, &str> {
        self.find(key).ok_or(&self.name)
    }

    pub(crate) fn first(&self) -> (Option<&Row>, &str, u64) {
        (self.rows.first(), &self.name, self.rows.len() as u64)
    }

    pub(crate) fn keys(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.key.as_str()).collect()
    }

    // A vector of numbers is sent in another form than one of references would be.
    pub(crate) fn values(&self) -> Vec<&u64> {
        self.rows.iter().map(|row| &row.value).collect()
    }

    pub(crate) fn cow(&self, upper: bool) -> Cow<'_, str> {
        if upper { Cow::Owned(self.name.to_uppercase()) } else { Cow::Borrowed(&self.name) }
    }
}

/// A number that can be halved.
#[derive(Debug)]
pub(crate) struct Even(u32);

/// Why a number cannot be halved.
#[derive(Debug)]
pub(crate) struct Odd(u32);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is odd", self.0)
    }
}

impl std::error::Error for Odd {}

#[shared]
impl Even {
    pub(crate) fn new(n: u32) -> Result<Self, Odd> {
        if n.is_multiple_of(2) { Ok(Self(n)) } else { Err(Odd(n)) }
    }

    pub(crate) fn half(&self) -> u32 {
        self.0 / 2
    }
}

/// Items of one type.
#[derive(Debug)]
pub(crate) struct Stack<T>(Vec<T>);

#[shared]
impl<T: Clone> Stack<T>
where
    T: PartialEq,
{
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, item: T) -> usize {
        self.0.push(item);
        self.0.len()
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    pub(crate) fn peek(&self) -> Option<&T> {
        self.0.last()
    }

    pub(crate) fn items(&self) -> Vec<&T> {
        self.0.iter().collect()
    }

    pub(crate) fn is_like(&self, item: &T) -> bool {
        self.0.last() == Some(item)
    }
}

/// So many items of one type.
#[derive(Debug)]
pub(crate) struct Ring<T, const N: usize>(VecDeque<T>);

#[shared(name = "Round")]
impl<T: Serialize + DeserializeOwned + Send + Sync + Clone + 'static, const N: usize> Ring<T, N>
where
    [T; N]: Serialize + DeserializeOwned,
{
    pub(crate) fn new(items: [T; N]) -> Self {
        Self(items.into())
    }

    pub(crate) fn put(&mut self, item: T) {
        self.0.push_back(item);
        self.0.pop_front();
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.iter().cloned().collect()
    }
}
