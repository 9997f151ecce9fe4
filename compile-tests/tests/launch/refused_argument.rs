//! An argument without serde.

use procession::prelude::*;

struct Opaque;

fn take(_: Opaque) {}

fn main() {
    let _ = Process::start(take, (Opaque,));
}
