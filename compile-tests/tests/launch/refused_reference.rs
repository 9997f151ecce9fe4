//! A borrowed argument belongs to this process's memory.

use procession::prelude::*;

fn length(text: &str) -> usize {
    text.len()
}

fn main() {
    let _ = Process::start(length, ("text",));
}
