//! Methods that nobody could tell from those that each proxy has.

use procession_manager::shared;

struct Counter(i64);

#[shared]
impl Counter {
    pub fn clone(&self) -> i64 {
        self.0
    }

    pub fn from_raw(&mut self, raw: i64) {
        self.0 = raw;
    }

    pub fn as_raw(&self) -> i64 {
        self.0
    }

    pub fn r#eq(&self, other: i64) -> bool {
        self.0 == other
    }
}

fn main() {}
