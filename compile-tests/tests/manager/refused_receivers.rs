//! The object stays in the server, for all who refer to it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use procession_manager::shared;

struct Counter;

#[shared]
impl Counter {
    pub fn used_up(self) -> i64 {
        1
    }

    pub fn used_up_mutably(mut self) {
        self = Counter;
    }

    pub fn in_an_arc(self: Arc<Self>) {}

    pub fn in_an_rc_reference(self: &Rc<Self>) {}

    pub fn in_a_box(self: Box<Self>) {}

    pub fn pinned(self: Pin<&mut Self>) {}
}

fn main() {}
