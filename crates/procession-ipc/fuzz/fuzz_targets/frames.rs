//! A peer that writes anything into a stream: messages come as its frames have them, or an error that says why not.
//!
//! What is received is compared with what a model of a few lines reads out of the same bytes. Relies on libFuzzer for
//! coverage; `cargo xtask fuzz frames` runs it.

#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use procession_ipc::{BytesConnection, RecvError, SendError};

/// A message that is sent is at most so long: less than what is sent whole or not at all.
const SENT_BYTES_MAX: usize = 32 << 10;

/// What the peer does, or this process.
#[derive(Arbitrary, Debug)]
enum Deed {
    Bytes(Vec<u8>),
    /// A frame, or its beginning.
    Frame {
        len: u16,
        is_long: bool,
        cut: Option<u16>,
    },
    /// The header of a message that does not come.
    Announce {
        len: u64,
        is_long: bool,
    },
    HangUp,
    Receive,
    ReceiveMax {
        bytes_max: u16,
    },
    ReceiveInto {
        room: u16,
    },
    Poll,
    Send {
        len: u16,
    },
    Drain,
}

/// What the bytes so far say.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// Of a header, or of a message of which so many bytes have come.
    Part {
        had: u64,
        bytes: Option<u64>,
    },
    Whole {
        header: usize,
        bytes: usize,
    },
    Corrupt,
}

/// Where what came is not received any more.
#[derive(Clone, Copy)]
enum Refused {
    Corrupt,
    TooLarge { bytes: u64, bytes_max: u64 },
}

struct Play {
    ours: BytesConnection,
    theirs: UnixStream,
    /// What the peer has written and has not been received.
    came: Vec<u8>,
    is_over: bool,
    refused: Option<Refused>,
    /// What this process has sent and the peer has not read.
    went: Vec<u8>,
}

impl Play {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        theirs.set_nonblocking(true).expect("a flag");
        let (came, went) = (Vec::new(), Vec::new());
        Self { ours: ours.into(), theirs, came, is_over: false, refused: None, went }
    }

    /// Writes as much as there is room for.
    fn write(&mut self, bytes: &[u8]) {
        let count = if self.is_over { 0 } else { self.theirs.write(bytes).unwrap_or(0) };
        if self.refused.is_none() {
            self.came.extend_from_slice(&bytes[..count]);
        }
    }

    fn next(&self) -> Next {
        let part = |bytes| Next::Part { had: 0, bytes };
        let (header, bytes) = match self.came.split_first_chunk::<4>() {
            None if self.came.is_empty() => return Next::Nothing,
            None => return part(None),
            Some((short, rest)) => match (i32::from_be_bytes(*short), rest.first_chunk::<8>()) {
                (-1, None) => return part(None),
                (-1, Some(long)) => (12, u64::from_be_bytes(*long)),
                (negative @ i32::MIN..-1, _) => {
                    assert!(negative < 0);
                    return Next::Corrupt;
                }
                (length, _) => (4, length as u64),
            },
        };
        let had = (self.came.len() - header) as u64;
        if had < bytes { Next::Part { had, bytes: Some(bytes) } } else { Next::Whole { header, bytes: bytes as usize } }
    }

    /// What a call that receives has to say, and then there is no more of it; none if it would wait.
    fn expected(&mut self, bytes_max: u64) -> Option<Result<Vec<u8>, Refused>> {
        if let Some(refused) = self.refused {
            return Some(Err(refused));
        }
        let refused = match self.next() {
            Next::Corrupt => Refused::Corrupt,
            Next::Part { bytes: Some(bytes), .. } if bytes > bytes_max => Refused::TooLarge { bytes, bytes_max },
            Next::Whole { bytes, .. } if bytes as u64 > bytes_max => {
                Refused::TooLarge { bytes: bytes as u64, bytes_max }
            }
            Next::Whole { header, bytes } => {
                let rest = self.came.split_off(header + bytes);
                return Some(Ok(std::mem::replace(&mut self.came, rest).split_off(header)));
            }
            Next::Part { .. } | Next::Nothing => return None,
        };
        self.refused = Some(refused);
        Some(Err(refused))
    }

    /// Compares what was received with what was expected.
    fn judge(&self, expected: Option<Result<Vec<u8>, Refused>>, received: Result<Vec<u8>, RecvError>) {
        match (expected, received) {
            (Some(Ok(expected)), Ok(message)) => assert!(message == expected, "another message"),
            (Some(Err(Refused::Corrupt)), Err(RecvError::Corrupt { .. })) => {}
            (
                Some(Err(Refused::TooLarge { bytes, bytes_max })),
                Err(RecvError::TooLarge { bytes: said, bytes_max: max }),
            ) => {
                assert_eq!((said, max), (bytes, bytes_max));
            }
            (None, Err(RecvError::WouldBlock | RecvError::Timeout)) if !self.is_over => {}
            (None, Err(RecvError::Disconnected)) if self.is_over && self.next() == Next::Nothing => {}
            (None, Err(RecvError::Truncated { had, bytes })) if self.is_over => {
                let Next::Part { had: came, bytes: announced } = self.next() else { panic!("nothing was cut off") };
                assert_eq!((had, bytes), (came, announced.unwrap_or(0)));
            }
            (expected, received) => panic!("{:?} where {:?} came", received, expected.map(|it| it.map_err(drop))),
        }
    }

    fn receive(&mut self) {
        let expected = self.expected(u64::MAX);
        let received = self.ours.try_recv();
        self.judge(expected, received);
    }

    /// Waits, unless there is something to tell.
    fn receive_max(&mut self, bytes_max: u64) {
        let expected = self.expected(bytes_max);
        if expected.is_some() || self.is_over {
            let received = self.ours.recv_max(bytes_max);
            self.judge(expected, received);
        }
    }

    fn receive_into(&mut self, room: usize) {
        let expected = self.expected(u64::MAX);
        let mut buffer = vec![0; room];
        let received = match self.ours.try_recv_into(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                Ok(buffer)
            }
            Err(RecvError::BufferTooShort { message }) => {
                assert!(message.len() > room);
                Ok(message)
            }
            Err(error) => Err(error),
        };
        self.judge(expected, received);
    }

    fn poll(&self) {
        let has_some = !self.came.is_empty() || self.is_over || self.refused.is_some();
        // A message of which a part was received already is not there before more of it is.
        assert!(has_some || !self.ours.poll().expect("an answer"), "nothing is there");
    }

    fn send(&mut self, len: usize) {
        let message = pattern(len.min(SENT_BYTES_MAX));
        match self.ours.try_send(&message) {
            Ok(()) => {
                self.went.extend_from_slice(&(message.len() as u32).to_be_bytes());
                self.went.extend_from_slice(&message);
            }
            Err(SendError::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn drain(&mut self) {
        let mut read = Vec::new();
        let ended = self.theirs.read_to_end(&mut read);
        assert!(ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it is still open");
        assert!(read == self.went, "other bytes than were sent");
        self.went.clear();
    }

    fn hang_up(&mut self) {
        if !self.is_over {
            self.is_over = true;
            drop(self.theirs.shutdown(Shutdown::Write));
        }
    }
}

/// Bytes of which few are what their neighbors are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

fn header(len: u64, is_long: bool) -> Vec<u8> {
    match i32::try_from(len) {
        Ok(short) if !is_long => short.to_be_bytes().to_vec(),
        _ => [&(-1_i32).to_be_bytes()[..], &len.to_be_bytes()].concat(),
    }
}

fn frame(len: u16, is_long: bool, cut: Option<u16>) -> Vec<u8> {
    let mut frame = header(len.into(), is_long);
    frame.extend(pattern(len.into()));
    frame.truncate(cut.map_or(usize::MAX, usize::from));
    frame
}

fuzz_target!(|deeds: Vec<Deed>| {
    let mut play = Play::new();
    for deed in deeds {
        match deed {
            Deed::Bytes(bytes) => play.write(&bytes),
            Deed::Frame { len, is_long, cut } => play.write(&frame(len, is_long, cut)),
            Deed::Announce { len, is_long } => play.write(&header(len, is_long)),
            Deed::HangUp => play.hang_up(),
            Deed::Receive => play.receive(),
            Deed::ReceiveMax { bytes_max } => play.receive_max(bytes_max.into()),
            Deed::ReceiveInto { room } => play.receive_into(room.into()),
            Deed::Poll => play.poll(),
            Deed::Send { len } => play.send(len.into()),
            Deed::Drain => play.drain(),
        }
    }
    play.drain();
    play.receive();
});
