//! `new` is what clients make objects with.

use procession_manager::shared;

struct Nothing;

#[shared]
impl Nothing {
    pub fn new() -> Option<Self> {
        Some(Nothing)
    }

    pub fn get(&self) {}
}

struct Reason;
struct Unexplained;

#[shared]
impl Unexplained {
    pub fn new() -> Result<Self, Reason> {
        Err(Reason)
    }

    pub fn get(&self) {}
}

struct Other;

#[shared]
impl Other {
    pub fn new() -> Nothing {
        Nothing
    }

    pub fn get(&self) {}
}

struct Stack<T>(Vec<T>);

// It asks nothing of its items; what its methods do with them asks for more than these types have.
#[shared]
impl<T> Stack<T> {
    pub fn new() -> Self {
        Stack(Vec::new())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}

fn main() {
    let manager = procession_manager::BaseManager::builder();
    let _ = manager.register::<Stack<i64>>("numbers").register::<Stack<Reason>>("reasons");
}
