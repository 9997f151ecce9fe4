//! A captured value that is not `Copy`.

use procession::prelude::*;

fn main() {
    let text = String::from("captured");
    let _ = Process::start(move || text.len(), ());
}
