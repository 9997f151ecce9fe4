//! What is called like an integer may be another one; what counts is the size that the enum has.

use procession_shm::Shareable;

#[expect(non_camel_case_types, reason = "the name is the point")]
type i32 = i64;

#[derive(Clone, Copy, Shareable)]
#[repr(i32)]
enum State {
    Idle,
    Busy,
}

fn main() {
    let _: [i32; 2] = [State::Idle as i32, State::Busy as i32];
}
