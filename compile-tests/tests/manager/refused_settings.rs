//! Settings that there are not.

use procession_manager::shared;

struct Counter(i64);

#[shared(rename = "Number")]
impl Counter {
    pub fn a(&self) {}
}

#[shared(skip)]
impl Counter {
    pub fn b(&self) {}
}

#[shared(proxy = "not a name")]
impl Counter {
    pub fn c(&self) {}
}

#[shared(proxy = Number)]
impl Counter {
    pub fn d(&self) {}
}

#[shared(vis = "private")]
impl Counter {
    pub fn e(&self) {}
}

#[shared(name = "")]
impl Counter {
    pub fn f(&self) {}
}

#[shared(name)]
impl Counter {
    pub fn g(&self) {}
}

#[shared(name = "A", name = "B")]
impl Counter {
    pub fn h(&self) {}
}

#[shared]
impl Counter {
    #[shared]
    pub fn i(&self) {}

    #[shared(name = "other")]
    pub fn j(&self) {}

    #[shared(skip)]
    pub const K: i64 = 1;

    #[cfg_attr(unix, shared(skip))]
    pub fn l(&self) {}
}

fn main() {}
