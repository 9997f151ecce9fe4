//! A block that gives clients nothing to call, or whose type cannot live in a server.

use procession_manager::shared;

struct Counter;
struct View<'a>(&'a str);
struct Empty;
trait Count {}

#[shared]
impl Clone for Counter {
    fn clone(&self) -> Self {
        Counter
    }
}

#[shared]
impl<'a> View<'a> {
    pub fn text(&self) -> &str {
        self.0
    }
}

#[shared]
impl View<'_> {
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[shared]
impl Empty {
    pub fn new() -> Self {
        Empty
    }

    fn private(&self) {}

    #[shared(skip)]
    pub fn skipped(&self) {}

    pub fn without_an_object() {}
}

#[shared]
impl dyn Count {
    pub fn of_a_trait(&self) {}
}

fn main() {}
