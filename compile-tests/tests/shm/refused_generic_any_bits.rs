//! Either constant of the trait asserts the layout, so that no use of an instance gets around it.

use procession_shm::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Pair<A, B>(A, B);

const FINE: bool = <Pair<u32, u32> as Shareable>::ANY_BITS;
const PADDED: bool = <Pair<u32, u8> as Shareable>::ANY_BITS;

fn main() {
    assert!(FINE && PADDED);
}
