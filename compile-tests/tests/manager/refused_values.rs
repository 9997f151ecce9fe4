//! What cannot be written for another process, or read there, is told at its type, once for each thing that it lacks.

use procession_manager::shared;
use serde::{Deserialize, Serialize};

struct Opaque;

#[derive(Serialize)]
struct Written;

#[derive(Deserialize)]
struct Read;

struct Counter;

#[shared]
impl Counter {
    pub fn new(_opaque: Opaque) -> Self {
        Counter
    }

    pub fn takes(&self, _n: i64, _written: Written) {}

    pub fn takes_by_reference(&self, _opaque: &Opaque) {}

    pub fn takes_perhaps(&self, _opaque: Option<&Opaque>) {}

    pub fn takes_many(&self, _opaque: &[Opaque]) {}

    pub fn returns(&self) -> Result<Read, String> {
        Ok(Read)
    }

    pub fn returns_a_reference(&self) -> &Opaque {
        &Opaque
    }
}

fn main() {}
