//! Everything that may be a target, with 0 to 8 arguments.

use procession::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

fn eight(a: u8, b: u16, c: u32, d: u64, e: String, f: Vec<u8>, g: Option<i8>, h: (bool, char)) -> String {
    format!("{a}{b}{c}{d}{e}{f:?}{g:?}{h:?}")
}

fn same<T: Serialize + DeserializeOwned>(value: T) -> T {
    value
}

#[derive(Serialize, Deserialize)]
struct Worker {
    id: u32,
}

impl Worker {
    fn new(id: u32) -> Self {
        Worker { id }
    }

    fn run(self) -> u32 {
        self.id
    }
}

fn fallible(fail: bool) -> Result<u8, Fault> {
    if fail { Err(std::io::Error::other("planted"))? } else { Ok(1) }
}

fn main() -> procession::Result<()> {
    let arguments = (1, 2, 3, 4, "5".to_string(), vec![6], Some(7), (true, '8'));
    assert_eq!(Process::start(eight, arguments)?.join()?, "12345[6]Some(7)(true, '8')");
    assert_eq!(Process::start(same, (9_u8,))?.join()?, 9);
    assert_eq!(Process::start(same::<String>, ("x".into(),))?.join()?, "x");
    assert_eq!(Process::start(Worker::run, (Worker { id: 3 },))?.join()?, 3);
    assert_eq!(Process::start(Worker::new, (4,))?.join()?.id, 4);
    assert_eq!(Process::start(|| 5_u8, ())?.join()?, 5);
    assert_eq!(Process::start(|x: u8, y: u8| x + y, (1, 2))?.join()?, 3);
    assert!(Process::start(fallible, (true,))?.join()?.is_err());
    assert_eq!(Process::start(fallible, (false,))?.join()??, 1);
    Ok(())
}
