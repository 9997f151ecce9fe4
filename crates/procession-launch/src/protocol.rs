//! What parent, server and child say to each other: frames over the child's boot socket.
//!
//! | frame | from | to | body |
//! |---|---|---|---|
//! | `CALL` | parent | child | the target's [`FunctionId`](procession_boot::FunctionId), then the arguments |
//! | `SETUP` | parent | child | [`Setup`]; to a forkserver's child after `BORN`: before it, the child runs nothing |
//! | `BORN` | forkserver | parent | the child's number, and its pidfd as a descriptor |
//! | `REPORT` | child | parent | [`Report`], then the result if it has one |
//! | `ENDED` | forkserver | parent | [`Ended`] |
//! | `FAILED` | forkserver | parent | errno of a fork that failed |
//! | `GO` | parent | its own fork | nothing: it is held, and may begin |
//! | `PRELOAD` | parent | forkserver | the numbers of the functions to run first; answered by a `REPORT` |
//!
//! A body above 64 KiB travels as a sealed memory file, so that neither side ever waits for the other to read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use parking_lot::Mutex;
use procession_boot::Bequest;
use procession_sys::{Deadline, Ended, Interest, PacketSocket, map_sealed, poll_one, sealed_file};
use procession_wire::frame::{Assembler, Body, BodyPlace, Frame, FrameError, PACKET_BYTES_MAX, plan};
use procession_wire::{Decoder, Descriptor, Encoder, Message};
use serde::{Deserialize, Serialize};

use crate::authkey::AuthKey;
use crate::context::StartMethod;
use crate::logs::LogSetup;
use crate::settings::Settings;

/// The kinds of frames.
pub(crate) const CALL: u8 = 1;
pub(crate) const SETUP: u8 = 2;
pub(crate) const BORN: u8 = 3;
pub(crate) const REPORT: u8 = 4;
pub(crate) const ENDED: u8 = 5;
pub(crate) const FAILED: u8 = 6;
pub(crate) const GO: u8 = 7;
pub(crate) const PRELOAD: u8 = 8;

/// What a child is told before its target.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Its name.
    pub(crate) name: String,
    /// Which child it is: the numbers that names are made of, from the main process's child downwards.
    pub(crate) lineage: Vec<u32>,
    /// Whether its parent's normal end terminates it.
    pub(crate) daemon: bool,
    /// How it was started.
    pub(crate) start_method: StartMethod,
    /// The default start method of its parent.
    pub(crate) default_method: StartMethod,
    /// The key that its family shares.
    #[serde(with = "crate::authkey::in_setup")]
    pub(crate) authkey: AuthKey,
    /// What other layers have left to it (see `procession_boot::bequeath`).
    pub(crate) bequests: Vec<Bequest>,
    /// Its parent's number.
    pub(crate) parent_pid: u32,
    /// Its parent's name.
    pub(crate) parent_name: String,
    /// The directory to begin in.
    pub(crate) directory: Option<Descriptor>,
    /// What only a forkserver's child must be told.
    pub(crate) inherited: Option<Handover>,
    /// What it is to set for itself.
    pub(crate) settings: Option<Settings>,
    /// What becomes of what it logs.
    pub(crate) logs: LogSetup,
}

/// What exec hands down and a forkserver cannot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Handover {
    /// Umask, signal mask, limits, affinity (see `procession_sys::Inherited`), unless they are the server's.
    pub(crate) settings: Option<Vec<u64>>,
    /// The whole environment, unless it is the one that the server was started with.
    pub(crate) environment: Option<Vec<(std::ffi::OsString, std::ffi::OsString)>>,
    /// Descriptors 0, 1 and 2; what is missing is `/dev/null`.
    pub(crate) streams: [Option<Descriptor>; 3],
}

/// How a target's run went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It returned the value that follows.
    Returned,
    /// It panicked.
    Panicked { message: String, location: Option<String>, backtrace: Option<Box<str>> },
    /// The arguments could not be decoded.
    BadArguments(String),
    /// The result could not be encoded.
    BadResult(String),
    /// The child could not begin.
    Refused(String),
}

impl Report {
    /// As a message of its own.
    pub(crate) fn message(&self) -> Message {
        let mut encoder = Encoder::new();
        // A report holds texts and nothing else, which no rule of the encoder refuses.
        let encoded = encoder.value(self);
        debug_assert!(encoded.is_ok(), "a report is plain text");
        encoder.finish()
    }
}

/// How a child of a forkserver ended, as the server tells it.
pub(crate) fn encode_ended(ended: Ended) -> Message {
    let numbers = match ended {
        Ended::Exited(code) => (0, code),
        Ended::Signaled { signal, core_dumped: false } => (1, signal),
        Ended::Signaled { signal, core_dumped: true } => (2, signal),
    };
    let mut encoder = Encoder::new();
    let encoded = encoder.value(&numbers);
    debug_assert!(encoded.is_ok(), "two numbers");
    encoder.finish()
}

/// The reverse of [`encode_ended`]; `None` for what it does not write.
pub(crate) fn decode_ended(mut decoder: Decoder) -> Option<Ended> {
    match decoder.value::<(i32, i32)>().ok()? {
        (0, code) => Some(Ended::Exited(code)),
        (1, signal) => Some(Ended::Signaled { signal, core_dumped: false }),
        (2, signal) => Some(Ended::Signaled { signal, core_dumped: true }),
        _ => None,
    }
}

/// A packet socket that speaks frames.
#[derive(Debug)]
pub(crate) struct Line {
    socket: PacketSocket,
    /// The frame that is arriving.
    assembler: Mutex<Assembler>,
}

impl Line {
    /// The socket, for packets that are no frames.
    pub(crate) fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    /// The same by itself, when no frame is arriving.
    pub(crate) fn into_socket(self) -> PacketSocket {
        self.socket
    }

    /// Over a socket.
    pub(crate) fn new(socket: PacketSocket) -> Self {
        Self { socket, assembler: Mutex::default() }
    }

    /// Sends a message as a frame. A body that the socket's buffer cannot hold goes as a memory file.
    pub(crate) fn send(&self, kind: u8, message: &Message) -> io::Result<()> {
        if BodyPlace::of(message.bytes().len()) == BodyPlace::Inline {
            match self.send_packets(kind, message, None) {
                Err(error) if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => {}
                other => return other,
            }
        }
        let file = sealed_file("procession-message", &[message.bytes()])?;
        self.send_packets(kind, message, Some(file.as_fd()))
    }

    /// Sends a frame that fits one packet, without touching the heap.
    pub(crate) fn send_small(&self, kind: u8, body: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let mut packets = plan(kind, body.len(), BodyPlace::Inline, 1).map_err(invalid)?;
        packets.try_for_each(|packet| self.socket.send([&packet.header, body], &[descriptor]))
    }

    /// Sends the packets of one frame, its body inline or in `file`.
    fn send_packets(&self, kind: u8, message: &Message, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let (place, inline) = match file {
            Some(_) => (BodyPlace::MemoryFile, &[][..]),
            None => (BodyPlace::Inline, message.bytes()),
        };
        let descriptors: Vec<BorrowedFd<'_>> = message.descriptors().collect();
        for packet in plan(kind, message.bytes().len(), place, descriptors.len()).map_err(invalid)? {
            let file = file.filter(|_| packet.carries_memory_file);
            let own = &descriptors[packet.descriptors];
            let all: Vec<BorrowedFd<'_>> = file.into_iter().chain(own.iter().copied()).collect();
            self.socket.send([&packet.header, &inline[packet.body]], &all)?;
        }
        Ok(())
    }

    /// The next frame; `None` when the peer is gone and nothing is left.
    pub(crate) fn receive(&self, deadline: Deadline) -> io::Result<Option<Frame>> {
        loop {
            match self.try_receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !poll_one(&self.socket, Interest::Read, deadline)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// The next frame if all of it has come, else `WouldBlock`.
    pub(crate) fn try_receive(&self) -> io::Result<Option<Frame>> {
        let mut assembler = self.assembler.lock();
        loop {
            let Some(packet) = self.socket.try_receive(PACKET_BYTES_MAX)? else { return Ok(None) };
            let mut pushed = assembler.push(&packet.bytes, packet.descriptors);
            if pushed.as_ref().is_err_and(|error| *error == FrameError::OutOfOrder) {
                // A child that is killed between two packets leaves a torn frame, and its server's word follows it.
                *assembler = Assembler::new();
                pushed = assembler.push(&packet.bytes, Vec::new());
            }
            if let Some(frame) = pushed.map_err(invalid)? {
                return Ok(Some(frame));
            }
        }
    }
}

/// What reads a frame's body, which is checked first if it came in a memory file.
pub(crate) fn decoder(frame: Frame) -> io::Result<Decoder> {
    match frame.body {
        Body::Inline(bytes) => Ok(Decoder::new(bytes, frame.descriptors)),
        Body::MemoryFile { file, len } => Ok(Decoder::new(map_sealed(&file, len)?, frame.descriptors)),
    }
}

/// What the server says of a child that it has forked.
pub(crate) fn send_born(line: &Line, child: u32, pidfd: BorrowedFd<'_>) -> io::Result<()> {
    line.send_small(BORN, &child.to_le_bytes(), pidfd)
}

/// The reverse of [`send_born`]; `None` for what it does not send.
pub(crate) fn read_born(frame: Frame) -> Option<(u32, OwnedFd)> {
    let Body::Inline(bytes) = frame.body else { return None };
    let [pidfd] = <[OwnedFd; 1]>::try_from(frame.descriptors).ok()?;
    Some((u32::from_le_bytes(bytes.try_into().ok()?), pidfd))
}

/// `EMSGSIZE`: the packet is larger than the socket's buffer, which an administrator may have made small.
const MESSAGE_TOO_LONG: i32 = 90;

/// True for a send to a peer that has closed its end, or has died with packets unread.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// What a peer that breaks the rules gets.
fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
