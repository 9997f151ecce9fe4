//! A type has one proxy, with all of its methods.

use procession_manager::shared;

struct Twice;

#[shared]
impl Twice {
    pub fn once(&self) {}
}

#[shared(proxy = "TwiceAgainProxy")]
impl Twice {
    pub fn again(&self) {}
}

fn main() {}
