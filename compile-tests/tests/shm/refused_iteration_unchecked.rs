//! What another process has written may be no `bool`, and iteration does not look.

use procession_shm::SharedArray;

fn main() {
    let flags = SharedArray::from_slice(&[true, false]).unwrap();
    let _ = flags.iter().count();
}
