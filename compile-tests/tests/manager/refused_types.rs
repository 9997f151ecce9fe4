//! Objects are used by all threads of a server, and live as long as somebody refers to them.

use std::cell::Cell;
use std::rc::Rc;

use procession_manager::shared;

struct OfOneThread(Rc<i64>);

#[shared]
impl OfOneThread {
    pub fn get(&self) -> i64 {
        *self.0
    }
}

struct Unsynchronized(Cell<i64>);

#[shared]
impl Unsynchronized {
    pub fn set(&self, to: i64) {
        self.0.set(to);
    }
}

fn main() {}
