//! A method is compiled before it is called, and runs to its end in a thread.

use std::fmt::Display;

use procession_manager::shared;

struct Table<T>(T);

#[shared]
impl<T: Send + Sync + 'static> Table<T> {
    pub async fn later(&self) {}

    pub extern "C" fn foreign(&self) {}

    pub fn generic<K>(&self, _key: K) {}

    pub fn generic_over_a_number<'a, const N: usize>(&'a self) -> [u8; N] {
        [0; N]
    }

    pub fn conditional(&self) -> String
    where
        T: Display,
    {
        self.0.to_string()
    }

    pub async fn new() -> Self {
        loop {}
    }
}

fn main() {}
