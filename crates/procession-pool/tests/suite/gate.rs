//! A place that tasks come to and wait at until the test lets them go, from whatever process or machine they come.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// Where tasks come to.
pub(crate) struct Gate {
    listener: TcpListener,
}

/// A task that waits. If it is dropped, the task panics.
pub(crate) struct Guest {
    stream: TcpStream,
    pub(crate) id: u64,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap() }
    }

    /// What tasks are told.
    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Waits for the next task that comes.
    pub(crate) fn guest(&self) -> Guest {
        let (mut stream, _) = self.listener.accept().unwrap();
        let mut id = [0; 8];
        stream.read_exact(&mut id).unwrap();
        Guest { stream, id: u64::from_le_bytes(id) }
    }

    /// Waits for so many tasks.
    pub(crate) fn guests(&self, count: usize) -> Vec<Guest> {
        (0..count).map(|_| self.guest()).collect()
    }
}

impl Guest {
    /// Lets it go on to its end.
    pub(crate) fn let_go(mut self) {
        self.stream.write_all(b"g").unwrap();
    }

    /// Has it panic.
    pub(crate) fn fail(mut self) {
        self.stream.write_all(b"p").unwrap();
    }
}

/// A task that comes to a gate, waits, and gives back its number.
pub(crate) fn visit(port: u16, id: u64) -> u64 {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(&id.to_le_bytes()).unwrap();
    let mut word = [0];
    stream.read_exact(&mut word).expect("the test is over");
    assert!(word == *b"g", "guest {id} was told to fail");
    id
}
