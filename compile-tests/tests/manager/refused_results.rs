//! Results are values that are written there and read here.

use std::fmt::Display;
use std::slice::Iter;

use procession_manager::shared;

struct Table(Vec<i64>);

#[shared]
impl Table {
    pub fn any(&self) -> impl Display {
        1
    }

    pub fn any_inside(&self) -> Option<impl Iterator<Item = i64>> {
        Some(self.0.iter().copied())
    }

    pub fn behind_a_trait(&self) -> &dyn Display {
        &self.0[0]
    }

    pub fn to_write_to(&mut self) -> &mut i64 {
        &mut self.0[0]
    }

    pub fn perhaps_to_write_to(&mut self) -> Option<&mut i64> {
        self.0.first_mut()
    }

    pub fn borrowing(&self) -> Iter<'_, i64> {
        self.0.iter()
    }

    pub fn references_in_a_box(&self) -> Box<[&i64]> {
        Box::new([&self.0[0]])
    }

    pub fn never(&self) -> ! {
        panic!()
    }
}

fn main() {}
