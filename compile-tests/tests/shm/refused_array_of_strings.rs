//! What an array of the user's own type is told, without a derive.

use procession_shm::SharedArray;

fn main() {
    let _ = SharedArray::from_slice(&[String::from("text")]);
}
