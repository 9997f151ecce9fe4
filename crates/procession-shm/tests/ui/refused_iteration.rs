//! What has to be checked is not iterated over as if it were not.

use procession_shm::SharedArray;

fn main() {
    let bools = SharedArray::<bool>::zeroed(3).unwrap();
    let _ = bools.iter().count();
}
