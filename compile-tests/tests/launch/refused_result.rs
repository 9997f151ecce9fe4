//! A result without serde: the usual one is an error.

use procession::prelude::*;

fn fail() -> Result<u8, std::io::Error> {
    Ok(1)
}

fn main() {
    let _ = Process::start(fail, ());
}
