//! The link: frames between a pool and one worker, for what is too large for the streams, or carries descriptors.
//!
//! Relies on `procession_wire::frame` for how a frame lies in packets. A sender that finds no room in the middle of a frame
//! gives it up, and begins anew later; whoever receives throws the part away.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use procession_sys::{Deadline, Interest, PacketSocket, is_open, poll_one, sealed_file};
use procession_wire::frame::{Assembler, BodyPlace, Frame, FrameError, PACKET_BYTES_MAX, begins_frame, plan};

use super::waiting::RECHECK;

/// `EMSGSIZE`: the packet is larger than the socket's buffer, which an administrator may have made small.
const MESSAGE_TOO_LONG: i32 = 90;

/// A large body, or one with descriptors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parcel<'a> {
    /// Its bytes.
    pub(crate) body: &'a [u8],
    /// Its descriptors.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
}

/// One side's end.
#[derive(Debug)]
pub(super) struct Link {
    socket: PacketSocket,
    arriving: Assembler,
}

impl Link {
    pub(super) fn new(socket: PacketSocket) -> Self {
        Self { socket, arriving: Assembler::new() }
    }

    /// Sends a frame, each packet by `send`.
    fn send_by(
        &self,
        kind: u8,
        parcel: Parcel<'_>,
        mut send: impl FnMut([&[u8]; 2], &[BorrowedFd<'_>]) -> io::Result<()>,
    ) -> io::Result<()> {
        if BodyPlace::of(parcel.body.len()) == BodyPlace::Inline {
            match send_packets(kind, parcel, None, &mut send) {
                Err(error) if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => {}
                done => return done,
            }
        }
        let file = sealed_file("procession-parcel", &[parcel.body])?;
        send_packets(kind, parcel, Some(file.as_fd()), &mut send)
    }

    /// Sends a frame, or none: `WouldBlock` if there is no room.
    pub(super) fn try_send(&self, kind: u8, parcel: Parcel<'_>) -> io::Result<()> {
        self.send_by(kind, parcel, |parts, descriptors| self.socket.try_send(parts, descriptors))
    }

    /// Sends a frame. `call` is to have the other side receive, before this waits for room.
    pub(super) fn send(&self, kind: u8, parcel: Parcel<'_>, mut call: impl FnMut()) -> io::Result<()> {
        self.send_by(kind, parcel, |parts, descriptors| {
            loop {
                match self.socket.try_send(parts, descriptors) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => return done,
                }
                call();
                poll_one(&self.socket, Interest::Write, Deadline::after(RECHECK))?;
            }
        })
    }

    /// Whether its descriptor is one.
    pub(super) fn is_open(&self) -> bool {
        is_open(self.socket.as_fd().as_raw_fd())
    }

    /// The next frame; `WouldBlock` if not all of it has come, `UnexpectedEof` when the other side is gone.
    ///
    /// For lack of descriptors nothing is lost: it is there when there are some.
    pub(super) fn try_receive(&mut self) -> io::Result<Frame> {
        loop {
            let packet = self.socket.peek(PACKET_BYTES_MAX)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.socket.discard()?;
            if begins_frame(&packet.bytes) {
                self.arriving = Assembler::new();
            }
            if let Some(frame) = self.arriving.push(&packet.bytes, packet.descriptors).map_err(refused)? {
                return Ok(frame);
            }
        }
    }

    /// The same, however long it takes.
    pub(super) fn receive(&mut self) -> io::Result<Frame> {
        loop {
            match self.try_receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            poll_one(&self.socket, Interest::Read, Deadline::NEVER)?;
        }
    }
}

/// Sends the packets of one frame, its body inline or in `file`.
fn send_packets(
    kind: u8,
    parcel: Parcel<'_>,
    file: Option<BorrowedFd<'_>>,
    mut send: impl FnMut([&[u8]; 2], &[BorrowedFd<'_>]) -> io::Result<()>,
) -> io::Result<()> {
    let (place, inline) = match file {
        Some(_) => (BodyPlace::MemoryFile, &[][..]),
        None => (BodyPlace::Inline, parcel.body),
    };
    for packet in plan(kind, parcel.body.len(), place, parcel.descriptors.len()).map_err(refused)? {
        let file = file.filter(|_| packet.carries_memory_file);
        let own = &parcel.descriptors[packet.descriptors];
        let all: Vec<BorrowedFd<'_>> = file.into_iter().chain(own.iter().copied()).collect();
        send([&packet.header, &inline[packet.body]], &all)?;
    }
    Ok(())
}

fn refused(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
