//! Arguments are values that are written here and read there.

use std::borrow::Cow;
use std::fmt::Display;

use procession_manager::shared;

struct Table;

#[shared]
impl Table {
    pub fn any(&self, _value: impl Display) {}

    pub fn any_inside(&self, _values: Vec<impl Display>) {}

    pub fn behind_a_trait(&self, _value: &dyn Display) {}

    pub fn boxed(&self, _value: Box<dyn Display>) {}

    pub fn written_to(&self, _value: &mut i64) {}

    pub fn for_ever(&self, _value: &'static str) {}

    pub fn references_in_a_slice(&self, _values: &[&str]) {}

    pub fn reference_in_a_tuple(&self, _pair: (&str, i64)) {}

    pub fn lifetime(&self, _value: Cow<'_, str>) {}

    pub fn taken_apart(&self, (_a, _b): (i64, i64)) {}

    pub fn without_a_name(&self, _: i64) {}

    pub fn by_reference(&self, ref _value: i64) {}

    pub fn configured(&self, #[cfg(unix)] _value: i64) {}

    pub fn address(&self, _of: *const i64) {}

    pub fn function(&self, _f: fn(i64) -> i64) {}

    pub fn object(&self, _object: Hosted<Table>) {}

    #[rustfmt::skip]
    pub fn many(&self, _a: u8, _b: u8, _c: u8, _d: u8, _e: u8, _f: u8, _g: u8, _h: u8, _i: u8, _j: u8, _k: u8, _l: u8, _m: u8, _n: u8, _o: u8, _p: u8, _q: u8) {}

    pub fn new(_name: &'static str, _pair: &(u8, &str)) -> Self {
        Table
    }
}

fn main() {}
