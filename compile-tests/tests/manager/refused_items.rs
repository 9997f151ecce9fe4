//! What has no methods.

use procession_manager::shared;

#[shared]
struct Counter(i64);

#[shared]
trait Count {
    fn count(&self) -> i64;
}

#[shared]
fn count() {}

impl Counter {
    #[shared(skip)]
    pub fn outside_of_a_shared_block(&self) {}
}

#[shared]
mod counters {}

fn main() {}
