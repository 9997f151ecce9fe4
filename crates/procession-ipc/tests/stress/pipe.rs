//! Pipes: each message once or not at all, whole, in order of its sender; at most one lost for each that is killed.
//!
//! Workers of even numbers have the one end, those of odd numbers the other, so that several send and several receive in
//! either direction. Relies on `items.rs` for what a message tells.

use procession_ipc::{Connection, PIPE_BYTES, RecvError, SendError, pipe};

use crate::items::{Item, Items, PLACES, wait};
use crate::subject::{Place, Subject};
use crate::worker::Worker;

/// What a pipe must have room for when nothing is in it: messages of so many bytes, a little less than it holds.
const LARGE: u64 = 15 << 20;
const LARGE_COUNT: u64 = PIPE_BYTES / (16 << 20);

type End = Connection<Item, Item>;

/// Both ends, and what was had of the messages.
#[derive(Debug)]
pub(crate) struct Pipe {
    ends: [End; 2],
    items: Items,
}

impl Pipe {
    fn send(&self, worker: &Worker, end: &End) {
        let item = self.items.next(worker);
        let sent = loop {
            let sent = if worker.below(8) == 0 { end.try_send(&item) } else { end.send_timeout(&item, wait(worker)) };
            // As with a queue: another may have the lock and no processor.
            let Err(SendError::Busy) = sent else { break sent };
        };
        match sent {
            Ok(()) => {
                worker.had();
                worker.passed();
            }
            Err(SendError::WouldBlock | SendError::Timeout) => {
                worker.gave_up();
                self.items.was_not_put(item.0, item.1);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn receive(&self, worker: &Worker, end: &End) {
        let received = loop {
            let received = if worker.below(8) == 0 { end.try_recv() } else { end.recv_timeout(wait(worker)) };
            let Err(RecvError::Busy) = received else { break received };
        };
        match received {
            Ok(item) => {
                worker.had();
                assert_ne!(item.0 % 2, worker.number % 2, "a message of its own end");
                self.items.check(item);
                worker.use_it();
            }
            Err(RecvError::WouldBlock | RecvError::Timeout) => worker.gave_up(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes all that goes from this end to the other.
    fn drain(&self, from: usize) {
        loop {
            match self.ends[1 - from].try_recv() {
                Ok(item) => {
                    assert_eq!(item.0 % 2, from, "a message of the other end");
                    self.items.check(item);
                }
                Err(RecvError::WouldBlock) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Subject for Pipe {
    const NAME: &'static str = "pipe";
    const PLACES: &'static [&'static [Place]] = &[PLACES];
    const STRANDS: &'static [&'static str] = &["ring: mark cleared"];

    fn new() -> Self {
        let (even, odd) = pipe().expect("a pipe");
        Self { ends: [even, odd], items: Items::new() }
    }

    fn turn(&self, worker: &Worker) {
        worker.tells(false);
        let end = &self.ends[worker.number % 2];
        // Where two send to one, that one still receives more than they send.
        let sends = if end.poll().expect("an open end") { 4 } else { 14 };
        if worker.below(16) < sends { self.send(worker, end) } else { self.receive(worker, end) }
    }

    /// With nobody at it: what is left comes in order; no more is lost than were killed, and all room is there again.
    fn is_quiet(&self, worker: &Worker) {
        for (from, end) in self.ends.iter().enumerate() {
            self.drain(from);
            // Somebody has to come after who died last.
            end.try_send(&self.items.of_bytes(worker, from, 0)).expect("there is room");
            self.drain(from);
            for _ in 0..LARGE_COUNT {
                end.try_send(&self.items.of_bytes(worker, from, LARGE)).expect("nothing else takes room");
            }
            self.drain(from);
        }
        self.items.check_lost(worker);
    }
}
